"""Builders of installed packages: found by their entry points, and used like ours."""

import importlib.metadata
import json
import pathlib
import sys

import pytest

from rl_datasets.cli.data.lookup import builder_class
from rl_datasets.errors import DatasetError

MODULE = '''
"""Episodes of one step, whose rewards are the numbers of a text file."""

import functools
import pathlib

import dm_env.specs
import numpy as np
import tensorflow_datasets as tfds

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.units import SourceUnit

OBSERVATION = dm_env.specs.Array((1,), np.float32)
ACTION = dm_env.specs.Array((), np.int64)


def read(path):
    for line in pathlib.Path(path).read_text().split():
        steps = np.zeros((2, 1), np.float32), np.zeros(1, np.int64), [float(line)]
        yield Episode.from_transitions(*steps, is_terminal=True)


class Builder(PublishedDatasetBuilder):
    """One number for each episode."""

    VERSION = tfds.core.Version("3.0.0")
    RELEASE_NOTES = {"3.0.0": "First release."}

    def episode_spec(self):
        return EpisodeSpec(OBSERVATION, ACTION)

    def source_units(self):
        read_it = functools.partial(read, self.source)
        return [SourceUnit("numbers", "train", None, None, (self.source,), read_it)]

    def lineage(self):
        return {"source": "numbers", "environment": "Theirs-v0", "repaired": []}
'''


def install(folder: pathlib.Path, package: str, entry_points: dict[str, str]) -> None:
    """What installing a package leaves on the path: its metadata, here without its code."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entry_points.items()]
    group = "\n".join(["[rl_datasets.builders]", *lines, ""])
    (metadata / "entry_points.txt").write_text(group)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages, and the code of one builder there."""
    folder = tmp_path / "site"
    (folder / "theirs").mkdir(parents=True)
    (folder / "theirs" / "__init__.py").touch()
    (folder / "theirs" / "theirs_dataset_builder.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    return folder


VALUE = "theirs.theirs_dataset_builder:Builder"


def test_a_builder_of_an_installed_package_is_used_like_ours(site, tmp_path, run, monkeypatch):
    install(site, "their-data", {"theirs": VALUE})
    monkeypatch.chdir(tmp_path)
    pathlib.Path("numbers.txt").write_text("1 2.5 -3")
    published = run("publish", "theirs/small", "numbers.txt", "--data-dir", "data")
    assert published.status == 0, published.stderr
    assert published.stdout == f"{tmp_path / 'data/theirs/small/3.0.0'}: published\n"
    assert run("verify", "theirs/small", "--data-dir", "data").status == 0
    listed = run("list", "--data-dir", "data")
    assert "theirs/small:3.0.0         3            3" in listed.stdout
    shown = run("show", "theirs/small", "--json", "--data-dir", "data")
    assert json.loads(shown.stdout)["plan"]["lineage"]["environment"] == "Theirs-v0"
    unknown = run("publish", "nobodys/small", "numbers.txt", "--data-dir", "data")
    assert unknown.sentence == (
        "there is no builder 'nobodys': choose one of brac, custom, d4rl, dqn_replay, "
        "rl_unplugged_atari, rl_unplugged_control_suite, rl_unplugged_dmlab, "
        "rl_unplugged_locomotion, rl_unplugged_rwrl, theirs"
    )


def test_a_package_that_is_found_twice_is_one(site, tmp_path, monkeypatch):
    install(site, "their-data", {"theirs": VALUE})
    install(site, "their-copy", {"theirs": VALUE})
    assert builder_class("theirs").__module__ == "theirs.theirs_dataset_builder"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("brac", VALUE, r"several builders 'brac', builders\.brac\..* and theirs\..*uninstall"),
        ("other", VALUE, "'other', .* is of datasets named 'theirs': correct the entry point"),
        ("theirs", "absent.module:Builder", "cannot be imported .ModuleNotFoundError.*repair its"),
        ("theirs", "theirs.theirs_dataset_builder:Bilder", "cannot be imported .AttributeError"),
        ("theirs", "json:dumps", "is no PublishedDatasetBuilder: correct the entry point of its"),
        ("theirs", "pathlib:Path", "is no PublishedDatasetBuilder: correct"),
    ],
)
def test_what_is_no_builder(site, name, value, sentence):
    install(site, "their-data", {name: value})
    with pytest.raises(DatasetError, match=sentence) as caught:
        builder_class(name)
    assert "\n" not in str(caught.value)
    assert builder_class("d4rl").name == "d4rl"


@pytest.fixture(autouse=True)
def forgotten():
    """Their class is registered with TFDS when its module is imported, which is once."""
    import tensorflow_datasets as tfds

    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "theirs"]:
        del sys.modules[name]
    tfds.core.registered._DATASET_REGISTRY.pop("theirs", None)
