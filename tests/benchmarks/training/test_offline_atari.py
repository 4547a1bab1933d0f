"""Offline learners of games, from a logged run to a score: what feeds them and what repeats."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from benchmarks.tables import protocol, results_folder
from benchmarks.training import feeds, preparation
from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.cells import plan
from benchmarks.training.preparation import Places
from benchmarks.training.results import RESULTS, read_results, write_results
from benchmarks.training.tasks import atari, choice, memory
from learners import dqn
from learners.registry import LEARNERS
from rl_datasets.errors import DatasetError
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_transitions
from rl_datasets.serving.part import Part
from tests.benchmarks.changed_rows import changed
from tests.benchmarks.training.game_runs import (
    BY_FILES,
    PONG,
    RECIPE,
    SHORT,
    measured,
    run,
)
from tests.benchmarks.training.test_online_atari import MAKE, small_network
from tests.optional import optional

reverb = optional("rl_datasets.serving.reverb")

pytestmark = pytest.mark.usefixtures("quick_learners")


@pytest.fixture(scope="module")
def uncut(data_dir, tmp_path_factory):
    """Lines of a run that nothing disturbed."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(dqn, "styled", small_network)
        entry = dataclasses.replace(LEARNERS["dqn"], make=MAKE[dqn])
        monkeypatch.setitem(LEARNERS, "dqn", entry)
        return run(data_dir, tmp_path_factory.mktemp("uncut"))


def test_a_line_says_by_what_protocol_it_was_scored(uncut):
    assert [line["step"] for line in uncut] == [4, 8, 12]
    line = uncut[-1]
    assert (line["rom_set"], line["rom_md5"]) == (
        "ale-py 0.12.1",
        "60e0ea3cbe0913d39803477945e9e5ec",
    )
    assert (line["sticky_probability"], line["split"], line["n_step"]) == (0.25, "all", 1)
    assert (line["evaluation_epsilon"], line["max_episode_steps"]) == (0.5, 20)
    assert len(line["returns"]) == 2
    assert np.isfinite(line["metrics"]["loss"])


def test_the_protocol_by_default_is_that_of_dqn_replay():
    assert dataclasses.astuple(AtariProtocol()) == (0.001, 27_000, 0, None, 0, False)


def test_an_evaluation_otherwise_than_by_the_data_says_so_in_its_lines(data_dir, tmp_path):
    """By steps, two of the episodes of 20 steps that have no end before; without sticky actions."""
    other = dataclasses.replace(
        RECIPE.atari, evaluation_steps=21, sticky_probability=0.0, most_no_ops=3
    )
    (line,) = run(data_dir, tmp_path, dataclasses.replace(SHORT, atari=other))
    assert len(line["returns"]) == 2
    told = ("sticky_probability", "evaluation_steps", "most_no_ops")
    assert [line[name] for name in told] == [0.0, 21, 3]
    assert "presses_fire" not in line
    text = protocol.measured(dataclasses.replace(SHORT, atari=other), [line])
    assert "every 4 on as many whole episodes as have 21 steps together" in text
    assert "sticky actions 0, random actions 0.5" in text
    assert "1 to 3 no-ops first, rewards not clipped" in text
    assert "evaluation steps" not in text  # It is told once.


def test_a_line_names_the_policies_whose_returns_it_has(data_dir, tmp_path):
    """Returns are those of the first, so without their names others would be taken for them."""
    row = changed(PONG, policies=("sample", "act"))
    recipe = dataclasses.replace(SHORT, learner="crr", rows=(row,))
    (line,) = run(data_dir, tmp_path / "runs", recipe)
    assert line["policies"] == ["sample", "act"]
    assert line["returns_of"].keys() == {"act"}
    write_results(results_folder.row_path(tmp_path, row.name), [line])
    results_folder.adopt(plan(recipe), tmp_path, tmp_path / "others")  # It is not refused.


def test_the_same_seed_gives_the_same_and_another_does_not(data_dir, uncut, tmp_path):
    assert measured(run(data_dir, tmp_path)) == measured(uncut)
    (other,) = run(data_dir, tmp_path / "other", SHORT, seeds=(1,))
    assert other["metrics"] != uncut[0]["metrics"]


@pytest.mark.parametrize(
    ("feed", "row"), [("arrays", PONG), ("stream", PONG), ("arrays", BY_FILES)]
)
def test_a_cut_run_continues_bit_for_bit(data_dir, tmp_path, feed, row):
    class Cut(Exception):
        pass

    def progress(cell, step):
        if step == 8:
            raise Cut

    recipe = dataclasses.replace(RECIPE, rows=(row,))
    uncut = run(data_dir, tmp_path / "uncut", recipe, feed=feed)
    with pytest.raises(Cut):
        run(data_dir, tmp_path / "cut", recipe, feed=feed, progress=progress)
    assert measured(run(data_dir, tmp_path / "cut", recipe, feed=feed)) == measured(uncut)


def test_quantiles_learn_as_well(data_dir, tmp_path):
    (line,) = run(data_dir, tmp_path, dataclasses.replace(SHORT, learner="qr_dqn"))
    assert line["config"]["num_quantiles"] == 200
    assert np.isfinite(line["metrics"]["loss"])


def test_natures_network_from_the_data_to_a_score(data_dir, tmp_path, monkeypatch):
    monkeypatch.undo()
    (line,) = run(data_dir, tmp_path, dataclasses.replace(RECIPE, steps=2, evaluate_every=2))
    assert np.isfinite(line["metrics"]["loss"])


def test_batches_are_stacks_of_the_published_frames(data_dir):
    task = choice.task_of(RECIPE, PONG, data_dir)
    cell = plan(RECIPE, seeds=[0])[0]
    whole = load_transitions(task.version, "all", Cut(frame_stack=4))
    known = {
        (stack.tobytes(), int(action), float(reward), following.tobytes())
        for stack, action, reward, following in zip(
            whole.observation, whole.action, whole.reward, whole.next_observation, strict=True
        )
    }
    for feed in ("arrays", "stream"):
        with feeds.open_feed(cell, task, feed, 4, 0) as batches:
            batch = next(batches)
        assert batch.observation.shape == (4, 2, 84, 84, 4)
        for place in np.ndindex(4, 2):
            drawn = (
                np.ascontiguousarray(batch.observation[place]).tobytes(),
                int(batch.action[place]),
                float(batch.reward[place]),
                np.ascontiguousarray(batch.next_observation[place]).tobytes(),
            )
            assert drawn in known


def test_a_row_may_train_on_some_checkpoints(data_dir, tmp_path):
    splits = json.loads((data_dir / PONG.data.version_path / "MANIFEST.json").read_text())["splits"]
    assert len(splits) >= 2
    row = changed(PONG, split="checkpoint_00")
    task = choice.task_of(RECIPE, row, data_dir)
    assert len(task.transitions().rows) == splits["checkpoint_00"]["transitions"]
    every = choice.task_of(RECIPE, PONG, data_dir).transitions()
    assert len(every.rows) == sum(split["transitions"] for split in splits.values())
    # Runs of other splits lie apart.
    recipe = dataclasses.replace(RECIPE, rows=(row,))
    assert [line["split"] for line in run(data_dir, tmp_path, recipe)] == ["checkpoint_00"] * 3
    assert not plan(RECIPE)[0].folder(tmp_path).exists()
    with pytest.raises(DatasetError, match="no split 'checkpoint_77'"):
        run(data_dir, tmp_path, dataclasses.replace(
            RECIPE, rows=(changed(PONG, split="checkpoint_77"),)
        ))  # fmt: skip


def test_rewards_of_several_steps_are_discounted_as_the_learner_discounts(data_dir):
    recipe = dataclasses.replace(RECIPE, config={"discount": 0.5})
    row = changed(PONG, n_step=3)
    rows = choice.task_of(recipe, row, data_dir).transitions().rows
    expected = load_transitions(data_dir / PONG.data.version_path, "all", Cut(3, 0.5, 4))
    np.testing.assert_array_equal(rows["reward"], expected.reward)
    np.testing.assert_array_equal(rows["discount"], expected.discount)
    assert set(np.unique(rows["reward"])) - {-1, 0, 1}  # One of two or three steps on.


_TRAINED_OR_KILLED = """
import os, pathlib, signal, sys
import pytest
from tests.benchmarks.training.conftest import use_quick_learners
from tests.benchmarks.training.game_runs import run

data_dir, runs_dir, address, kill_at = sys.argv[1:]

def progress(cell, step):
    print(step, flush=True)
    if step == int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)

use_quick_learners(pytest.MonkeyPatch())
run(pathlib.Path(data_dir), pathlib.Path(runs_dir), feed=address, progress=progress)
"""


class TestFeeds:
    def test_the_stream_of_files_repeats_where_nothing_cuts_it(self, data_dir, tmp_path):
        first, second = (run(data_dir, tmp_path / n, SHORT, feed="stream") for n in "ab")
        assert measured(first) == measured(second)
        assert first[0]["feed"] == "stream"

    def test_nothing_is_streamed_from_a_shard_that_was_swapped(self, data_dir, tmp_path):
        copy = shutil.copytree(data_dir, tmp_path / "data")
        shard = min((copy / PONG.data.version_path).glob("*.tfrecord-*"))
        shard.write_bytes(shard.read_bytes()[::-1])
        with pytest.raises(DatasetError, match=f"{shard.name} is not what was published"):
            run(copy, tmp_path / "runs", SHORT, feed="stream")
        assert not any(p.read_text() for p in (tmp_path / "runs").rglob("results.jsonl"))

    @pytest.mark.reverb
    def test_reverb(self, data_dir, tmp_path):
        (line,) = run(data_dir, tmp_path, SHORT, feed="reverb")
        assert line["feed"] == "reverb"

    @pytest.mark.reverb
    def test_a_server_that_several_share_must_cut_as_the_row_asks(self, data_dir, tmp_path):
        version = data_dir / PONG.data.version_path
        with reverb.ReverbServer.from_published(version, "all", Cut(frame_stack=4)) as server:
            (line,) = run(data_dir, tmp_path / "same", SHORT, feed=server.address)
            assert line["feed"] == "reverb"
            several = dataclasses.replace(SHORT, rows=(changed(PONG, n_step=3),))
            with pytest.raises(DatasetError, match=r"--split all --frame-stack 4 --n-step 3 --ga"):
                run(data_dir, tmp_path / "steps", several, feed=server.address)
        with (
            reverb.ReverbServer.from_published(
                version, "checkpoint_00", Cut(frame_stack=4)
            ) as server,
            pytest.raises(DatasetError, match=r"cuts .* otherwise than the row"),
        ):
            run(data_dir, tmp_path / "split", SHORT, feed=server.address)

    @pytest.mark.reverb
    def test_servers_of_all_parts_are_one_feed(self, data_dir, tmp_path):
        version = data_dir / PONG.data.version_path
        one, two = (
            reverb.ReverbServer.from_published(version, "all", Cut(frame_stack=4), part=part)
            for part in (Part(1, 2), Part(2, 2))
        )
        with one, two:
            (line,) = run(data_dir, tmp_path, SHORT, feed=f"{two.address},{one.address}")
            assert line["feed"] == "reverb"
            with pytest.raises(DatasetError, match="part 2/2 is served 0 times"):
                run(data_dir, tmp_path / "part", SHORT, feed=one.address)

    @pytest.mark.reverb
    def test_a_killed_learner_of_a_server_goes_on_from_its_checkpoint(self, data_dir, tmp_path):
        version = data_dir / PONG.data.version_path
        with reverb.ReverbServer.from_published(version, "all", Cut(frame_stack=4)) as server:

            def train(kill_at):
                arguments = map(str, (data_dir, tmp_path, server.address, kill_at))
                return subprocess.run(
                    [sys.executable, "-c", _TRAINED_OR_KILLED, *arguments],
                    env={**os.environ, "PYTHONPATH": os.getcwd()},
                    stdout=subprocess.PIPE,
                    text=True,
                )

            killed = train(kill_at=8)
            assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "4\n8\n")
            results = plan(RECIPE, seeds=[0])[0].folder(tmp_path) / RESULTS
            before = read_results(results)
            again = train(kill_at=-1)
            assert (again.returncode, again.stdout) == (0, "8\n12\n")
        assert [line["step"] for line in read_results(results)] == [4, 8, 12]
        assert read_results(results)[:1] == before

    def test_more_frames_than_memory_are_refused(self, data_dir, tmp_path, monkeypatch):
        monkeypatch.setattr(memory, "of_machine", lambda: 1_000_000)
        atari._windows.cache_clear()
        with pytest.raises(DatasetError, match=r"this machine has 0: .* use the feed stream"):
            run(data_dir, tmp_path)
        with pytest.raises(DatasetError, match="use the feed stream"):
            preparation.check(plan(SHORT, seeds=[0]), Places(data_dir, tmp_path / "dry"))
        preparation.check(plan(SHORT, seeds=[0]), Places(data_dir, tmp_path / "dry", "stream"))
        assert run(data_dir, tmp_path / "stream", SHORT, feed="stream")


class TestSeedsAtOnce:
    def test_are_refused_on_a_cpu_before_anything_is_trained(self, data_dir, tmp_path):
        with pytest.raises(DatasetError, match="accelerator alone, where it pays: leave out"):
            run(data_dir, tmp_path, seeds=(0, 1), seeds_at_once=2)
        assert not list(tmp_path.iterdir())

    def test_learn_on_an_accelerator_what_each_learns_alone(self, data_dir, tmp_path, monkeypatch):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        entry = dataclasses.replace(LEARNERS["dqn"], make=MAKE[dqn].__wrapped__)
        monkeypatch.setitem(LEARNERS, "dqn", entry)
        atari._windows.cache_clear()
        (together,) = run(data_dir, tmp_path / "both", SHORT, seeds=(1, 0), seeds_at_once=2)
        (alone,) = run(data_dir, tmp_path / "alone", SHORT, seeds=(1,))
        atari._windows.cache_clear()
        assert together["seed"] == alone["seed"] == 1
        assert together["metrics"] == pytest.approx(alone["metrics"], rel=1e-3)
