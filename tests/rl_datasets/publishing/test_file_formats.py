"""A version of ArrayRecord files owes what one of TFRecord files does."""

import json
import shutil

import numpy as np
import pytest

from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing import units as publishing_units
from rl_datasets.publishing.publish import publish
from rl_datasets.serving.loading import load_transitions
from rl_datasets.serving.streaming import StreamFeed
from tests.other_libraries.environment import read_with
from tests.rl_datasets.publishing import synthetic
from tests.rl_datasets.publishing.synthetic import Synthetic, unit

NUMBER_OF_UNITS = 2
SHARD = "synthetic-train.array_record-00001-of-00002"
EPISODES = [synthetic.episode(number) for number in range(8)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "source.bin"
    path.write_bytes(b"raw logs")
    return str(path)


@pytest.fixture(scope="module")
def published(tmp_path_factory, source):
    return published_in(tmp_path_factory.mktemp("data"), source)


def published_in(folder, source, **kwargs):
    units = [unit(index, source) for index in range(NUMBER_OF_UNITS)]
    return publish(Synthetic(units=units, data_dir=folder, file_format="array_record"), **kwargs)


@pytest.fixture
def copy(published, tmp_path):
    """A copy to break."""
    return shutil.copytree(published.path, tmp_path / "copy")


def agree(found, expected):
    for name, field in expected.steps().items():
        assert found.steps()[name].dtype == field.dtype
        np.testing.assert_array_equal(found.steps()[name], field, err_msg=name)
    assert found.metadata == expected.metadata


def test_the_manifest_and_tfds_name_the_format(published):
    assert published.manifest["plan"]["file_format"] == "array_record"
    assert manifest.shard_names(published.manifest, "train")[1] == SHARD
    told = json.loads((published.path / "dataset_info.json").read_text())
    assert told["fileFormat"] == "array_record"


def test_every_reader_reads_it(published):
    version = Version.open(published.path)
    verify(version)
    for found, expected in zip(version.episodes(), EPISODES, strict=True):
        agree(found, expected)
    files = version.episode_files()
    agree(files[5], EPISODES[5])
    agree(files[-1], EPISODES[7])
    transitions = sum(each.num_transitions for each in EPISODES)
    assert len(load_transitions(version).reward) == transitions
    batch = next(StreamFeed(version, transitions, seed=0))
    assert np.sort(batch.reward).tolist() == np.sort(load_transitions(version).reward).tolist()


def test_tfds_reads_it_in_any_order_without_tensorflow(published, tmp_path):
    arrays = read_with(
        "tensorflow-datasets", "tfds_data_source", tmp_path / "out.npz", published.path, "train"
    )
    for number, episode in enumerate(EPISODES):
        for name, field in episode.steps().items():
            theirs = arrays[f"{number}/steps/{name}"]
            assert theirs.dtype == field.dtype, name
            np.testing.assert_array_equal(theirs, field, err_msg=name)
        theirs = {name: arrays[f"{number}/metadata/{name}"] for name in episode.metadata}
        assert theirs["agent"].item().decode() == episode.metadata["agent"]
        assert theirs["episode_id"] == episode.metadata["episode_id"]


def test_the_same_source_gives_the_same_bytes_however_many_workers(published, tmp_path, source):
    again = published_in(tmp_path, source, num_workers=2)
    for path in published.path.iterdir():
        assert path.read_bytes() == (again.path / path.name).read_bytes(), path.name


def test_another_format_would_be_another_version(published, source):
    units = [unit(index, source) for index in range(NUMBER_OF_UNITS)]
    data_dir = published.path.parents[1]
    assert not published_in(data_dir, source).is_new
    with pytest.raises(DatasetError, match=r"already published and its file_format would differ"):
        publish(Synthetic(units=units, data_dir=data_dir))


def test_a_version_of_before_there_was_a_choice_is_of_tfrecord(tmp_path, source):
    units = [unit(0, source)]
    first = publish(Synthetic(units=units, data_dir=tmp_path))
    before = {**first.manifest, "plan": {**first.manifest["plan"]}}
    del before["plan"]["file_format"]
    manifest.write(first.path, before)
    verify(Version.open(first.path))
    assert not publish(Synthetic(units=units, data_dir=tmp_path)).is_new


def test_a_format_that_is_not_there(copy, tmp_path):
    with pytest.raises(DatasetError, match="no file format 'riegeli': choose one of tfrecord, arr"):
        Synthetic(data_dir=tmp_path, file_format="riegeli")
    content = manifest.read(copy)[0]
    content["plan"]["file_format"] = ["tfrecord"]
    manifest.write(copy, content)
    with pytest.raises(DatasetError, match=r"is damaged .plan.file_format is"):
        Version.open(copy)


@pytest.mark.parametrize("damage", ["cut", "flipped", "of another version"])
def test_damage_is_seen_by_every_reader(copy, damage):
    path = copy / SHARD
    content = bytearray(path.read_bytes())
    content[len(content) // 200] ^= 1
    if damage == "cut":
        content = content[:-1]
    elif damage == "of another version":
        content = (copy / SHARD.replace("00001-of", "00000-of")).read_bytes()
        entry = Version.open(copy).manifest["files"][SHARD]
        assert len(content) == entry["size"]  # Both are padded, so only the sha256 tells.
    path.write_bytes(content)
    version = Version.open(copy)
    with pytest.raises(DatasetError, match=f"{SHARD} is (damaged|not what was published)"):
        list(version.episodes())
    with pytest.raises(DatasetError, match=f"{SHARD} is not what was published"):
        verify(version)


def test_what_is_bad_is_left_out_on_request(tmp_path, source):
    units = [unit(0, source), unit(1, source, reader=synthetic.read_nan)]
    builder = Synthetic(units=units, data_dir=tmp_path, file_format="array_record")
    with pytest.raises(DatasetError, match=r"episode 0 of unit 'unit-1' .* cannot be published"):
        publish(builder)
    left = publish(builder, keep_going=True)
    assert list(left.manifest["skipped"]) == ["unit-1"]
    assert len(list(Version.open(left.path).episodes())) == 4


def test_whole_units_are_kept_by_the_next_attempt(tmp_path, source, monkeypatch):
    units = [unit(0, source), unit(1, source, reader=synthetic.read_full_disk)]
    with pytest.raises(DatasetError, match="No space left"):
        publish(Synthetic(units=units, data_dir=tmp_path, file_format="array_record"))
    assert not (tmp_path / "synthetic" / "1.0.0").exists()
    written = []
    write_shard = publishing_units._write_shard
    monkeypatch.setattr(
        publishing_units,
        "_write_shard",
        lambda unit, *rest: (written.append(unit.name), write_shard(unit, *rest))[1],
    )
    published_in(tmp_path, source)
    assert written == ["unit-1"]
