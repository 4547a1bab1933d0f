"""Exports to the logs of DQN Replay, read back by the project's reader and by hand."""

import dataclasses
import gzip
import json
import pathlib
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from rl_datasets.errors import DatasetError
from rl_datasets.exporting import replay_logs
from rl_datasets.exporting.replay_logs import to_replay_logs
from rl_datasets.sources import atari, dqn_replay
from tests.rl_datasets.exporting import versions


def member(folder, name, number=0):
    with gzip.open(folder / "replay_logs" / f"{name}_ckpt.{number}.gz") as file:
        return np.load(file, allow_pickle=False)


def read(folder):
    run = dqn_replay.read_run(folder / "replay_logs")
    assert not run.faults
    return [episode for unit in run.units for episode in dqn_replay.read_episodes(unit)]


def test_rows_by_hand(tmp_path):
    """Three rows of padding, two that end; padding, two of a cut and what it leads to."""
    episodes = [versions.frames(0, 2, True), versions.frames(1, 2, False)]
    version = versions.write(tmp_path / "1.0.0", versions.FRAMES, {"checkpoint_00": episodes})
    result = to_replay_logs(version, tmp_path / "Pong" / "1")
    folder = tmp_path / "Pong" / "1"
    (a, b), (c, d) = (each.action[:2] for each in episodes)
    (r, s), (t, u) = (each.reward[:2] for each in episodes)
    one, two = (each.observation[..., 0] for each in episodes)
    blank = np.zeros((84, 84), np.uint8)
    frames = [blank, blank, blank, *one[:2], blank, blank, blank, *two, blank, blank]
    np.testing.assert_array_equal(member(folder, "$store$_observation"), frames)
    assert member(folder, "$store$_action").tolist() == [0, 0, 0, a, b, 0, 0, 0, c, d, 0, 0, 0]
    assert member(folder, "$store$_reward").tolist() == [0, 0, 0, r, s, 0, 0, 0, t, u, 0, 0, 0]
    assert member(folder, "$store$_terminal").tolist() == [0, 0, 0, 0, 1] + 8 * [0]
    assert member(folder, "add_count") == 11
    assert result.differences == (
        "1 episodes lose their final observation",
        "the logs do not hold episode_id",
    )
    described = json.loads((folder / "export.json").read_text())
    assert described == json.loads(json.dumps(result.to_json()))


def seen(episode, is_last):
    """What the logs can give back of an episode."""
    if episode.is_terminal[-1] or not is_last:
        return episode.observation[:-1], True
    return episode.observation, False


@hypothesis.settings(max_examples=20)
@hypothesis.given(versions.episodes(versions.frames, 8, 40), st.integers(12, 300))
def test_what_the_logs_give_back(episodes, capacity):
    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(scratch) / "1"
        version = versions.write(pathlib.Path(scratch) / "v", versions.FRAMES, {"a": episodes})
        try:
            result = to_replay_logs(version, folder, capacity=capacity)
        except DatasetError as error:
            hypothesis.assume("no capacity up to" not in str(error))
            raise
        back = read(folder)
    assert len(back) == len(episodes) == result.episodes
    cut = 0
    for index, (again, episode) in enumerate(zip(back, episodes, strict=True)):
        observation, is_terminal = seen(episode, index == len(episodes) - 1)
        cut += is_terminal and not episode.is_terminal[-1]
        assert again.is_terminal[-1] == is_terminal
        assert again.num_transitions == episode.num_transitions
        np.testing.assert_array_equal(again.observation[: len(observation)], observation)
        np.testing.assert_array_equal(again.action, episode.action)
        np.testing.assert_array_equal(again.reward, episode.reward)
    assert (f"{cut} episodes that were cut are recorded as terminal" in result.differences) == (
        cut > 0
    )


@pytest.fixture
def short_limit(monkeypatch):
    """As many rows as an episode of these tests can have."""
    monkeypatch.setattr(dqn_replay, "TIME_LIMIT", 30)
    monkeypatch.setattr(dqn_replay.read_run, "__defaults__", (30,))


def test_a_time_limit_comes_back_as_one(tmp_path, short_limit):
    episodes = [versions.frames(0, 29, False), versions.frames(1, 5, True)]
    version = versions.write(tmp_path / "1.0.0", versions.FRAMES, {"a": episodes})
    result = to_replay_logs(version, tmp_path / "1")
    again, _ = read(tmp_path / "1")
    for name, rows in again.steps().items():
        np.testing.assert_array_equal(rows, episodes[0].steps()[name])
    assert result.differences[0] == "1 episodes lose their final observation"  # The other one.


def test_a_game_over_at_the_time_limit_is_told(tmp_path, short_limit):
    version = versions.write(
        tmp_path / "1.0.0", versions.FRAMES, {"a": [versions.frames(0, 30, True)]}
    )
    result = to_replay_logs(version, tmp_path / "1")
    assert result.differences[1] == (
        "1 episodes of exactly 30 rows are read as having reached the time limit, without their "
        "last transition"
    )


def test_a_cut_at_the_end_of_the_log_beyond_the_time_limit_is_told(tmp_path, short_limit):
    version = versions.write(
        tmp_path / "1.0.0", versions.FRAMES, {"a": [versions.frames(0, 30, False)]}
    )
    result = to_replay_logs(version, tmp_path / "1")
    assert result.differences[0] == "1 episodes lose their final observation"
    assert result.differences[1].startswith("1 episodes of exactly 30 rows are read as having")


def test_discounts_that_the_logs_cannot_hold_are_told(tmp_path):
    episode = versions.frames(0, 5, False)
    discount = np.where(episode.discount == 1, np.float32(0.99), episode.discount)
    episode = dataclasses.replace(episode, discount=discount)
    version = versions.write(tmp_path / "1.0.0", versions.FRAMES, {"a": [episode]})
    differences = to_replay_logs(version, tmp_path / "1").differences
    assert differences[0] == "1 episodes lose discounts between 0 and 1"


def test_an_episode_longer_than_the_time_limit_is_refused(tmp_path, short_limit):
    version = versions.write(
        tmp_path / "1.0.0", versions.FRAMES, {"a": [versions.frames(0, 31, True)]}
    )
    message = "episode 0 of synthetic:1.0.0 has 31 rows, and .* end after 30; export it as arrays"
    with pytest.raises(DatasetError, match=message):
        to_replay_logs(version, tmp_path / "1")


def test_vectors_are_refused(tmp_path):
    episodes = [versions.vectors(0, 5, True)]
    version = versions.write(tmp_path / "1.0.0", versions.VECTORS, {"a": episodes})
    message = r"synthetic:1.0.0 has observations float32 \(3,\) .* export it as arrays or d4rl"
    with pytest.raises(DatasetError, match=message):
        to_replay_logs(version, tmp_path / "1")


def test_no_checkpoint_is_skipped(tmp_path):
    """With 20 rows a checkpoint the second episode would jump from row 18 to 22, over row 19."""
    episodes = [versions.frames(0, 15, True), versions.frames(1, 9, True)]
    version = versions.write(tmp_path / "1.0.0", versions.FRAMES, {"a": episodes})
    assert replay_logs._fitting_capacity(np.array([18, 12]), 20) == 19
    to_replay_logs(version, tmp_path / "1", capacity=20)
    assert len(member(tmp_path / "1", "$store$_action")) == 19
    assert [each.num_transitions for each in read(tmp_path / "1")] == [15, 9]


@pytest.mark.parametrize(("start", "fitting"), [(15, 20), (16, 17), (17, 18), (18, 19), (19, 20)])
def test_where_an_episode_begins_decides_whether_a_checkpoint_is_skipped(start, fitting):
    """With 20 rows it is saved when row 18 was added; four rows from 16, 17 or 18 on jump that."""
    assert replay_logs._fitting_capacity(np.array([start, 12]), 20) == fitting


def test_splits_follow_one_another(tmp_path):
    splits = {
        "checkpoint_00": [versions.frames(0, 3, True)],
        "checkpoint_01": [versions.frames(1, 4, True)],
    }
    version = versions.write(tmp_path / "1.0.0", versions.FRAMES, splits)
    to_replay_logs(version, tmp_path / "all")
    to_replay_logs(version, tmp_path / "one", "checkpoint_01")
    assert [each.num_transitions for each in read(tmp_path / "all")] == [3, 4]
    assert [each.num_transitions for each in read(tmp_path / "one")] == [4]


def test_dopamines_own_log_comes_back_as_it_was(shared, tmp_path):
    """Logged by Dopamine, read, exported: every array of every checkpoint is Dopamine's."""
    original = shared / "dopamine_logs" / "Pong_plain" / "1"
    spec = atari.atari_episode_spec()
    episodes = read(original)
    version = versions.write(tmp_path / "1.0.0", spec, {"all": episodes})
    to_replay_logs(version, tmp_path / "1", capacity=1_000)
    numbers = range(6)
    assert not (original / "replay_logs" / "add_count_ckpt.6.gz").exists()
    assert not (tmp_path / "1" / "replay_logs" / "add_count_ckpt.6.gz").exists()
    for number in numbers:
        for name in ("observation", "action", "reward", "terminal"):
            ours = member(tmp_path / "1", f"$store$_{name}", number)
            theirs = member(original, f"$store$_{name}", number)
            if number == 0:  # Its last row was never written.
                ours, theirs = ours[:-1], theirs[:-1]
            np.testing.assert_array_equal(ours, theirs)
        for name in ("add_count", "invalid_range"):
            np.testing.assert_array_equal(
                member(tmp_path / "1", name, number), member(original, name, number)
            )
