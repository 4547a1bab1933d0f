"""RL Unplugged's real-world RL: four tasks of the real-world RL suite, with and without challenges.

Their shards (`sources.rl_unplugged_shards`) are not compressed, and are in gs://rl_unplugged as
rwrl/combined_challenge_<none|easy>/<domain>/<task>/<size>/episodes.tfrecord-<shard>-of-<shards>.
A record is an episode of 1001 rows, does not say of which dataset it is, and its features are

    observation:<field>           [1001 * size] floats
    action                        [1001 * size] floats
    reward, discount, step_type   [1001] floats

Row i holds o_i and the action, the reward and the discount that led to it. Row 0 has a placeholder
for the action, a reward of 0 and a discount of 0. Only `episode_from_rows` applies the alignment
rule. TFDS's `rlu_rwrl` aligns them so too, but takes the 0 of row 0 for the last discount, and so
marks every episode as terminal. None is: no task of these can end before its time limit, which the
environments of the suite show, and the last discount in a file is 1.

One record was examined, the episode of cartpole without challenges among TFDS's test fixtures: the
task's own reward formula gives every r_i from o_i and the action of the same row, to 7e-8. Others
are read as TFDS's reader and the authors' own (deepmind-research, rl_unplugged/rwrl.py) read them;
what differs is refused. Sizes and bounds are those of the suite's environments
(google-research/realworldrl_suite).

With the challenge `easy` the agent acts three steps late, sees observations three steps late and
rewards ten steps late. The suite's buffers are never cleared, so an episode may begin with the end
of the one before. Rows are what the agent saw, and stay as they are.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping

import dm_env.specs
import numpy as np

from rl_datasets.episode import Episode, EpisodeSpec, Observation
from rl_datasets.sources.rl_unplugged_shards import (
    Dataset,
    Features,
    Layout,
    ShardSet,
    check_step_types,
    floats,
)

ROWS = 1001
SIZES = ("1_percent", "5_percent", "20_percent", "40_percent", "100_percent")
CHALLENGES = ("none", "easy")
REPAIRED = (
    "a row of a file holds the action, the reward and the discount that led to its observation: "
    "they are one step earlier here, with the observation in which the action was taken, and the "
    "placeholders of row 0 are left out"
)


@dataclasses.dataclass(frozen=True)
class Domain:
    """A domain of the suite and its task.

    Attributes:
      task: the task.
      sizes: of the fields of an observation, by name; a challenge adds `DUMMIES`.
      minimum: the least action.
      maximum: the greatest action.
      shards: how many there are, by challenge, of each of `SIZES`.
    """

    task: str
    sizes: Mapping[str, int]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    shards: Mapping[str, tuple[int, ...]]


DUMMIES = tuple(f"dummy-{index}" for index in range(10))  # Numbers that mean nothing.
DOMAINS: Mapping[str, Domain] = {
    "cartpole": Domain(
        "swingup",
        {"position": 3, "velocity": 2},
        (-1.0,),
        (1.0,),
        {"none": (3, 3, 6, 6, 7), "easy": (2, 3, 8, 8, 14)},
    ),
    "quadruped": Domain(
        "walk",
        {
            "egocentric_state": 44,
            "torso_velocity": 3,
            "torso_upright": 1,
            "imu": 6,
            "force_torque": 24,
        },
        (-1.0, -1.0, -0.8) * 4,
        (1.0, 1.1, 0.8) * 4,
        {"none": (3, 3, 4, 7, 10), "easy": (3, 3, 9, 10, 15)},
    ),
    "walker": Domain(
        "walk",
        {"orientations": 14, "height": 1, "velocity": 9},
        (-1.0,) * 6,
        (1.0,) * 6,
        {"none": (3, 6, 14, 48, 94), "easy": (11, 17, 78, 137, 371)},
    ),
    "humanoid": Domain(
        "walk",
        {
            "joint_angles": 21,
            "head_height": 1,
            "extremities": 12,
            "torso_vertical": 3,
            "com_velocity": 3,
            "velocity": 27,
        },
        (-1.0,) * 21,
        (1.0,) * 21,
        {"none": (9, 123, 125, 344, 391), "easy": (18, 98, 244, 410, 769)},
    ),
}


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which dataset: a domain, one of `CHALLENGES`, and one of `SIZES`."""

    domain: str
    challenge: str
    size: str

    @property
    def name(self) -> str:
        """As TFDS's `rlu_rwrl` names it."""
        task = DOMAINS[self.domain].task
        return f"{self.domain}_{task}_combined_challenge_{self.challenge}_{self.size}"

    @property
    def fields(self) -> dict[str, int]:
        """The sizes of the fields of an observation, by their names in files."""
        dummies = dict.fromkeys(DUMMIES, 1) if self.challenge == "easy" else {}
        return {**DOMAINS[self.domain].sizes, **dummies}


CHOICES: Mapping[str, Choice] = {
    choice.name: choice
    for choice in itertools.starmap(Choice, itertools.product(DOMAINS, CHALLENGES, SIZES))
}


def dataset(name: str) -> Dataset:
    """The episodes of a dataset; `dummy-0` and its siblings are called `dummy_0`, as names go."""
    choice = CHOICES[name]
    domain = DOMAINS[choice.domain]
    folder = f"combined_challenge_{choice.challenge}/{choice.domain}/{domain.task}/{choice.size}"
    count = domain.shards[choice.challenge][SIZES.index(choice.size)]
    size = len(domain.minimum)
    return Dataset(
        ShardSet(f"rwrl/{folder}", "episodes.tfrecord", name, count),
        Layout("rwrl", is_gzip=False),
        functools.partial(_episode, fields=choice.fields, action_size=size),
        EpisodeSpec(
            observation={
                _renamed(field): dm_env.specs.Array((width,), np.float32)
                for field, width in choice.fields.items()
            },
            action=dm_env.specs.BoundedArray((size,), np.float32, domain.minimum, domain.maximum),
            metadata={"episode_return": dm_env.specs.Array((), np.float32)},
        ),
    )


def episode_from_rows(observation: Observation, action: np.ndarray, reward: np.ndarray) -> Episode:
    """An episode of N rows, each with the action and the reward that led to it.

        row           0      1      2             transition    0      1
        observation   o_0    o_1    o_2           observation   o_0    o_1    (o_2)
        action        -1     a_0    a_1     ->    action        a_0    a_1
        reward        0      r_1    r_2           reward        r_1    r_2

    Args:
      observation: [N, ...], or a mapping to such arrays.
      action: [N, size]; row 0's is a placeholder.
      reward: [N]; row 0's is a placeholder.
    """
    episode_return = np.float32(np.sum(reward[1:], dtype=np.float64))
    return Episode.from_transitions(
        observation,
        action[1:],
        reward[1:],
        is_terminal=False,
        metadata={"episode_return": episode_return},
    )


def _episode(features: Features, fields: Mapping[str, int], action_size: int) -> Episode:
    observation = {
        _renamed(field): floats(features, f"observation:{field}", ROWS, size)
        for field, size in fields.items()
    }
    others = [name for name in features if name.startswith("observation:")]
    if len(others) > len(fields):
        raise ValueError(f"it has {len(others)} observations, and {len(fields)} are known")
    reward, discount = floats(features, "reward", ROWS), floats(features, "discount", ROWS)
    check_step_types(floats(features, "step_type", ROWS))
    if reward[0] != 0 or discount[0] != 0:
        raise ValueError("row 0 has a reward or a discount, which no action can have earned")
    if np.any(discount[1:] != 1):
        row = 1 + int(np.argmax(discount[1:] != 1))
        raise ValueError(
            f"the discount of row {row} is {discount[row]:g}, and no task of this suite ends "
            "before its time limit"
        )
    return episode_from_rows(observation, floats(features, "action", ROWS, action_size), reward)


def _renamed(field: str) -> str:
    return field.replace("-", "_")
