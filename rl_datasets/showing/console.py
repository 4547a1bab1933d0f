"""A card on a terminal: it fits on one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

import rich.console
import rich.table
import rich.text

from rl_datasets.episode import ACTION, OBSERVATION, OBSERVED
from rl_datasets.showing.card import (
    EPISODE,
    STEP,
    TRANSITION,
    Card,
    Field,
    Split,
    is_of_observation,
)

_SPLITS = 8
_COLUMNS = 80


def drawn(card: Card) -> rich.console.Group:
    """The name, sizes, splits, fields and lineage of a version, for printing."""
    head = [
        card.name,
        card.location,
        f"{card.files} files, {card.size_told}; source files: {len(card.sources)}; "
        f"written by {card.code}",
    ]
    tail = [*_flags(card), *_fields(card.fields), "", *_lineage(card)]
    short = [textwrap.shorten(line, _COLUMNS, placeholder=" ...") for line in tail]
    return rich.console.Group(
        rich.text.Text("\n".join([*head, ""])),
        _table(card),
        rich.text.Text("\n".join(["", *short])),
    )


def _table(card: Card) -> rich.table.Table:
    """One row for each split, only the first few if there are many, and one for all together."""
    table = rich.table.Table(box=None, pad_edge=False)
    table.add_column("split", overflow="fold")
    told = "raw return" if card.is_raw else "return"
    for heading in ("episodes", "transitions", "length", told, "of an episode"):
        table.add_column(heading, justify="right")
    for split in card.splits[:_SPLITS]:
        table.add_row(split.name, *_row(split))
    if len(card.splits) > _SPLITS:
        table.add_row(f"... {len(card.splits) - _SPLITS} more")
    if len(card.splits) > 1:
        table.add_row(card.together.name, *_row(card.together))
    return table


def _row(split: Split) -> list[str]:
    cells = [f"{split.episodes:,}" if split.episodes else "", f"{split.transitions:,}"]
    if split.lengths:
        cells.append(f"{split.lengths[0]:,} to {split.lengths[1]:,}")
    if split.returns:
        cells.append(f"{split.returns.mean:,.1f} ± {split.returns.spread:,.1f}")
        cells.append(f"{split.returns.least:,.1f} to {split.returns.greatest:,.1f}")
    return cells


def _flags(card: Card) -> list[str]:
    told = [f"{name.replace('_', ' ')}: {count:,} episodes" for name, count in card.flags.items()]
    return [*told, ""] if told else []


def _fields(fields: Sequence[Field]) -> Iterator[str]:
    """What a policy sees and does, and the names of what else there is."""
    seen = [f for f in fields if f.of != EPISODE and is_of_observation(f.name)]
    (action,) = (f for f in fields if f.of != EPISODE and f.name == ACTION)
    what = "transitions of stacked frames: " if action.of == TRANSITION else ""
    names = [f.name.removeprefix(OBSERVED).removeprefix(OBSERVATION) for f in seen]
    told = ", ".join(f"{name} {f.told}".strip() for name, f in zip(names, seen, strict=True))
    yield f"{what}{OBSERVATION} {told}; {ACTION} {action.told}"
    for of, owner in ((STEP, "steps"), (EPISODE, "episodes")):
        if others := [f.name for f in fields if f.of == of and f not in (*seen, action)]:
            yield f"{owner} also have {', '.join(others)}"


def _lineage(card: Card) -> Iterator[str]:
    yield from (f"{name}: {value}" for name, value in card.facts.items())
    lists = {"repaired": card.repaired, "known defects": card.defects, "left out": card.left_out}
    yield from (f"{name}: {'; '.join(texts)}" for name, texts in lists.items() if texts)
