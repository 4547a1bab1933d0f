"""The seeds' speed room: a rate counts the steps of all seeds, and each learns on its own."""

import jax
import numpy as np
import pytest

from benchmarks.speed import seeds
from learners import bc


@pytest.fixture
def learner():
    return bc.make(bc.Config(hidden_sizes=(8,)), seeds.SPEC)


def test_every_seed_takes_every_step_and_differs(learner, monkeypatch):
    random = seeds._batches
    monkeypatch.setattr(seeds, "_batches", lambda shape: jax.tree.map(np.zeros_like, random(shape)))
    training = seeds.Training(learner, batch_size=4, seeds=3)
    training.train_for(seconds=1e-9)  # one call, after the one that compiled
    state = training._state
    assert list(state.steps) == [2 * seeds.STEPS_A_CALL] * 3
    (kernel, *_) = (leaf for leaf in jax.tree.leaves(state.params) if leaf.ndim == 3)
    assert not np.allclose(kernel[0], kernel[1])


def test_a_rate_is_of_all_seeds(learner, monkeypatch):
    training = seeds.Training(learner, batch_size=4, seeds=3)
    clock = iter([10.0, 12.0, 14.0])
    monkeypatch.setattr(seeds.time, "perf_counter", lambda: next(clock))
    training.train_for(seconds=3.0)
    assert training.best == 2 * seeds.STEPS_A_CALL * 3 / 4.0


def test_seeds_at_once_stand_beside_one_after_another(learner, monkeypatch):
    monkeypatch.setattr(seeds, "learners", lambda: {"bc": (learner, 4)})
    (row,) = seeds.measure(quick=True)
    assert row["name"].startswith(f"bc, {seeds.SEEDS[0]} seeds at once")
    alone = float(row["anchor"].rpartition(" ")[2].replace(",", ""))
    assert row["ratio"] == pytest.approx(row["value"] / alone, rel=1e-2)
