"""The builder that others inherit, held to the contract with every kind of field."""

import tempfile
from typing import ClassVar

import pytest
import tensorflow_datasets as tfds

from rl_datasets.errors import DatasetError
from rl_datasets.publishing.publish import publish
from tests.dataset_contract import DatasetContract
from tests.rl_datasets.publishing import synthetic
from tests.rl_datasets.publishing.synthetic import Synthetic, unit


class TestSynthetic(DatasetContract):
    def make_builder(self, folder):
        source = folder / "source.bin"
        source.write_bytes(b"raw logs")
        units = [unit(index, str(source)) for index in range(2)]
        return Synthetic(units=units, data_dir=folder)

    def episodes(self):
        return list(synthetic.read(0, 8))

    @pytest.mark.reverb
    def test_the_contract_is_held_to_both_ends_of_an_episode(self, strangers):
        """A terminal one, and one that was cut off by a time limit."""
        _, arrays = strangers
        ends = {bool(arrays[f"{i}/steps/is_terminal"][-1]) for i in range(8)}
        assert ends == {True, False}


@pytest.fixture
def units(tmp_path):
    (tmp_path / "source.bin").write_bytes(b"raw logs")
    return [unit(0, str(tmp_path / "source.bin"))]


@pytest.mark.tensorflow
def test_a_builder_reads_what_is_published_without_its_source(tmp_path, units):
    publish(Synthetic(units=units, data_dir=tmp_path))
    reading = Synthetic(source=None, data_dir=tmp_path)
    assert reading.info.splits["train"].num_examples == 4
    assert reading.info.features["steps"]["observation"].shape == (3,)
    reading.download_and_prepare()
    assert [int(e["episode_id"]) for e in reading.as_dataset(split="train")] == [0, 1, 2, 3]


def test_a_builder_with_nothing_to_read_says_how_to_publish(tmp_path):
    with pytest.raises(DatasetError, match="is not published; publish it with `rl-datasets pub"):
        Synthetic(source=None, data_dir=tmp_path)


@pytest.mark.tensorflow
def test_download_and_prepare_publishes(tmp_path, units):
    builder = Synthetic(units=units, data_dir=tmp_path)
    builder.download_and_prepare()
    assert (tmp_path / "synthetic" / "1.0.0" / "MANIFEST.json").is_file()
    assert len(builder.as_dataset(split="train")) == 4


def test_nothing_is_left_in_the_systems_temporary_folder(tmp_path, units, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    publish(Synthetic(units=units, data_dir=tmp_path / "data"))
    assert not list((tmp_path / "temporary").iterdir())


def test_a_users_own_configuration_gets_a_folder_of_its_own(tmp_path, units):
    published = publish(Synthetic(units=units, config="mine", data_dir=tmp_path))
    assert published.path == tmp_path / "synthetic" / "mine" / "1.0.0"
    assert tfds.builder("synthetic/mine", data_dir=tmp_path).info.splits["train"].num_examples == 4


class SecondLayout(Synthetic, skip_registration=True):
    """A builder whose layout has changed since its first version."""

    name = "synthetic"
    VERSION = tfds.core.Version("2.1.0")
    RELEASE_NOTES: ClassVar = {"2.1.0": "Another layout."}


@pytest.mark.parametrize("number", ["2.0.0", "2.1.0", "3.0.0"])
def test_a_version_of_the_layouts_own_number_is_published(tmp_path, units, number):
    published = publish(SecondLayout(units=units, data_dir=tmp_path, version=number))
    assert published.path.name == number


def test_a_layout_is_not_published_under_an_older_layouts_number(tmp_path, units):
    with pytest.raises(
        DatasetError,
        match=r"^synthetic cannot be published as version 1\.9\.0, because its layout is that of "
        r"version 2\.1\.0: give a version from 2\.0\.0 on$",
    ):
        SecondLayout(units=units, data_dir=tmp_path, version="1.9.0")
    assert not (tmp_path / "synthetic").exists()


def test_a_version_of_an_older_layout_is_still_read(tmp_path, units):
    publish(Synthetic(units=units, data_dir=tmp_path, version="1.0.0"))
    reading = SecondLayout(source=None, data_dir=tmp_path, version="1.0.0")
    assert reading.info.splits["train"].num_examples == 4
