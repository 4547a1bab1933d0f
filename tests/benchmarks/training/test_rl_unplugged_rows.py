"""Rows of RL Unplugged's games: trained by their episodes, and with rewards as stored."""

import dataclasses
import shutil

import numpy as np
import pytest

from benchmarks.training.row import QLEARNING_DATASET, Row
from benchmarks.training.tasks import choice
from builders.rl_unplugged_atari.rl_unplugged_atari_dataset_builder import Builder as RlUnplugged
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.publish import publish
from rl_datasets.serving.cut import Cut
from rl_datasets.sources import rl_unplugged
from tests.benchmarks.changed_rows import changed
from tests.benchmarks.training.game_runs import (
    PONG,
    RECIPE,
    SHORT,
    run,
)
from tests.builders.rl_unplugged_atari.test_rl_unplugged_atari_dataset_builder import VERSION_1
from tests.optional import optional
from tests.rl_datasets.sources import rl_unplugged_files

reverb = optional("rl_datasets.serving.reverb")

pytestmark = pytest.mark.usefixtures("quick_learners")


def test_rl_unplugged_trains_by_its_episodes_and_not_by_its_shuffled_transitions(tmp_path):
    for family, make in (
        (rl_unplugged.EPISODES, lambda seed: rl_unplugged_files.episode(seed, 6)),
        (rl_unplugged.TRANSITIONS, rl_unplugged_files.transition),
    ):
        shard = tmp_path / "bucket" / family / "Asterix" / "run_1-00000-of-00001"
        rl_unplugged_files.write(shard, [make(seed) for seed in range(4)])
    rows = []
    for config in ("Asterix_run_1", "Asterix_run_1_transitions"):
        source = str(tmp_path / "bucket")
        publish(RlUnplugged(config=config, source=source, data_dir=tmp_path / "data"))
        rows.append(Row.of("row", f"rl_unplugged_atari/{config}:2.0.0", "Asterix"))
    (line,) = run(tmp_path / "data", tmp_path / "runs", dataclasses.replace(SHORT, rows=(rows[0],)))
    assert (line["rom_set"], line["sticky_probability"]) == ("atari-py 0.2.5", 0.25)
    assert "reading" not in line
    with pytest.raises(DatasetError, match="transitions that no episode can be made of"):
        run(tmp_path / "data", tmp_path / "none", dataclasses.replace(SHORT, rows=(rows[1],)))
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def unplugged(tmp_path_factory):
    """A published run of RL Unplugged, and of the same data version 1.0.0."""
    folder = tmp_path_factory.mktemp("unplugged")
    shard = folder / "bucket" / rl_unplugged.EPISODES / "Asterix" / "run_1-00000-of-00001"
    rl_unplugged_files.write(shard, [rl_unplugged_files.episode(seed, 6) for seed in range(4)])
    shutil.copytree(VERSION_1, folder / "data")
    builder = RlUnplugged(
        config="Asterix_run_1", source=str(folder / "bucket"), data_dir=folder / "data"
    )
    publish(builder)
    return folder / "data"


AS_STORED = Row.of(
    "row", "rl_unplugged_atari/Asterix_run_1:2.0.0", "Asterix", reading="as_stored", n_step=2
)


@pytest.mark.parametrize(
    "feed", ["arrays", "stream", pytest.param("reverb", marks=pytest.mark.reverb)]
)
def test_rewards_are_read_as_stored_where_a_row_says_so(unplugged, tmp_path, feed):
    recipe = dataclasses.replace(SHORT, rows=(AS_STORED,))
    (line,) = run(unplugged, tmp_path, recipe, feed=feed)
    assert line["reading"] == "as_stored"
    task = choice.task_of(recipe.of(AS_STORED), AS_STORED, unplugged)
    assert task.cut.reward_field == "stored_reward"
    rows = task.transitions().rows
    stored = rows["extras/stored_reward"].reshape(4, 6)
    gamma = task.cut.gamma
    two = stored + gamma * np.append(stored[:, 1:], np.zeros((4, 1)), axis=1)
    np.testing.assert_allclose(rows["reward"].reshape(4, 6), two, rtol=1e-6)
    corrected = changed(AS_STORED, reading="corrected")
    with pytest.raises(DatasetError, match="holds a run whose reading"):
        run(unplugged, tmp_path, dataclasses.replace(RECIPE, rows=(corrected,)), feed=feed)


def test_rewards_as_stored_are_refused_where_there_are_none(unplugged, data_dir, tmp_path):
    first = changed(AS_STORED, dataset="rl_unplugged_atari/Asterix_run_1:1.0.0")
    for folder, row in (
        (unplugged, first),
        (data_dir, changed(PONG, reading="as_stored")),
    ):
        with pytest.raises(DatasetError, match="does not have their field, stored_reward: name a"):
            run(folder, tmp_path, dataclasses.replace(SHORT, rows=(row,)))
    other = dataclasses.replace(SHORT, rows=(changed(PONG, reading=QLEARNING_DATASET),))
    with pytest.raises(DatasetError, match="whose frames and rewards are as they are served"):
        run(data_dir, tmp_path, other)


@pytest.mark.reverb
def test_a_server_says_by_which_option_rewards_are_as_stored(unplugged, tmp_path):
    version = unplugged / AS_STORED.data.version_path
    recipe = dataclasses.replace(SHORT, rows=(changed(AS_STORED, n_step=1),))
    with (
        reverb.ReverbServer.from_published(version, "all", Cut(frame_stack=4)) as server,
        pytest.raises(DatasetError, match="--reward-field stored_reward"),
    ):
        run(unplugged, tmp_path, recipe, feed=server.address)
