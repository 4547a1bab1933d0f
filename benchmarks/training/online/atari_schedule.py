"""How long an agent plays an Atari game, how it explores, and what it reports on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from rl_datasets import terminal
from rl_datasets.collection import atari
from rl_datasets.errors import DatasetError
from rl_datasets.sources.atari import STICKY_PROBABILITY
from rl_datasets.sources.dqn_replay import STACK_SIZE


@dataclasses.dataclass(frozen=True)
class AtariSchedule:
    """How much is played and learned, in agent steps of four frames; defaults are Dopamine's.

    Attributes:
      iterations: how many.
      steps_per_iteration: at least; the episode that reaches it is played to its end.
      checkpoint_rows: of the replay buffer, and so of a checkpoint.
      min_replay: rows, padding included, that the buffer must exceed before the agent learns.
      update_period: steps between gradient steps.
      target_period: steps between copies of the parameters; a multiple of `update_period`.
      epsilon: probability of a random action at the end.
      epsilon_decay_steps: in which that falls from 1, linearly, after `min_replay` steps.
      batch_size: transitions of a gradient step.
      max_episode_steps: after which an episode is cut.
      sticky_probability: that a frame keeps the action before.
    """

    iterations: int = 200
    steps_per_iteration: int = 250_000
    checkpoint_rows: int = 1_000_000
    min_replay: int = 20_000
    update_period: int = 4
    target_period: int = 8_000
    epsilon: float = 0.01
    epsilon_decay_steps: int = 250_000
    batch_size: int = 32
    max_episode_steps: int = atari.MAX_STEPS
    sticky_probability: float = STICKY_PROBABILITY

    def __post_init__(self) -> None:
        counts = ("iterations", "steps_per_iteration", "update_period", "batch_size")
        for name in (*counts, "epsilon_decay_steps", "max_episode_steps"):
            if getattr(self, name) < 1:
                raise DatasetError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.target_period < 1 or self.target_period % self.update_period:
            raise DatasetError(
                f"target_period must be a multiple of update_period, {self.update_period}, got "
                f"{self.target_period}"
            )
        if not 2 * STACK_SIZE <= self.min_replay < self.checkpoint_rows:
            raise DatasetError(
                f"min_replay must be at least {2 * STACK_SIZE} and below checkpoint_rows, "
                f"{self.checkpoint_rows}, got {self.min_replay}"
            )

    def epsilon_at(self, step: int) -> float:
        """Probability of a random action once `step` steps were taken."""
        left = (self.min_replay + self.epsilon_decay_steps - step) / self.epsilon_decay_steps
        return self.epsilon + (1 - self.epsilon) * float(np.clip(left, 0, 1))


class PlayedEpisode(NamedTuple):
    """An episode that was played, by the emulator's seed."""

    seed: int
    steps: int
    episode_return: float  # of rewards as the game gave them


@contextlib.contextmanager
def progress(
    name: str, schedule: AtariSchedule
) -> Iterator[Callable[[int, list[list[PlayedEpisode]]], None]]:
    """A bar on a terminal's standard error, and a line an iteration where that is no terminal."""
    total = schedule.iterations * schedule.steps_per_iteration
    told = 0

    def describe(iterations: list[list[PlayedEpisode]]) -> str:
        if not iterations:
            return "no return yet"
        return f"mean return {np.mean([each.episode_return for each in iterations[-1]]):,.1f}"

    def tell(steps: int, iterations: list[list[PlayedEpisode]]) -> None:
        nonlocal told
        if len(iterations) > told:
            told = len(iterations)
            line = f"{name}: {told} of {schedule.iterations} iterations, {describe(iterations)}"
            print(line, file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield tell
        return
    with terminal.bar(name, total) as draw:
        yield lambda steps, iterations: draw(
            len(iterations) * schedule.steps_per_iteration + steps,
            f"steps, {len(iterations)} iterations, {describe(iterations)}",
        )
