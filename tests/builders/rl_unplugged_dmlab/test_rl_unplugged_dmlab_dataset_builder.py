"""`rl_unplugged_dmlab`: shards made by hand, held to the contract."""

import pytest

from builders.rl_unplugged_dmlab.rl_unplugged_dmlab_dataset_builder import Builder
from rl_datasets import wire
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.sources import rl_unplugged_dmlab
from tests.dataset_contract import DatasetContract
from tests.optional import optional
from tests.rl_datasets.sources.rl_unplugged_suite_files import EMPTY, dmlab, shard, write

optional("tensorflow")
CONFIG = "rooms_select_nonmatching_object_training_0"
FOLDER = "dmlab/rooms_select_nonmatching_object/training_0"


def copy_of_bucket(folder, *examples):
    """Two shards, of which the first has no record."""
    write(folder / FOLDER / "tfrecord-00000-of-00002", EMPTY["of a gzip file"])
    write(folder / FOLDER / "tfrecord-00001-of-00002", shard(examples))
    return folder


class TestTurned(DatasetContract):
    """Two episodes whose frames are turned."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _source(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("bucket")
        cls.source = copy_of_bucket(folder, dmlab(0, 181), dmlab(1, 181))

    def make_builder(self, folder):
        return Builder(config=CONFIG, source=str(self.source), data_dir=folder)

    def episodes(self):
        dataset = rl_unplugged_dmlab.dataset(CONFIG)
        return [
            episode
            for path in dataset.shards.find(self.source)
            for episode in dataset.layout.read(path, dataset.parse)
        ]

    def test_the_manifest_tells_what_was_read(self, published):
        told = published.manifest
        counts = {"episodes": 2, "transitions": 360, "truncated": 2}
        assert told["counted"] == {"part_000": counts}
        lineage = told["plan"]["lineage"]
        assert lineage["channels"] == "red, green, blue"
        assert "the channels of each were reversed" in lineage["repaired"][1]

    def test_the_commands_show_and_verify_it(self, published, run):
        shown = run("show", published.path).stdout
        assert shown.startswith(f"rl_unplugged_dmlab/{CONFIG}:1.0.0\n")
        assert run("verify", published.path).status == 0


@pytest.mark.tensorflow
def test_the_features_are_those_of_tfds(tmp_path):
    suite = pytest.importorskip("tensorflow_datasets.rl_unplugged.dmlab_dataset")
    theirs = suite.DMLabDatasetBuilder.get_features_dict(None).get_tensor_info()
    ours = Builder(config=CONFIG, source=str(tmp_path), data_dir=tmp_path)
    assert ours.info.features.get_tensor_info() == theirs


def test_frames_may_stay_as_they_are_byte_for_byte(tmp_path):
    one = dmlab(0, 181)
    source = copy_of_bucket(tmp_path / "bucket", one)
    config = CONFIG + rl_unplugged_dmlab.AS_STORED
    published = publish(Builder(config=config, source=str(source), data_dir=tmp_path))
    (episode,) = Version.open(published.path).episodes("train")
    assert wire.bytes_list(episode.observation["pixels"].pngs) == one["observations_pixels"]
    lineage = published.manifest["plan"]["lineage"]
    assert lineage["channels"] == "blue, green, red, as released"
    assert "frames are blue, green, red" in lineage["known_defects"]


def test_a_damaged_frame_is_named_and_costs_its_episode(tmp_path):
    bad = dmlab(1, 181)
    pixels = bytearray(bad["observations_pixels"])
    pixels[len(pixels) // 2] ^= 1
    bad["observations_pixels"] = bytes(pixels)
    source = copy_of_bucket(tmp_path / "bucket", dmlab(0, 181), bad, dmlab(2, 181))
    builder = Builder(config=CONFIG, source=str(source), data_dir=tmp_path)
    with pytest.raises(DatasetError, match="record 1 of tfrecord-00001-of-00002 "):
        publish(builder)
    assert not list(tmp_path.rglob("1.0.0"))
    published = publish(builder, keep_going=True)
    (reason,) = published.manifest["left_out"]["part_000"]
    assert "record 1 of tfrecord-00001-of-00002 " in reason
    assert published.manifest["counted"]["part_000"]["episodes"] == 2
