"""The description of a collection, and the policies that act in it."""

from __future__ import annotations

import pathlib

import dm_env
import dm_env.specs
import numpy as np

from rl_datasets import errors, files
from rl_datasets.collection import collected_folder, environments, mixtures, naming, policies
from rl_datasets.sources import collected


def describe(
    folder: pathlib.Path,
    environment: str,
    mixture: mixtures.Mixture,
    transitions: int,
    policy_path: str | pathlib.Path | None,
    seed: int,
    name: str | None,
) -> tuple[collected.Collection, list[policies.Policy]]:
    """The collection's description, still without units, and its policies by id."""
    environment = environments.resolve(environment)
    observation, action = environments.policy_specs(environment)
    loaded = source = None
    if any(entry.kind == mixtures.TANH_GAUSSIAN for entry in mixture.entries):
        loaded = policies.load_policy(policy_path or _shipped_policy(environment, mixture))
        source = loaded.for_observations(environment, *observation.shape)
        _check_fits(environment, observation, action, source)
    elif policy_path is not None:
        raise errors.DatasetError(
            f"the mixture {mixture.name!r} takes no policy: leave --policy out"
        )
    minimum = np.broadcast_to(action.minimum, action.shape).astype(np.float32)
    maximum = np.broadcast_to(action.maximum, action.shape).astype(np.float32)
    behaviours, records = [], []
    for policy_id, entry in enumerate(mixture.entries):
        policy: policies.Policy = policies.Uniform(minimum, maximum)
        weights: tuple[tuple[str, str], ...] = ()
        if source is not None and entry.kind == mixtures.TANH_GAUSSIAN:
            policy = policies.TanhGaussian(
                source.layers, minimum, maximum, entry.mode, source.log_std
            )
            weights = source.files
        behaviours.append(policies.with_noise(policy, entry.sigma, entry.epsilon, minimum, maximum))
        records.append(
            collected.PolicyRecord(
                id=policy_id,
                name=entry.name,
                kind=entry.kind,
                mode=entry.mode,
                sigma=float(entry.sigma),
                epsilon=float(entry.epsilon),
                source=weights,
                transitions=mixture.counts(transitions)[policy_id],
            )
        )
    usual = naming.dataset_name(environment, mixture, loaded, transitions, seed)
    dataset = usual if name is None else name
    files.check_folder_name(dataset)
    collection = collected.Collection(
        folder=folder,
        dataset=dataset,
        environment=environment,
        mixture=mixture.name,
        seed=seed,
        observation={"shape": list(observation.shape), "dtype": "float32"},
        action={
            "shape": list(action.shape),
            "dtype": "float32",
            "minimum": minimum.tolist(),
            "maximum": maximum.tolist(),
        },
        policies=tuple(records),
        units=(),
        versions=collected_folder.versions(),
        protocol=mixture.protocol,
    )
    return collection, behaviours


def _shipped_policy(environment: str, mixture: mixtures.Mixture) -> pathlib.Path:
    if mixture.protocol == mixtures.D4RL:
        raise errors.DatasetError(
            f"the mixture {mixture.name!r} needs a policy, and none is shipped for it: give D4RL's "
            "own file, such as halfcheetah_medium-v2.hdf5, which holds the policy that collected "
            "it, or a policy that `rl-datasets train-policy` trained"
        )
    path = policies.partial_policy_path(environment)
    if not path.is_file():
        raise errors.DatasetError(
            f"no policy is shipped for {environment!r} ({path} does not exist): give the path of a "
            "policy"
        )
    return path


def _check_fits(
    environment: str,
    observation: dm_env.specs.Array,
    action: dm_env.specs.Array,
    source: policies.PolicySource,
) -> None:
    (size,), (action_size,) = observation.shape, action.shape
    inputs, outputs = source.layers[0][0].shape[0], source.layers[-1][0].shape[1]
    if (inputs, outputs) != (size, 2 * action_size):
        raise errors.DatasetError(
            f"the policy {source.files[0][0]} takes {inputs} observations and gives {outputs // 2} "
            f"actions, and {environment!r} has {size} and {action_size}: give the policy of this "
            "environment"
        )
