"""What a game is scored on is what its data's lineage names, and what cannot be is refused."""

import dataclasses
import hashlib

import pytest

from benchmarks.training import preparation
from benchmarks.training.cells import plan
from benchmarks.training.preparation import Places
from benchmarks.training.recipe import Recipe
from benchmarks.training.tasks import choice
from learners.registry import LEARNERS
from rl_datasets.errors import DatasetError
from tests.benchmarks.changed_rows import changed
from tests.benchmarks.training.game_runs import (
    INVADERS,
    PONG,
    RECIPE,
    log_by_hand,
    publish_run,
    run,
)

pytestmark = pytest.mark.usefixtures("quick_learners")


class TestRoms:
    """A dataset's scores are measured on the ROMs that its lineage names, or not at all."""

    RECIPE = dataclasses.replace(RECIPE, rows=(INVADERS,), steps=4)

    def refused(self, data_dir, tmp_path, message, recipe=RECIPE):
        def progress(cell, step):
            pytest.fail("it trained before it refused")

        with pytest.raises(DatasetError, match=message):
            run(data_dir, tmp_path / "runs", recipe, progress=progress)
        assert not (tmp_path / "runs").exists()

    def test_the_old_ones_must_be_installed(self, data_dir, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
        # Pong comes first, but is not trained only to be told of the other in the end.
        self.refused(
            data_dir,
            tmp_path,
            r"SpaceInvaders_run_1-recollected:1\.1\.0 in SpaceInvaders: .* atari-py 0\.2\.5, is "
            r"not installed: run `rl-datasets roms --install --accept`",
            dataclasses.replace(RECIPE, rows=(PONG, INVADERS)),
        )

    def test_the_old_ones_are_played_where_they_are_installed(self, data_dir, tmp_path, legacy_rom):
        rom = legacy_rom("SpaceInvaders")
        (line,) = run(data_dir, tmp_path, self.RECIPE)
        assert (line["rom_set"], line["rom_md5"]) == (
            "atari-py 0.2.5",
            "61dbe94f110f30ca4ec524ae5ce2d026",
        )
        task = choice.task_of(self.RECIPE, INVADERS, data_dir)
        assert hashlib.md5(task.rom.read_bytes()).hexdigest() == line["rom_md5"]
        assert task.rom == rom

    @pytest.mark.parametrize(
        ("log", "message"),
        [
            ({}, "lineage names no ROMs, so no score could be compared"),
            ({"rom_set": "stella 1.0"}, "lineage names the ROMs 'stella 1.0'"),
            (
                {"rom_set": "ale-py 0.12.1", "sticky_probability": None},
                "sticky actions of probability None, by its lineage",
            ),
        ],
    )
    def test_a_lineage_that_does_not_say_is_refused(self, tmp_path, log, message):
        publish_run(log_by_hand(tmp_path / "logs", **log), tmp_path / "data")
        self.refused(tmp_path / "data", tmp_path, message)

    def test_another_game_is_refused(self, data_dir, tmp_path):
        row = changed(PONG, environment="Asterix")
        self.refused(
            data_dir,
            tmp_path,
            "is of the game Pong .* environment is Asterix: name the game",
            dataclasses.replace(RECIPE, rows=(row,)),
        )

    def test_a_learner_of_vectors_is_refused(self, data_dir, tmp_path):
        recipe = dataclasses.replace(RECIPE, learner="td3_bc")
        self.refused(data_dir, tmp_path, "td3_bc is made for a Spec, and Pong", recipe)

    def test_a_learner_that_does_not_discount_is_trained_on_single_rewards(
        self, data_dir, monkeypatch
    ):
        """Cloning of games, say, has a config without a discount."""
        monkeypatch.setattr(Recipe, "entry", lambda self: CLONING)
        task = choice.task_of(RECIPE, PONG, data_dir)
        assert (task.cut.n_step, task.cut.gamma) == (1, 1.0)
        with pytest.raises(DatasetError, match="learner dqn does not discount rewards: leave it"):
            choice.task_of(RECIPE, changed(PONG, n_step=3), data_dir)

    def test_a_learner_that_reads_more_than_games_have_is_refused(
        self, data_dir, tmp_path, monkeypatch
    ):
        reader = dataclasses.replace(LEARNERS["dqn"], extras=lambda config: ("next_action",))
        monkeypatch.setitem(LEARNERS, "dqn", reader)
        with pytest.raises(DatasetError, match="dqn reads the next_action of a transition, which"):
            run(data_dir, tmp_path)
        with pytest.raises(DatasetError, match="dqn reads the next_action of a transition, which"):
            preparation.check(plan(RECIPE, seeds=(0,)), Places(data_dir, tmp_path))

    def test_what_can_be_run_passes_the_check(self, data_dir, tmp_path):
        preparation.check(plan(RECIPE, seeds=(0,)), Places(data_dir, tmp_path))

    def test_gymnasiums_own_game_is_refused(self, data_dir, tmp_path):
        row = changed(PONG, environment="CartPole-v1", in_another_environment=True)
        with pytest.raises(DatasetError, match=r"numbered actions, .* such as Pong"):
            run(data_dir, tmp_path, dataclasses.replace(RECIPE, rows=(row,), learner="bc"))


# A learner of games without a discount, as far as a task looks at it.
CLONING = dataclasses.replace(
    LEARNERS["dqn"], config=dataclasses.make_dataclass("Config", [("learning_rate", float, 1e-3)])
)
