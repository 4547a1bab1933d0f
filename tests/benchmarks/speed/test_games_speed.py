"""The speed rooms of stacked batches and of evaluation: both sides do the same work."""

import itertools

import numpy as np
import pytest

from benchmarks.speed import game_evaluation, stacked_batches
from rl_datasets.serving import frame_windows


def test_slim_cqls_sampling_gives_the_transitions_of_the_windows():
    windows = stacked_batches.synthetic_windows(1)
    all_of_them = frame_windows.cut_out(windows.frames, windows.rows)
    held = {
        (before.tobytes(), int(action), after.tobytes())
        for before, action, after in zip(
            all_of_them.observation, all_of_them.action, all_of_them.next_observation, strict=True
        )
    }
    batch = next(stacked_batches.slim_cql_batches(windows))
    assert batch.observation.shape == (stacked_batches.CHUNK, 32, 84, 84, 4)
    assert batch.observation.dtype == np.float32
    before, after = (
        np.asarray(stacks[3, 5]).astype(np.uint8)
        for stacks in (batch.observation, batch.next_observation)
    )
    assert (before.tobytes(), int(batch.action[3, 5]), after.tobytes()) in held


def test_a_batchs_time_is_a_share_of_its_chunks(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(stacked_batches.time, "perf_counter", lambda: next(clock))
    feed = itertools.repeat(None)
    assert stacked_batches.milliseconds_a_batch(feed, chunks=5) == pytest.approx(20.0)


def test_an_evaluation_has_the_steps_that_its_rate_counts(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(game_evaluation.time, "perf_counter", lambda: next(clock))
    seen = []

    def act(stacks):
        seen.append(len(stacks))
        return np.zeros(len(stacks), np.int64)

    rate = game_evaluation.evaluation_rate(act, 8, steps=30)
    assert sum(seen) == 16 * 30
    assert rate == 16 * 30 / 2.0
