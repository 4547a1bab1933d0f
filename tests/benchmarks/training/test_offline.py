"""The runner on a tiny table: what it writes, what it skips, and what a kill leaves.

Run as a program, this file measures that table, so that a test can kill it.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import filelock
import jax
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.training import checkpoint, run_folder, runner
from benchmarks.training.cells import Cell, plan
from benchmarks.training.recipe import Recipe
from benchmarks.training.results import RESULTS, read_results
from benchmarks.training.row import Row
from benchmarks.training.tasks import control
from learners import brac_bc
from learners.registry import LEARNERS
from learners.types import Learner, Spec, TrainingState
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.transitions import Transition
from tests.benchmarks import version_folders

ROWS = (
    Row.of("first", "tiny/first:1.0.0", "Pendulum-v1"),
    Row.of("other", "tiny/other:1.0.0", "Pendulum-v1"),
)
RECIPE = Recipe(
    title="Tiny",
    table="tiny",
    learner="brac_bc",
    seeds=(0, 1, 2),
    steps=80,
    batch_size=4,
    evaluate_every=20,
    episodes=2,
    rows=ROWS,
    config={"hidden_sizes": [8]},
)


def transitions(_version: Version, split: str, cut: Cut, _share: object) -> Transition:
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return Transition(
        normal(50, 3),
        np.tanh(normal(50, 1)),
        normal(50),
        np.ones(50, np.float32),
        normal(50, 3),
        {},
    )


def publish(data_dir: pathlib.Path) -> None:
    """Folders that pass for published versions as far as the runner looks at them."""
    for row in ROWS:
        version_folders.write(data_dir / row.data.version_path)


def run(folder: pathlib.Path, cells=None, progress=lambda cell, step: None, **options) -> None:
    publish(folder / "data")
    places = runner.Places(folder / "data", folder / "runs")
    runner.run_cells(cells or plan(RECIPE, ["first"], [0]), places, progress, **options)


CELLS = plan(RECIPE, ["first"])


@pytest.fixture(autouse=True)
def _tiny_data(monkeypatch):
    monkeypatch.setattr(control, "_transitions", transitions)


def results(folder: pathlib.Path, cell: Cell = CELLS[0]) -> list[dict]:
    return read_results(cell.folder(folder / "runs") / RESULTS)


def measured(folder: pathlib.Path, cell: Cell = CELLS[0]) -> list[tuple]:
    """What must repeat: all but the seconds and the commit."""
    return [(r["seed"], r["step"], r["returns"], r["metrics"]) for r in results(folder, cell)]


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("uncut")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(control, "_transitions", transitions)
        run(folder)
    return folder


def test_one_line_an_evaluation_with_what_is_needed_to_place_it(uncut):
    lines = results(uncut)
    assert [line["step"] for line in lines] == [20, 40, 60, 80]
    line = lines[0]
    assert line["dataset"] == "tiny/first:1.0.0"
    assert line["config"]["hidden_sizes"] == [8]
    assert line["seed"] == 0
    assert line["budget"] == 1
    assert len(line["returns"]) == 2
    assert all(-2000 < r < 0 for r in line["returns"])  # 200 steps of Pendulum, each in [-16.3, 0]
    assert np.isfinite(line["metrics"]["policy_loss"])
    # By coreutils' sha256sum, of the manifest that `publish` writes for this row.
    assert line["fingerprint"].startswith("5e90be8d492935b3")


def test_events_hold_the_same_numbers(uncut):
    folder = CELLS[0].folder(uncut / "runs")
    accumulator = EventAccumulator(str(folder)).Reload()
    points = [(each.step, each.value) for each in accumulator.Scalars("evaluation/return")]
    lines = read_results(folder / RESULTS)
    expected = [(line["step"], pytest.approx(np.mean(line["returns"]))) for line in lines]
    assert points == expected


def test_a_run_that_is_done_is_not_done_again(uncut):
    before = (CELLS[0].folder(uncut / "runs") / RESULTS).stat().st_mtime_ns
    run(uncut, progress=lambda cell, step: pytest.fail("it ran again"))
    assert (CELLS[0].folder(uncut / "runs") / RESULTS).stat().st_mtime_ns == before


def test_the_same_seed_gives_the_same_results(uncut, tmp_path):
    run(tmp_path)
    assert measured(tmp_path) == measured(uncut)


def test_a_killed_run_goes_on_bit_for_bit(uncut, tmp_path):
    path = CELLS[0].folder(tmp_path / "runs") / RESULTS
    program = subprocess.Popen(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.getcwd()},
    )
    deadline = time.monotonic() + 120
    while len(read_results(path)) < 2 and program.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    program.send_signal(signal.SIGKILL)
    program.wait()
    run(tmp_path)
    assert measured(tmp_path) == measured(uncut)


class _Cut(Exception):
    pass


def cut_at(step_of_cut: int):
    def progress(cell, step):
        if step == step_of_cut:
            raise _Cut

    return progress


def test_a_cut_loses_at_most_one_evaluation_interval(uncut, tmp_path):
    with pytest.raises(_Cut):
        run(tmp_path, progress=cut_at(60))
    steps = []
    run(tmp_path, progress=lambda cell, step: steps.append(step))
    assert steps == [60, 80]
    assert measured(tmp_path) == measured(uncut)


@pytest.mark.parametrize("place", ["line", "checkpoint"])
def test_a_cut_in_the_middle_of_keeping_an_evaluation(uncut, tmp_path, monkeypatch, place):
    calls = []

    def cut_second(function):
        def call(*args, **kwargs):
            calls.append(args)
            if len(calls) == 2:
                raise _Cut
            return function(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        if place == "line":
            patch.setattr(run_folder, "append_result", cut_second(run_folder.append_result))
        else:
            patch.setattr(checkpoint, "save", cut_second(checkpoint.save))
        with pytest.raises(_Cut):
            run(tmp_path)
    run(tmp_path)
    assert measured(tmp_path) == measured(uncut)


def test_a_line_without_its_checkpoint_is_made_again_and_not_doubled(uncut, tmp_path):
    with pytest.raises(_Cut):
        run(tmp_path, progress=cut_at(60))
    with (CELLS[0].folder(tmp_path / "runs") / RESULTS).open("a") as file:
        file.write(json.dumps({**results(uncut)[2], "returns": [1.0, 2.0]}) + '\n{"cut whi')
    run(tmp_path)
    assert measured(tmp_path) == measured(uncut)


def test_a_last_line_without_its_end_of_line_is_no_reason_to_run_again(uncut, tmp_path):
    run(tmp_path)
    path = CELLS[0].folder(tmp_path / "runs") / RESULTS
    path.write_text(path.read_text().rstrip("\n"))
    run(tmp_path, progress=lambda cell, step: pytest.fail("it ran again"))
    assert measured(tmp_path) == measured(uncut)


@pytest.mark.parametrize("left", [0, 1, -20])
def test_results_that_were_lost_beside_their_checkpoint_are_told(tmp_path, left):
    run(tmp_path)
    path = CELLS[0].folder(tmp_path / "runs") / RESULTS
    text = path.read_text()
    path.write_text(text[:left] if left != 1 else text.splitlines(keepends=True)[-2])
    lost = r"results\.jsonl lacks results up to step 80, .*: remove "
    with pytest.raises(DatasetError, match=lost):
        run(tmp_path)


def test_returns_that_are_not_numbers_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(control, "evaluate", lambda *_: np.array([1.0, np.nan]))
    with pytest.raises(DatasetError, match=r"not finite numbers at step 20: the learner diverged"):
        run(tmp_path)
    assert not results(tmp_path)


def test_seeds_trained_together_learn_what_each_learns_alone(uncut, tmp_path):
    with pytest.raises(_Cut):
        run(tmp_path, CELLS[:1], cut_at(40))
    run(tmp_path, CELLS, seeds_at_once=3)  # One continues alone, and the others start together.
    for cell in CELLS:
        assert [(r["seed"], r["step"]) for r in results(tmp_path, cell)] == [
            (cell.seed, step) for step in (20, 40, 60, 80)
        ]
    assert measured(tmp_path, CELLS[0]) == measured(uncut)
    run(tmp_path / "alone", CELLS[2:])
    together, alone = results(tmp_path, CELLS[2]), results(tmp_path / "alone", CELLS[2])
    losses = [[r["metrics"]["policy_loss"] for r in lines] for lines in (together, alone)]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert losses[0] != [r["metrics"]["policy_loss"] for r in results(tmp_path, CELLS[1])]


def test_a_cell_in_other_hands_is_left_alone(tmp_path):
    folder = CELLS[0].folder(tmp_path / "runs")
    folder.mkdir(parents=True)
    with filelock.FileLock(folder / ".lock"):
        run(tmp_path, CELLS[:2])
    assert results(tmp_path, CELLS[0]) == []
    assert len(results(tmp_path, CELLS[1])) == 4


def test_a_dataset_that_changed_is_refused(tmp_path):
    with pytest.raises(_Cut):
        run(tmp_path, progress=cut_at(40))
    places = runner.Places(tmp_path / "data", tmp_path / "runs")
    version_folders.write(tmp_path / "data" / ROWS[0].data.version_path, seed=1)
    with pytest.raises(DatasetError, match=r"fingerprint differ"):
        runner.run_cells(CELLS[:1], places, lambda cell, step: None)


def test_a_dataset_that_is_not_there_is_named(tmp_path):
    places = runner.Places(tmp_path / "nowhere", tmp_path / "runs")
    with pytest.raises(DatasetError, match=r"first:1\.0\.0. is not published in .*nowhere"):
        runner.run_cells(CELLS[:1], places, lambda cell, step: None)


def test_a_run_that_diverges_is_stopped_before_it_is_scored(tmp_path, monkeypatch):
    def make(config: brac_bc.Config, spec: Spec) -> Learner:
        plain = brac_bc.make(config, spec)

        def update(state, batches):
            state, metrics = plain.update(state, batches)
            return state, {**metrics, "policy_loss": np.where(state.steps > 20, np.nan, 1.0)}

        return plain._replace(update=update)

    diverging = dataclasses.replace(LEARNERS["brac_bc"], make=make)
    monkeypatch.setitem(LEARNERS, "brac_bc", diverging)
    with pytest.raises(
        DatasetError, match="first brac_bc seed 0 diverged: policy_loss is not a fin"
    ):
        run(tmp_path)
    assert [line["step"] for line in results(tmp_path)] == [20]


def test_a_smaller_budget_lies_apart_and_says_so(tmp_path):
    cells = plan(RECIPE, ["first"], [0], budget=0.5)
    run(tmp_path, cells)
    lines = results(tmp_path, cells[0])
    assert [line["step"] for line in lines] == [20, 40]
    assert {line["budget"] for line in lines} == {0.5}
    assert results(tmp_path) == []


def trained(folder: pathlib.Path, cells=None) -> list[int]:
    """Runs, and gives the steps that were trained."""
    steps: list[int] = []
    run(folder, cells, lambda cell, step: steps.append(step))
    return steps


def test_a_larger_budget_goes_on_where_a_smaller_one_ended(uncut, tmp_path):
    for budget in (0.25, 0.5):
        run(tmp_path, plan(RECIPE, ["first"], [0], budget))
    (shorter,) = plan(RECIPE, ["first"], [0], 0.5)
    before = results(tmp_path, shorter)
    assert min(trained(tmp_path)) > 40
    assert measured(tmp_path) == measured(uncut)
    assert {(line["budget"], line["steps"]) for line in results(tmp_path)} == {(1.0, 80)}
    assert results(tmp_path, shorter) == before


@pytest.mark.parametrize("field", [{"batch_size": 5}, {"config": {"hidden_sizes": [4]}}])
def test_no_run_goes_on_with_another(tmp_path, field):
    run(tmp_path, plan(dataclasses.replace(RECIPE, **field), ["first"], [0], 0.5))
    assert min(trained(tmp_path)) <= 20


def test_a_run_that_was_cut_while_it_took_a_shorter_one_over_takes_it_again(
    uncut, tmp_path, monkeypatch
):
    run(tmp_path, plan(RECIPE, ["first"], [0], 0.5))

    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "write_results", cut)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert min(trained(tmp_path)) > 40
    assert measured(tmp_path) == measured(uncut)


@pytest.mark.parametrize(
    ("rows", "seeds", "budget", "named"),
    [
        (["third"], None, 1, "third"),
        (None, [7], 1, "7"),
        (None, None, 0, "0"),
        (None, None, 2, "2"),
    ],
)
def test_a_cell_that_does_not_exist_is_refused(rows, seeds, budget, named):
    with pytest.raises(DatasetError, match=named):
        plan(RECIPE, rows, seeds, budget)


def test_the_plan_goes_row_by_row():
    cells = plan(RECIPE)
    assert [(cell.row.reported, cell.seed) for cell in cells] == [
        ("first", 0), ("first", 1), ("first", 2), ("other", 0), ("other", 1), ("other", 2),
    ]  # fmt: skip


def test_a_state_that_the_system_refuses_to_write(tmp_path, monkeypatch):
    """A real failure of a write, by the limit on the size of a file; no traceback."""
    monkeypatch.setattr("benchmarks.training.results.FIELDS", {"step": int})
    identity = {"evaluate_every": 1, "seed": 0}
    state = {"params": np.random.default_rng(0).normal(size=100_000)}
    returns, nothing = {"act": np.ones(2)}, {"train": 1.0}
    folder = run_folder.RunFolder(tmp_path, identity, [1, 2])
    folder.restore(state)
    folder.write(1, state, returns, nothing, nothing)
    refused = r"cannot write .*checkpoint\.npz \(File too large\): fix that and run the same"
    with files_of_at_most(100_000), pytest.raises(DatasetError, match=refused):
        folder.write(2, state, returns, nothing, nothing)
    again = run_folder.RunFolder(tmp_path, identity, [1, 2])
    assert again.checkpoint_step == 1
    np.testing.assert_array_equal(again.restore(state).state["params"], state["params"])
    assert [line["step"] for line in read_results(tmp_path / RESULTS)] == [1]


@pytest.mark.parametrize("is_first", [True, False])
def test_events_that_the_system_refuses_to_write(tmp_path, monkeypatch, is_first):
    """When a run is opened, or at an evaluation, which is kept; the next run has every point."""
    monkeypatch.setattr("benchmarks.training.results.FIELDS", {"step": int})
    identity = {"evaluate_every": 1, "seed": 0}
    state = {"params": np.ones(3)}
    returns, numbers = {"act": np.ones(2)}, {"train": 1.0}
    folder = run_folder.RunFolder(tmp_path, identity, [1, 2])
    refused = f"TensorBoard could not be written to {tmp_path}: File too large; fix that and run"
    folder.restore(state)
    folder.write(1, state, returns, numbers, numbers)
    if is_first:
        again = run_folder.RunFolder(tmp_path, identity, [1, 2])
        with monkeypatch.context() as patch:
            patch.setattr(run_folder, "write_results", lambda *_: None)  # which has its own limit
            with files_of_at_most(100), pytest.raises(DatasetError, match=refused):
                again.restore(state)
    else:
        write = folder._events.write

        def write_to_a_full_disk(result):
            with files_of_at_most(100):
                write(result)

        monkeypatch.setattr(folder._events, "write", write_to_a_full_disk)
        with pytest.raises(DatasetError, match=refused):
            folder.write(2, state, returns, numbers, numbers)
    again = run_folder.RunFolder(tmp_path, identity, [1, 2])
    steps = [1] if is_first else [1, 2]
    assert again.checkpoint_step == steps[-1]
    again.restore(state)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [each.step for each in events.Scalars("evaluation/return")] == steps


@contextlib.contextmanager
def files_of_at_most(size):
    """A system that writes no file beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


if __name__ == "__main__":
    control._transitions = transitions
    run(pathlib.Path(sys.argv[1]))


def test_a_policy_that_draws_has_another_key_at_each_call():
    state = TrainingState((), (), (), jax.random.PRNGKey(3), 0)

    def played():
        act = runner.acting(lambda state, shape: jax.random.uniform(state.key, shape), state)
        return [float(act(())) for _ in range(5)]

    first = played()
    assert len(set(first)) == 5
    assert played() == first
