"""Batches of games drawn as sources of scores drew theirs, and a uniform share of the data."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from benchmarks.tables import protocol
from benchmarks.training import feeds
from benchmarks.training.cells import plan
from benchmarks.training.recipe import load_recipe
from benchmarks.training.row import QLEARNING_DATASET, RETURN_RANGE
from benchmarks.training.tasks import atari, choice, memory
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_rows, load_transitions
from rl_datasets.serving.packing import pack
from rl_datasets.serving.share import Share
from tests.benchmarks import made_up
from tests.benchmarks.changed_rows import changed
from tests.benchmarks.training.game_runs import BY_FILES, PONG, RECIPE, SHORT, run

pytestmark = pytest.mark.usefixtures("quick_learners")


class TestSourceSamplings:
    def test_a_learner_is_given_what_the_source_would_draw(self, data_dir):
        cell = plan(dataclasses.replace(RECIPE, rows=(BY_FILES,)), seeds=[0])[0]
        task = choice.task_of(RECIPE, BY_FILES, data_dir)
        assert task.steps_in_a_call(10) == 2
        whole = load_transitions(task.version, "all", Cut(frame_stack=4))
        counts = [split["transitions"] for split in task.version.splits.values()]
        starts = np.cumsum([0, *counts[:-1]])
        eligible = [
            {whole.next_observation[start + row].tobytes() for row in range(3)} for start in starts
        ]
        drawn = []
        with feeds.open_feed(cell, task, "arrays", 4, 0) as batches:
            for batch in itertools.islice(batches, 30):
                of_call = {
                    np.ascontiguousarray(batch.next_observation[place]).tobytes()
                    for place in np.ndindex(4, 2)
                }
                drawn.append([of_call <= of_file for of_file in eligible].index(True))
        assert {*drawn} == {*range(len(counts))}

    def test_a_run_with_another_sampling_is_another_run(self, data_dir, tmp_path):
        run(data_dir, tmp_path, SHORT)
        with pytest.raises(DatasetError, match="holds a run whose sampling"):
            run(data_dir, tmp_path, dataclasses.replace(RECIPE, rows=(BY_FILES,)))

    def test_shards_are_dealt(self, data_dir, tmp_path):
        row = changed(PONG, sampling="rl_unplugged", sampling_options={"shuffle": 10})
        (line,) = run(data_dir, tmp_path, dataclasses.replace(SHORT, rows=(row,)))
        assert line["sampling"] == "rl_unplugged, shards 100, shuffle 10"

    @pytest.mark.parametrize("feed", ["stream", "reverb"])
    def test_other_feeds_are_refused(self, data_dir, tmp_path, feed):
        recipe = dataclasses.replace(SHORT, rows=(BY_FILES,))
        with pytest.raises(
            DatasetError, match="as slimcql does, which the feed arrays alone gives"
        ):
            run(data_dir, tmp_path, recipe, feed=feed)

    def test_too_few_checkpoints_are_refused(self, data_dir, tmp_path):
        row = changed(PONG, sampling="batch_rl", split="checkpoint_00")
        recipe = dataclasses.replace(SHORT, rows=(row,))
        with pytest.raises(
            DatasetError, match=r"as batch_rl does: 5 files are .* there are 1: join"
        ):
            run(data_dir, tmp_path, recipe)

    def test_only_the_files_that_are_held_need_memory(self, data_dir, tmp_path, monkeypatch):
        monkeypatch.setattr(memory, "of_machine", lambda: 3 * 84 * 84)
        assert run(data_dir, tmp_path, dataclasses.replace(SHORT, rows=(BY_FILES,)))
        monkeypatch.setattr(memory, "of_machine", lambda: 3 * 84 * 84 - 1)
        with pytest.raises(DatasetError, match="name some of its splits"):
            run(data_dir, tmp_path / "less", dataclasses.replace(SHORT, rows=(BY_FILES,)))


class TestShares:
    """A row that trains on a third of its transitions, drawn uniformly."""

    ROW = changed(PONG, share=1 / 3, share_seed=5, n_step=2)
    RECIPE = dataclasses.replace(SHORT, rows=(ROW,))

    @pytest.mark.parametrize("feed", ["arrays", "stream"])
    def test_a_learner_is_given_the_share_and_nothing_else(self, data_dir, feed):
        (cell,) = plan(self.RECIPE, seeds=[0])
        task = choice.task_of(self.RECIPE, self.ROW, data_dir)
        whole = load_rows(task.version, "all", task.cut)
        is_in = Share(1 / 3, 5).drawn(len(whole))
        drawn = set()
        with feeds.open_feed(cell, task, feed, 4, 0) as batches:
            for batch in itertools.islice(batches, 200):
                flat = jax.tree.map(lambda field: field.reshape(8, *field.shape[2:]), batch)
                drawn |= {row.tobytes() for row in pack(flat)}
        assert drawn == {row.tobytes() for row in whole[is_in]}

    def test_its_lines_say_so_and_another_share_is_another_run(self, data_dir, tmp_path):
        (line,) = run(data_dir, tmp_path, self.RECIPE)
        assert (line["share"], line["share_seed"]) == (1 / 3, 5)
        assert f"share {1 / 3}, share seed 5" in protocol.measured(self.RECIPE, [line])
        plain, other = changed(self.ROW, share=1.0, share_seed=0), changed(self.ROW, share_seed=6)
        for row in (plain, other):
            assert run(data_dir, tmp_path, dataclasses.replace(SHORT, rows=(row,)))
        assert len([*tmp_path.rglob("run.json")]) == 3
        assert "share" not in json.loads(
            (plan(dataclasses.replace(SHORT, rows=(plain,)))[0].folder(tmp_path) / "run.json")
            .read_text()
        )  # fmt: skip

    def test_only_the_frames_that_it_reaches_need_memory(self, data_dir, tmp_path, monkeypatch):
        transitions = sum(Version.open(data_dir / PONG.data.version_path).counts("all"))
        monkeypatch.setattr(memory, "of_machine", lambda: transitions * 84 * 84 - 1)
        atari._windows.cache_clear()
        with pytest.raises(DatasetError, match="name some of its splits"):
            run(data_dir, tmp_path, SHORT)
        row = changed(PONG, share=0.1)
        assert run(data_dir, tmp_path, dataclasses.replace(SHORT, rows=(row,)))

    def test_a_reverb_server_is_refused(self, data_dir, tmp_path):
        with pytest.raises(DatasetError, match=r"'Pong' trains on a share .* arrays or stream"):
            run(data_dir, tmp_path, self.RECIPE, feed="reverb")

    @pytest.mark.parametrize(
        ("options", "named"),
        [
            ({"share": 0.1, "sampling": "cql"}, "leave out sampling or share"),
            ({"share": 0.1, "reading": QLEARNING_DATASET}, "leave out reading or share"),
            (
                {"share": 0.1, "across_time_limits": True, "n_step": 2},
                "leave out across_time_limits or share",
            ),
            ({"share": 0.1, "reward_scale": RETURN_RANGE}, "leave out reward_scale or share"),
            ({"share_seed": 3}, "give it a share, or leave out share_seed"),
        ],
    )
    def test_what_is_of_all_data_is_refused(self, options, named):
        with pytest.raises(DatasetError, match=named):
            changed(PONG, **options)

    def test_a_whole_number_is_taken_for_all_and_more_is_refused(self, tmp_path):
        text = made_up.recipe(PONG.data.dataset, "Pong").replace('"bc"', '"dqn"')
        (tmp_path / "own.toml").write_text(text + "share = 1\n")
        assert load_recipe(str(tmp_path / "own.toml")).rows[0].data.uniform_share() is None
        (tmp_path / "own.toml").write_text(text + "share = 1.5\n")
        with pytest.raises(DatasetError, match=r"share must be a number in \(0, 1\], got 1.5"):
            load_recipe(str(tmp_path / "own.toml"))
