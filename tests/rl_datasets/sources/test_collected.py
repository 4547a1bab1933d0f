"""The collected folder: what is written is read back, and what is damaged is refused."""

import contextlib
import json
import os
import pathlib
import re
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rl_datasets import episode, episode_check, errors, files
from rl_datasets.collection import collected_folder
from rl_datasets.sources import collected
from tests.rl_datasets.sources.collected_units import make_episode

PROPERTIES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def make_collection(folder, lengths=((3, 1), (4,))):
    units = []
    for index, unit in enumerate(lengths):
        episodes = [make_episode(length, number, index) for number, length in enumerate(unit)]
        units.append(collected_folder.write_unit(folder / f"unit-{index:05d}.npz", episodes))
    policy = collected.PolicyRecord(
        0, "random", "uniform", False, 0.0, 0.1, (("a.npz", "00"),), sum(map(sum, lengths))
    )
    collection = collected.Collection(
        folder=folder,
        dataset="test-recollected",
        environment="Test-v0",
        mixture="mine",
        seed=3,
        observation={"shape": [3], "dtype": "float32"},
        action={"shape": [2], "dtype": "float32", "minimum": [-1, -1], "maximum": [1, 1]},
        policies=(policy,),
        units=tuple(units),
        versions={"numpy": "1"},
    )
    collected_folder.write_collection(collection)
    return collection


def assert_same(one, other):
    assert one.steps().keys() == other.steps().keys()
    for name, field in one.steps().items():
        np.testing.assert_array_equal(field, other.steps()[name])
        assert field.dtype == other.steps()[name].dtype
    assert one.metadata.keys() == other.metadata.keys()
    for name, value in one.metadata.items():
        np.testing.assert_array_equal(value, other.metadata[name])
        assert np.asarray(value).dtype == np.asarray(other.metadata[name]).dtype


@PROPERTIES
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    observation_dtype=st.sampled_from([np.uint8, np.float32, np.float64]),
    observation_shape=st.sampled_from([(), (4,), (2, 3)]),
    text=st.text(st.characters(blacklist_characters="\0", codec="utf-8")),
    data=st.data(),
)
def test_units_round_trip(lengths, observation_dtype, observation_shape, text, data):
    episodes = []
    for length in lengths:
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        episodes.append(
            episode.Episode.from_transitions(
                (255 * rng.random((length + 1, *observation_shape))).astype(observation_dtype),
                rng.random((length, 2), np.float32),
                rng.random(length),
                is_terminal=data.draw(st.booleans()),
                extras={"policy_id": rng.integers(0, 9, length, np.int32)},
                metadata={"name": text, "weights": rng.random((2, 2)), "id": np.int64(length)},
            )
        )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "unit.npz"
        record = collected_folder.write_unit(path, iter(episodes))
        for written, read in zip(episodes, collected.read_unit(path), strict=True):
            assert_same(written, read)
        assert record.episodes == len(lengths)
        assert record.transitions == sum(lengths)
        assert record.sha256 == files.sha256_of(path)
        first = path.read_bytes()
        collected_folder.write_unit(path, episodes)
        assert path.read_bytes() == first


def test_collection_round_trip(tmp_path):
    collection = make_collection(tmp_path)
    read = collected.read_collection(tmp_path)
    assert read == collection
    assert (read.num_episodes, read.num_transitions) == (3, 8)
    for unit in read.units:
        for each in collected.read_unit(tmp_path / unit.file):
            episode_check.check_episode(each, read.episode_spec())


@pytest.fixture(scope="module")
def unit_bytes(tmp_path_factory):
    path = tmp_path_factory.mktemp("unit") / "unit.npz"
    collected_folder.write_unit(path, [make_episode(20), make_episode(5)])
    return path.read_bytes()


@PROPERTIES
@given(data=st.data())
def test_truncated_unit_is_refused(unit_bytes, data):
    kept = data.draw(st.integers(0, len(unit_bytes) - 1))
    assert_refused(unit_bytes[:kept])


@PROPERTIES
@given(data=st.data())
def test_flipped_bit_is_refused_or_harmless(unit_bytes, data):
    """Bits that no reader looks at, such as a member's date, may change without harm."""
    content = bytearray(unit_bytes)
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "unit.npz"
        path.write_bytes(content)
        with contextlib.suppress(errors.DatasetError):
            first, second = collected.read_unit(path)
            assert_same(first, make_episode(20))
            assert_same(second, make_episode(5))


def assert_refused(content, message=""):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "unit.npz"
        path.write_bytes(content)
        with pytest.raises(errors.DatasetError, match=f"unit.npz.*{message}"):
            list(collected.read_unit(path))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("steps/reward", None, "lacks \\['steps/reward'\\]"),
        ("steps/is_last", None, "lacks \\['steps/is_last'\\]"),
        ("episode_length", None, "must have an episode_length"),
        ("episode_length", lambda x: x[:0], "must have an episode_length"),
        ("episode_length", lambda x: x.astype(float), "must have an episode_length"),
        ("episode_length", lambda x: x - x + [1, 26], "must have an episode_length"),
        ("episode_length", lambda x: x + 1, "must have 29 rows in every field"),
        ("steps/observation", lambda x: x[:-1], "must have 27 rows in every field"),
        ("steps/action", lambda x: x[0, 0], "must have 27 rows in every field"),
        ("metadata/is_cut", lambda x: x[:1], "must have 2 rows in every field of the metadata"),
        ("steps/reward", lambda x: x * np.nan, "not finite in steps/reward"),
        ("steps/observation", lambda x: x + np.inf, "not finite in steps/observation"),
    ],
)
def test_bad_unit_is_named(tmp_path, unit_bytes, name, change, message):
    path = tmp_path / "unit.npz"
    path.write_bytes(unit_bytes)
    arrays = dict(np.load(path))
    changed = arrays.pop(name)
    if change is not None:
        arrays[name] = change(changed)
    np.savez(path, **arrays)
    with pytest.raises(errors.DatasetError, match=rf"unit\.npz.*{message}"):
        list(collected.read_unit(path))


class Pickled:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder),))


def test_pickles_are_not_unpickled(tmp_path, unit_bytes):
    path = tmp_path / "unit.npz"
    path.write_bytes(unit_bytes)
    np.savez(path, **dict(np.load(path)), extra=np.array([Pickled(tmp_path / "unpickled")]))
    with pytest.raises(errors.DatasetError, match=r"unit\.npz .* holds more than arrays"):
        list(collected.read_unit(path))
    assert not (tmp_path / "unpickled").exists()


def test_missing_unit(tmp_path):
    with pytest.raises(errors.DatasetError, match=r"unit\.npz does not exist"):
        list(collected.read_unit(tmp_path / "unit.npz"))


def test_incomplete_collection(tmp_path):
    with pytest.raises(errors.DatasetError, match=r"collection\.json does not exist"):
        collected.read_collection(tmp_path)


def test_damaged_units_are_named(tmp_path):
    make_collection(tmp_path)
    path = tmp_path / "unit-00001.npz"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(errors.DatasetError, match=r"unit-00001\.npz is missing or is not"):
        collected.read_collection(tmp_path)
    path.unlink()
    with pytest.raises(errors.DatasetError, match=r"unit-00001\.npz is missing or is not"):
        collected.read_collection(tmp_path)
    assert len(collected.read_collection(tmp_path, check_units=False).units) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-10], "is damaged"),
        (lambda text: "", "is damaged"),
        (lambda text: "[]", "is damaged"),
        (lambda text: "{}", r"is damaged \('format_version' is missing\): delete"),
        (lambda text: text.replace('"seed"', '"sead"'), "is damaged"),
        (lambda text: text.replace('"sha256"', '"sha512"'), "is damaged"),
        (lambda text: text.replace('"sigma"', '"omega"'), "is damaged"),
        (lambda text: re.sub('"episodes": [0-9]+', '"episodes": "3"', text), "is damaged"),
        (lambda text: text.replace('"dtype"', '"type"'), "is damaged"),
        (lambda text: "[" * 100_000, r"is damaged \(it is nested too deeply\)"),
        *(
            (lambda text, name=name: text.replace("unit-00001.npz", name), "which is not a file of")
            for name in ("../unit-00001.npz", "/etc/hostname", "..", "a/b.npz", "")
        ),
        (lambda text: text.replace('"format_version": 1', '"format_version": 2'), "version 2"),
    ],
)
def test_damaged_collection_file(tmp_path, change, message):
    make_collection(tmp_path)
    path = tmp_path / "collection.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(errors.DatasetError, match=rf"collection\.json.*{message}"):
        collected.read_collection(tmp_path)


def test_collection_file_is_plain_json(tmp_path):
    make_collection(tmp_path)
    content = json.loads((tmp_path / "collection.json").read_text())
    assert content["format_version"] == 1
    assert content["policies"][0]["source"] == [["a.npz", "00"]]
    assert [unit["file"] for unit in content["units"]] == ["unit-00000.npz", "unit-00001.npz"]
