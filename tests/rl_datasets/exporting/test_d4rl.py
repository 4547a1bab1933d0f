"""Exports to D4RL's HDF5: against the layout's own files, by hand, and by property."""

import dataclasses
import json
import pathlib
import tempfile

import dm_env.specs
import h5py
import hypothesis
import numpy as np
import pytest

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.exporting.d4rl import ATTRIBUTE, FINAL_OBSERVATIONS, to_d4rl
from rl_datasets.sources import d4rl
from rl_datasets.sources.d4rl_tasks import task
from tests.rl_datasets.exporting import versions
from tests.rl_datasets.sources import d4rl_files
from tests.rl_datasets.sources.d4rl_files import load

LAYOUT = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")


def test_rows_by_hand(tmp_path):
    """Two transitions that end, then one that is cut."""
    spec = EpisodeSpec(dm_env.specs.Array((1,), np.float32), dm_env.specs.Array((), np.int32))
    ended = Episode.from_transitions(
        np.array([[0], [1], [2]], np.float32),
        np.array([7, 8], np.int32),
        [0.5, 1],
        is_terminal=True,
    )
    cut = Episode.from_transitions(
        np.array([[3], [4]], np.float32), np.array([9], np.int32), [-1], is_terminal=False
    )
    version = versions.write(tmp_path / "1.0.0", spec, {"train": [ended, cut]})
    assert to_d4rl(version, tmp_path / "file.hdf5").differences == ()
    content = load(tmp_path / "file.hdf5")
    assert content.keys() == set(LAYOUT)
    assert content["observations"].tolist() == [[0], [1], [3]]
    assert content["actions"].tolist() == [7, 8, 9]
    assert content["rewards"].tolist() == [0.5, 1, -1]
    assert content["terminals"].tolist() == [False, True, False]
    assert content["timeouts"].tolist() == [False, False, True]
    assert content["next_observations"].tolist() == [[1], [2], [4]]


@pytest.mark.parametrize("file", d4rl_files.SLICES)
def test_d4rls_own_episodes_give_d4rls_own_file(shared, tmp_path, file):
    """All of it where next observations are stored; else all but the rows that have none."""
    path, of = shared / "d4rl" / file, task(d4rl_files.SLICES[file])
    real, spec = load(path), d4rl.read_contents(path, of).episode_spec()
    episodes = list(d4rl.read_episodes(path, of))
    version = versions.write(tmp_path / "1.0.0", spec, {"train": episodes})
    to_d4rl(version, tmp_path / "file.hdf5")
    written = load(tmp_path / "file.hdf5")
    terminals, timeouts = (real[name].astype(bool) for name in ("terminals", "timeouts"))
    kept = np.ones(len(terminals), bool)
    if "next_observations" not in real:
        kept = terminals | ~timeouts
        timeouts = np.roll(timeouts, -1)
        kept[-1] &= terminals[-1]
    for field in ("observations", "actions", "next_observations"):
        if field in real:
            np.testing.assert_array_equal(written[field], real[field][kept])
            assert written[field].dtype == real[field].dtype
    np.testing.assert_array_equal(written["rewards"], real["rewards"].ravel()[kept].astype("f4"))
    np.testing.assert_array_equal(written["terminals"], terminals[kept])
    np.testing.assert_array_equal(written["timeouts"], timeouts[kept])
    infos = {name for name in real if name.startswith("infos/")}
    assert infos == {name for name in written if name.startswith("infos/")}
    for name in infos:
        np.testing.assert_array_equal(written[name], real[name][kept])
        assert written[name].dtype == real[name].dtype
    again = list(d4rl.read_episodes(tmp_path / "file.hdf5", of))
    for ours, theirs in zip(again, episodes, strict=True):
        np.testing.assert_array_equal(ours.observation, theirs.observation)
        np.testing.assert_array_equal(ours.action, theirs.action)
        np.testing.assert_array_equal(ours.reward, theirs.reward)
        np.testing.assert_array_equal(ours.discount, theirs.discount)


@hypothesis.settings(max_examples=15)
@hypothesis.given(versions.episodes(versions.vectors))
def test_vectors_come_back_whole(episodes):
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "file.hdf5"
        version = versions.write(pathlib.Path(scratch) / "1.0.0", versions.VECTORS, {"a": episodes})
        result = to_d4rl(version, path, "a")
        content = load(path)
    assert result.differences == ("the final steps of episodes lose policy_id",)
    ends = np.flatnonzero(content["terminals"] | content["timeouts"]) + 1
    starts = np.append(0, ends[:-1])
    assert ends[-1] == len(content["rewards"])
    assert not np.any(content["terminals"] & content["timeouts"])
    for i, (episode, start, end) in enumerate(zip(episodes, starts, ends, strict=True)):
        observation = np.append(
            content["observations"][start:end], content["next_observations"][end - 1 : end], axis=0
        )
        again = Episode.from_transitions(
            observation,
            content["actions"][start:end],
            content["rewards"][start:end],
            is_terminal=bool(content["terminals"][end - 1]),
            extras={"policy_id": content["infos/policy_id"][start:end]},
        )
        for name, rows in again.steps().items():
            np.testing.assert_array_equal(rows, episode.steps()[name])
        metadata = {name: content[f"metadata/episodes/{name}"][i] for name in episode.metadata}
        assert metadata["agent"].decode() == episode.metadata["agent"]
        assert metadata["episode_id"] == episode.metadata["episode_id"]
        np.testing.assert_array_equal(metadata["goal"], episode.metadata["goal"])


def test_frames_have_one_final_observation_an_episode(tmp_path):
    episodes = [versions.frames(0, 300, True), versions.frames(1, 7, False)]
    version = versions.write(tmp_path / "1.0.0", versions.FRAMES, {"train": episodes})
    result = to_d4rl(version, tmp_path / "file.hdf5")
    content = load(tmp_path / "file.hdf5")
    assert "next_observations" not in content
    assert result.differences == ()
    np.testing.assert_array_equal(
        content["observations"], np.concatenate([np.asarray(e.observation)[:-1] for e in episodes])
    )
    np.testing.assert_array_equal(
        content[FINAL_OBSERVATIONS], [np.asarray(e.observation)[-1] for e in episodes]
    )
    with h5py.File(tmp_path / "file.hdf5") as file:
        assert file["observations"].maxshape == (None, 84, 84, 1)
        assert file["observations"].chunks == (4, 84, 84, 1)
        described = json.loads(file.attrs[ATTRIBUTE])
    assert described == json.loads(json.dumps(result.to_json()))
    assert described["fields"]["observations"]["sha256"] == versions.sha256(content["observations"])


def test_a_discount_that_the_layout_cannot_hold_is_told(tmp_path):
    episode = versions.vectors(0, 5, True)
    discount = episode.discount.copy()
    discount[:2] = 0.9
    episode = dataclasses.replace(episode, discount=discount)
    version = versions.write(tmp_path / "1.0.0", versions.VECTORS, {"train": [episode]})
    differences = to_d4rl(version, tmp_path / "file.hdf5").differences
    assert differences[0].startswith("2 transitions lose their discounts")
