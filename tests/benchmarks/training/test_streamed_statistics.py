"""What a learner of vectors is told of its data: the same from a stream as from memory."""

import numpy as np
import pytest

from benchmarks.training.cells import plan
from benchmarks.training.preparation import Places, check
from benchmarks.training.row import RETURN_RANGE, Row
from benchmarks.training.tasks import choice, control, memory
from rl_datasets.errors import DatasetError
from rl_datasets.serving.loading import load_transitions
from rl_datasets.serving.share import Share
from tests.benchmarks import tiny_recipe

ROW = Row.of("row", "brac/pendulum:2.0.0", "Pendulum-v1", reward_scale=RETURN_RANGE)
RECIPE = tiny_recipe.of(ROW, learner="bc")


def test_a_stream_is_read_through_and_not_loaded(pendulum, monkeypatch):
    task = choice.task_of(RECIPE, ROW, pendulum)
    arrays, scale = task.spec(), task.reward_scale("arrays")
    monkeypatch.setattr(control, "_transitions", lambda *data: pytest.fail("it was loaded"))
    streamed = task.spec("stream")
    for name in ("observation_mean", "observation_std"):
        np.testing.assert_array_max_ulp(getattr(streamed, name), getattr(arrays, name), 1)
        assert getattr(streamed, name).dtype == np.float32
    assert task.reward_scale("stream") == pytest.approx(scale, rel=1e-12)
    for spec in (arrays, streamed):
        assert (spec.observation_size, spec.action_size) == (3, 1)


def test_statistics_are_of_the_share(pendulum):
    row = Row.of("row", "brac/pendulum:2.0.0", "Pendulum-v1", share=0.1, share_seed=4)
    task = choice.task_of(RECIPE, row, pendulum)
    whole = load_transitions(task.version, "all").observation
    of_share = whole[Share(0.1, 4).drawn(len(whole))]
    for feed in ("arrays", "stream"):
        np.testing.assert_allclose(task.spec(feed).observation_mean, of_share.mean(axis=0), 1e-4)


def test_more_than_memory_is_refused_before_it_runs(pendulum, tmp_path, monkeypatch):
    """By hand: 400 transitions of 3 and 3 float32 of observations and one of the action."""
    places = Places(pendulum, tmp_path)
    monkeypatch.setattr(memory, "of_machine", lambda: 400 * 28)
    check(plan(RECIPE), places)
    monkeypatch.setattr(memory, "of_machine", lambda: 400 * 28 - 1)
    with pytest.raises(DatasetError, match=r"the transitions of .* or use the feed stream"):
        check(plan(RECIPE), places)
    check(plan(RECIPE), Places(pendulum, tmp_path, "stream"))
