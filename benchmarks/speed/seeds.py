"""Seeds of a learner trained at once by `vmap`, beside the same seeds one after another.

On the device that JAX takes by default. It needs JAX, Haiku, Optax and NumPy alone, as the learners
do, so that it runs on an accelerator with a JAX of its own:

    python -c "from benchmarks.speed import seeds; print(*seeds.measure(), sep='\\n')"

Batches lie in memory. The narrow networks are those of which one seed leaves a CPU idle.
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
    """As `learners.types.Transition` says, [K, B, ...]."""

    observation: Any
    action: Any
    reward: Any
    discount: Any
    next_observation: Any
    extras: dict


def learners() -> dict[str, tuple[Learner, int]]:
    """Each with its batch size, by its name."""
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
                each.go_on(seconds)
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
    """A learner at work on some seeds; `best` is the highest rate yet, in steps of all of them."""

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

    def go_on(self, seconds: float) -> None:
        """Trains for a while."""
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
