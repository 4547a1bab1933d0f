"""Logs of DQN Replay's layout whose frames, actions and rewards tell their steps' numbers."""

import gzip
import io
import itertools

import numpy as np
import pytest

from rl_datasets import files
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.episode_check import check_episode
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


def stored_numbers(folder, checkpoint):
    return numbers_of(
        load(folder / f"$store$_observation_ckpt.{checkpoint}.gz")[..., None]
    ).tolist()


def action_of(number):
    return number % 6


def reward_of(number):
    return number % 3 - 1


def write_log(folder, lengths, capacity=CAPACITY, is_last_whole=True):
    """Episodes of so many rows, whose steps are numbered from 1; the last may be cut."""
    number = 0
    with pytest.MonkeyPatch.context() as patch, ReplayLog(folder, capacity) as log:
        patch.setattr(files, "sync", lambda path: None)  # Waiting for the disk takes most time.
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


def rewrite(path, change):
    """Changes the array of a file of a checkpoint."""
    array = load(path)
    save(path, change(array))


def save(path, array, **options):
    content = io.BytesIO()
    np.save(content, array, **options)
    path.write_bytes(gzip.compress(content.getvalue(), 1))


def load(path):
    with gzip.open(path) as file:
        return np.load(file, allow_pickle=False)
