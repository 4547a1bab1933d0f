"""The type of an episode, and the one alignment rule that every reader and dataset here obeys.

T transitions are T + 1 steps. Step t holds the observation, the action taken in it, and the reward
and the discount that the action earned (the SAR alignment of RLDS, Ramos et al. 2021). The last
step holds the final observation and nothing else: its action, reward and discount are zero.
`is_terminal` says that the environment ended there. A time limit, or any other cut, is
`is_last and not is_terminal`, and the discount that led to it stays 1. `episode_check` checks the
rule.

    step          0      1            T - 1               T
    observation   o_0    o_1          o_{T-1}             o_T
    action        a_0    a_1          a_{T-1}             0
    reward        r_1    r_2          r_T                 0
    discount      1      1            0 iff terminal      0
    is_first      True   False        False               False
    is_last       False  False        False               True
    is_terminal   False  False        False               terminal

An observation is one array, or a flat mapping of named arrays such as `position` and `velocity`.
Each of these is a field of the steps, such as `observation/position`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import dm_env.specs
import numpy as np

from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames

# RLDS's own field names, written out here because `import rlds` loads TensorFlow and Reverb.
STEPS = "steps"
OBSERVATION = "observation"
ACTION = "action"
REWARD = "reward"
DISCOUNT = "discount"
IS_FIRST = "is_first"
IS_LAST = "is_last"
IS_TERMINAL = "is_terminal"
STEP_FIELDS = (OBSERVATION, ACTION, REWARD, DISCOUNT, IS_FIRST, IS_LAST, IS_TERMINAL)
OBSERVED = f"{OBSERVATION}/"  # The prefix of the name of an observation's array.
_NAME = re.compile(r"\w+", re.ASCII)

Observation: TypeAlias = np.ndarray | EncodedFrames | Mapping[str, np.ndarray | EncodedFrames]
ObservationSpec: TypeAlias = dm_env.specs.Array | Mapping[str, dm_env.specs.Array]

# Metadata of episodes with clipped rewards: the return of the game's own rewards, if it is known.
RAW_RETURN = "raw_return"
RAW_RETURN_IS_KNOWN = "raw_return_is_known"

LENGTHS_DIFFER = "every field of an episode must have one row for each step"
TOO_SHORT = "an episode must have at least one transition, so at least two steps"


class EpisodeError(ValueError):
    """An episode breaks the alignment rule or its spec; the message states the broken rule."""


@dataclasses.dataclass(frozen=True)
class EpisodeSpec:
    """Shape, dtype and bounds of one step of every field, and of the metadata of an episode.

    Attributes:
      observation: spec of one observation, or of each of its arrays by name.
      action: spec of one action; a `BoundedArray` also bounds its values.
      extras: specs of further fields of every step, such as `policy_id`.
      metadata: specs of the episode's metadata, such as `episode_id`. A `StringArray` spec stands
        for a `str`.

    Raises:
      DatasetError: an extra would replace a field that every step has, or metadata would replace
        the steps; or the observation has no arrays, or one with a name that a field cannot have.
    """

    observation: ObservationSpec
    action: dm_env.specs.Array
    extras: Mapping[str, dm_env.specs.Array] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, dm_env.specs.Array] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        replaced = [name for name in sorted(self.extras) if name.partition("/")[0] in STEP_FIELDS]
        replaced += [name for name in self.metadata if name.partition("/")[0] == STEPS]
        if replaced:
            raise DatasetError(
                f"a field named {replaced[0]!r} would replace the one that every episode has: "
                "rename it in the source"
            )
        if isinstance(self.observation, Mapping) and not (
            self.observation and all(map(_NAME.fullmatch, self.observation))
        ):
            raise DatasetError(
                f"an observation's arrays are named {sorted(self.observation)}: give each a name "
                "of letters, digits and underscores"
            )

    @property
    def one_observation(self) -> dm_env.specs.Array:
        """The spec of an observation that is one array.

        Raises:
          DatasetError: the observation is several arrays.
        """
        return _one(self.observation)

    def step_specs(self) -> dict[str, dm_env.specs.Array]:
        """The spec of one step of every field, by field name."""
        flag = dm_env.specs.Array((), np.bool_)
        return {
            **by_name(self.observation),
            ACTION: self.action,
            REWARD: dm_env.specs.Array((), np.float32),
            DISCOUNT: dm_env.specs.Array((), np.float32),
            IS_FIRST: flag,
            IS_LAST: flag,
            IS_TERMINAL: flag,
            **self.extras,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Episode:
    """T transitions as T + 1 steps, a struct of arrays whose leading axis is the step.

    Attributes:
      observation: [T + 1, ...], any dtype, or `EncodedFrames` in place of frames; or a mapping from
        names to such arrays.
      action: [T + 1, ...], any dtype.
      reward: [T + 1] float32.
      discount: [T + 1] float32, 0 or in (0, 1].
      is_first: [T + 1] bool.
      is_last: [T + 1] bool.
      is_terminal: [T + 1] bool.
      extras: further fields of every step, each [T + 1, ...].
      metadata: values of the whole episode: NumPy scalars, arrays or `str`.
    """

    observation: Observation
    action: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    is_first: np.ndarray
    is_last: np.ndarray
    is_terminal: np.ndarray
    extras: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_transitions(
        cls,
        observation: Observation,
        action: np.ndarray,
        reward: np.ndarray,
        *,
        is_terminal: bool,
        extras: Mapping[str, np.ndarray] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Episode:
        """Arranges T transitions as T + 1 steps by the alignment rule.

        Args:
          observation: [T + 1, ...] with the final observation, or a mapping to such arrays.
          action: [T, ...].
          reward: [T], converted to float32.
          is_terminal: whether the environment ended the episode, and not a time limit or a cut.
          extras: further fields of each transition, each [T, ...]; the last step repeats the last
            row, because an extra such as `policy_id` describes the episode there too.
          metadata: values of the whole episode.

        Raises:
          EpisodeError: there is no transition, or the lengths do not match.
        """
        extras = extras or {}
        length = len(action)
        if length < 1:
            raise EpisodeError(TOO_SHORT)
        if any(len(each) != length + 1 for each in by_name(observation).values()) or any(
            len(field) != length for field in (reward, *extras.values())
        ):
            raise EpisodeError(LENGTHS_DIFFER)
        step = np.arange(length + 1)
        discount = np.ones(length + 1, np.float32)
        discount[length] = 0
        if is_terminal:
            discount[length - 1] = 0
        return cls(
            observation=observation,
            action=np.concatenate([action, np.zeros_like(action[:1])]),
            reward=np.append(reward, 0).astype(np.float32),
            discount=discount,
            is_first=step == 0,
            is_last=step == length,
            is_terminal=(step == length) & is_terminal,
            extras={name: np.concatenate([field, field[-1:]]) for name, field in extras.items()},
            metadata=metadata or {},
        )

    @property
    def num_transitions(self) -> int:
        """T, one less than the number of steps."""
        return self.num_steps - 1

    @property
    def num_steps(self) -> int:
        """T + 1."""
        return len(self.reward)

    @property
    def one_observation(self) -> np.ndarray | EncodedFrames:
        """The observation [T + 1, ...], which must be one array.

        Raises:
          DatasetError: the observation is several arrays.
        """
        return _one(self.observation)

    @property
    def episode_return(self) -> float:
        """The undiscounted sum of rewards, accumulated in float64."""
        return float(np.sum(self.reward, dtype=np.float64))

    def steps(self) -> dict[str, np.ndarray | EncodedFrames]:
        """Every field of the steps by name, each [T + 1, ...]."""
        return {
            **by_name(self.observation),
            ACTION: self.action,
            REWARD: self.reward,
            DISCOUNT: self.discount,
            IS_FIRST: self.is_first,
            IS_LAST: self.is_last,
            IS_TERMINAL: self.is_terminal,
            **self.extras,
        }

    @classmethod
    def from_steps(
        cls, steps: Mapping[str, np.ndarray], metadata: Mapping[str, Any] | None = None
    ) -> Episode:
        """The inverse of `steps`; fields that are not RLDS's own become extras."""
        observed = {
            name.removeprefix(OBSERVED): field
            for name, field in steps.items()
            if name.startswith(OBSERVED)
        }
        is_extra = {name: name.partition("/")[0] not in STEP_FIELDS for name in steps}
        return cls(
            observation=observed or steps[OBSERVATION],
            **{name: steps[name] for name in STEP_FIELDS[1:]},
            extras={name: field for name, field in steps.items() if is_extra[name]},
            metadata=metadata or {},
        )


def _one(observation: Any) -> Any:
    if isinstance(observation, Mapping):
        raise DatasetError(
            f"an observation is several arrays, {', '.join(observation)}, and one is needed here: "
            "load it with `serving.loading`, which makes a vector of them, or export it as arrays"
        )
    return observation


def by_name(observation: Any) -> dict[str, Any]:
    """The arrays of an observation, or their specs, by the names of their fields in the steps."""
    if isinstance(observation, Mapping):
        return {OBSERVED + name: array for name, array in observation.items()}
    return {OBSERVATION: observation}
