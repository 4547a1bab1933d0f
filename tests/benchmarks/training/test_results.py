"""Lines of results: what is read is a result, and what is not is named."""

import json

import pytest

from benchmarks.training.results import FIELDS, read_results, write_results
from rl_datasets.errors import DatasetError
from tests.benchmarks.made_up import line


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.jsonl"


def test_lines_come_back_as_they_were_written(path):
    lines = [line(), line(step=100, returns_of={"max_q": [1.0, 2]}, rom_set="atari-py 0.2.5")]
    write_results(path, lines)
    assert read_results(path) == lines
    assert read_results(path.with_name("none.jsonl")) == []


def test_a_last_line_that_was_cut_is_left_out_only_while_the_file_may_grow(path):
    whole = json.dumps(line())
    path.write_text(f"{whole}\n{whole[:-5]}")
    assert read_results(path) == [line()]
    with pytest.raises(DatasetError, match=r"line 2 of .*results\.jsonl is not JSON .*: restore"):
        read_results(path, may_grow=False)
    path.write_text(f"{whole[:-5]}\n{whole}\n")
    with pytest.raises(DatasetError, match=r"line 1 of .*results\.jsonl is not JSON"):
        read_results(path)


def test_a_last_line_that_lacks_its_end_of_line_alone_is_read(path):
    path.write_text(json.dumps(line()))
    assert read_results(path) == read_results(path, may_grow=False) == [line()]


@pytest.mark.parametrize("field", FIELDS)
def test_a_line_without_a_field_is_refused(path, field):
    spoilt = line()
    del spoilt[field]
    write_results(path, [line(), spoilt])
    with pytest.raises(DatasetError, match=f"line 2 of .* lacks the field '{field}': restore"):
        read_results(path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"returns": "12"}, "has a returns '12' of another type"),
        ({"returns": ["12"]}, "not a list of finite numbers"),
        ({"returns": []}, "not a list of finite numbers"),
        ({"returns": [1.0, float("nan")]}, "not a list of finite numbers"),
        ({"returns": [float("inf")]}, "not a list of finite numbers"),
        ({"returns": [True]}, "not a list of finite numbers"),
        ({"returns_of": {"max_q": [float("nan")]}}, "not a list of finite numbers"),
        ({"returns_of": {"max_q": 3.0}}, "not a list of finite numbers"),
        ({"returns_of": [1.0]}, "not an object"),
        ({"step": "50"}, "has a step '50' of another type"),
        ({"step": 50.0}, "has a step 50.0 of another type"),
        ({"step": True}, "has a step True of another type"),
        ({"step": 0}, "has the step 0"),
        ({"seed": -1}, "the seed -1"),
        ({"budget": None}, "has a budget None of another type"),
        ({"config": []}, "has a config"),
        ({"seconds": {"train": "2"}}, "seconds that are not finite numbers"),
    ],
)
def test_a_line_of_other_values_is_refused(path, changes, fault):
    write_results(path, [line(**changes)])
    with pytest.raises(DatasetError, match=f"line 1 of .*{fault}.*: restore or remove it"):
        read_results(path)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"text"'])
def test_a_line_that_is_no_object_is_refused(path, text):
    path.write_text(f"{text}\n")
    with pytest.raises(DatasetError, match=r"line 1 of .* is not an object"):
        read_results(path)


@pytest.mark.parametrize("text", [b"\n", b"[" * 100_000, b'{"step": \xff\xfe', b"\0" * 40])
def test_a_line_that_no_parser_takes_is_refused(path, text):
    path.write_bytes(text + b"\n")
    with pytest.raises(DatasetError, match=r"line 1 of .* is not JSON"):
        read_results(path)
