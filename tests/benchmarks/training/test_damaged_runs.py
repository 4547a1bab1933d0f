"""A run's folder that was cut, damaged or mixed up: told in one sentence before it trains."""

import shutil

import numpy as np
import pytest

from benchmarks.training import checkpoint, preparation
from benchmarks.training.cells import plan
from benchmarks.training.results import RESULTS
from rl_datasets.errors import DatasetError
from tests.benchmarks.training.test_offline import (
    CELLS,
    RECIPE,
    _Cut,
    _tiny_data,
    cut_at,
    measured,
    run,
    trained,
    uncut,
)

__all__ = ["_tiny_data", "uncut"]  # fixtures


@pytest.fixture
def cut_folder(tmp_path):
    """The folder of a run whose last evaluation was at step 60 of 80."""
    with pytest.raises(_Cut):
        run(tmp_path, progress=cut_at(80))
    return CELLS[0].folder(tmp_path / "runs")


def refused(tmp_path, why):
    """By a run, which trains nothing and leaves the results as they are, and by a dry run."""
    path = CELLS[0].folder(tmp_path / "runs") / RESULTS
    before = path.read_bytes()
    with pytest.raises(DatasetError, match=why):
        run(tmp_path, progress=lambda cell, step: pytest.fail("it trained"))
    places = preparation.Places(tmp_path / "data", tmp_path / "runs")
    with pytest.raises(DatasetError, match=why):
        preparation.check(CELLS[:1], places)
    assert path.read_bytes() == before


def test_results_whose_checkpoint_is_gone_are_not_thrown_away(tmp_path, cut_folder):
    (cut_folder / "checkpoint.npz").unlink()
    refused(
        tmp_path,
        r"results\.jsonl has results up to step 60, and checkpoint\.npz beside it is missing: put "
        r"the right one there, or remove .*seed-0 to run it again",
    )


def test_a_checkpoint_of_long_before_is_not_continued_from(tmp_path):
    with pytest.raises(_Cut):
        run(tmp_path, progress=cut_at(40))
    old = shutil.copy(CELLS[0].folder(tmp_path / "runs") / "checkpoint.npz", tmp_path)
    with pytest.raises(_Cut):
        run(tmp_path, progress=cut_at(80))
    shutil.copy(old, CELLS[0].folder(tmp_path / "runs"))
    refused(tmp_path, r"up to step 60, and checkpoint\.npz beside it is of step 20: put the right")


@pytest.mark.parametrize("kept", [0, 10, -1, -30])
def test_a_truncated_checkpoint_is_told(tmp_path, cut_folder, kept):
    path = cut_folder / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:kept])
    refused(tmp_path, r"checkpoint\.npz is truncated, damaged .*: remove .*seed-0 to run it again")


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"step": None}, r"checkpoint\.npz is no checkpoint of a run: remove"),
        ({"game": "Pong"}, r"checkpoint\.npz is no checkpoint of a run: remove"),
    ],
)
def test_the_checkpoint_of_something_else_is_told(tmp_path, cut_folder, facts, why):
    checkpoint.save(cut_folder / "checkpoint.npz", {}, facts)
    refused(tmp_path, why)


def test_arrays_that_are_no_checkpoint_are_told(tmp_path, cut_folder):
    np.savez(cut_folder / "checkpoint.npz", weights=np.zeros(3))
    refused(tmp_path, r"checkpoint\.npz is no checkpoint of a learner: remove .*seed-0")


def test_the_checkpoint_of_another_network_is_told(tmp_path, cut_folder):
    checkpoint.save(cut_folder / "checkpoint.npz", {"another": np.zeros(3)}, {"step": 60})
    with pytest.raises(DatasetError, match=r"holds the state of another learner: remove .*seed-0"):
        run(tmp_path, progress=lambda cell, step: pytest.fail("it trained"))


def test_a_last_line_that_was_cut_in_its_middle_is_made_again(tmp_path, cut_folder, uncut):
    """A process that was stopped while it wrote the line of step 80."""
    with (cut_folder / RESULTS).open("a") as file:
        file.write('{"table": "tiny", "row": "fir')
    assert trained(tmp_path) == [80]
    assert measured(tmp_path) == measured(uncut)


def test_a_line_that_was_cut_before_its_checkpoint_is_told(tmp_path, cut_folder):
    path = cut_folder / RESULTS
    path.write_text(path.read_text()[:-40])
    refused(tmp_path, r"results\.jsonl lacks results up to step 60, .*: remove .*seed-0 to run it")


def test_a_line_that_was_cut_among_others_is_told(tmp_path, cut_folder):
    path = cut_folder / RESULTS
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text(first[:30] + "\n" + "".join(others))
    with pytest.raises(
        DatasetError, match=r"line 1 of .*results\.jsonl is not JSON .*: restore or rem"
    ):
        run(tmp_path, progress=lambda cell, step: pytest.fail("it trained"))


def test_a_shorter_run_without_a_checkpoint_is_not_continued(tmp_path, uncut):
    """As of results that were copied without it: a larger budget begins at the beginning."""
    (shorter,) = plan(RECIPE, ["first"], [0], 0.5)
    run(tmp_path, [shorter])
    (shorter.folder(tmp_path / "runs") / "checkpoint.npz").unlink()
    assert trained(tmp_path) == [20, 40, 60, 80]
    assert measured(tmp_path) == measured(uncut)
