"""RL Unplugged's Atari shards: DQN Replay's data of 46 games, five runs each, frames as PNG files.

Its shards (`sources.rl_unplugged_shards`) are compressed, and are in gs://rl_unplugged as

    atari_episodes_ordered/<Game>/run_<1..5>-<shard>-of-00050
                                                    one episode per record, in order; shard i is
                                                    checkpoint i, a million rows; Carnival, Gravitar
                                                    and StarGunner have 49 shards
    atari/<Game>/run_<1..5>-<shard>-of-00100        one transition per record, shuffled

An episode's record holds lists of N rows: `observations` (PNG files of 84x84 greyscale frames),
`actions` (indices into the game's minimal action set), `unclipped_rewards`, `clipped_rewards` (the
two are equal; the first name is wrong) and `discounts`. It also holds the single values
`episode_return` and `clipped_episode_return`. Newer files number the episode by `checkpoint_idx`
and `episode_idx`; older ones, such as the shard in TFDS's tests, have a random `episode_id`.

A transition's record holds `o_t` and `o_tp1`, four PNG files each, `a_t`, `a_tp1`, `r_t`, `d_t`,
`episode_id` and `episode_return`. One user examined 700,000 of them, and every discount was 1
(deepmind-research, issue 187). The records are not ordered either, so no episodes can be made of
them, and they stay transitions (`rl_datasets.transition`).

`sources.atari` decides how rows meet the alignment rule. Two real episodes of Asterix were
available, and both ends of each agree with it: replayed in the emulator, the first frame is what
the game shows after a reset, and the action of the last row ends the game. Hence no row is missing,
and only the frame after the last action is.

The reward that an episode's record stores in row i was earned by the action of row i + 1. The
replayed episodes show this in every row that has a next one (docs/atari_rewards.md). Here each
reward is in the row of the action that earned it (`earned`). The first action's reward is not
stored; it is 0, because no first action of the 46 games can earn anything
(`benchmarks/first_actions.py`). The reward in the last row belongs to no action. `stored_reward`
holds what the file has in each row. No transition shard was available, so it is not known whether
`r_t` is what `a_t` earned, and it stays as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator

import dm_env.specs
import numpy as np

from rl_datasets import wire
from rl_datasets.episode import Episode, EpisodeError, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames
from rl_datasets.sources import atari
from rl_datasets.sources.rl_unplugged_shards import Features, Layout, Record, Shard, ShardSet
from rl_datasets.transition import StackedTransition

EPISODES = "atari_episodes_ordered"
TRANSITIONS = "atari"
GAMES = tuple(name for name, game in atari.ATARI_GAMES.items() if game.in_rl_unplugged)
RUNS = (1, 2, 3, 4, 5)
STACK = 4  # Frames of an observation of a transition.
STORED_REWARD = "stored_reward"  # What the file has in a step's row; 0 in a step without a row.

_COUNTS = {EPISODES: 50, TRANSITIONS: 100}
_OTHERWISE = (
    ", or publish DQN Replay's logs, or logs of your own that `rl-datasets log-game` writes, as "
    "dqn_replay"
)


def find_shards(
    source: str | os.PathLike[str], game: str, run: int, family: str = EPISODES
) -> list[Shard]:
    """Finds all shards of a run, in order; a missing one is where the others' names put it.

    Args:
      source: the bucket, gs://rl_unplugged, or a copy of it; or its folder `family`, or the game's
        folder, which has the game's name.
      game: as the bucket spells it, such as `StarGunner`.
      run: 1 to 5.
      family: `EPISODES` or `TRANSITIONS`.

    Raises:
      DatasetError: the source holds no shard of this run, holds shards of two copies that were
        split differently, or is a bucket that cannot be listed.
    """
    shards = ShardSet(f"{family}/{game}", f"run_{run}", f"run {run} of {game}", _COUNTS[family])
    return shards.find(source, _OTHERWISE)


def episode_spec(num_actions: int = atari.NUM_ALE_ACTIONS) -> EpisodeSpec:
    """The spec of an episode of a game with this number of actions."""
    return dataclasses.replace(
        atari.atari_episode_spec(num_actions),
        extras={STORED_REWARD: dm_env.specs.Array((), np.float32)},
    )


def earned(stored: np.ndarray) -> np.ndarray:
    """The rewards of an episode's rows, [N], moved to the rows of the actions that earned them.

    The first action's reward is not stored, and is 0. The last stored reward belongs to no action.
    """
    return np.concatenate([np.zeros_like(stored[:1]), stored[:-1]])


def read_episodes(path: str | os.PathLike[str], checkpoint: int) -> Iterator[Episode]:
    """Reads every episode of an episode shard, in order; frames are not decoded.

    Args:
      path: the shard.
      checkpoint: its number, for episodes that do not have it themselves.

    Raises:
      DatasetError: the file cannot be read, is damaged, or is not such a shard.
    """
    return _faultless(path, read_episodes_and_faults(path, checkpoint))


def read_episodes_and_faults(
    path: str | os.PathLike[str], checkpoint: int
) -> Iterator[Episode | EpisodeError]:
    """As `read_episodes`, but yields an error in place of a faulty episode."""
    parse = functools.partial(_episode, checkpoint=checkpoint)
    return Layout(EPISODES).read(path, parse)


def read_transitions(path: str | os.PathLike[str]) -> Iterator[StackedTransition]:
    """Reads every transition of a transition shard, in order; frames are not decoded.

    Args:
      path: the shard.

    Raises:
      DatasetError: the file cannot be read, is damaged, or is not such a shard.
    """
    return _faultless(path, read_transitions_and_faults(path))


def read_transitions_and_faults(
    path: str | os.PathLike[str],
) -> Iterator[StackedTransition | EpisodeError]:
    """As `read_transitions`, but yields an error in place of a faulty transition."""
    return Layout(TRANSITIONS, "a transition").read(path, _transition)


def _faultless(
    path: str | os.PathLike[str], found: Iterator[Record | EpisodeError]
) -> Iterator[Record]:
    for each in found:
        if isinstance(each, EpisodeError):
            raise DatasetError(f"{path}: {each}; copy the file again") from each
        yield each


def _episode(features: Features, checkpoint: int) -> Episode:
    frames = EncodedFrames(wire.bytes_values(features["observations"]), atari.FRAME_SHAPE)
    action = wire.int64_values(features["actions"])
    reward = wire.float_values(features["unclipped_rewards"])
    discount = wire.float_values(features["discounts"])
    lengths = {len(field) for field in (frames, action, reward, discount)}
    if len(lengths) > 1:
        raise ValueError(
            f"it has {len(frames)} observations, {len(action)} actions, {len(reward)} rewards and "
            f"{len(discount)} discounts"
        )
    if lengths == {0}:
        raise ValueError("it has no rows")
    if np.any(discount[:-1] != 1) or discount[-1] not in (0, 1):
        raise ValueError("a discount is not 1, or the last one neither 0 nor 1")
    _check_rewards(reward)
    frames.check()
    if "checkpoint_idx" in features:
        checkpoint = wire.int64_value(features["checkpoint_idx"])
    number = features["episode_idx" if "episode_idx" in features else "episode_id"]
    return atari.episode_from_rows(
        frames,
        action,
        earned(reward),
        is_terminal=bool(discount[-1] == 0),
        extras={STORED_REWARD: reward},
        metadata={
            "checkpoint_id": np.int64(checkpoint),
            "episode_id": np.int64(wire.int64_value(number)),
        },
    )


def _check_rewards(reward: np.ndarray) -> None:
    within = np.abs(reward) <= 1
    if not np.all(within):
        raise ValueError(
            f"it has a reward of {reward[np.argmin(within)]}, and rewards of RL Unplugged are "
            "clipped to [-1, 1]"
        )


def _transition(features: Features) -> StackedTransition:
    reward = wire.float_value(features["r_t"])
    _check_rewards(np.array([reward]))
    return StackedTransition(
        observation=_stack(features, "o_t"),
        action=wire.int64_value(features["a_t"]),
        reward=reward,
        discount=wire.float_value(features["d_t"]),
        next_observation=_stack(features, "o_tp1"),
        next_action=wire.int64_value(features["a_tp1"]),
        episode_id=wire.int64_value(features["episode_id"]),
        episode_return=wire.float_value(features["episode_return"]),
    )


def _stack(features: Features, name: str) -> EncodedFrames:
    frames = EncodedFrames(wire.bytes_values(features[name]), atari.FRAME_SHAPE)
    if len(frames) != STACK:
        raise ValueError(f"{name} has {len(frames)} frames, not {STACK}")
    frames.check()
    return frames
