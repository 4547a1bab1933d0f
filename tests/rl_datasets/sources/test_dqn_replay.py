"""The reader and the writer of DQN Replay logs, against logs of Dopamine's own buffer."""

import gzip
import itertools

import numpy as np
import pytest

from rl_datasets.episode import check_episode
from rl_datasets.sources import atari, dqn_replay

SPEC = atari.atari_episode_spec(6)
CAPACITY = 40


def frame_of(number):
    """A frame that bears its step's number, as those of the logs in `shared` do."""
    frame = np.zeros((84, 84), np.uint8)
    frame[0, :4] = np.array([number], "<i4").view(np.uint8)
    return frame


def numbers_of(observation):
    return np.asarray(observation)[:, 0, :4, 0].copy().view("<i4")[:, 0]


def action_of(number):
    return number % 6


def reward_of(number):
    return number % 3 - 1


def write_log(folder, lengths, capacity=CAPACITY, is_last_whole=True):
    """Episodes of so many rows, whose steps are numbered from 1; the last may be cut."""
    number = 0
    with dqn_replay.ReplayLog(folder, capacity) as log:
        for index, length in enumerate(lengths):
            for row in range(length):
                number += 1
                is_end = row == length - 1 and (is_last_whole or index < len(lengths) - 1)
                log.add(frame_of(number), action_of(number), reward_of(number), is_end)
    return log


def read_rows(run):
    """Of every episode: numbers of its rows that are kept with their actions, and is_terminal."""
    read = []
    for unit in run.units:
        episodes = list(dqn_replay.read_episodes(unit))
        assert len(episodes) == len(unit.spans)
        assert sum(each.num_transitions for each in episodes) == unit.num_transitions
        for index, each in enumerate(episodes):
            check_episode(each, SPEC)
            assert (each.metadata["checkpoint_id"], each.metadata["episode_id"]) == (
                unit.number,
                index,
            )
            numbers = numbers_of(each.observation)
            acted = numbers[:-1]
            np.testing.assert_array_equal(each.action[:-1], action_of(acted))
            np.testing.assert_array_equal(each.reward[:-1], reward_of(acted))
            terminal = bool(each.is_terminal[-1])
            assert numbers[-1] == (0 if terminal else acted[-1] + 1)
            assert np.count_nonzero(each.observation) <= 4 * len(numbers)
            read.append((acted.tolist(), terminal))
    return read


def steps_of(lengths):
    ends = list(itertools.accumulate(lengths))
    return [list(range(e - n + 1, e + 1)) for e, n in zip(ends, lengths, strict=True)]


def read_npz(path):
    with np.load(path) as arrays:
        return dict(arrays)


def load(path):
    with gzip.open(path) as file:
        return np.load(file, allow_pickle=False)


class TestDopaminesOwnLogs:
    """Six checkpoints that batch_rl's `LoggedReplayBuffer` wrote, and what its agent saw."""

    @pytest.fixture
    def log(self, shared):
        return shared / "dopamine_logs" / "Pong_plain" / "1" / "replay_logs"

    @pytest.fixture
    def truth(self, shared):
        return read_npz(shared / "dopamine_logs" / "Pong_plain" / "truth.npz")

    @pytest.fixture
    def frames(self, log):
        """Every frame by the number that it bears, wherever it lies."""
        stored = [load(path)[:-1] for path in log.glob("*observation*")]
        last = [load(path)[-1:] for path in log.glob("*observation*") if ".0.gz" not in path.name]
        rows = np.concatenate(stored + last)
        return dict(zip(numbers_of(rows[..., None]).tolist(), rows, strict=True))

    def test_reading_gives_every_step_once_in_its_episode(self, log, truth, frames):
        run = dqn_replay.read_run(log)
        episodes = [each for unit in run.units for each in dqn_replay.read_episodes(unit)]
        assert not run.faults
        assert [each.num_transitions for each in episodes] == truth["lengths"].tolist()
        for each, start in zip(episodes, truth["starts"], strict=True):
            numbers = numbers_of(each.observation)
            acted = slice(start - 1, start - 1 + each.num_transitions)
            assert numbers.tolist() == [*range(start, start + each.num_transitions), 0]
            np.testing.assert_array_equal(each.action[:-1], truth["actions"][acted])
            np.testing.assert_array_equal(each.reward[:-1], truth["rewards"][acted])
            assert each.is_terminal[-1]
            for number, frame in zip(numbers[:-1], each.observation, strict=False):
                np.testing.assert_array_equal(frame[..., 0], frames[number])

    def test_the_writer_writes_the_same_arrays(self, log, truth, frames, tmp_path):
        ends = set(truth["starts"] + truth["lengths"] - 1)
        with dqn_replay.ReplayLog(tmp_path, capacity=int(truth["capacity"])) as ours:
            for number, action, reward in zip(
                itertools.count(1), truth["actions"], truth["rewards"], strict=False
            ):
                ours.add(frames[number], action, reward, number in ends)
        assert ours.add_count == truth["total_adds"]
        theirs = {path.name for path in log.iterdir() if "episode_end_indices" not in path.name}
        assert {path.name for path in tmp_path.iterdir()} == theirs
        for name in theirs:
            expected, written = load(log / name), load(tmp_path / name)
            assert (written.dtype, written.shape) == (expected.dtype, expected.shape)
            if name.startswith("$store$") and name.endswith("_ckpt.0.gz"):
                expected, written = expected[:-1], written[:-1]  # Its last row is uninitialised.
            np.testing.assert_array_equal(written, expected, err_msg=name)
