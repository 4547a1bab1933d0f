"""How fast a policy of a game is scored with several emulators at once, beside one.

An episode is cut off long before a game of Pong can end, so that every evaluation has as many
steps. The network is Nature DQN's, and the other policy draws its actions.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.game_evaluation import EMULATORS, play_games
from benchmarks.training.game_player import Act
from learners import dqn
from learners.types import DiscreteSpec
from rl_datasets import roms
from rl_datasets.roms import RomSet

GAME, NUM_ACTIONS = "Pong", 6
EPISODES = 2 * EMULATORS


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Agent steps a second, the best of several turns; `ratio` is to one emulator."""
    steps, turns = (20, 1) if quick else (500, 3)
    best: dict[tuple[str, int], float] = {}
    acts = policies()
    for act in acts.values():
        for emulators in (1, EMULATORS):
            evaluation_rate(act, emulators, 1)  # It compiles.
    for _ in range(turns):
        for policy, act in acts.items():
            for emulators in (1, EMULATORS):
                rate = evaluation_rate(act, emulators, steps)
                best[policy, emulators] = max(rate, best.get((policy, emulators), 0.0))
    return [
        {
            "name": f"{GAME}, {policy}, emulators at once: {emulators}",
            "value": rate,
            "unit": "agent steps/s",
            "anchor": best[policy, 1],
            "ratio": rate / best[policy, 1],
        }
        for (policy, emulators), rate in best.items()
    ]


def policies() -> dict[str, Act]:
    """By what a table calls them."""
    rng = np.random.default_rng(0)
    learner = dqn.make(dqn.Config(), DiscreteSpec(NUM_ACTIONS))
    state = learner.init(jax.random.PRNGKey(0))
    return {
        "random actions": lambda stacks: rng.integers(NUM_ACTIONS, size=len(stacks)),
        "Nature DQN's network": lambda stacks: np.asarray(learner.act(state, stacks)),
    }


def evaluation_rate(act: Act, emulators: int, steps: int) -> float:
    """Agent steps a second of an evaluation whose episodes have `steps` each."""
    protocol = AtariProtocol(sticky_probability=0.25, max_episode_steps=steps)
    rom = roms.rom_path(GAME, RomSet.ALE)
    start = time.perf_counter()
    play_games(rom, protocol, act, EPISODES, 0, emulators)
    return EPISODES * steps / (time.perf_counter() - start)
