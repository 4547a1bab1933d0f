"""Agents that act in an Atari game and learn from what they log."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.training.online.atari_schedule import AtariSchedule
from learners import dqn, qr_dqn
from learners.types import DiscreteSpec, Learner
from rl_datasets.collection import atari
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.serving.transitions import Transition
from rl_datasets.sources.atari import FRAME_SHAPE
from rl_datasets.sources.dqn_replay import STACK_SIZE

AGENTS: Mapping[str, dqn.Config | qr_dqn.Config | None] = {
    "dqn": dqn.Config(),
    "dqn_adam": dqn.ADAM,
    "qr_dqn": qr_dqn.Config(),
    "random": None,
}
STACK_SHAPE = (*FRAME_SHAPE[:2], STACK_SIZE)


class Agent:
    """Acts epsilon-greedily on stacks of frames, and learns from the log.

    One call of `choose` is one step of Dopamine's agent: it learns if a gradient step is due, and
    then acts.
    """

    def __init__(
        self,
        config: dqn.Config | qr_dqn.Config | None,
        environment: atari.AtariEnvironment,
        schedule: AtariSchedule,
        log: ReplayLog,
        seed: list[int],
    ):
        self.steps = 0
        self.rng = np.random.default_rng(seed)
        self.state: Any = None  # of the learner, if there is one
        self._learner: Learner | None = None
        self._schedule, self._log = schedule, log
        self._num_actions = environment.action_spec().num_values
        self._stack = np.zeros(STACK_SHAPE, np.uint8)
        key = jax.random.PRNGKey(int(self.rng.integers(2**31)))
        if config is not None:
            spec = DiscreteSpec(self._num_actions, STACK_SHAPE)
            period = schedule.target_period // schedule.update_period
            module: Any = qr_dqn if isinstance(config, qr_dqn.Config) else dqn
            self._learner = module.make(dataclasses.replace(config, target_period=period), spec)
            self.state = self._learner.init(key)

    def begin_episode(self) -> None:
        self._stack[:] = 0

    def choose(self, frame: np.ndarray) -> int:
        """Chooses an action, given the frame [84, 84, 1]."""
        self._stack = np.concatenate([self._stack[..., 1:], frame], axis=-1)
        if self._learner is None:
            return int(self.rng.integers(self._num_actions))
        is_warm = self._log.add_count > self._schedule.min_replay
        if is_warm and self.steps % self._schedule.update_period == 0:
            batch = sample_batch(self._log, self.rng, self._schedule.batch_size)
            self.state, _ = self._learner.update(self.state, batch)
        self.steps += 1
        if self.rng.random() <= self._schedule.epsilon_at(self.steps):
            return int(self.rng.integers(self._num_actions))
        return int(self._learner.act(self.state, jax.numpy.asarray(self._stack[None]))[0])


def sample_batch(log: ReplayLog, rng: np.random.Generator, batch_size: int) -> Transition:
    """A batch [1, B, ...] of stacked transitions, drawn as Dopamine's circular buffer draws them.

    A row can be drawn if its stack and its successor are in the buffer and its stack holds frames
    of only one episode. This also excludes padding, which follows a terminal row.

    Args:
      log: a log with at least one such row.
      rng: the generator that draws the rows.
      batch_size: B.
    """
    store = log.store
    capacity = len(store["action"])
    is_full = log.add_count >= capacity
    first = log.add_count - capacity + STACK_SIZE if is_full else STACK_SIZE - 1
    before = np.arange(1 - STACK_SIZE, 0)

    def draw(size: int) -> np.ndarray:
        return rng.integers(first, log.add_count - 1, size)

    rows = draw(batch_size)
    while np.any(is_cut := store["terminal"][(rows[:, None] + before) % capacity].any(axis=1)):
        rows[is_cut] = draw(np.count_nonzero(is_cut))
    window = np.append(before, [0, 1])
    frames = store["observation"][(rows[:, None] + window) % capacity]
    frames = np.moveaxis(frames, 1, -1)[None]
    places = rows[None] % capacity
    return Transition(
        observation=np.ascontiguousarray(frames[..., :-1]),
        action=store["action"][places],
        reward=store["reward"][places],
        discount=1 - store["terminal"][places].astype(np.float32),
        next_observation=np.ascontiguousarray(frames[..., 1:]),
        extras={},
    )
