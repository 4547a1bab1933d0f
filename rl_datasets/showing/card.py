"""The card of a version: what a reader wants to know of it, in words and numbers.

It follows from MANIFEST.json and dataset_info.json; no record is read. `console` draws it on a
terminal, and `page` on a page.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rl_datasets.episode import OBSERVATION, OBSERVED, RAW_RETURN, RAW_RETURN_IS_KNOWN
from rl_datasets.errors import DatasetError, in_words
from rl_datasets.published.version import ALL, Version

INFO = "dataset_info.json"  # TFDS's own description of a version.
STEP, EPISODE, TRANSITION = "step", "episode", "transition"


class Returns(NamedTuple):
    """Statistics of the returns of episodes."""

    mean: float
    spread: float
    least: float
    greatest: float


@dataclasses.dataclass(frozen=True)
class Split:
    """What a split holds, or all of them.

    Attributes:
      name: of the split, or `all`.
      episodes: 0 where each record is a transition.
      transitions: number of transitions.
      lengths: the shortest and the longest episode; None where they are not known.
      returns: None where they are not known.
    """

    name: str
    episodes: int
    transitions: int
    lengths: tuple[int, int] | None = None
    returns: Returns | None = None


class Field(NamedTuple):
    """A field of a record.

    Attributes:
      of: `STEP`, `EPISODE` or `TRANSITION`.
      name: as in `Episode.steps`.
      dtype: `str` for text.
      shape: of one value.
      bounds: the least and the greatest that the spec allows; None where it has no bounds.
    """

    of: str
    name: str
    dtype: str
    shape: tuple[int, ...]
    bounds: tuple[float, float] | None

    @property
    def told(self) -> str:
        """In words, without the name."""
        of_bounds = f" from {self.bounds[0]:g} to {self.bounds[1]:g}" if self.bounds else ""
        return f"{self.dtype} {list(self.shape)}{of_bounds}"


@dataclasses.dataclass(frozen=True)
class Card:
    """The card of a version.

    Attributes:
      name: such as `brac/halfcheetah-pure:2.0.0`.
      location: its folder, or its address in a store.
      fingerprint: sha256 of its MANIFEST.json.
      files: number of its files.
      size: of these, in bytes.
      code: the release of rl-datasets that wrote it.
      sources: names of the source files.
      splits: in the manifest's order.
      together: all splits as one.
      is_raw: whether returns are of the game's own rewards.
      flags: by name of a boolean field of episodes, the number of episodes where it is True.
      fields: of its records, and of its episodes.
      facts: of the lineage, but for `repaired` and `known_defects`: names in words, and values.
      repaired: what was repaired when the source was read.
      defects: what is known to be wrong with the source.
      left_out: units and records that are missing, with the reasons.
      description: TFDS's, of the builder and the configuration.
      citation: the builder's BibTeX, or what a user said of their own data; empty without either.
    """

    name: str
    location: str
    fingerprint: str
    files: int
    size: int
    code: str
    sources: tuple[str, ...]
    splits: tuple[Split, ...]
    together: Split
    is_raw: bool
    flags: Mapping[str, int]
    fields: tuple[Field, ...]
    facts: Mapping[str, str]
    repaired: tuple[str, ...]
    defects: tuple[str, ...]
    left_out: tuple[str, ...]
    description: str
    citation: str

    @property
    def size_told(self) -> str:
        megabytes = self.size / 1e6
        return f"{megabytes:,.{1 if megabytes >= 1 else 3}f} MB"


def of(version: Version) -> Card:
    """The card of a version.

    Raises:
      DatasetError: its dataset_info.json is missing or damaged.
    """
    published, plan = version.manifest, version.manifest["plan"]
    splits, lineage = published["splits"], plan["lineage"]
    is_raw = any(RAW_RETURN in split for split in splits.values())
    of_splits = tuple(_split(name, split, is_raw) for name, split in splits.items())
    info = _info(version.file(INFO))
    return Card(
        name=version.name,
        location=version.location,
        fingerprint=version.fingerprint,
        files=len(published["files"]),
        size=version.size,
        code=published["code"],
        sources=tuple(plan["sources"]),
        splits=of_splits,
        together=_together(of_splits, splits),
        is_raw=is_raw,
        flags=_flags(splits),
        fields=tuple(_fields(plan["spec"])),
        facts={
            name.replace("_", " "): _fact(value)
            for name, value in lineage.items()
            if name not in ("repaired", "known_defects") and value not in ("", None, [], {})
        },
        repaired=_texts(lineage.get("repaired")),
        defects=_texts(lineage.get("known_defects")),
        left_out=tuple(_left_out(published)),
        description="\n\n".join(
            text.strip() for name in ("description", "configDescription") if (text := info[name])
        ),
        citation=info["citation"].strip() or str(lineage.get("citation", "")),
    )


def is_of_observation(name: str) -> bool:
    """Whether a field of this name is an observation, or one of its arrays."""
    return name == OBSERVATION or name.startswith(OBSERVED)


def _info(path: pathlib.Path) -> dict[str, str]:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        told = {name: info.get(name, "") for name in ("description", "configDescription")}
        told["citation"] = info.get("citation", "")
        if not all(isinstance(text, str) for text in told.values()):
            raise TypeError
        return told
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DatasetError(
            f"{path} cannot be read ({in_words(error)}): copy or publish this version again"
        ) from error


def _split(name: str, split: Mapping[str, Any], is_raw: bool) -> Split:
    lengths = split.get("episode_length")
    returns = split.get(RAW_RETURN if is_raw else "episode_return")
    names = ("mean", "standard_deviation", "min", "max")
    return Split(
        name,
        split.get("episodes", 0),
        split["transitions"],
        (lengths["min"], lengths["max"]) if lengths else None,
        Returns(*(returns[each] for each in names)) if returns else None,
    )


def _together(of_splits: Sequence[Split], splits: Mapping[str, Mapping[str, Any]]) -> Split:
    """All splits as one; a return counts as often as the manifest has it."""
    if len(of_splits) == 1:
        return of_splits[0]
    lengths = [split.lengths for split in of_splits if split.lengths]
    counted = [
        (
            split.returns,
            splits[split.name].get("flags", {}).get(RAW_RETURN_IS_KNOWN, split.episodes),
        )
        for split in of_splits
        if split.returns
    ]
    return Split(
        ALL,
        sum(split.episodes for split in of_splits),
        sum(split.transitions for split in of_splits),
        (min(least for least, _ in lengths), max(most for _, most in lengths)) if lengths else None,
        _mixed(counted) if counted else None,
    )


def _mixed(counted: Sequence[tuple[Returns, int]]) -> Returns:
    """Statistics of several sets of returns, each with its size."""
    total = sum(count for _, count in counted) or 1
    mean = math.fsum(of.mean * count for of, count in counted) / total
    squares = (count * (of.spread**2 + (of.mean - mean) ** 2) for of, count in counted)
    least, greatest = min(of.least for of, _ in counted), max(of.greatest for of, _ in counted)
    return Returns(mean, math.sqrt(math.fsum(squares) / total), least, greatest)


def _flags(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    counted = [split["flags"] for split in splits.values() if split.get("flags")]
    names = counted[0] if counted else {}
    return {name: sum(flags.get(name, 0) for flags in counted) for name in names}


def _fields(spec: Mapping[str, Any]) -> Iterator[Field]:
    if "transition" in spec:
        stacked = spec["transition"]
        shape = [stacked["stack"], *stacked["frame"]["shape"]]
        yield _field(TRANSITION, OBSERVATION, {**stacked["frame"], "shape": shape})
        yield _field(TRANSITION, "action", stacked["action"])
        return
    observation = spec["observation"]
    if "arrays" in observation:
        for name, array in observation["arrays"].items():
            yield _field(STEP, OBSERVED + name, array)
    else:
        yield _field(STEP, OBSERVATION, observation)
    yield _field(STEP, "action", spec["action"])
    for of_what, fields in ((STEP, spec["extras"]), (EPISODE, spec["metadata"])):
        for name, array in fields.items():
            yield _field(of_what, name, array)


def _field(of_what: str, name: str, array: Mapping[str, Any]) -> Field:
    bounds = None
    if "minimum" in array:
        bounds = (_bound(array["minimum"], min), _bound(array["maximum"], max))
    return Field(of_what, name, array["dtype"], tuple(array["shape"]), bounds)


def _bound(bound: Any, of_bounds: Any) -> float:
    return (
        of_bounds(_bound(each, of_bounds) for each in bound) if isinstance(bound, list) else bound
    )


def _left_out(published: Mapping[str, Any]) -> Iterator[str]:
    for name, reason in published.get("skipped", {}).items():
        yield f"unit {name}: {reason}"
    for name, reasons in published.get("left_out", {}).items():
        yield from (f"a record of unit {name}: {reason}" for reason in reasons)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, Sequence) else ()


def _fact(value: Any) -> str:
    """Texts and numbers as they are, and the sizes of larger values."""
    if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
        return "; ".join(str(each) for each in value)
    if isinstance(value, list):
        names = [each["name"] for each in value if isinstance(each, dict) and "name" in each]
        return ", ".join(map(str, names)) if len(names) == len(value) else f"{len(value)} entries"
    if isinstance(value, dict):
        flat = [f"{k} {v}" for k, v in value.items() if isinstance(v, str | int | float)]
        return ", ".join(flat) if len(flat) == len(value) else f"{len(value)} entries"
    return str(value)
