"""Agents that act in an Atari game and learn from what they play."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.training.online.atari_schedule import AtariSchedule
from benchmarks.training.online.guide import Guide
from benchmarks.training.online.replay_sampling import Sampler
from learners import dqn, qr_dqn
from learners.types import DiscreteSpec, Learner
from rl_datasets.sources.atari import FRAME_SHAPE
from rl_datasets.sources.dqn_replay import STACK_SIZE

AGENTS: Mapping[str, dqn.Config | qr_dqn.Config | None] = {
    "dqn": dqn.Config(),
    "dqn_adam": dqn.ADAM,
    "qr_dqn": qr_dqn.Config(),
    "random": None,
}
STACK_SHAPE = (*FRAME_SHAPE[:2], STACK_SIZE)


def learner_of(
    config: dqn.Config | qr_dqn.Config | None, num_actions: int, schedule: AtariSchedule
) -> Learner | None:
    """The learner of a config in `AGENTS`; None for an agent that acts at random."""
    if config is None:
        return None
    spec = DiscreteSpec(num_actions, STACK_SHAPE)
    module: Any = qr_dqn if isinstance(config, qr_dqn.Config) else dqn
    return module.make(paced(config, schedule), spec)


def paced(
    config: dqn.Config | qr_dqn.Config, schedule: AtariSchedule
) -> dqn.Config | qr_dqn.Config:
    """The config with the schedule's target period, in gradient steps."""
    period = schedule.target_period // schedule.update_period
    return dataclasses.replace(config, target_period=period)


@dataclasses.dataclass
class Agent:
    """Acts epsilon-greedily on stacks of frames, and learns from a replay buffer.

    One call of `choose` is one step of Dopamine's agent: it learns if a gradient step is due, and
    then acts.

    Attributes:
      learner: None for an agent that acts at random.
      state: of the learner.
      num_actions: of the game.
      sampler: draws the batches.
      rng: draws actions and batches.
      epsilon: number of the step, from 1 -> probability of a random action.
      min_replay: number of rows, with padding, that the buffer must exceed before the agent learns.
      update_period: steps between gradient steps.
      batch_size: of a gradient step.
      guide: may act in the agent's place.
      steps: that were chosen.
      metrics: of the last gradient step.
    """

    learner: Learner | None
    state: Any
    num_actions: int
    sampler: Sampler
    rng: np.random.Generator
    epsilon: Callable[[int], float]
    min_replay: int
    update_period: int
    batch_size: int
    guide: Guide | None = None
    steps: int = 0
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    _stack: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(STACK_SHAPE, np.uint8))

    def begin_episode(self) -> None:
        self._stack[:] = 0
        if self.guide is not None:
            self.guide.begin_episode(self.rng)

    def choose(self, frame: np.ndarray) -> int:
        """Chooses an action, given the frame [84, 84, 1]."""
        self._stack = np.concatenate([self._stack[..., 1:], frame], axis=-1)
        if self.learner is None:
            return int(self.rng.integers(self.num_actions))
        is_warm = self.sampler.buffer.add_count > self.min_replay
        if is_warm and self.steps % self.update_period == 0:
            self._learn(self.learner)
        self.steps += 1
        if self.guide is not None and self.guide.acts(self.rng):
            return self.guide.choose(self._stack)
        if self.rng.random() <= self.epsilon(self.steps):
            return int(self.rng.integers(self.num_actions))
        return int(self.learner.act(self.state, jax.numpy.asarray(self._stack[None]))[0])

    def _learn(self, learner: Learner) -> None:
        batch = self.sampler.sample(self.rng, self.batch_size)
        self.state, metrics = learner.update(self.state, batch)
        self.metrics = dict(metrics)
        if (priorities := self.metrics.pop("priority", None)) is not None:
            self.sampler.update(np.asarray(priorities))
