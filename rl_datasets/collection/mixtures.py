"""Data configurations: which behaviour policies make a dataset, and in what shares.

The shipped ones are BRAC's (Wu, Tucker and Nachum 2019) and, by the names of its data sets, D4RL's
(Fu et al. 2020), one TOML file each in `mixtures/`; copy one, edit it, and give its path instead of
a name.

The protocol says what a collection keeps of a policy's episodes:

    brac    each up to where a unit of the collection is full
    d4rl    whole ones, put end to end and cut at the last transition of the policy's share; one
            that reaches the time limit is cut by it, even if it ended there (by D4RL's
            `scripts/generation/mujoco/collect_data.py`)
"""

from __future__ import annotations

import dataclasses
import pathlib
import tomllib
from typing import Any

from rl_datasets import errors

FOLDER = pathlib.Path(__file__).parent / "mixtures"
UNIFORM, TANH_GAUSSIAN = "uniform", "tanh_gaussian"
BRAC, D4RL = PROTOCOLS = ("brac", "d4rl")


@dataclasses.dataclass(frozen=True)
class MixtureEntry:
    """One behaviour policy of a mixture; its place in the mixture is its `policy_id`.

    Attributes:
      name: what to call it.
      kind: `uniform`, or `tanh_gaussian` for the policy that the collection is given.
      weight: its share of the transitions, relative to the others'.
      mode: take the mode of the tanh-Gaussian instead of sampling.
      sigma: standard deviation of Gaussian noise on the action, 0 for none.
      epsilon: probability of a uniform action instead, 0 for none.
    """

    name: str
    kind: str
    weight: float
    mode: bool = False
    sigma: float = 0.0
    epsilon: float = 0.0


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A named list of behaviour policies, and the protocol by which they act."""

    name: str
    entries: tuple[MixtureEntry, ...]
    protocol: str = BRAC

    def counts(self, transitions: int) -> list[int]:
        """Transitions of each entry: int(n * weight), the remainder to the last, as BRAC does."""
        total = sum(entry.weight for entry in self.entries)
        counts = [int(transitions * (entry.weight / total)) for entry in self.entries[:-1]]
        return [*counts, transitions - sum(counts)]


def shipped() -> list[str]:
    """Names of the shipped data configurations."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_mixture(name: str | pathlib.Path) -> Mixture:
    """Reads a data configuration.

    Args:
      name: a shipped one's name, or the path of a TOML file.

    Raises:
      DatasetError: there is no such configuration, or the file is not one.
    """
    is_path = str(name).endswith(".toml")
    path = pathlib.Path(name) if is_path else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise errors.DatasetError(
            f"there is no data configuration {str(name)!r}: give one of {', '.join(shipped())}, or "
            "the path of your own .toml file"
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        entries = tuple(MixtureEntry(**entry) for entry in content["policies"])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise errors.DatasetError(
            f"{path} is not a data configuration ({error}): copy one of {FOLDER} and edit it"
        ) from error
    if unknown := content.keys() - {"policies", "protocol"}:
        raise errors.DatasetError(
            f"{path} has no use for {min(unknown)!r}: beside [[policies]], protocol alone is known"
        )
    if not entries:
        raise errors.DatasetError(f"{path} must have at least one [[policies]]")
    for entry in entries:
        _check_entry(path, entry)
    protocol = content.get("protocol", BRAC)
    if protocol not in PROTOCOLS:
        raise errors.DatasetError(f"{path}: protocol must be {' or '.join(PROTOCOLS)}")
    return Mixture(path.stem, entries, protocol)


def _check_entry(path: pathlib.Path, entry: MixtureEntry) -> None:
    rules: list[tuple[bool, str]] = [
        (isinstance(entry.name, str) and entry.name != "", "name must be a text"),
        (entry.kind in (UNIFORM, TANH_GAUSSIAN), f"kind must be {UNIFORM} or {TANH_GAUSSIAN}"),
        (_is_number(entry.weight) and 0 < entry.weight < float("inf"), "weight must be above 0"),
        (isinstance(entry.mode, bool), "mode must be true or false"),
        (_is_number(entry.sigma) and 0 <= entry.sigma < float("inf"), "sigma must be 0 or more"),
        (_is_number(entry.epsilon) and 0 <= entry.epsilon <= 1, "epsilon must be from 0 to 1"),
    ]
    for holds, rule in rules:
        if not holds:
            raise errors.DatasetError(f"{path}, policy {entry.name!r}: {rule}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
