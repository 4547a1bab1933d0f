"""Games that a random agent plays here, with what every log of them loses, and logs of them."""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import ale_py
import numpy as np

from rl_datasets import wire
from rl_datasets.collection.atari import AtariEnvironment
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.frames import encode_png
from rl_datasets.replaying.replay import LoggedEpisode
from rl_datasets.sources import rl_unplugged
from tests.rl_datasets.sources import rl_unplugged_files

GAME, ROM = "Asterix", "asterix"  # Its rewards are never 1, and both sets have the same ROM.


class Played(NamedTuple):
    """An episode of T actions.

    Attributes:
      observation: [T + 1, 84, 84, 1] uint8, the final one included.
      action: [T] int64.
      reward: [T] float32, the game's own.
      is_terminal: whether the game ended with the last action.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    is_terminal: bool


@functools.cache
def play(
    episodes: int,
    seed: int = 0,
    rom: str | pathlib.Path = ROM,
    last_rows: int = 60,
    sticky_probability: float = 0.25,
) -> tuple[Played, ...]:
    """Plays so many games, the last of them for `last_rows` rows; `rom` is a name or a file."""
    path = ale_py.roms.get_rom_path(rom) if isinstance(rom, str) else rom
    environment = AtariEnvironment(path, seed, sticky_probability=sticky_probability)
    rng = np.random.default_rng(seed)
    return tuple(
        _play(environment, rng, last_rows if index == episodes - 1 else 10_000)
        for index in range(episodes)
    )


def _play(environment: AtariEnvironment, rng: np.random.Generator, rows: int) -> Played:
    timestep = environment.reset()
    observations, actions, rewards = [timestep.observation], [], []
    while not timestep.last() and len(actions) < rows:
        actions.append(int(rng.integers(environment.action_spec().num_values)))
        timestep = environment.step(actions[-1])
        observations.append(timestep.observation)
        rewards.append(timestep.reward)
    return Played(
        np.stack(observations),
        np.array(actions),
        np.array(rewards, np.float32),
        timestep.discount == 0,
    )


def as_logged(played: Played) -> LoggedEpisode:
    """All that a log can say of it; the final observation too where the game continues."""
    observation = played.observation[: len(played.observation) - played.is_terminal]
    reward = np.clip(played.reward, -1, 1)
    return LoggedEpisode(observation, played.action, reward, played.is_terminal)


def write_dopamine_log(
    home: pathlib.Path, played: Sequence[Played], capacity: int = 400, game: str = GAME
) -> pathlib.Path:
    """A run in Dopamine's layout, which says of itself what it is."""
    home.mkdir(parents=True)
    with ReplayLog(home / "replay_logs", capacity) as log:
        for each in played:
            rows = zip(each.observation[..., 0], each.action, each.reward, strict=False)
            for row, (observation, action, reward) in enumerate(rows):
                is_end = each.is_terminal and row == len(each.action) - 1
                log.add(observation, action, np.clip(reward, -1, 1), is_end)
    told = {
        "game": game,
        "run": 1,
        "time_limit": 27_000,
        "agent": "random",
        "rom_set": "ale-py 0.12.1",
        "sticky_probability": 0.25,
    }
    (home / "log.json").write_text(json.dumps(told))
    return home


def write_shards(
    folder: pathlib.Path, played: Sequence[Played], shards: int = 2, game: str = GAME
) -> pathlib.Path:
    """A run as RL Unplugged released it: every reward stands one row early."""
    for shard in range(shards):
        examples = [example(each, index) for index, each in enumerate(played[shard::shards])]
        name = f"run_1-{shard:05d}-of-{shards:05d}"
        rl_unplugged_files.write(folder / rl_unplugged.EPISODES / game / name, examples)
    return folder


def example(played: Played, index: int) -> dict:
    rows = len(played.action)
    reward = np.append(np.clip(played.reward[1:], -1, 1), 0).astype(np.float32)
    return rl_unplugged_files.episode(
        index,
        rows,
        observations=wire.bytes_list(encode_png(played.observation[:rows])),
        actions=wire.int64_list(played.action),
        unclipped_rewards=wire.float_list(reward),
        clipped_rewards=wire.float_list(reward),
        discounts=wire.float_list(
            np.append(np.ones(rows - 1), 1 - played.is_terminal).astype(np.float32)
        ),
    )
