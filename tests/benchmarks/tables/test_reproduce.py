"""A table from end to end: a dataset that is really collected and published, two processes."""

import shutil

import pytest

from benchmarks.tables import report, reported
from benchmarks.tables.reproduce import reproduce
from benchmarks.training import recipe
from benchmarks.training.parts import Part
from benchmarks.training.results import read_results
from rl_datasets.errors import DatasetError
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_transitions
from tests.optional import optional

reverb = optional("rl_datasets.serving.reverb")

RECIPE = """
title = "Pendulum"
table = "pendulum"
learner = "bc"
seeds = [0, 1]
steps = 20
batch_size = 8
evaluate_every = 10
episodes = 2
[config]
hidden_sizes = [8]
[[rows]]
reported = "pendulum"
dataset = "brac/pendulum:2.0.0"
environment = "Pendulum-v1"
"""
TABLE = """
title = "Pendulum"
paper = "none"
source = "made up for a test"
license = "none"
metric = "return"
exact = true
statistic = "last_10"
spread = "population standard deviation"
defects = []
[protocol]
steps = 20
seeds = 2
[algorithms.BC.last_10]
pendulum = [-1200.0, -1300.0]
"""


@pytest.fixture
def data_dir(pendulum):
    return pendulum


@pytest.fixture(autouse=True)
def _pendulum_table(tmp_path, monkeypatch):
    for module, text in ((recipe, RECIPE), (reported, TABLE)):
        folder = tmp_path / module.__name__
        folder.mkdir()
        (folder / "pendulum.toml").write_text(text)
        monkeypatch.setattr(module, "FOLDER", folder)


def test_two_processes_share_the_cells_and_the_report_follows(data_dir, tmp_path, capsys):
    page = reproduce("pendulum", data_dir=data_dir, runs_dir=tmp_path, processes=2)
    assert "40 gradient steps left" in capsys.readouterr().out
    lines = read_results(page.parent / "pendulum.jsonl")
    assert [(line["seed"], line["step"]) for line in lines] == [(0, 10), (0, 20), (1, 10), (1, 20)]
    assert "0 not run" in page.with_suffix(".md").read_text()
    # One process, alone, measures the same.
    alone = reproduce("pendulum", data_dir=data_dir, runs_dir=tmp_path / "alone")
    again = read_results(alone.parent / "pendulum.jsonl")
    assert [line["returns"] for line in again] == [line["returns"] for line in lines]


def test_an_error_in_a_process_is_the_same_sentence(tmp_path):
    with pytest.raises(DatasetError, match="is not published"):
        reproduce("pendulum", data_dir=tmp_path, runs_dir=tmp_path, processes=2)


def test_a_dry_run_runs_nothing(data_dir, tmp_path, capsys):
    runs_dir = tmp_path / "runs"
    assert reproduce("pendulum", data_dir=data_dir, runs_dir=runs_dir, dry_run=True) is None
    assert "40 gradient steps left" in capsys.readouterr().out
    assert not runs_dir.exists()


@pytest.mark.reverb
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_reverb_server_of_another_dataset_is_refused(data_dir, tmp_path, dry_run):
    transitions = load_transitions(data_dir / "brac/pendulum/2.0.0")
    other = reverb.ReverbServer(transitions, fingerprint="other")
    with other, pytest.raises(DatasetError, match="serves another dataset"):
        reproduce(
            "pendulum",
            data_dir=data_dir,
            runs_dir=tmp_path / "runs",
            feed=other.address,
            dry_run=dry_run,
        )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("place", ["runs_dir", "results_dir"])
def test_a_folder_that_cannot_be_is_refused_before_anything_is_trained(
    data_dir, tmp_path, place, dry_run
):
    (tmp_path / "file").touch()
    places = {"runs_dir": tmp_path / "runs", place: tmp_path / "file" / "folder"}
    with pytest.raises(DatasetError, match=r"written into .*file/folder: .*file is a file; name"):
        reproduce("pendulum", data_dir=data_dir, dry_run=dry_run, **places)
    assert not (tmp_path / "runs").exists()


@pytest.mark.reverb
@pytest.mark.parametrize("cut", [{"n_step": 3, "gamma": 0.9}, {"next_action": True}])
def test_a_reverb_server_that_cuts_otherwise_is_refused(data_dir, tmp_path, cut):
    version = data_dir / "brac/pendulum/2.0.0"
    with (
        reverb.ReverbServer.from_published(version, cut=Cut(**cut)) as server,
        pytest.raises(DatasetError, match=r"--n-step 1 --gamma 1\.0$"),
    ):
        reproduce("pendulum", data_dir=data_dir, runs_dir=tmp_path, feed=server.address)


@pytest.mark.reverb
def test_a_server_that_several_share_trains_as_well(data_dir, tmp_path):
    with reverb.ReverbServer.from_published(data_dir / "brac/pendulum/2.0.0") as server:
        page = reproduce(
            "pendulum", seeds=[0], data_dir=data_dir, runs_dir=tmp_path, feed=server.address
        )
    assert len(read_results(page.parent / "pendulum.jsonl")) == 2


@pytest.mark.reverb
def test_the_reverb_feed_trains_as_well(data_dir, tmp_path):
    page = reproduce("pendulum", seeds=[0], data_dir=data_dir, runs_dir=tmp_path, feed="reverb")
    lines = read_results(page.parent / "pendulum.jsonl")
    assert [line["feed"] for line in lines] == ["reverb"] * 2


def test_two_parts_make_the_table_of_one_run(data_dir, tmp_path):
    """Each machine runs its part; the folders of their runs are then copied together."""
    whole = reproduce("pendulum", data_dir=data_dir, runs_dir=tmp_path / "whole")
    for number in (1, 2):
        runs = tmp_path / f"machine-{number}"
        page = reproduce("pendulum", data_dir=data_dir, runs_dir=runs, part=Part(number, 2))
        (sentence,) = report.missing("pendulum", page.parent, 2)
        assert sentence == (
            f"part {3 - number}/2 lacks 1 of 1 runs: first pendulum seed {2 - number}"
        )
        shutil.copytree(runs, tmp_path / "together", dirs_exist_ok=True)
    together = reproduce("pendulum", data_dir=data_dir, runs_dir=tmp_path / "together")
    assert report.missing("pendulum", together.parent, 2) == []
    assert _returns(together.parent) == _returns(whole.parent)


def _returns(folder):
    return [
        (line["seed"], line["step"], line["returns"])
        for line in read_results(folder / "pendulum.jsonl")
    ]


def test_a_part_without_what_was_asked_for(data_dir, tmp_path):
    with pytest.raises(DatasetError, match="part 3/3 of pendulum has none of the rows and seeds"):
        reproduce("pendulum", data_dir=data_dir, runs_dir=tmp_path, part=Part(3, 3))
