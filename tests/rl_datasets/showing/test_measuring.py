"""What is measured of records, against NumPy on all of them at once."""

import dataclasses
import tracemalloc

import dm_env.specs
import numpy as np
import pytest

from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.showing import measuring
from rl_datasets.showing.histogram import Histogram
from rl_datasets.transition import StackedTransition, TransitionSpec
from tests.rl_datasets.publishing import synthetic


def test_it_is_what_numpy_finds_in_all_episodes(data_dir):
    version = Version.open("synthetic/many", data_dir)
    episodes = list(synthetic.read(0, 20))
    found = measuring.measure(version)
    action = np.concatenate([episode.action[:-1] for episode in episodes])
    reward = np.concatenate([episode.reward[:-1] for episode in episodes])
    assert found.fingerprint == version.fingerprint
    assert found.lengths == Histogram().plus([episode.num_transitions for episode in episodes])
    assert found.returns == Histogram().plus([episode.episode_return for episode in episodes])
    assert found.rewards == Histogram().plus(reward)
    assert found.actions == tuple(Histogram().plus(column) for column in action.T)
    assert found.choices == ()
    expected = {
        "action": action,
        "observation": np.concatenate([episode.observation for episode in episodes]),
        "policy_id": np.concatenate([episode.extras["policy_id"] for episode in episodes]),
        "goal": np.concatenate([episode.extras["goal"] for episode in episodes]),
        "episode_id": np.arange(20),
        "weight": np.array([episode.metadata["weight"] for episode in episodes]),
    }
    assert found.ranges == {name: (of.min(), of.max()) for name, of in expected.items()}


def test_what_is_kept_is_what_was_measured(data_dir, tmp_path):
    found = measuring.measure(Version.open("synthetic/few", data_dir))
    assert measuring.read(tmp_path / "kept.json") is None
    measuring.write(tmp_path / "kept.json", found)
    assert measuring.read(tmp_path / "kept.json") == found
    for content in ("{", "[]", '{"format": 0}', '{"format": 1, "returns": 3}'):
        (tmp_path / "kept.json").write_text(content)
        assert measuring.read(tmp_path / "kept.json") is None


def test_memory_does_not_grow_with_the_data(data_dir, monkeypatch):
    version = Version.open("synthetic/few", data_dir)
    episodes = list(version.episodes())

    def peak(times):
        monkeypatch.setattr(Version, "episodes", lambda self, split: iter(episodes * times))
        tracemalloc.start()
        measuring.measure(version)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(60)  # What is kept from a first call on.
    assert peak(60) < peak(6) + 20_000


def test_discrete_actions_are_counted_from_the_least(data_dir, monkeypatch):
    version = Version.open("synthetic/few", data_dir)
    action = dm_env.specs.BoundedArray((), np.int64, 2, 5)
    spec = dataclasses.replace(synthetic.SPEC, action=action, extras={})
    taken = np.array([2, 5, 5, 3])
    episode = Episode.from_transitions(np.zeros((5, 3)), taken, np.ones(4), is_terminal=True)
    monkeypatch.setattr(Version, "episodes", lambda self, split: iter([episode] * 2))
    found = measuring.measure(dataclasses.replace(version, spec=spec))
    assert found.choices == (2, 2, 0, 4)
    assert found.actions == ()
    assert found.ranges["action"] == (2, 5)
    episode.action[1] = 6
    with pytest.raises(DatasetError, match="not within its bounds"):
        measuring.measure(dataclasses.replace(version, spec=spec))


def test_transitions_without_episodes_have_no_returns(data_dir, monkeypatch):
    version = Version.open("synthetic/few", data_dir)
    action = dm_env.specs.BoundedArray((), np.int64, 0, 2)
    spec = TransitionSpec(dm_env.specs.Array((6, 5, 1), np.uint8), 4, action)
    some = [StackedTransition(None, n % 3, n, 1.0, None, 0, n, 2.0) for n in range(10)]
    monkeypatch.setattr(measuring, "_AT_ONCE", 4)
    monkeypatch.setattr(Version, "transitions", lambda self, split: iter(some))
    found = measuring.measure(dataclasses.replace(version, spec=spec))
    assert found.choices == (4, 3, 3)
    assert found.rewards == Histogram().plus(np.arange(10))
    assert found.lengths.counts == found.returns.counts == ()
    assert found.ranges["episode_id"] == (0, 9)
