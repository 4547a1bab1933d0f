"""Parts of a table: disjoint, complete, alike in cost, and never waiting for one another."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.training.cells import plan
from benchmarks.training.parts import Part, divide
from benchmarks.training.recipe import load_recipe, recipe_names
from rl_datasets.errors import DatasetError

CELLS = {name: plan(load_recipe(name)) for name in recipe_names()}


@settings(max_examples=30)
@given(name=st.sampled_from(sorted(CELLS)), of=st.integers(1, 300))
def test_every_cell_is_in_one_part(name, of):
    cells, parts = CELLS[name], divide(CELLS[name], of)
    assert len(parts) == of
    divided = [cell for part in parts for cell in part]
    assert len(divided) == len(cells)
    assert set(divided) == set(cells)
    place = {cell: index for index, cell in enumerate(cells)}
    for part in parts:
        assert part == sorted(part, key=place.__getitem__)


@settings(max_examples=10)
@given(of=st.integers(1, 64))
def test_a_cell_is_with_those_that_start_from_its_policy(of):
    parts = divide(CELLS["brac"], of)
    part_of = {cell: number for number, part in enumerate(parts) for cell in part}
    for cell, number in part_of.items():
        if cell.behavior in part_of:
            assert part_of[cell.behavior] == number
    starting = {}
    for cell, number in part_of.items():
        if cell.behavior is not None:
            starting.setdefault(cell.behavior, set()).add(number)
    assert all(len(numbers) == 1 for numbers in starting.values())


@pytest.mark.parametrize("name", sorted(CELLS))
def test_parts_cost_about_the_same(name):
    steps = [sum(cell.steps for cell in part) for part in divide(CELLS[name], 4)]
    assert max(steps) <= 1.2 * sum(steps) / 4


@pytest.mark.parametrize("text", ["0/8", "9/8", "3", "3/", "/8", "a/b", "-1/8", "1/0", "3/8/2", ""])
def test_nonsense_is_refused(text):
    with pytest.raises(DatasetError, match="is no part of a table: write 3/8 for the third of"):
        Part.parse(text)


def test_a_part_is_read_as_it_is_written():
    assert (str(Part.parse("3/8")), Part.parse("8/8")) == ("3/8", Part(8, 8))
