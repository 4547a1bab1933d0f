"""BRAC's published files: policies, and transitions in its saved data format.

Both are TensorFlow object checkpoints written by `behavior_regularized_offline_rl` of
google-research (Wu, Tucker and Nachum 2019, "Behavior Regularized Offline Reinforcement
Learning").

The data are arrays of transitions (s1, a1, reward, discount, s2, a2), without episode ids, time
limits or policy ids. An episode ends where s2 of a row differs from s1 of the next row. A discount
of 0 marks a terminal state. Every other end is a time limit or, in the very last row, possibly the
point where the collection stopped.
"""

from __future__ import annotations

import collections
import itertools
import pathlib
from collections.abc import Iterator

import dm_env.specs
import numpy as np

from rl_datasets import episode, errors
from rl_datasets.sources import tf_checkpoint

UNKNOWN_POLICY = -1

Layers = list[tuple[np.ndarray, np.ndarray]]


def read_policy(prefix: str | pathlib.Path) -> Layers:
    """Reads the actor of a BRAC agent.

    The agent is a SAC `agent_partial_target`, a BC `agent` or an `agent_behavior`. All of them hold
    the actor under `policy/_layers/<i>`.

    Args:
      prefix: the checkpoint's path without `.index`.

    Returns:
      (kernel [in, out], bias [out]) of each layer, float32, in order. The last layer's output is
      the mean and the raw log standard deviation of the Gaussian before tanh.

    Raises:
      DatasetError: a file is missing, truncated or damaged, or holds no such actor.
    """
    variables = tf_checkpoint.read_variables(prefix)
    count = sum(key.startswith("policy/_layers/") for key in variables) // 2
    try:
        layers = [
            (variables[f"policy/_layers/{i}/kernel"], variables[f"policy/_layers/{i}/bias"])
            for i in range(count)
        ]
    except KeyError as error:
        raise errors.DatasetError(
            f"{prefix} has no variable {error}: give the prefix of a BRAC agent"
        ) from error
    if not layers:
        raise errors.DatasetError(
            f"{prefix} has no variable policy/_layers/0/kernel: give the prefix of a BRAC agent"
        )
    check_layers(layers, str(prefix))
    return layers


def check_layers(layers: Layers, source: str) -> None:
    """Raises `DatasetError` unless the layers are finite, float32 and of matching shapes."""
    for i, (kernel, bias) in enumerate(layers):
        fits = kernel.ndim == 2 and bias.shape == kernel.shape[1:]
        if not fits or (i and layers[i - 1][0].shape[1] != kernel.shape[0]):
            raise errors.DatasetError(
                f"{source}: layer {i} of the policy has a kernel of shape {kernel.shape} and a "
                f"bias of shape {bias.shape}, which do not match: use another file"
            )
        if kernel.dtype != np.float32 or bias.dtype != np.float32:
            raise errors.DatasetError(
                f"{source}: layer {i} of the policy must be float32: use another file"
            )
        if not (np.all(np.isfinite(kernel)) and np.all(np.isfinite(bias))):
            raise errors.DatasetError(
                f"{source}: layer {i} of the policy has values that are not finite: use another "
                "file"
            )


def read_episodes(prefix: str | pathlib.Path) -> Iterator[episode.Episode]:
    """Recovers the episodes of BRAC's saved data.

    Each episode has the extra `policy_id` (int32, always `UNKNOWN_POLICY`, because the format does
    not record it) and the metadata `episode_id` (int64, its index in the file).

    Args:
      prefix: the checkpoint's path without `.index`, such as `.../data`.

    Raises:
      DatasetError: a file is missing, truncated or damaged; an array has a wrong shape or dtype, a
        value that is not finite, or a discount other than 0 and 1; or most rows are not followed by
        their next state.
    """
    s1, a1, reward, discount, s2 = _read_transitions(prefix)
    is_broken = np.any(s2[:-1] != s1[1:], axis=1) & (discount[:-1] == 1)
    unmarked = np.count_nonzero(discount[:-1] == 1)
    if np.count_nonzero(is_broken) > unmarked / 2:
        raise errors.DatasetError(
            f"{prefix}: after {np.count_nonzero(is_broken)} of {unmarked} rows whose discount is 1 "
            "the next s1 is not the row's s2, so the rows are not in the order of their steps: use "
            "a file as BRAC saved it"
        )
    ends = is_broken | (discount[:-1] == 0)
    bounds = [0, *(np.flatnonzero(ends) + 1), len(s1)]
    for episode_id, (start, end) in enumerate(itertools.pairwise(bounds)):
        yield episode.Episode.from_transitions(
            np.concatenate([s1[start:end], s2[end - 1 : end]]),
            a1[start:end],
            reward[start:end],
            is_terminal=bool(discount[end - 1] == 0),
            extras={"policy_id": np.full(end - start, UNKNOWN_POLICY, np.int32)},
            metadata={"episode_id": np.int64(episode_id)},
        )


def episode_spec(observation_size: int, action_size: int) -> episode.EpisodeSpec:
    """The spec of `read_episodes`; all of BRAC's environments bound their actions by -1 and 1."""
    return episode.EpisodeSpec(
        observation=dm_env.specs.Array((observation_size,), np.float32),
        action=dm_env.specs.BoundedArray((action_size,), np.float32, -1.0, 1.0),
        extras={"policy_id": dm_env.specs.Array((), np.int32)},
        metadata={"episode_id": dm_env.specs.Array((), np.int64)},
    )


def _read_transitions(prefix: str | pathlib.Path) -> list[np.ndarray]:
    variables = tf_checkpoint.read_variables(prefix)
    try:
        current_size = variables["data/_current_size"]
        fields = {
            name: variables[f"data/_{name}"] for name in ("s1", "a1", "reward", "discount", "s2")
        }
    except KeyError as error:
        raise errors.DatasetError(
            f"{prefix} has no variable {error}: give the prefix of data that BRAC saved"
        ) from error
    # The number of rows that most fields have, so that the error names the one that differs.
    ((room, _),) = collections.Counter(np.shape(each)[:1] for each in fields.values()).most_common(
        1
    )
    for name, field in fields.items():
        rank = 1 if name in ("reward", "discount") else 2
        is_as_wide = name != "s2" or field.shape[1:] == fields["s1"].shape[1:]
        fits = field.shape[:1] == room and field.ndim == rank and is_as_wide
        if not fits or field.dtype != np.float32:
            raise errors.DatasetError(
                f"{prefix}: data/_{name} must be float32 with {rank} axes and "
                f"{', '.join(map(str, room))} rows, s2 as wide as s1, got {field.dtype} of "
                f"shape {field.shape}: use another file"
            )
    if np.ndim(current_size) or not 1 <= current_size <= room[0]:
        raise errors.DatasetError(
            f"{prefix} says that it holds {current_size} transitions and has room for {room[0]}: "
            "use another file"
        )
    size = int(current_size)
    for name, field in fields.items():
        bad = np.flatnonzero(~np.isfinite(field[:size].reshape(size, -1)).all(axis=1))
        if len(bad):
            raise errors.DatasetError(
                f"{prefix}: data/_{name} has a value that is not finite in row {bad[0]}: use "
                "another file"
            )
    if not np.all(np.isin(fields["discount"][:size], (0, 1))):
        raise errors.DatasetError(f"{prefix}: data/_discount must be 0 or 1: use another file")
    return [field[:size] for field in fields.values()]
