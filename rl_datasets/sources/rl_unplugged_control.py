"""RL Unplugged's tasks of dm_control: the control suite, and locomotion of humanoids and rodents.

Their shards (`sources.rl_unplugged_shards`) are compressed, a record is an episode of N rows, and
its features are

    observation/<field>           [N * size] floats; locomotion's are observation/walker/<field>
    observation/walker/egocentric_camera
                                  one byte string, the N * 64 * 64 * 3 bytes of RGB frames
    action                        [N * size] floats; 0 in the last row
    reward, discount              [N] floats; NaN in row 0
    step_type                     [N] floats: 0, then 1, and 2 in the last row
    episode_id, timestamp         one integer each; the time in milliseconds since 1970

Row i holds o_i and a_i, and the reward and the discount that came with o_i: those that a_{i-1}
earned. Only `episode_from_rows` applies the alignment rule to them. In the real episode of
cartpole_swingup, the task's own reward formula gives every r_i from o_i and a_{i-1}; in the two
real episodes of humanoid_corridor, a_i foretells where the joints of row i go, and a_{i-1} and
a_{i+1} do not. No record of another task was available.

Both episodes of humanoid_corridor end in a fall, long before the time limit, and their last
discount is 1, where the task's own is 0: the files have lost it. So an episode of a task that a
failure alone ends early is terminal if it is shorter than the time limit. A discount of 0 is
believed wherever it stands last.

The sizes are those that dm_control's environments, TFDS's `rlu_control_suite` and `rlu_locomotion`,
and the authors' own reader (deepmind-research, rl_unplugged/dm_control_suite.py) agree on.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
from collections.abc import Mapping

import dm_env.specs
import numpy as np

from rl_datasets import wire
from rl_datasets.episode import Episode, EpisodeSpec, Observation
from rl_datasets.sources.rl_unplugged_shards import (
    Dataset,
    Features,
    Layout,
    ShardSet,
    check_step_types,
    floats,
)

CAMERA = "egocentric_camera"
CAMERA_SHAPE = (64, 64, 3)
STORED_DISCOUNT = "stored_discount"  # The last one of an episode of locomotion, as in the file.
IS_FAILURE_INFERRED = "is_failure_inferred"
SHARDS = 100
REPAIRED = (
    "a row of a file holds the reward and the discount that came with its observation: both are "
    "with the action that earned them here, one step earlier, and the placeholders are left out, "
    "which are NaN in row 0 and an action of 0 in the last row"
)


class EarlyEnd(enum.Enum):
    """How an episode can end before its time limit."""

    NONE = "it cannot"
    FAILURE = "the walker fails"
    STORED = "as the file says: the walker reaches a goal or fails, or physics diverges"


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of dm_control.

    Attributes:
      sizes: of the fields of an observation, by name, but for the camera.
      action_size: of an action, whose values are in [-1, 1].
      episodes: their number in the bucket.
      full_length: the least number of transitions of an episode that meets its time limit.
      early_end: how it can end before.
      has_camera: whether an observation has a frame of `CAMERA`, `CAMERA_SHAPE` in uint8.
    """

    sizes: Mapping[str, int]
    action_size: int
    episodes: int
    full_length: int = 1000
    early_end: EarlyEnd = EarlyEnd.NONE
    has_camera: bool = False


_WALKER = {"orientations": 14, "velocity": 9, "height": 1}
_MANIPULATOR = {
    "arm_pos": 16,
    "arm_vel": 8,
    "touch": 5,
    "hand_pos": 4,
    "object_pos": 4,
    "object_vel": 3,
    "target_pos": 4,
}
CONTROL_SUITE: Mapping[str, Task] = {
    "cartpole_swingup": Task({"position": 3, "velocity": 2}, 1, 40),
    "cheetah_run": Task({"position": 8, "velocity": 9}, 6, 300),
    "finger_turn_hard": Task(
        {"position": 4, "velocity": 3, "touch": 2, "target_position": 2, "dist_to_target": 1},
        2,
        500,
    ),
    "fish_swim": Task({"target": 3, "velocity": 13, "upright": 1, "joint_angles": 7}, 5, 200),
    "humanoid_run": Task(
        {
            "velocity": 27,
            "com_velocity": 3,
            "torso_vertical": 3,
            "extremities": 12,
            "head_height": 1,
            "joint_angles": 21,
        },
        21,
        3000,
    ),
    "manipulator_insert_ball": Task(_MANIPULATOR, 5, 1500),
    "manipulator_insert_peg": Task(_MANIPULATOR, 5, 1500),
    "walker_stand": Task(_WALKER, 6, 200),
    "walker_walk": Task(_WALKER, 6, 200),
}


_HUMANOID = {
    "joints_pos": 56,
    "joints_vel": 56,
    "appendages_pos": 15,
    "end_effectors_pos": 12,
    "world_zaxis": 3,
    "body_height": 1,
    "sensors_accelerometer": 3,
    "sensors_gyro": 3,
    "sensors_velocimeter": 3,
    "sensors_torque": 6,
    "sensors_touch": 10,
}
_RODENT = {
    "joints_pos": 30,
    "joints_vel": 30,
    "tendons_pos": 8,
    "tendons_vel": 8,
    "appendages_pos": 15,
    "world_zaxis": 3,
    "sensors_accelerometer": 3,
    "sensors_velocimeter": 3,
    "sensors_gyro": 3,
    "sensors_touch": 4,
}
_FAILURE, _STORED = EarlyEnd.FAILURE, EarlyEnd.STORED
LOCOMOTION: Mapping[str, Task] = {
    "humanoid_corridor": Task(_HUMANOID, 56, 4000, 1000, _FAILURE, has_camera=True),
    "humanoid_gaps": Task(_HUMANOID, 56, 8000, 1000, _FAILURE, has_camera=True),
    "humanoid_walls": Task(_HUMANOID, 56, 4000, 1000, _FAILURE, has_camera=True),
    "rodent_bowl_escape": Task(_RODENT, 38, 2000, 1000, _STORED, has_camera=True),
    "rodent_gaps": Task(_RODENT, 38, 2000, 1500, _FAILURE, has_camera=True),
    "rodent_mazes": Task(_RODENT, 38, 2000, 1500, _STORED, has_camera=True),
    "rodent_two_touch": Task(_RODENT, 38, 2000, 1500, _STORED, has_camera=True),
}


def control_suite(task: str) -> Dataset:
    """The episodes of a task of the control suite; every one meets its time limit."""
    return _dataset("dm_control_suite_episodes", task, CONTROL_SUITE[task], "observation/")


def locomotion(task: str) -> Dataset:
    """The episodes of a task of locomotion; files do not say of all failures that they are some.

    An episode that a failure alone can have ended so early is terminal, whatever its last discount
    is; `STORED_DISCOUNT` has that, and `IS_FAILURE_INFERRED` says that it is not 0.
    """
    return _dataset("dm_locomotion_episodes", task, LOCOMOTION[task], "observation/walker/")


def episode_from_rows(
    observation: Observation,
    action: np.ndarray,
    reward: np.ndarray,
    *,
    is_terminal: bool,
    metadata: Mapping[str, np.generic],
) -> Episode:
    """An episode of N rows, each with the reward that led to it.

        row           0      1      2             transition    0      1
        observation   o_0    o_1    o_2           observation   o_0    o_1    (o_2)
        action        a_0    a_1    0       ->    action        a_0    a_1
        reward        NaN    r_1    r_2           reward        r_1    r_2

    Args:
      observation: [N, ...], or a mapping to such arrays.
      action: [N, size]; the last row's is a placeholder.
      reward: [N]; row 0's is a placeholder.
      is_terminal: whether the environment ended the episode.
      metadata: of the episode.
    """
    return Episode.from_transitions(
        observation, action[:-1], reward[1:], is_terminal=is_terminal, metadata=metadata
    )


def _dataset(suite: str, name: str, task: Task, prefix: str) -> Dataset:
    return Dataset(
        ShardSet(f"{suite}/{name}", "train", name, SHARDS),
        Layout(suite),
        functools.partial(_episode, task=task, prefix=prefix),
        episode_spec(task),
    )


def episode_spec(task: Task) -> EpisodeSpec:
    """The spec of the episodes of a task."""
    observation: dict[str, dm_env.specs.Array] = {
        name: dm_env.specs.Array((size,), np.float32) for name, size in task.sizes.items()
    }
    if task.has_camera:
        observation[CAMERA] = dm_env.specs.Array(CAMERA_SHAPE, np.uint8)
    metadata = dict.fromkeys(("episode_id", "timestamp"), dm_env.specs.Array((), np.int64))
    if task.early_end is not EarlyEnd.NONE:
        metadata[STORED_DISCOUNT] = dm_env.specs.Array((), np.float32)
        metadata[IS_FAILURE_INFERRED] = dm_env.specs.Array((), np.bool_)
    action = dm_env.specs.BoundedArray((task.action_size,), np.float32, -1.0, 1.0)
    return EpisodeSpec(observation=observation, action=action, metadata=metadata)


def _episode(features: Features, task: Task, prefix: str) -> Episode:
    reward = floats(features, "reward")
    rows = len(reward)
    action = floats(features, "action", rows, task.action_size)
    discount = floats(features, "discount", rows)
    check_step_types(floats(features, "step_type", rows))
    _check_rows(action, reward, discount)
    _check_length(rows - 1, discount[-1], task)
    is_inferred = (
        task.early_end is EarlyEnd.FAILURE and rows - 1 < task.full_length and discount[-1] != 0
    )
    observation = {
        name: floats(features, prefix + name, rows, size) for name, size in task.sizes.items()
    }
    if task.has_camera:
        observation[CAMERA] = _frames(features, prefix + CAMERA, rows)
    metadata: dict[str, np.generic] = {
        name: np.int64(wire.int64_value(features[name])) for name in ("episode_id", "timestamp")
    }
    if task.early_end is not EarlyEnd.NONE:
        metadata[STORED_DISCOUNT] = discount[-1]
        metadata[IS_FAILURE_INFERRED] = np.bool_(is_inferred)
    return episode_from_rows(
        observation,
        action,
        reward,
        is_terminal=bool(is_inferred or discount[-1] == 0),
        metadata=metadata,
    )


def _frames(features: Features, name: str, rows: int) -> np.ndarray:
    values = wire.bytes_values(features[name])
    size = rows * math.prod(CAMERA_SHAPE)
    if [len(value) for value in values] != [size]:
        raise ValueError(
            f"{name!r} is not one string of {size} bytes, {rows} frames of "
            f"{' x '.join(map(str, CAMERA_SHAPE))}"
        )
    return np.frombuffer(values[0], np.uint8).reshape(rows, *CAMERA_SHAPE)


def _check_length(transitions: int, last_discount: float, task: Task) -> None:
    """Raises `ValueError` if an episode of the task cannot end after so many transitions so."""
    full = task.full_length
    if task.early_end is EarlyEnd.NONE:
        if transitions != full or last_discount != 1:
            raise ValueError(
                f"it has {transitions} transitions and a last discount of {last_discount:g}, and "
                f"every episode of the task has {full} and 1"
            )
    # Rounding decides whether the time of the last control step reaches the limit.
    elif transitions > full + 1:
        raise ValueError(
            f"it has {transitions} transitions, and none of the task has more than {full + 1}"
        )


def _check_rows(action: np.ndarray, reward: np.ndarray, discount: np.ndarray) -> None:
    """Raises `ValueError` unless placeholders are where the layout has them."""
    if not (np.isnan(reward[0]) and np.isnan(discount[0])):
        raise ValueError("row 0 has a reward or a discount, which no action can have earned")
    if np.any(action[-1]):
        raise ValueError("the last row has an action, which nothing follows")
    if np.any(discount[1:-1] != 1) or discount[-1] not in (0, 1):
        row = 1 + int(np.argmax(np.append(discount[1:-1] != 1, True)))
        raise ValueError(
            f"the discount of row {row} is {discount[row]:g}, not 1, or 0 in the last row"
        )
