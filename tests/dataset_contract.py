"""What every published dataset owes to those who read it. A builder's test inherits this.

class TestMine(DatasetContract):
    def make_builder(self, folder):
        return Builder(source=..., data_dir=folder)

    def episodes(self):
        return [...]  # what the dataset must hold, from wherever the test knows it
"""

from __future__ import annotations

import abc
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest

from rl_datasets.episode import Episode, by_name
from rl_datasets.episode_check import check_episode
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.publish import Publication, publish
from rl_datasets.stores.store import open_store

STRANGER = pathlib.Path(__file__).with_name("dataset_stranger.py")


class DatasetContract(abc.ABC):
    """Publishes once a class, has a stranger read it once, and holds both to the contract."""

    split = "train"

    @abc.abstractmethod
    def make_builder(self, folder: pathlib.Path) -> PublishedDatasetBuilder:
        """A builder with a small source, whose `data_dir` is `folder`."""

    @abc.abstractmethod
    def episodes(self) -> Sequence[Episode]:
        """What the published `split` must hold, in order."""

    @pytest.fixture(scope="class")
    def data_dir(self, tmp_path_factory):
        return tmp_path_factory.mktemp("data")

    @pytest.fixture(scope="class")
    def published(self, data_dir) -> Publication:
        return publish(self.make_builder(data_dir))

    @pytest.fixture(scope="class")
    def strangers(self, published, data_dir) -> tuple[dict, dict]:
        """What a process without this project finds: facts, and arrays by name."""
        plan = published.manifest["plan"]
        name = "/".join(filter(None, [plan["dataset"], plan["config"]]))
        out = data_dir / "stranger"
        command = [sys.executable, "-P", str(STRANGER)]
        command += [name, str(data_dir), str(published.path), str(out), self.split]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        done = subprocess.run(
            command, cwd=data_dir, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        with np.load(f"{out}.npz", allow_pickle=True) as arrays:  # Strings are objects there.
            return json.loads(pathlib.Path(f"{out}.json").read_text()), dict(arrays)

    def test_its_bytes_are_the_same_in_a_store(self, published, address, tmp_path, monkeypatch):
        builder = self.make_builder(tmp_path)
        url = f"{address}/{published.path.name}"
        monkeypatch.setattr(PublishedDatasetBuilder, "target", url)
        publish(builder)
        store = open_store(url)
        assert {name: store.read(name) for name in store.names()} == {
            path.name: path.read_bytes() for path in published.path.iterdir()
        }

    def test_it_holds_the_episodes_of_its_source(self, published):
        expected, found = self.episodes(), list(Version.open(published.path).episodes(self.split))
        assert len(found) == len(expected) > 0
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.metadata == theirs.metadata
            for name, field in theirs.steps().items():
                assert ours.steps()[name].dtype == field.dtype, name
                np.testing.assert_array_equal(ours.steps()[name], field, err_msg=name)

    def test_every_episode_obeys_the_alignment_rule(self, published):
        spec = manifest.spec_from_json(published.manifest["plan"]["spec"])
        for episode in Version.open(published.path).episodes(self.split):
            check_episode(episode, spec)

    def test_the_manifest_counts_what_is_there(self, published):
        counts = published.manifest["splits"][self.split]
        episodes = self.episodes()
        returns = [np.sum(each.reward.astype(np.float64)) for each in episodes]
        assert counts["episodes"] == len(episodes)
        assert counts["transitions"] == sum(len(each.action) - 1 for each in episodes)
        assert counts["episode_return"]["mean"] == pytest.approx(np.mean(returns))
        assert sum(counts["episode_return"]["histogram"]["counts"]) == len(episodes)

    @pytest.mark.reverb
    def test_tfds_alone_reads_the_same(self, strangers):
        facts, arrays = strangers
        assert facts["ours"] == []
        assert facts["in_directory"] == len(self.episodes())
        for i, episode in enumerate(self.episodes()):
            for name, field in episode.steps().items():
                theirs = arrays[f"{i}/steps/{name}"]
                assert theirs.dtype == field.dtype, name
                np.testing.assert_array_equal(theirs, field, err_msg=name)
            for name, value in episode.metadata.items():
                theirs = arrays[f"{i}/metadata/{name}"].item()
                theirs = theirs.decode() if isinstance(theirs, bytes) else theirs
                assert theirs == (value if isinstance(value, str) else np.asarray(value).item())

    @pytest.mark.reverb
    def test_the_steps_that_tfds_reads_are_aligned(self, strangers):
        """Stated anew, on what plain TFDS gives, rather than by `check_episode`."""
        _, arrays = strangers
        for i in range(len(self.episodes())):
            step = {
                name: arrays[f"{i}/steps/{name}"]
                for name in ("reward", "discount", "action", "is_first", "is_last", "is_terminal")
            }
            last = len(step["reward"]) - 1
            assert last >= 1
            assert np.flatnonzero(step["is_first"]).tolist() == [0]
            assert np.flatnonzero(step["is_last"]).tolist() == [last]
            assert np.flatnonzero(step["is_terminal"]).tolist() in ([], [last])
            assert step["discount"][last - 1] == (0 if step["is_terminal"][last] else 1)
            assert np.all(step["discount"][: last - 1] > 0)
            assert not np.any(step["action"][last])
            assert step["reward"][last] == step["discount"][last] == 0
            assert all(np.all(np.isfinite(field)) for field in step.values())

    @pytest.mark.reverb
    def test_rlds_transformations_work_on_it(self, strangers):
        facts, arrays = strangers
        episodes = self.episodes()
        steps = sum(len(each.reward) for each in episodes)
        assert facts["transitions"] == steps - len(episodes)
        assert facts["pairs_join"]
        assert facts["truncated_at_last"] == steps
        assert facts["truncated_at_first"] == len(episodes)
        observed = [by_name(each.observation) for each in episodes]
        valid = {
            **{name: np.concatenate([each[name] for each in observed]) for name in observed[0]},
            "action": np.concatenate([each.action[:-1] for each in episodes]),
            "reward": np.concatenate([each.reward[:-1] for each in episodes]),
        }
        for name, field in valid.items():
            field = field.astype(np.float64)
            np.testing.assert_allclose(arrays[f"mean/{name}"], field.mean(0), rtol=1e-6, atol=1e-6)
            spread = field.std(0, ddof=1)
            np.testing.assert_allclose(arrays[f"std/{name}"], spread, rtol=1e-4, atol=1e-6)

    def test_it_verifies_until_a_byte_changes(self, published, tmp_path):
        verify(Version.open(published.path))
        copy = shutil.copytree(published.path, tmp_path / "copy")
        shard = next(copy.glob("*.tfrecord-*"))
        content = bytearray(shard.read_bytes())
        content[len(content) // 3] ^= 4
        shard.write_bytes(content)
        with pytest.raises(DatasetError, match=shard.name):
            verify(Version.open(copy))

    def test_publishing_it_again_changes_nothing(self, published, data_dir):
        before = {path: path.stat().st_mtime_ns for path in published.path.iterdir()}
        assert not publish(self.make_builder(data_dir)).is_new
        assert {path: path.stat().st_mtime_ns for path in published.path.iterdir()} == before
