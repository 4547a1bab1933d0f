"""Reads tables of a user's TOML file into dataclasses, and checks names, types and ranges.

The dataclass states all of these in its annotations. A range is an interval in mathematical
notation:

    steps: Annotated[int, "[1, inf)"]
    discount: Annotated[float, "[0, 1]"]
    title: Annotated[str, "[1, inf)"]  # the range of the length of a text or a list

Whole numbers are accepted as numbers, lists as tuples, and `false` where a value may be None, which
TOML does not have; nothing else is converted. Neither nan nor an infinity is a number.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import pathlib
import tomllib
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from rl_datasets.errors import DatasetError

T = TypeVar("T")


def read_toml(path: pathlib.Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
      DatasetError: the file is not TOML, which must be UTF-8.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{path} is not a TOML file, correct it: {error}") from error


def tables(content: Mapping[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    """The tables `[[name]]`, of which there must be at least one.

    Args:
      content: the file's content.
      name: the name of the tables.
      where: how an error names the file.

    Raises:
      DatasetError: there are no such tables, or the name has another value.
    """
    found = content.get(name)
    is_of_tables = isinstance(found, list) and all(isinstance(each, dict) for each in found)
    if not found or not is_of_tables:
        raise DatasetError(f"{where} must have {name} as one or more tables, each below [[{name}]]")
    return typing.cast(list[dict[str, Any]], found)


def build(
    kind: type[T],
    table: Mapping[str, Any],
    where: str,
    names: Mapping[str, str] = types.MappingProxyType({}),
    **given: Any,
) -> T:
    """Makes an instance of a dataclass from a table; see `check`.

    Args:
      kind: the dataclass.
      table: keys and values as in the file.
      where: how an error names the file and the table.
      names: the name of a field in the file, where it differs from its own.
      given: values of fields that the file does not have.

    Raises:
      DatasetError: as `check`; or the dataclass refuses its values.
    """
    values = check(kind, table, where, names, without=given)
    try:
        return kind(**values, **given)
    except (DatasetError, ValueError) as error:
        raise DatasetError(f"{where}: {error}") from error


def check(
    kind: type,
    table: Mapping[str, Any],
    where: str,
    names: Mapping[str, str] = types.MappingProxyType({}),
    without: Collection[str] = (),
) -> dict[str, Any]:
    """The values of a table by the fields of a dataclass, checked for type and range.

    Args:
      kind: the dataclass.
      table: keys and values as in the file.
      where: how an error names the file and the table.
      names: the name of a field in the file, where it differs from its own.
      without: fields that the file may not have.

    Raises:
      DatasetError: a key is not a field, a value has the wrong type or is out of its range, or a
        field without a default is missing.
    """
    if not isinstance(table, dict):
        raise DatasetError(f"{where} must be a table, got {_shown(table)}")
    annotations = _annotations(kind)
    fields = {
        names.get(field.name, field.name): field
        for field in dataclasses.fields(kind)
        if field.init and field.name not in without
    }
    for key in table:
        if key not in fields:
            nearest = difflib.get_close_matches(key, fields, 1)
            hint = (
                f"did you mean {nearest[0]!r}?" if nearest else f"choose from {', '.join(fields)}"
            )
            raise DatasetError(f"{where} has no field {key!r}: {hint}")
    values = {}
    for key, field in fields.items():
        if key in table:
            try:
                values[field.name] = _fitted(annotations[field.name], table[key])
            except ValueError as error:
                raise DatasetError(
                    f"{where}: {key} must be {_described(annotations[field.name])}, "
                    f"got {_shown(table[key])}"
                ) from error
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise DatasetError(
                f"{where} lacks the field {key!r}: give {_described(annotations[field.name])}"
            )
    return values


@functools.cache  # as a file may have thousands of tables
def _annotations(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _fitted(wanted: Any, value: Any) -> Any:
    """The value, lists as tuples; raises ValueError if its type or range is not as `wanted`."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    fits = True
    if origin is typing.Annotated:
        value = _fitted(arguments[0], value)
        size = value if isinstance(value, int | float) else len(value)
        fits = all(_is_within(size, interval) for interval in arguments[1:])
    elif origin in (typing.Union, types.UnionType):
        return _fitted_to_one(arguments, value)
    elif origin is typing.Literal:
        fits = isinstance(value, str) and value in arguments
    elif origin is tuple:
        fits = isinstance(value, list | tuple)
        if fits:
            of_each = arguments[:1] * len(value) if arguments[-1] is ... else arguments
            return tuple(_fitted(a, v) for a, v in zip(of_each, value, strict=True))
    elif origin is dict:
        fits = isinstance(value, dict)
        if fits:
            return {key: _fitted(arguments[1], each) for key, each in value.items()}
    elif wanted is float:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        fits = is_whole or (isinstance(value, float) and math.isfinite(value))
    elif wanted is not Any:
        fits = type(value) is wanted
    if not fits:
        raise ValueError(value)
    return value


def _fitted_to_one(arguments: tuple[Any, ...], value: Any) -> Any:
    if value is False and types.NoneType in arguments and bool not in arguments:
        return None
    for wanted in arguments[:-1]:
        try:
            return _fitted(wanted, value)
        except ValueError:
            continue
    return _fitted(arguments[-1], value)


def _is_within(size: float, interval: str) -> bool:
    low, high = _ends(interval)
    is_above = size >= low if interval[0] == "[" else size > low
    is_below = size <= high if interval[-1] == "]" else size < high
    return is_above and is_below


def _ends(interval: str) -> tuple[float, float]:
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def _described(wanted: Any) -> str:
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Annotated:
        kind, interval = arguments
        if kind in (int, float):
            return f"{_described(kind)} {_range(interval)}"
        noun, comma, more = _described(kind).partition(",")
        return f"{noun} that is not empty{comma}{more}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_described(each) for each in arguments)
    if origin is typing.Literal:
        return " or ".join(map(repr, arguments))
    if origin is tuple:
        is_long = arguments[-1] is ...
        each = dict.fromkeys(_described(a) for a in arguments if a is not ...)
        return f"a list{'' if is_long else f' of {len(arguments)}'}, each {' or '.join(each)}"
    if origin is dict:
        of_tables = " of tables" if typing.get_origin(arguments[1]) is dict else ""
        return f"a table{of_tables}"
    names = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        types.NoneType: "false",
    }
    return names[wanted]


def _range(interval: str) -> str:
    low, high = _ends(interval)
    if math.isinf(high):
        return f"of at least {low:g}" if interval[0] == "[" else f"above {low:g}"
    return f"from {low:.10g} to {high:.10g}" if interval[0] == "[" else f"in {interval}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
