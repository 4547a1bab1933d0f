"""`import builders` registers all of ours with TFDS, and brings nothing heavy."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

import builders
from tests.builders.custom.users_data import VECTOR, random_episode, write_npz

OURS = {getattr(builders, name).name: getattr(builders, name) for name in builders.__all__}

NO_CLASH = """
import tensorflow_datasets as tfds
theirs = {*tfds.list_builders(), *tfds.list_dataset_collections()}
import builders
ours = {getattr(builders, name).name for name in builders.__all__}
print(sorted(theirs & ours), ours <= set(tfds.list_builders()))
"""
NOTHING_HEAVY = """
import sys, builders
heavy = {"tensorflow", "apache_beam", "reverb", "gymnasium", "mujoco", "jax"}
print(sorted(heavy & set(sys.modules)), True)
"""


def test_every_folder_is_registered():
    folders = pathlib.Path(builders.__path__[0]).glob("*/__init__.py")
    assert list(OURS) == sorted(path.parent.name for path in folders)
    assert {name: tfds.builder_cls(name) for name in OURS} == OURS


@pytest.mark.parametrize(
    "script", [pytest.param(NO_CLASH, marks=pytest.mark.tensorflow), NOTHING_HEAVY]
)
def test_no_name_is_tfdss_own_and_nothing_heavy_is_imported(script):
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip() == "[] True", result.stderr


@pytest.mark.tensorflow
def test_tfds_alone_publishes_and_reads_by_name(tmp_path):
    episode = random_episode(np.random.default_rng(0), VECTOR, 3, True)
    source = write_npz(tmp_path / "mine", [episode])
    found = tfds.builder("custom/mine", data_dir=tmp_path, source=str(source))
    assert isinstance(found, builders.Custom)
    found.download_and_prepare()
    (read,) = tfds.as_numpy(tfds.load("custom/mine", data_dir=tmp_path, split="train"))
    rewards = [step["reward"] for step in read["steps"]]
    np.testing.assert_array_equal(rewards, episode.reward)
