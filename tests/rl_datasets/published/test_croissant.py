"""croissant.json is valid for mlcroissant, is part of the version, and is made of its manifest."""

import json

import pytest

from rl_datasets.published import croissant, manifest
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from tests.other_libraries.environment import read_with
from tests.rl_datasets.publishing import synthetic
from tests.rl_datasets.publishing.synthetic import Synthetic, unit


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return synthetic.published(tmp_path_factory.mktemp("published"), units=2)


def test_it_is_a_file_of_the_version(published):
    path = published.path / croissant.FILE_NAME
    assert published.manifest["files"][path.name] == manifest.file_entry(path)
    assert json.loads(path.read_text()) == croissant.of(published.manifest)
    verify(Version.open(published.path))


def test_mlcroissant_finds_every_other_file_and_the_counts(published, tmp_path):
    path = published.path / croissant.FILE_NAME
    found = read_with("mlcroissant", "read_croissant", tmp_path / "out.npz", path)
    others = dict(published.manifest["files"])
    del others[path.name]
    assert sorted(found["sha256"]) == sorted(
        f"{name} {entry['sha256']} {entry['size']} B" for name, entry in others.items()
    )
    assert found["name"] == "synthetic"
    assert found["version"] == "1.0.0"
    assert "8 episodes with 37 transitions" in str(found["description"])
    assert [found["splits"], found["episodes"], found["transitions"]] == [["train"], [8], [37]]


def test_mlcroissant_reads_that_of_transitions(tmp_path):
    """Which no episode can be made of, and so are not counted by them."""
    split = {"transitions": 7, "terminal": 1, "reward": {"mean": 0.5}}
    plan = {"dataset": "pong", "config": "run_1", "version": "1.2.3", "lineage": {}}
    shard = {"pong-train.array_record-00000-of-00001": {"size": 9, "sha256": "a" * 64}}
    plan["file_format"] = "array_record"
    content = manifest.make(plan, {"train": split}, shard, counted={}, skipped={})
    path = tmp_path / croissant.FILE_NAME
    path.write_text(croissant.text(content))
    found = read_with("mlcroissant", "read_croissant", tmp_path / "out.npz", path)
    assert found["name"] == "pong/run_1"
    assert found["transitions"] == [7]
    assert "data: 7 transitions, as" in str(found["description"])


def test_a_version_of_before_stays_valid(tmp_path):
    source = tmp_path / "source.bin"
    source.write_bytes(b"raw logs")
    builder = Synthetic(units=[unit(0, str(source))], data_dir=tmp_path)
    first = publish(builder)
    (first.path / croissant.FILE_NAME).unlink()
    before = json.loads(json.dumps(first.manifest))
    del before["files"][croissant.FILE_NAME]
    manifest.write(first.path, before)
    verify(Version.open(first.path))
    assert not publish(builder).is_new
    assert not (first.path / croissant.FILE_NAME).exists()
    assert croissant.of(before) == croissant.of(first.manifest)
