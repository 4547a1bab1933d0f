"""RL Unplugged's DeepMind Lab: five tasks, whose frames are PNG files.

Gulcehre et al. 2021, "Regularized Behavior Value Estimation", describe how R2D2 collected them.
Shards (`sources.rl_unplugged_shards`) are compressed, and are in gs://rl_unplugged as
dmlab/<task>/<run>/tfrecord-<shard>-of-00500. A record is an episode of N rows, as many as the task
always has, and its features are

    observations_pixels    [N] PNG files of 72x96 colour frames, whose channels are blue, green, red
    observations_action    [N * 15] floats, one-hot: the action of the row before; 0 in row 0
    observations_reward    [N] floats: the reward of the row before; 0 in row 0
    actions                [N] integers
    rewards, discounts     [N] floats, earned by the action of the same row; 0 in the last row
    episode_id, episode_return

Only `episode_from_rows` applies the alignment rule. Every record proves it: what it observes of the
action and the reward before is held against them. The last row is the final observation, so its
discount of 0 is a placeholder, and the one before says whether the episode is terminal.

One record was examined, among TFDS's test fixtures, of rooms_select_nonmatching_object. Others are
read as TFDS's reader and the authors' own (deepmind-research, rl_unplugged) read
them; what differs is refused. The frames show a blue sky if their channels are reversed.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping

import dm_env.specs
import numpy as np

from rl_datasets import wire
from rl_datasets.episode import Episode, EpisodeSpec, Observation
from rl_datasets.frames import EncodedFrames, reversed_channels
from rl_datasets.sources.rl_unplugged_shards import Dataset, Features, Layout, ShardSet, floats

FRAME_SHAPE = (72, 96, 3)
NUM_ACTIONS = 15
SHARDS = 500
AS_STORED = "_as_stored"  # The end of the name of a dataset whose frames stay as they are.

ROWS: Mapping[str, int] = {
    "explore_object_rewards_few": 1351,
    "explore_object_rewards_many": 1801,
    "rooms_select_nonmatching_object": 181,
    "rooms_watermaze": 1801,
    "seekavoid_arena_01": 301,
}
_TRAINING = tuple(f"training_{run}" for run in range(3))
_SNAPSHOTS = tuple(
    f"snapshot_{snapshot}_eps_{epsilon}"
    for epsilon, snapshot in itertools.product(("0.0", "0.01", "0.25"), range(2))
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which dataset: a task, a run, and whether its frames stay blue, green, red."""

    task: str
    run: str
    is_as_stored: bool


def _choices() -> dict[str, Choice]:
    runs = dict.fromkeys(ROWS, _TRAINING)
    runs["seekavoid_arena_01"] += _SNAPSHOTS
    return {
        f"{task}_{run}{AS_STORED if is_as_stored else ''}": Choice(task, run, is_as_stored)
        for is_as_stored in (False, True)
        for task in ROWS
        for run in runs[task]
    }


CHOICES: Mapping[str, Choice] = _choices()
EPISODE_SPEC = EpisodeSpec(
    observation={
        "pixels": dm_env.specs.Array(FRAME_SHAPE, np.uint8),
        "last_action": dm_env.specs.Array((), np.int64),
        "last_reward": dm_env.specs.Array((), np.float32),
    },
    action=dm_env.specs.BoundedArray((), np.int64, 0, NUM_ACTIONS - 1),
    metadata={
        "episode_id": dm_env.specs.Array((), np.int64),
        "episode_return": dm_env.specs.Array((), np.float32),
    },
)


def dataset(name: str) -> Dataset:
    """The episodes of a dataset; frames are red, green, blue unless it is named `AS_STORED`."""
    choice = CHOICES[name]
    return Dataset(
        ShardSet(f"dmlab/{choice.task}/{choice.run}", "tfrecord", name, SHARDS),
        Layout("dmlab"),
        functools.partial(_episode, rows=ROWS[choice.task], is_as_stored=choice.is_as_stored),
        EPISODE_SPEC,
    )


def episode_from_rows(
    observation: Observation,
    action: np.ndarray,
    reward: np.ndarray,
    *,
    is_terminal: bool,
    metadata: Mapping[str, np.generic],
) -> Episode:
    """An episode of N rows, each with the reward that its own action earned.

        row           0      1      2             transition    0      1
        observation   o_0    o_1    o_2           observation   o_0    o_1    (o_2)
        action        a_0    a_1    0       ->    action        a_0    a_1
        reward        r_1    r_2    0             reward        r_1    r_2

    Args:
      observation: [N, ...], or a mapping to such arrays.
      action: [N]; the last row's is a placeholder.
      reward: [N]; the last row's is a placeholder.
      is_terminal: whether the environment ended the episode.
      metadata: of the episode.
    """
    return Episode.from_transitions(
        observation, action[:-1], reward[:-1], is_terminal=is_terminal, metadata=metadata
    )


def _episode(features: Features, rows: int, is_as_stored: bool) -> Episode:
    action = wire.int64_values(features["actions"])
    reward, discount = floats(features, "rewards", rows), floats(features, "discounts", rows)
    pixels = EncodedFrames(wire.bytes_values(features["observations_pixels"]), FRAME_SHAPE)
    for name, field in (("actions", action), ("observations_pixels", pixels)):
        if len(field) != rows:
            raise ValueError(f"{name!r} has {len(field)} values, and {rows} are needed")
    pixels.check()
    last_reward = floats(features, "observations_reward", rows)
    one_hot = floats(features, "observations_action", rows, NUM_ACTIONS)
    _check_rows(action, reward, discount)
    _check_observed(action, reward, one_hot, last_reward)
    return episode_from_rows(
        {
            "pixels": pixels if is_as_stored else reversed_channels(pixels),
            "last_action": np.argmax(one_hot, axis=1).astype(np.int64),
            "last_reward": last_reward,
        },
        action,
        reward,
        is_terminal=bool(discount[-2] == 0),
        metadata={
            "episode_id": np.int64(wire.int64_value(features["episode_id"])),
            "episode_return": np.float32(wire.float_value(features["episode_return"])),
        },
    )


def _check_rows(action: np.ndarray, reward: np.ndarray, discount: np.ndarray) -> None:
    """Raises `ValueError` unless placeholders are where the layout has them."""
    if action[-1] or reward[-1] or discount[-1]:
        raise ValueError("the last row has an action, a reward or a discount, and nothing follows")
    if np.any(discount[:-2] != 1) or discount[-2] not in (0, 1):
        row = int(np.argmax(np.append(discount[:-2] != 1, True)))
        raise ValueError(
            f"the discount of row {row} is {discount[row]:g}, not 1, or 0 before the last"
        )
    if np.any((action < 0) | (action >= NUM_ACTIONS)):
        raise ValueError(f"it has an action that is none of {NUM_ACTIONS}")


def _check_observed(
    action: np.ndarray, reward: np.ndarray, one_hot: np.ndarray, last_reward: np.ndarray
) -> None:
    """Raises `ValueError` unless every row observes the action and the reward of the one before."""
    expected = np.zeros_like(one_hot)
    expected[np.arange(1, len(action)), action[:-1]] = 1
    wrong = np.any(one_hot != expected, axis=1) | (last_reward != np.append(0, reward[:-1]))
    if np.any(wrong):
        raise ValueError(
            f"row {np.argmax(wrong)} observes another action or reward than that of the row before"
        )
