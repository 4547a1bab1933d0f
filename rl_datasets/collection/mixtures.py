"""Data configurations: which behaviour policies make a dataset, and in what shares.

The shipped ones are BRAC's (Wu, Tucker and Nachum 2019) and D4RL's (Fu et al. 2020), the latter
named after its data sets. Each is a TOML file in `mixtures/`. To make your own, copy one, edit it,
and give its path instead of a name.

The protocol says what a collection keeps of a policy's episodes:

    brac    all episodes; the last one of a unit is cut where the unit is full
    d4rl    whole episodes, one after another, cut at the last transition of the policy's share; an
            episode that reaches the time limit is truncated, even if it ended there (as in D4RL's
            `scripts/generation/mujoco/collect_data.py`)
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Annotated, Literal

from rl_datasets import errors, toml_tables

FOLDER = pathlib.Path(__file__).parent / "mixtures"
UNIFORM, TANH_GAUSSIAN = "uniform", "tanh_gaussian"
BRAC: Literal["brac"] = "brac"
D4RL: Literal["d4rl"] = "d4rl"


@dataclasses.dataclass(frozen=True)
class MixtureEntry:
    """One behaviour policy of a mixture; its index in the mixture is its `policy_id`.

    Attributes:
      name: its name.
      kind: `uniform`, or `tanh_gaussian` for the policy that the collection is given.
      weight: its share of the transitions, relative to the others'.
      mode: whether to take the mode of the tanh-Gaussian instead of sampling.
      sigma: standard deviation of Gaussian noise on the action, 0 for none.
      epsilon: probability of a uniform action instead, 0 for none.
    """

    name: Annotated[str, "[1, inf)"]
    kind: Literal["uniform", "tanh_gaussian"]
    weight: Annotated[float, "(0, inf)"]
    mode: bool = False
    sigma: Annotated[float, "[0, inf)"] = 0.0
    epsilon: Annotated[float, "[0, 1]"] = 0.0


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A named list of behaviour policies, and the protocol by which they act."""

    name: str
    entries: tuple[MixtureEntry, ...]
    protocol: Literal["brac", "d4rl"] = BRAC

    def counts(self, transitions: int) -> list[int]:
        """Transitions of each entry: int(n * weight); the last has the remainder, as in BRAC."""
        total = sum(entry.weight for entry in self.entries)
        counts = [int(transitions * (entry.weight / total)) for entry in self.entries[:-1]]
        return [*counts, transitions - sum(counts)]


def shipped() -> list[str]:
    """Names of the shipped data configurations."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_mixture(name: str | pathlib.Path) -> Mixture:
    """Reads a data configuration.

    Args:
      name: the name of a shipped configuration, or the path of a TOML file.

    Raises:
      DatasetError: there is no such configuration, or the file is not a data configuration.
    """
    is_path = str(name).endswith(".toml")
    path = pathlib.Path(name) if is_path else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise errors.DatasetError(
            f"there is no data configuration {str(name)!r}: give one of {', '.join(shipped())}, or "
            "the path of your own .toml file"
        )
    content = toml_tables.read_toml(path)
    entries = tuple(
        toml_tables.build(MixtureEntry, table, f"{path}, [[policies]] {number}")
        for number, table in enumerate(toml_tables.tables(content, "policies", str(path)), 1)
    )
    del content["policies"]
    return toml_tables.build(Mixture, content, str(path), name=path.stem, entries=entries)
