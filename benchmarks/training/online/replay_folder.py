"""Writes the replay buffer of online training as a collected folder, like D4RL's `-medium-replay-`.

The folder names one policy, the final one, although all its earlier states took the steps. As by
D4RL's protocol, an episode that reaches the time limit is truncated, even if it ended there, and
the last episode is truncated where training stopped.
"""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from rl_datasets import files
from rl_datasets.collection import (
    collected_folder,
    environments,
    mixtures,
    naming,
    policies,
    unit_plan,
)
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.sources import collected

MIXTURE = "medium-replay-v2"
KIND = "sac_in_training"


def check(folder: pathlib.Path, max_steps: int, capacity: int) -> None:
    """Checks before a training that its replay buffer can be written afterwards.

    Raises:
      DatasetError: the folder is not empty, or the buffer may lose the first transitions.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DatasetError(f"{folder} is not empty: name a new folder for the replay buffer")
    if max_steps > capacity:
        raise DatasetError(
            f"a replay buffer holds {capacity} transitions at most: lower --max-steps to that"
        )


def write(
    folder: pathlib.Path,
    environment: str,
    seed: int,
    transitions: Mapping[str, np.ndarray],
    policy: pathlib.Path,
) -> None:
    """Writes a collected folder of all transitions of a training.

    Args:
      folder: created if it does not exist.
      environment: gymnasium id.
      seed: the training's seed.
      transitions: the fields of `ReplayBuffer`, [N, ...] each, from the first transition on.
      policy: the `.npz` of the final policy, with its lineage beside it.

    Raises:
      DatasetError: a file cannot be written.
    """
    episodes = list(_episodes(environment, seed, transitions))
    lengths = np.array([each.num_transitions for each in episodes])
    # An episode belongs to the unit in which its first transition falls.
    unit_of = (np.cumsum(lengths) - lengths) // unit_plan.UNIT_TRANSITIONS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(
            f"cannot make the folder {folder} ({error.strerror}): give another"
        ) from error
    units = tuple(
        collected_folder.write_unit(
            folder / f"unit-{unit:05d}.npz",
            [each for each, its_unit in zip(episodes, unit_of, strict=True) if its_unit == unit],
        )
        for unit in range(unit_of[-1] + 1)
    )
    bounds = environments.make_environment(environment).action_spec()
    _, observation_size = transitions["observation"].shape
    collection = collected.Collection(
        folder=folder,
        dataset=_dataset_name(environment, policy),
        environment=environment,
        mixture=MIXTURE,
        seed=seed,
        observation={"shape": [observation_size], "dtype": "float32"},
        action={
            "shape": list(bounds.shape),
            "dtype": "float32",
            "minimum": bounds.minimum.tolist(),
            "maximum": bounds.maximum.tolist(),
        },
        policies=(
            collected.PolicyRecord(
                id=0,
                name="medium-replay",
                kind=KIND,
                mode=False,
                sigma=0.0,
                epsilon=0.0,
                source=tuple(
                    (path.name, files.sha256_of(path))
                    for path in (policy, policy.with_suffix(".json"))
                ),
                transitions=int(lengths.sum()),
            ),
        ),
        units=units,
        versions=collected_folder.versions(),
        protocol=mixtures.D4RL,
    )
    collected_folder.write_collection(collection)


def _dataset_name(environment: str, policy: pathlib.Path) -> str:
    """The dataset's name, from the policy: the same training made both."""
    whose = naming.policy_name(policies.load_policy(policy))
    return f"{naming.environment_name(environment)}-{MIXTURE}{collected.RECOLLECTED}-{whose}"


def _episodes(
    environment: str, seed: int, transitions: Mapping[str, np.ndarray]
) -> Iterator[Episode]:
    time_limit = environments.time_limit(environment)
    live = environments.make_environment(environment, seed)  # Its resets are the training's.
    rows = len(transitions["reward"])
    ends = np.flatnonzero(transitions["is_last"]) + 1
    ends = np.unique([*ends, rows])
    for number, (start, end) in enumerate(itertools.pairwise([0, *ends])):
        first = live.reset().observation
        if not np.array_equal(first, transitions["observation"][start]):
            raise DatasetError(
                f"{environment} does not begin episode {number} as it did in the training: train "
                "again"
            )
        is_whole = bool(transitions["is_last"][end - 1])
        is_at_limit = end - start == time_limit
        yield Episode.from_transitions(
            np.concatenate(
                [
                    transitions["observation"][start:end],
                    transitions["next_observation"][end - 1 : end],
                ]
            ),
            transitions["action"][start:end],
            transitions["reward"][start:end],
            is_terminal=bool(transitions["discount"][end - 1] == 0) and not is_at_limit,
            extras={"policy_id": np.zeros(end - start, np.int32)},
            metadata={
                "episode_id": np.int64(number),
                "environment_seed": np.int64(live.episode_seed),
                "is_cut": np.bool_(not is_whole),
            },
        )
