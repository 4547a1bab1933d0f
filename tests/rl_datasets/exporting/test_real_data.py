"""Exports of published real data hold what the original files hold."""

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from builders.brac.brac_dataset_builder import Builder
from rl_datasets.exporting.export import KINDS, export
from rl_datasets.publishing.publish import publish
from rl_datasets.sources import dqn_replay, rl_unplugged, tf_checkpoint
from tests.rl_datasets.exporting import versions

BRAC = "brac_testdata/data/HalfCheetah-v2/example/0/data"
ASTERIX = "rl_unplugged/atari_episodes_ordered/Asterix/run_1-00000-of-00001"


@pytest.mark.tensorflow
def test_bracs_own_data(shared, tmp_path):
    source = str(shared / BRAC)
    version = publish(Builder(source=source, config="halfcheetah-eps3", data_dir=tmp_path)).path
    original = tf_checkpoint.read_variables(source)
    size = int(original["data/_current_size"])
    s1, a1, reward, s2 = (original[f"data/_{n}"][:size] for n in ("s1", "a1", "reward", "s2"))

    export(version, "d4rl", tmp_path / "file.hdf5")
    with h5py.File(tmp_path / "file.hdf5") as file:
        np.testing.assert_array_equal(file["observations"], s1)
        np.testing.assert_array_equal(file["actions"], a1)
        np.testing.assert_array_equal(file["rewards"], reward)
        np.testing.assert_array_equal(file["next_observations"], s2)
        assert np.flatnonzero(file["timeouts"]).tolist() == list(range(999, 10_000, 1_000))
        assert not np.any(file["terminals"])

    export(version, "arrays", tmp_path / "arrays")
    observation = np.load(tmp_path / "arrays" / "steps" / "observation.npy", mmap_mode="r")
    is_last = np.load(tmp_path / "arrays" / "steps" / "is_last.npy")
    assert len(observation) == 10_010
    np.testing.assert_array_equal(observation[~is_last], s1)
    np.testing.assert_array_equal(observation[is_last], s2[999::1_000])


@pytest.fixture(scope="module")
def asterix(shared, tmp_path_factory):
    """Two real episodes of Asterix, published, and their frames decoded."""
    episodes = list(rl_unplugged.read_episodes(shared / ASTERIX, 0))
    folder = tmp_path_factory.mktemp("asterix") / "1.0.0"
    version = versions.write(folder, rl_unplugged.episode_spec(), {"checkpoint_00": episodes})
    return version, episodes, [np.asarray(each.observation) for each in episodes]


@pytest.mark.parametrize("kind", KINDS)
def test_real_frames(asterix, tmp_path, kind):
    version, episodes, frames = asterix
    result = export(version, kind, tmp_path / "out")
    assert result.transitions == 1093 + 600
    if kind == "arrays":
        observation = np.load(tmp_path / "out" / "steps" / "observation.npy")
        np.testing.assert_array_equal(observation, np.concatenate(frames))
    elif kind == "d4rl":
        with h5py.File(tmp_path / "out") as file:
            np.testing.assert_array_equal(
                file["observations"], np.concatenate([each[:-1] for each in frames])
            )
            assert np.flatnonzero(file["terminals"]).tolist() == [1092, 1692]
    elif kind == "minari":
        with h5py.File(tmp_path / "out/data/main_data.hdf5") as file:
            np.testing.assert_array_equal(file["episode_1/observations"], frames[1])
    elif kind == "parquet":
        rows = pq.read_table(tmp_path / "out/data/checkpoint_00")["observation"].to_pylist()
        assert [row["bytes"] for row in rows] == [
            png for each in episodes for png in each.observation.pngs
        ]
    else:
        (unit,) = dqn_replay.read_run(tmp_path / "out" / "replay_logs").units
        again = list(dqn_replay.read_episodes(unit))
        for episode, back, frame in zip(episodes, again, frames, strict=True):
            np.testing.assert_array_equal(back.observation, frame)
            np.testing.assert_array_equal(back.action, episode.action)
            np.testing.assert_array_equal(back.reward, episode.reward)
            np.testing.assert_array_equal(back.discount, episode.discount)
            assert back.metadata["episode_return"] == episode.metadata["episode_return"]
