"""A summary of a manifest that fits on one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import rich.console
import rich.table
import rich.text

from rl_datasets.episode import RAW_RETURN
from rl_datasets.published.version import Version

_SPLITS = 8
_COLUMNS = 80


def of(version: Version) -> rich.console.Group:
    """The name, sizes, splits, spec and lineage of a published version, for printing."""
    published, plan = version.manifest, version.manifest["plan"]
    size = version.size / 1e6
    files = f"{len(published['files'])} files, {size:,.{1 if size >= 1 else 3}f} MB"
    head = [
        version.name,
        str(version.folder),
        f"{files}; source files: {len(plan['sources'])}; written by {published['code']}",
    ]
    tail = [*_flags(published["splits"]), *_spec(plan["spec"]), "", *_lineage(plan["lineage"])]
    if skipped := published.get("skipped"):
        tail += ["", f"skipped: {', '.join(skipped)}"]
    short = [textwrap.shorten(line, _COLUMNS, placeholder=" ...") for line in tail]
    return rich.console.Group(
        rich.text.Text("\n".join([*head, ""])),
        _table(published["splits"]),
        rich.text.Text("\n".join(["", *short])),
    )


def _table(splits: Mapping[str, Mapping[str, Any]]) -> rich.table.Table:
    """One row for each split, only the first few if there are many, and one for all together."""
    table = rich.table.Table(box=None, pad_edge=False)
    table.add_column("split", overflow="fold")
    is_raw = any(RAW_RETURN in split for split in splits.values())
    returns, told = (RAW_RETURN, "raw return") if is_raw else ("episode_return", "return")
    for heading in ("episodes", "transitions", "length", told, "of an episode"):
        table.add_column(heading, justify="right")
    rows = [(name, *_row(split, returns)) for name, split in splits.items()]
    for row in rows[:_SPLITS]:
        table.add_row(*row)
    if len(rows) > _SPLITS:
        table.add_row(f"... {len(rows) - _SPLITS} more")
    if len(rows) > 1:
        together = {
            key: sum(split.get(key, 0) for split in splits.values())
            for key in ("episodes", "transitions")
        }
        table.add_row("all", *_row(together, returns))
    return table


def _row(split: Mapping[str, Any], name_of_returns: str) -> list[str]:
    cells = [f"{split[key]:,}" if split.get(key) else "" for key in ("episodes", "transitions")]
    if length := split.get("episode_length"):
        cells.append(f"{length['min']:,} to {length['max']:,}")
    if returns := split.get(name_of_returns):
        cells.append(f"{returns['mean']:,.1f} ± {returns['standard_deviation']:,.1f}")
        cells.append(f"{returns['min']:,.1f} to {returns['max']:,.1f}")
    return cells


def _flags(splits: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line for each boolean field of the episodes: the number of episodes where it is True."""
    counted = [split["flags"] for split in splits.values() if split.get("flags")]
    told = [
        f"{name.replace('_', ' ')}: {sum(flags.get(name, 0) for flags in counted):,} episodes"
        for name in (counted[0] if counted else {})
    ]
    return [*told, ""] if told else []


def _spec(spec: Mapping[str, Any]) -> list[str]:
    if "transition" in spec:
        of_transition = spec["transition"]
        frame, action = _array(of_transition["frame"]), _array(of_transition["action"])
        return [f"transitions of {of_transition['stack']} frames {frame}; action {action}"]
    observation = spec["observation"]
    arrays = observation.get("arrays", {"": observation})
    seen = ", ".join(f"{name} {_array(of)}".strip() for name, of in arrays.items())
    lines = [f"observation {seen}; action {_array(spec['action'])}"]
    for kind, owner in (("extras", "steps"), ("metadata", "episodes")):
        if spec[kind]:
            lines.append(f"{owner} also have {', '.join(spec[kind])}")
    return lines


def _array(fields: Mapping[str, Any]) -> str:
    bounds = ""
    if "minimum" in fields:
        least, most = _bound(fields["minimum"], min), _bound(fields["maximum"], max)
        bounds = f" from {least:g} to {most:g}"
    return f"{fields['dtype']} {fields['shape']}{bounds}"


def _bound(bound: Any, of: Any) -> float:
    return of(bound) if isinstance(bound, list) else bound


def _lineage(lineage: Mapping[str, Any]) -> list[str]:
    """One line for each fact: texts and numbers as they are, and the sizes of larger values."""
    told = {name: value for name, value in lineage.items() if value not in ("", None, [], {})}
    return [f"{name.replace('_', ' ')}: {_fact(value)}" for name, value in told.items()]


def _fact(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(each, str | int | float) for each in value):
        return "; ".join(str(each) for each in value)
    if isinstance(value, list):
        names = [each["name"] for each in value if isinstance(each, dict) and "name" in each]
        return ", ".join(map(str, names)) if len(names) == len(value) else f"{len(value)} entries"
    if isinstance(value, dict):
        flat = [f"{k} {v}" for k, v in value.items() if isinstance(v, str | int | float)]
        return ", ".join(flat) if len(flat) == len(value) else f"{len(value)} entries"
    return str(value)
