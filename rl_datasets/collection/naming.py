"""What a collected dataset is called: no two that differ share a name.

A name is put together as

    <environment>-<mixture>-<origin>[-n<transitions>][-seed<seed>]

    environment   `hopper` for Hopper-v2, the body that the tables were measured in; any other
                  version stands in the name, such as `hopper-v4`
    mixture       its name; for a user's own also the first digits of its content's sha256
    origin        `recollected`, and whose policy acted where it was not the one to be expected:
                  `-brac`, `-d4rl`, or the first digits of the sha256 of its weights
    transitions   unless they are 1,000,000, as BRAC's and D4RL's
    seed          unless it is 0
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

# Whose a policy is, and of which task, by the first digits of its weights' sha256: the partially
# trained ones shipped here, BRAC's, and those in D4RL's medium-v2 files.
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
    """The name of what is collected.

    Args:
      environment: with its version, such as `Hopper-v2`.
      mixture: of behaviour policies.
      source: the network among them, if there is one.
      transitions: in all.
      seed: of the collection.
    """
    name = f"{environment_name(environment)}-{_mixture_name(mixture)}"
    name += _origin(environment, mixture, source)
    if transitions != TRANSITIONS:
        name += f"-n{transitions}"
    if seed != 0:
        name += f"-seed{seed}"
    return name


def environment_name(environment: str) -> str:
    """How a name begins: `hopper` for `Hopper-v2`, `hopper-v4` for `Hopper-v4`."""
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
    """A policy that is no one's in particular: `sac-1a2b3c4d` if `train-policy` wrote it."""
    return f"{source.kind}-{source.weights_sha256[:DIGITS]}"


def _mixture_name(mixture: mixtures.Mixture) -> str:
    if mixture.name in mixtures.shipped() and mixture == mixtures.load_mixture(mixture.name):
        return mixture.name
    content = json.dumps(dataclasses.asdict(mixture), sort_keys=True)
    return f"{mixture.name}-{hashlib.sha256(content.encode()).hexdigest()[:DIGITS]}"
