"""Names of collected datasets; no two that differ share a name.

A name has the form

    <environment>-<mixture>-<origin>[-n<transitions>][-seed<seed>]

    environment   `hopper` for Hopper-v2, the body that the tables were measured in; any other
                  version is part of the name, such as `hopper-v4`
    mixture       its name; for a user's own mixture also the first digits of its content's sha256
    origin        `recollected`, and if the policy is not the expected one, whose it is: `-brac`,
                  `-d4rl`, or the first digits of the sha256 of its weights
    transitions   left out if there are 1,000,000, as in BRAC's and D4RL's data
    seed          left out if it is 0
"""

from __future__ import annotations

import dataclasses
import hashlib
import json

from rl_datasets.collection import mixtures, policies
from rl_datasets.sources.collected import RECOLLECTED

BODY_OF_THE_TABLES = "v2"
TRANSITIONS = 1_000_000
DIGITS = 8  # of a sha256

OURS, BRAC, D4RL = "ours", "brac", "d4rl"

# The owner and the task of a policy, by the first digits of its weights' sha256: the partially
# trained policies shipped here, BRAC's, and those in D4RL's medium-v2 files.
OWNERS = {
    "c77aa4a2": (OURS, "Ant"),
    "6acfb976": (OURS, "HalfCheetah"),
    "96807d73": (OURS, "Hopper"),
    "74f1b007": (OURS, "Walker2d"),
    "40f3da9f": (BRAC, "Ant"),
    "725ed991": (BRAC, "HalfCheetah"),
    "e3b08948": (BRAC, "Hopper"),
    "978f7e0c": (D4RL, "HalfCheetah"),
    "54146888": (D4RL, "Hopper"),
    "f5157d34": (D4RL, "Walker2d"),
}


def dataset_name(
    environment: str,
    mixture: mixtures.Mixture,
    source: policies.PolicySource | None,
    transitions: int,
    seed: int,
) -> str:
    """The name of a collected dataset.

    Args:
      environment: with its version, such as `Hopper-v2`.
      mixture: the mixture of behaviour policies.
      source: the network among the policies, if there is one.
      transitions: the total number of transitions.
      seed: the seed of the collection.
    """
    name = f"{environment_name(environment)}-{_mixture_name(mixture)}"
    name += _origin(environment, mixture, source)
    if transitions != TRANSITIONS:
        name += f"-n{transitions}"
    if seed != 0:
        name += f"-seed{seed}"
    return name


def environment_name(environment: str) -> str:
    """The start of a name: `hopper` for `Hopper-v2`, `hopper-v4` for `Hopper-v4`."""
    return environment.lower().removesuffix(f"-{BODY_OF_THE_TABLES}").replace("/", "-")


def _origin(
    environment: str, mixture: mixtures.Mixture, source: policies.PolicySource | None
) -> str:
    if source is None:
        return RECOLLECTED
    owner, task = OWNERS.get(source.weights_sha256[:DIGITS], ("", ""))
    if task != environment.rpartition("-")[0] or owner == "":
        return f"{RECOLLECTED}-{policy_name(source)}"
    expected = D4RL if mixture.protocol == mixtures.D4RL else OURS
    return RECOLLECTED if owner == expected else f"{RECOLLECTED}-{owner}"


def policy_name(source: policies.PolicySource) -> str:
    """The name of a policy without a known owner: `sac-1a2b3c4d` if `train-policy` wrote it."""
    return f"{source.kind}-{source.weights_sha256[:DIGITS]}"


def _mixture_name(mixture: mixtures.Mixture) -> str:
    if mixture.name in mixtures.shipped() and mixture == mixtures.load_mixture(mixture.name):
        return mixture.name
    content = json.dumps(dataclasses.asdict(mixture), sort_keys=True)
    return f"{mixture.name}-{hashlib.sha256(content.encode()).hexdigest()[:DIGITS]}"
