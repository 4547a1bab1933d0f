"""How long an agent plays an Atari game, how it explores, and how its progress is reported."""

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
    """How much is played and learned, in agent steps of four frames; the defaults are Dopamine's.

    Attributes:
      iterations: number of iterations.
      steps_per_iteration: least number of steps of an iteration, which plays its last episode to
        the end.
      checkpoint_rows: number of rows of the replay buffer, and so of a checkpoint.
      min_replay: number of rows, with padding, that the buffer must exceed before the agent learns.
      update_period: steps between gradient steps.
      target_period: steps between copies of the parameters; a multiple of `update_period`.
      epsilon: final probability of a random action.
      epsilon_decay_steps: number of steps, after the first `min_replay`, in which this probability
        falls linearly from 1.
      batch_size: number of transitions of a gradient step.
      max_episode_steps: number of steps after which an episode is cut.
      sticky_probability: probability that a frame keeps the previous action.
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
        """Probability of a random action after `step` steps."""
        left = (self.min_replay + self.epsilon_decay_steps - step) / self.epsilon_decay_steps
        return self.epsilon + (1 - self.epsilon) * float(np.clip(left, 0, 1))


class PlayedEpisode(NamedTuple):
    """An episode that was played; the emulator's seed identifies it."""

    seed: int
    steps: int
    episode_return: float  # with rewards not clipped


@contextlib.contextmanager
def progress(
    name: str, schedule: AtariSchedule
) -> Iterator[Callable[[int, list[list[PlayedEpisode]]], None]]:
    """A progress bar on standard error, or a line per iteration if that is not a terminal."""
    total = schedule.iterations * schedule.steps_per_iteration
    printed = 0

    def describe(iterations: list[list[PlayedEpisode]]) -> str:
        if not iterations:
            return "no return yet"
        return f"mean return {np.mean([each.episode_return for each in iterations[-1]]):,.1f}"

    def print_line(steps: int, iterations: list[list[PlayedEpisode]]) -> None:
        nonlocal printed
        if len(iterations) > printed:
            printed = len(iterations)
            line = f"{name}: {printed} of {schedule.iterations} iterations, {describe(iterations)}"
            print(line, file=sys.stderr, flush=True)

    if not sys.stderr.isatty():
        yield print_line
        return
    with terminal.bar(name, total) as draw:
        yield lambda steps, iterations: draw(
            len(iterations) * schedule.steps_per_iteration + steps,
            f"steps, {len(iterations)} iterations, {describe(iterations)}",
        )
