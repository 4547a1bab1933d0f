"""`custom`: a user's own data in each layout comes out as it went in, with what the user said."""

import pathlib
import tempfile
import tracemalloc

import h5py
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from builders.custom import custom_dataset_builder
from builders.custom.custom_dataset_builder import Builder
from rl_datasets.episode import Episode
from rl_datasets.exporting.d4rl import to_d4rl
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import Publication, publish
from rl_datasets.sources import minari, npz_episodes
from tests.builders.custom.users_data import (
    SEVERAL,
    VECTOR,
    episodes_of,
    random_episode,
    write_d4rl,
    write_minari,
    write_npz,
)
from tests.dataset_contract import DatasetContract
from tests.rl_datasets.sources import minari_files

TOML = """
environment = "Hopper-v5"
action_minimum = [-5, -6.0]
action_maximum = 7
policy = "me"
citation = "A. Person, 2026"
license = "CC BY 4.0"
"""

# A publication takes a third of a second, so few are made, and a failing one is not made smaller.
AS_IT_WENT_IN = settings(max_examples=5, phases=[Phase.explicit, Phase.reuse, Phase.generate])


class TestNpz(DatasetContract):
    """Frames, with an info and metadata of each kind."""

    def make_builder(self, folder):
        source = write_npz(folder / "mine", self.episodes())
        (source / "dataset.toml").write_text(TOML)
        return Builder(config="mine", source=str(source), data_dir=folder)

    def episodes(self):
        rng = np.random.default_rng(0)
        return [
            Episode.from_transitions(
                rng.integers(0, 256, (length + 1, 4, 5, 3), np.uint8),
                rng.uniform(-1, 1, size=(length, 2)).astype(np.float32),
                rng.normal(size=length),
                is_terminal=length == 3,
                extras={"goal": rng.normal(size=(length, 2)).astype(np.float32)},
                metadata={"seed": np.int64(length), "by": f"person {length}"},
            )
            for length in (3, 1, 5)
        ]

    def test_it_says_what_the_user_said(self, published):
        plan, lineage = published.manifest["plan"], Version.open(published.path).lineage
        assert lineage.environment == "Hopper-v5"
        assert lineage.facts["license"] == "CC BY 4.0"
        assert lineage.facts["citation"] == "A. Person, 2026"
        assert plan["spec"]["action"]["minimum"] == [-5, -6]
        assert plan["spec"]["action"]["maximum"] == [7, 7]
        npz = [f"episode_00{number}.npz" for number in range(3)]
        assert sorted(plan["sources"]) == ["dataset.toml", *npz]


def published_of(source: pathlib.Path, folder: pathlib.Path) -> Publication:
    return publish(Builder(config="mine", source=str(source), data_dir=folder))


def assert_holds(published: Publication, expected: list[Episode]) -> None:
    found = list(Version.open(published.path).episodes())
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.steps().keys() == theirs.steps().keys()
        for name, field in theirs.steps().items():
            assert ours.steps()[name].dtype == field.dtype, name
            np.testing.assert_array_equal(np.asarray(ours.steps()[name]), field, err_msg=name)


@pytest.mark.parametrize("spec", [VECTOR, SEVERAL], ids=["vector", "several"])
@AS_IT_WENT_IN
@given(data=st.data())
def test_npz_comes_out_as_it_went_in(spec, data):
    episodes = data.draw(episodes_of(spec))
    with tempfile.TemporaryDirectory() as name:
        source = write_npz(pathlib.Path(name, "mine"), episodes)
        assert_holds(published_of(source, pathlib.Path(name)), episodes)


@AS_IT_WENT_IN
@given(episodes=episodes_of(VECTOR))
def test_d4rl_comes_out_as_it_went_in(episodes):
    with tempfile.TemporaryDirectory() as name:
        source = write_d4rl(pathlib.Path(name, "mine.hdf5"), episodes)
        assert_holds(published_of(source, pathlib.Path(name)), episodes)


@pytest.mark.parametrize("spec", [VECTOR, SEVERAL], ids=["vector", "several"])
@AS_IT_WENT_IN
@given(data=st.data())
def test_minari_comes_out_as_it_went_in(spec, data):
    episodes = data.draw(episodes_of(spec))
    with tempfile.TemporaryDirectory() as name:
        source = write_minari(pathlib.Path(name, "mine"), episodes, spec)
        published = published_of(source, pathlib.Path(name))
        assert_holds(published, episodes)
        version = Version.open(published.path)
        assert version.lineage.environment == "Hopper-v5"
        assert version.spec.action.minimum.min() == (0 if spec is SEVERAL else -5)
        assert version.spec.action.maximum.max() == (3 if spec is SEVERAL else 5)


@pytest.mark.parametrize("dataset", minari_files.READABLE)
def test_what_minari_wrote_is_what_minari_reads(dataset, tmp_path):
    source, expected = minari_files.write(tmp_path, dataset), minari_files.episodes(dataset)
    published = published_of(source, tmp_path)
    assert_holds(published, expected)
    version = Version.open(published.path)
    assert [each.metadata for each in version.episodes()] == [each.metadata for each in expected]
    assert len(expected) == 3
    assert version.lineage.facts["minari"]["author"] == ["A. Person"]
    assert "the infos are left out" in version.lineage.facts["repaired"]
    assert version.lineage.environment == ("CartPole-v1" if dataset == "box" else None)
    assert any("JPEG" in each for each in version.lineage.facts["repaired"]) == (dataset == "jpeg")


def test_a_row_of_a_users_file_may_be_both_a_terminal_and_a_time_limit(tmp_path):
    """As in gymnasium, and unlike in D4RL's own files; its actions may be whole numbers."""
    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, VECTOR, length, True) for length in (3, 2)]
    source = write_d4rl(tmp_path / "mine" / "data.h5", episodes)
    with h5py.File(source, "a") as file:
        file["timeouts"][2] = True
        del file["actions"]
        file["actions"] = np.arange(5)
    (source.parent / "dataset.toml").write_text("action_minimum = 0\naction_maximum = 4\n")
    published = published_of(source.parent, tmp_path)
    first, second = Version.open(published.path).episodes()
    assert first.is_terminal[-1]
    np.testing.assert_array_equal(first.action, [0, 1, 2, 0])
    np.testing.assert_array_equal(second.observation, episodes[1].observation)
    assert published.manifest["plan"]["spec"]["action"]["maximum"] == 4


def test_what_was_exported_in_d4rls_layout_is_read_back(tmp_path):
    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, VECTOR, length, length == 2) for length in (3, 2)]
    first = published_of(write_npz(tmp_path / "mine", episodes), tmp_path)
    to_d4rl(first.path, tmp_path / "exported.hdf5")
    assert_holds(published_of(tmp_path / "exported.hdf5", tmp_path / "again"), episodes)


@pytest.mark.parametrize("layout", ["npz", "minari"])
def test_memory_holds_an_episode(layout, tmp_path):
    """Of 1.2 MB, of which there are twenty."""
    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, VECTOR, 100_000, True)] * 20
    if layout == "npz":
        paths = npz_episodes.files_of(write_npz(tmp_path / "mine", episodes))
        reading = npz_episodes.read_episodes(tuple(map(str, paths)))
    else:
        source = write_minari(tmp_path / "mine", episodes, VECTOR)
        reading = minari.read_episodes(minari.read_description(source))
    next(reading)
    tracemalloc.start()
    assert sum(episode.num_transitions for episode in reading) == 1_900_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_npz_files_share_units_up_to_a_size(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, VECTOR, length, True) for length in (1, 1, 1, 50)]
    source = write_npz(tmp_path / "mine", episodes)
    size = (source / "episode_000.npz").stat().st_size
    monkeypatch.setattr(custom_dataset_builder, "UNIT_BYTES", 2 * size)
    published = published_of(source, tmp_path)
    units = published.manifest["plan"]["units"]
    assert [each["name"] for each in units] == ["episode_000", "episode_002", "episode_003"]
    assert [len(each["files"]) for each in units] == [2, 1, 1]
    assert_holds(published, episodes)


def test_the_same_files_elsewhere_give_the_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    episodes = [random_episode(rng, VECTOR, 3, True)]
    contents = []
    for place in ("here", "there"):
        source = write_npz(tmp_path / place / "mine", episodes)
        folder = published_of(source, tmp_path / place).path
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]
