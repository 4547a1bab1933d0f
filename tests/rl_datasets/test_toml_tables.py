"""Values of a file beside the annotations of a dataclass."""

import dataclasses
from typing import Annotated, Any, Literal

import pytest

from rl_datasets import toml_tables
from rl_datasets.errors import DatasetError


@dataclasses.dataclass(frozen=True)
class Kept:
    count: Annotated[int, "[1, 3]"]
    share: Annotated[float, "(0, 1]"] | None = None
    pair: tuple[float, float] = (0, 0)
    sizes: tuple[Annotated[int, "[1, inf)"], ...] = ()
    kind: Literal["a", "b"] = "a"
    tables: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count == 2:
            raise ValueError("count may not be 2")


def build(**table):
    return toml_tables.build(Kept, table, "f.toml")


def test_what_fits_is_kept_and_lists_become_tuples():
    kept = build(count=3, share=1, pair=[0.5, 1], sizes=[1, 2], tables={"a": {"b": []}})
    assert kept == Kept(3, 1, (0.5, 1), (1, 2), "a", {"a": {"b": []}})
    assert type(kept.share) is int  # as it is written, so that a run's identity stays as it was


def test_false_stands_for_none_where_that_may_be():
    assert build(count=1, share=False).share is None
    with pytest.raises(DatasetError, match="count must be a whole number from 1 to 3, got False"):
        build(count=False)
    with pytest.raises(DatasetError, match=r"share must be .* got True"):
        build(count=1, share=True)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "lacks the field 'count': give a whole number from 1 to 3"),
        ({"count": 0}, "count must be a whole number from 1 to 3, got 0"),
        ({"count": 4}, "count must be"),
        ({"count": 1.0}, "count must be"),
        ({"count": True}, "count must be"),
        ({"count": 10**400}, "count must be"),
        ({"count": 1, "share": 0}, r"share must be a number in \(0, 1\] or false, got 0"),
        ({"count": 1, "share": float("nan")}, "share must be a number"),
        ({"count": 1, "pair": [1]}, "pair must be a list of 2, each a number"),
        ({"count": 1, "pair": [1, 2, 3]}, "pair must be a list of 2, each a number"),
        ({"count": 1, "pair": [1, float("-inf")]}, "pair must be a list of 2"),
        ({"count": 1, "sizes": [1, 0]}, "sizes must be a list, each a whole number of at least 1"),
        ({"count": 1, "sizes": "12"}, "sizes must be a list"),
        ({"count": 1, "kind": "c"}, "kind must be 'a' or 'b', got 'c'"),
        ({"count": 1, "kind": ["a"]}, "kind must be 'a' or 'b'"),
        ({"count": 1, "tables": {"a": 3}}, "tables must be a table of tables"),
        ({"cuont": 1}, "has no field 'cuont': did you mean 'count'"),
        ({"xyz": 1}, "has no field 'xyz': choose from count, share, pair, sizes, kind, tables"),
        ({"count": 2}, "count may not be 2"),
    ],
)
def test_what_does_not_fit_is_named(table, said):
    with pytest.raises(DatasetError, match=rf"^f\.toml.*{said}"):
        build(**table)
