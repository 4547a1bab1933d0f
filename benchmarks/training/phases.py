"""The phases of a run: what trains one state, for how long, and what each phase carries over.

A run has an offline phase, which learns from the row's data, or an online phase, in which the agent
plays the game, or both. The steps of a run are the gradient steps of the first and the agent steps
of the second. At the end of each interval of steps the state is evaluated and saved.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.training.cells import Cell, Progress
from benchmarks.training.feeds import open_feed
from benchmarks.training.preparation import Places
from benchmarks.training.tasks.choice import Task
from learners import training, types
from rl_datasets.serving.rewards import rescaled


class Training(Protocol):
    """A phase that is under way."""

    def train(self, state: Any) -> tuple[Any, Mapping[str, Any]]:
        """Trains until the next evaluation: state -> its successor, and metrics."""

    def evaluated(self, state: Any, returns: np.ndarray) -> Any:
        """The state after an evaluation with these returns [E]."""

    def kept(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a checkpoint needs besides the state: facts, as JSON, and arrays."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a run.

    Attributes:
      ends: the steps of the run at which it is evaluated; the last ends the phase.
      learner: gives the structure of the state.
      enter: state at the end of the previous phase -> state at the beginning.
      open: (step, facts, arrays) -> the phase from that step on; facts and arrays are those kept at
        that step, or empty at the beginning.
    """

    ends: Sequence[int]
    learner: types.Learner
    enter: Callable[[Any], Any]
    open: Callable[
        [int, Mapping[str, Any], Mapping[str, np.ndarray]],
        contextlib.AbstractContextManager[Training],
    ]


def offline_phase(
    cells: Sequence[Cell], task: Task, places: Places, learner: types.Learner, progress: Progress
) -> Phase:
    """Gradient steps on the data of a row, for one seed or for several in one call."""

    @contextlib.contextmanager
    def opened(step: int, *_: Any) -> Iterator[Training]:
        steps_a_call = task.steps_in_a_call(cells[0].recipe.evaluate_every)
        with contextlib.ExitStack() as stack:
            feeds = [
                stack.enter_context(open_feed(cell, task, places.feed, steps_a_call, step))
                for cell in cells
            ]
            scale, bias = task.reward_scale(places.feed), task.row.data.reward_bias
            yield _Offline(cells, scale, bias, learner, progress, feeds, steps_a_call, step)

    return Phase(cells[0].offline_ends, learner, lambda state: state, opened)


class _Offline:
    def __init__(
        self,
        cells: Sequence[Cell],
        scale: float,
        bias: float,
        learner: types.Learner,
        progress: Progress,
        feeds: Sequence[Iterator[Any]],
        steps_a_call: int,
        step: int,
    ):
        self._cells, self._scale, self._bias, self._feeds = cells, scale, bias, feeds
        self._progress = progress
        self._update = (training.over_seeds(learner) if len(cells) > 1 else learner).update
        self._steps_a_call, self._step = steps_a_call, step

    def train(self, state: Any) -> tuple[Any, Mapping[str, Any]]:
        metrics: Mapping[str, Any] = {}
        for _ in range(self._cells[0].recipe.evaluate_every // self._steps_a_call):
            batches = [rescaled(next(feed), self._scale, self._bias) for feed in self._feeds]
            state, metrics = self._update(state, joined(batches))
            jax.block_until_ready(metrics)
            self._step += self._steps_a_call
            for cell in self._cells:
                self._progress(cell, self._step)
        return state, {name: value for name, value in metrics.items() if name != "priority"}

    def evaluated(self, state: Any, returns: np.ndarray) -> Any:
        return state

    def kept(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {}


def joined(trees: Sequence[Any]) -> Any:
    """One tree with a leading axis of seeds, or the tree itself if there is one seed."""
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def split(tree: Any, seeds: int) -> list[Any]:
    """The inverse of `joined`."""
    if seeds == 1:
        return [tree]
    return [jax.tree.map(lambda leaf, i=i: leaf[i], tree) for i in range(seeds)]
