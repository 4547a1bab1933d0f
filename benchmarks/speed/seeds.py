"""Measures training seeds of a learner at once by `vmap` against one seed after another.

It uses JAX's default device. Like the learners, it needs only JAX, Haiku, Optax and NumPy, so it
also runs on a machine with an accelerator and another version of JAX:

    python -c "from benchmarks.speed import seeds; print(*seeds.measure(), sep='\\n')"

Batches are in memory. With the narrow networks, a single seed does not use a CPU fully.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from learners import bc, iql, td3_bc, training
from learners.types import Learner, Spec

SEEDS = (4, 16)
STEPS_A_CALL = 20
SPEC = Spec(observation_size=17, action_size=6)


class Batches(NamedTuple):
    """Batches [K, B, ...] with the fields of `learners.types.Transition`."""

    observation: Any
    action: Any
    reward: Any
    discount: Any
    next_observation: Any
    extras: dict


def learners() -> dict[str, tuple[Learner, int]]:
    """Learners and their batch sizes, by name."""
    narrow = (64, 64)
    return {
        "bc": (bc.make(bc.Config(), SPEC), 256),
        "td3_bc": (td3_bc.make(td3_bc.Config(), SPEC), 256),
        "iql": (iql.make(iql.Config(), SPEC), 256),
        "narrow bc": (bc.make(bc.Config(hidden_sizes=narrow), SPEC), 32),
        "narrow td3_bc": (td3_bc.make(td3_bc.Config(hidden_sizes=narrow), SPEC), 32),
    }


def measure(quick: bool = False) -> list[dict]:
    """Rows of name, value, unit, anchor and ratio."""
    turns, seconds = (1, 0.2) if quick else (5, 1.0)
    (device, *_) = jax.devices()
    rows = []
    for name, (learner, batch_size) in learners().items():
        alone, *at_once = [
            Training(learner, batch_size, seeds) for seeds in (1, *SEEDS[: 1 if quick else None])
        ]
        for _ in range(turns):
            for each in (alone, *at_once):
                each.train_for(seconds)
        for each in at_once:
            rows.append(
                {
                    "name": f"{name}, {each.seeds} seeds at once, {device.device_kind}",
                    "value": each.best,
                    "unit": "steps/s of all seeds",
                    "anchor": f"one after another: {alone.best:,.0f}",
                    "ratio": each.best / alone.best,
                }
            )
    return rows


class Training:
    """Trains seeds of a learner; `best` is the highest rate so far, in steps/s of all seeds."""

    def __init__(self, learner: Learner, batch_size: int, seeds: int):
        keys = jax.random.split(jax.random.PRNGKey(0), seeds)
        self.seeds, self.best = seeds, 0.0
        if seeds == 1:
            self._batches: Any = _batches((STEPS_A_CALL, batch_size))
            self._update: Callable = learner.update
            self._state = learner.init(keys[0])
        else:
            together = training.over_seeds(learner)
            self._batches = _batches((seeds, STEPS_A_CALL, batch_size))
            self._update = together.update
            self._state = together.init(keys)
        self._call()

    def train_for(self, seconds: float) -> None:
        """Trains for at least so many seconds."""
        start, calls, passed = time.perf_counter(), 0, 0.0
        while passed < seconds:
            self._call()
            calls, passed = calls + 1, time.perf_counter() - start
        self.best = max(self.best, calls * STEPS_A_CALL * self.seeds / passed)

    def _call(self) -> None:
        self._state, _ = self._update(self._state, self._batches)
        jax.block_until_ready(self._state)


def _batches(shape: tuple[int, ...]) -> Batches:
    rng = np.random.default_rng(0)
    observation, next_observation = rng.normal(size=(2, *shape, SPEC.observation_size))
    batches = Batches(
        observation=observation,
        action=np.tanh(rng.normal(size=(*shape, SPEC.action_size))),
        reward=rng.normal(size=shape),
        discount=np.ones(shape),
        next_observation=next_observation,
        extras={},
    )
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), batches)
