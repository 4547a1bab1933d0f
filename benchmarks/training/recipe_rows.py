"""The rows that a recipe's file stands for.

An entry of `[[rows]]` with `each` stands for a row of every choice from its lists:

    [[rows]]
    reported = "{game}"
    variant = "run_{run}"
    dataset = "dqn_replay/{game}_run_{run}:1.1.0"
    environment = "{game}"
    each.game = ["Pong", "Breakout"]
    each.run = ["1", "2"]

A recipe of several algorithms names them as `[[algorithms]]`; each of its rows then stands for one
row of each of them, `<algorithm>/<reported>`:

    [[algorithms]]
    name = "CQL"                          # as the reported table calls it
    variant = "three-values"              # what sets it apart from another entry of the same name
    learner = "cql"
    config = { num_actions = 1 }
    batch_size = 256                      # the recipe's by default
    only = ["halfcheetah-medium-v2"]      # the rows it has, or patterns "*-v2"; all by default
    config_of.halfcheetah-medium-v2 = {}  # further fields of single rows
    row_of.halfcheetah-medium-v2 = {}     # what else single rows have of their own
    blocked = "why it cannot be run"
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any

from benchmarks.training.row import Options, Row, Text
from rl_datasets import toml_tables
from rl_datasets.errors import DatasetError

IN_FILE = {"kind": "data"}  # options that have another name in a file
_IN_BRACES = re.compile(r"\{(\w+)\}")
OF_A_ROW = {"reported", "dataset", "environment", "algorithm"}  # and not of an algorithm


@dataclasses.dataclass(frozen=True, kw_only=True)
class Algorithm(Options):
    """The fields of an entry of `[[algorithms]]`: see the top.

    Attributes:
      name, only, config_of, row_of: as there.
    """

    name: Text
    only: tuple[str, ...] | None = None
    config_of: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, hash=False)
    row_of: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows(Options):
    """The fields of an entry of `[[rows]]`.

    Attributes:
      each: texts by the name that stands for them in the entry's other texts: see the top.
    """

    each: dict[str, Annotated[tuple[Text, ...], "[1, inf)"]] = dataclasses.field(
        default_factory=dict, hash=False
    )


def rows_in(named: str, content: dict[str, Any], where: str) -> tuple[Row, ...]:
    """Takes the rows out, each once for every algorithm where there are several (see the top)."""
    rows: list[dict[str, Any]] = []
    for number, table in enumerate(toml_tables.tables(content, "rows", where), 1):
        where_of_rows = f"{where}, [[rows]] {number}"
        entry = _options(Rows, table, where_of_rows, {"algorithm"}, named)
        rows += _every_choice(entry, where_of_rows)
    del content["rows"]
    if "algorithms" not in content:
        return tuple(_row(row, where) for row in rows)
    algorithms = toml_tables.tables(content, "algorithms", where)
    del content["algorithms"]
    return tuple(
        row
        for number, algorithm in enumerate(algorithms, 1)
        for row in _rows_of(algorithm, rows, f"{where}, [[algorithms]] {number}")
    )


def _every_choice(entry: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """The rows that an entry of `[[rows]]` stands for, the first list of `each` changing last."""
    each = entry.pop("each", {})
    for texts in itertools.product(*each.values()):
        choice = dict(zip(each, texts, strict=True))
        try:
            yield {name: _chosen(value, choice) for name, value in entry.items()}
        except KeyError as error:
            raise DatasetError(
                f"{where} has {{{error.args[0]}}} in a text, and its each lists "
                f"{', '.join(each)}: name one of these"
            ) from error


def _chosen(value: Any, choice: Mapping[str, str]) -> Any:
    """A text with what is chosen in the place of the names in braces; any other value as it is."""
    if not (choice and isinstance(value, str)):
        return value
    return _IN_BRACES.sub(lambda name: choice[name[1]], value)


def _options(
    kind: type[Options],
    table: dict[str, Any],
    where: str,
    without: Collection[str],
    reported: str = "reported",
) -> dict[str, Any]:
    """The options in a table of the file, by their fields."""
    return toml_tables.check(kind, table, where, {**IN_FILE, "reported": reported}, without)


def _rows_of(table: dict[str, Any], rows: Sequence[Mapping[str, Any]], where: str) -> Iterator[Row]:
    """The rows of one entry of `[[algorithms]]`."""
    algorithm = _options(Algorithm, table, where, OF_A_ROW)
    only = algorithm.pop("only", None)
    config_of, row_of = algorithm.pop("config_of", {}), algorithm.pop("row_of", {})
    name, variant = algorithm.pop("name"), algorithm.pop("variant", "")
    config = algorithm.pop("config", {})
    reported = [row["reported"] for row in rows]
    for of in [*(only or ()), *config_of, *row_of]:
        if not fnmatch.filter(reported, of):
            nearest = difflib.get_close_matches(of, reported, 1, 0)[0]
            raise DatasetError(f"{where} names a row {of!r}: did you mean {nearest!r}?")
    for row in rows:
        of = row["reported"]
        without = {*OF_A_ROW, "variant", "config"}
        own = _of_row(row_of, of)
        options = algorithm | _options(Options, own, f"{where}, row_of", without)
        options["config"] = {**config, **_of_row(config_of, of)}
        if twice := sorted(options.keys() & row.keys()):
            name_of = IN_FILE.get(twice[0], twice[0])
            raise DatasetError(f"{where} and its row {of!r} both give {name_of}: give it once")
        variants = [each for each in (variant, row.get("variant", "")) if each]
        options |= {"algorithm": name, "variant": "/".join(variants)}
        if only is None or any(fnmatch.fnmatchcase(of, pattern) for pattern in only):
            yield _row({**row, **options, "reported": f"{name}/{of}"}, where)


def _of_row(tables: Mapping[str, Mapping[str, Any]], reported: str) -> dict[str, Any]:
    """What tables by names or patterns of rows have for a row, a later one over an earlier one."""
    matching = [of for name, of in tables.items() if fnmatch.fnmatchcase(reported, name)]
    return {name: value for of in matching for name, value in of.items()}


def _row(values: Mapping[str, Any], where: str) -> Row:
    try:
        return Row.of(**values)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error
