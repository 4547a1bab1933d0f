"""Measures Atari collection: the environment against the emulator, and the loop that logs."""

from __future__ import annotations

import pathlib
import tempfile
import time
from typing import Any

import ale_py
import jax
import numpy as np

from benchmarks.training.online import atari as online_atari
from benchmarks.training.online.atari_schedule import AtariSchedule
from learners import c51, dqn, qr_dqn, rem
from learners.types import DiscreteSpec
from rl_datasets import roms
from rl_datasets.collection import atari
from rl_datasets.roms import RomSet
from rl_datasets.serving.transitions import Transition
from rl_datasets.sources.atari import FRAME_SKIP

GAME = "Pong"


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Agent steps per second, of four frames each, and gradient steps per second.

    The bare emulator plays the same actions without reading a frame. The loop is a run of the
    random agent with 50,000 rows per checkpoint, including their compression. A DQN takes a
    gradient step every four agent steps, so on a CPU learning takes most of a run's time.

    Args:
      quick: whether to take fewer steps, for a first look.

    Returns:
      Rows: name, value, unit, and if there is an anchor, its value and the ratio value / anchor.
    """
    steps = 4_000 if quick else 40_000
    emulator, environment = _emulator(steps), _environment(steps)
    loop = _loop(steps)
    rows = [
        _row("environment", environment, "the bare emulator", emulator),
        _row("random agent, logged", loop, "the environment", environment),
    ]
    for name, learner in (
        ("DQN", dqn.make(dqn.Config(), DiscreteSpec(6))),
        ("QR-DQN", qr_dqn.make(qr_dqn.Config(), DiscreteSpec(6))),
        ("C51", c51.make(c51.Config(), DiscreteSpec(6))),
        ("REM, 200 heads", rem.make(rem.Config(), DiscreteSpec(6))),
        ("REM, 4 networks", rem.make(rem.NETWORKS, DiscreteSpec(6))),
    ):
        rate = _updates(learner, 5 if quick else 50)
        rows.append({"name": f"{name}, batches of 32", "value": rate, "unit": "gradient steps/s"})
    return rows


def _row(name: str, value: float, anchor_name: str, anchor: float) -> dict[str, Any]:
    return {
        "name": f"{GAME}, {name} beside {anchor_name}",
        "value": value,
        "unit": "agent steps/s",
        "anchor": anchor,
        "ratio": value / anchor,
    }


def _actions(steps: int) -> list[int]:
    return np.random.default_rng(0).integers(6, size=steps).tolist()


def _emulator(steps: int) -> float:
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", 0)
    ale.loadROM(roms.rom_path(GAME, RomSet.ALE))
    minimal = ale.getMinimalActionSet()
    start = time.perf_counter()
    for action in _actions(steps):
        for _ in range(FRAME_SKIP):
            ale.act(minimal[action])
        if ale.game_over():
            ale.reset_game()
    return steps / (time.perf_counter() - start)


def _environment(steps: int) -> float:
    environment = atari.AtariEnvironment(roms.rom_path(GAME, RomSet.ALE), seed=0)
    environment.reset()
    start = time.perf_counter()
    for action in _actions(steps):
        environment.step(action)  # It resets after the end of an episode.
    return steps / (time.perf_counter() - start)


def _loop(steps: int) -> float:
    schedule = AtariSchedule(1, steps, checkpoint_rows=50_000)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        online_atari.log_run(GAME, pathlib.Path(folder), agent="random", schedule=schedule)
        return steps / (time.perf_counter() - start)


def _updates(learner: Any, updates: int) -> float:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (1, 32, 84, 84, 4), dtype=np.uint8)
    batch = Transition(
        observation=frames,
        action=rng.integers(0, 6, (1, 32), np.int32),
        reward=np.zeros((1, 32), np.float32),
        discount=np.ones((1, 32), np.float32),
        next_observation=frames,
        extras={},
    )
    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), batch)
    jax.block_until_ready(state)
    start = time.perf_counter()
    for _ in range(updates):
        state, _ = learner.update(state, batch)
    jax.block_until_ready(state)
    return updates / (time.perf_counter() - start)


if __name__ == "__main__":
    for row in measure():
        print(row)
