"""The suite ends by saying what it skipped, how often, and what brings it."""

import pathlib

pytest_plugins = ["pytester"]

CONFTEST = pathlib.Path(__file__).parent / "conftest.py"
TESTS = """
import pytest

@pytest.mark.parametrize("file", ["a", "b"])
def test_of_a_kind_that_is_not_here(shared, file):
    assert (shared / "d4rl" / file).read_text()

def test_of_a_kind_that_is_here(shared):
    assert (shared / "brac/curve.csv").read_text() == "1"

def test_of_another_machine():
    pytest.skip("needs two machines")
"""


def test_skips_are_grouped_by_what_brings_them(pytester, monkeypatch):
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makepyfile(TESTS)
    pytester.mkdir("real")
    (pytester.mkdir("real/brac") / "curve.csv").write_text("1")
    monkeypatch.setenv("RL_DATASETS_SHARED", str(pytester.path / "real"))
    result = pytester.runpytest("-q")
    result.assert_outcomes(passed=1, skipped=3)
    result.stdout.fnmatch_lines(
        [
            "*skipped, and what brings it*",
            "    2  slices of D4RL's files: * put them in d4rl/ below RL_DATASETS_SHARED",
            "    1  needs two machines",
        ]
    )
