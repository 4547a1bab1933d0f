"""How fast the students of a teacher learn, beside the same learners without one.

Batches of 32 in memory, 6 actions, and Nature DQN's network for student and teacher. What a student
should need is the time of the plain learner and that of one forward pass of the teacher; `ratio` is
the measured rate to that. The rates are measured in turns, and each is the best.

A step of the online phase is an agent step in Pong; every fourth of them has a gradient step. It is
beside the slower of its two parts alone: acting without learning, and learning without acting.

`RowPriorities` draws batches of 32 rows of a million by their priorities, without their frames.
"""

from __future__ import annotations

import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.speed.rates import IMAGE_BATCH_SIZE
from benchmarks.training.online.atari_agent import STACK_SHAPE, Agent
from benchmarks.training.online.played_run import PlayedRun
from benchmarks.training.online.replay_sampling import Uniform
from benchmarks.training.teaching import IMPORTANCE, VALUES
from learners import c51, dqn, qdagger_dqn, qdagger_rainbow
from learners.types import DiscreteSpec, Learner
from rl_datasets import roms
from rl_datasets.collection import atari
from rl_datasets.collection.replay_log import ReplayBuffer
from rl_datasets.roms import RomSet
from rl_datasets.serving.priorities import RowPriorities
from rl_datasets.serving.transitions import Transition

GAME, NUM_ACTIONS = "Pong", 6
SPEC = DiscreteSpec(NUM_ACTIONS)
UPDATE_PERIOD = 4
ROWS = 1_000_000
STEPS_A_CALL = 100


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Rows of name, value, unit, anchor and ratio."""
    turns, seconds = (1, 0.2) if quick else (6, 1.0)
    return [*updates(turns, seconds), *online(turns, seconds), *priorities(turns, seconds)]


def updates(turns: int, seconds: float) -> list[dict[str, Any]]:
    """Gradient steps a second."""
    teacher = dqn.make(dqn.ADAM, SPEC)
    of_teacher = teacher.init(jax.random.PRNGKey(1))
    assert teacher.values is not None
    forward = teacher.values
    batch = _batch()
    frames = batch.observation[0]

    def taught() -> Transition:
        values = forward(of_teacher, frames)[None]
        ones = jnp.ones((1, IMAGE_BATCH_SIZE), jnp.float32)
        return batch._replace(extras={VALUES: values, IMPORTANCE: ones})

    calls = {
        "DQN": _updating(dqn.make(dqn.ADAM, SPEC), lambda: batch),
        "C51": _updating(c51.make(c51.Config(), SPEC), lambda: batch),
        "the teacher's forward pass": lambda: jax.block_until_ready(forward(of_teacher, frames)),
        "QDagger-DQN": _updating(qdagger_dqn.make(qdagger_dqn.Config(), SPEC), taught),
        "QDagger-Rainbow": _updating(qdagger_rainbow.make(qdagger_rainbow.Config(), SPEC), taught),
    }
    rates = _best(calls, turns, seconds)
    rows = []
    for name, plain in (("QDagger-DQN", "DQN"), ("QDagger-Rainbow", "C51")):
        expected = 1 / (1 / rates[plain] + 1 / rates["the teacher's forward pass"])
        anchor = f"{plain} and a forward pass of the teacher"
        rows.append(_row(name, rates[name], "gradient steps/s", anchor, expected))
    return rows


def online(turns: int, seconds: float) -> list[dict[str, Any]]:
    """Agent steps a second of the online phase of a DQN."""
    with tempfile.TemporaryDirectory() as folder:
        calls = {
            name: _playing(pathlib.Path(folder), learns)
            for name, learns in (("acting", False), ("together", True))
        }
        batch = _batch()
        calls["learning"] = _updating(dqn.make(dqn.ADAM, SPEC), lambda: batch)
        rates = _best(calls, turns, seconds)
    steps = {
        "acting": rates["acting"] * STEPS_A_CALL,
        "learning": rates["learning"] * UPDATE_PERIOD,
        "together": rates["together"] * STEPS_A_CALL,
    }
    slower = min(("acting", "learning"), key=lambda name: steps[name])
    unit = "agent steps/s"
    return [
        _row(f"{GAME}, DQN: acting alone", steps["acting"], unit),
        _row(f"{GAME}, DQN: learning alone", steps["learning"], unit),
        _row(f"{GAME}, DQN: online", steps["together"], unit, f"{slower} alone", steps[slower]),
    ]


def _playing(folder: pathlib.Path, learns: bool) -> Callable[[], Any]:
    """Plays 100 steps or a few more each time it is called."""
    environment = atari.AtariEnvironment(
        roms.rom_path(GAME, RomSet.ALE), [0], sticky_probability=0.25, max_steps=STEPS_A_CALL
    )
    buffer = ReplayBuffer(20_000)
    learner = dqn.make(dqn.ADAM, SPEC)
    agent = Agent(
        learner,
        learner.init(jax.random.PRNGKey(0)),
        NUM_ACTIONS,
        Uniform(buffer),
        np.random.default_rng(0),
        lambda step: 0.01,
        200 if learns else 1 << 60,
        UPDATE_PERIOD,
        IMAGE_BATCH_SIZE,
    )
    played = PlayedRun(GAME, environment, buffer, STEPS_A_CALL, folder, lambda *_: None)

    def play() -> None:
        played.play_iteration(agent.choose, agent.begin_episode)
        jax.block_until_ready(agent.state)

    for _ in range(3):  # It compiles, and the agent begins to learn.
        play()
    return play


def priorities(turns: int, seconds: float) -> list[dict[str, Any]]:
    """Batches a second."""
    rows, rng = RowPriorities(ROWS), np.random.default_rng(0)
    rows.add_until(ROWS)
    rows.set(np.arange(ROWS), rng.random(ROWS))
    calls = {"draw": lambda: rows.draw(rng, IMAGE_BATCH_SIZE)}
    (rate,) = _best(calls, turns, seconds).values()
    return [_row("RowPriorities", rate, "batches of 32/s")]


class _Timed(NamedTuple):
    call: Callable[[], Any]
    rates: list[float]


def _best(calls: dict[str, Callable[[], Any]], turns: int, seconds: float) -> dict[str, float]:
    """Calls a second of each, the best of several turns in which all are called."""
    timed = {name: _Timed(call, []) for name, call in calls.items()}
    for _ in range(turns):
        for each in timed.values():
            count, start = 0, time.perf_counter()
            while (passed := time.perf_counter() - start) < seconds or count < 2:
                each.call()
                count += 1
            each.rates.append(count / passed)
    return {name: max(each.rates) for name, each in timed.items()}


def _updating(learner: Learner, batches: Callable[[], Transition]) -> Callable[[], Any]:
    state = [learner.init(jax.random.PRNGKey(0))]

    def update() -> None:
        state[0], _ = learner.update(state[0], batches())
        jax.block_until_ready(state[0])

    update()
    return update


def _batch() -> Transition:
    rng, size = np.random.default_rng(0), (1, IMAGE_BATCH_SIZE)
    frames, following = rng.integers(0, 256, (2, *size, *STACK_SHAPE), np.uint8)
    action = rng.integers(NUM_ACTIONS, size=size).astype(np.int32)
    reward = rng.normal(size=size).astype(np.float32)
    return Transition(frames, action, reward, np.ones(size, np.float32), following, {})


def _row(
    name: str, value: float, unit: str, anchor: str = "", anchor_value: float | None = None
) -> dict[str, Any]:
    told = f"{anchor}: {anchor_value:,.0f}" if anchor_value else ""
    ratio = value / anchor_value if anchor_value else None
    return {"name": name, "value": value, "unit": unit, "anchor": told, "ratio": ratio}
