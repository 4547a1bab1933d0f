"""`rl_unplugged_rwrl`: shards made by hand, held to the contract."""

import pytest

from builders.rl_unplugged_rwrl.rl_unplugged_rwrl_dataset_builder import Builder
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.publish import publish
from rl_datasets.sources import rl_unplugged_rwrl
from tests.dataset_contract import DatasetContract
from tests.optional import optional
from tests.rl_datasets.sources.rl_unplugged_suite_files import rwrl, shard, write

optional("tensorflow")
EASY = "cartpole_swingup_combined_challenge_easy_1_percent"
FOLDER = "rwrl/combined_challenge_easy/cartpole/swingup/1_percent"


def copy_of_bucket(folder, *examples):
    """Two shards, of which the first has no record."""
    write(folder / FOLDER / "episodes.tfrecord-00000-of-00002", b"")
    content = shard(examples, is_gzip=False)
    write(folder / FOLDER / "episodes.tfrecord-00001-of-00002", content)
    return folder


class TestEasy(DatasetContract):
    """Two episodes with challenges, the second of which begins with the end of the first."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _source(cls, tmp_path_factory):
        first = rwrl(EASY, 0)
        folder = tmp_path_factory.mktemp("bucket")
        cls.source = copy_of_bucket(folder, first, rwrl(EASY, 1, before=first))

    def make_builder(self, folder):
        return Builder(config=EASY, source=str(self.source), data_dir=folder)

    def episodes(self):
        dataset = rl_unplugged_rwrl.dataset(EASY)
        return [
            episode
            for path in dataset.shards.find(self.source)
            for episode in dataset.layout.read(path, dataset.parse)
        ]

    def test_the_manifest_tells_what_was_read(self, published):
        told = published.manifest
        counts = {"episodes": 2, "transitions": 2000, "truncated": 2}
        assert told["counted"] == {"part_000": counts}
        lineage = told["plan"]["lineage"]
        assert (lineage["combined_challenge"], lineage["size"]) == ("easy", "1_percent")
        assert "rewards lag ten steps" in lineage["known_defects"][1]

    def test_the_commands_show_and_verify_it(self, published, run):
        assert run("show", published.path).stdout.startswith(f"rl_unplugged_rwrl/{EASY}:1.0.0\n")
        assert run("verify", published.path).status == 0


def test_a_bad_record_is_named_and_costs_itself(tmp_path):
    source = copy_of_bucket(tmp_path / "bucket", rwrl(EASY, 0), rwrl(EASY, 1, velocity=None))
    builder = Builder(config=EASY, source=str(source), data_dir=tmp_path)
    fault = "record 1 of episodes.tfrecord-00001-of-00002 has no feature 'observation:velocity'"
    with pytest.raises(DatasetError, match=fault):
        publish(builder)
    assert not list(tmp_path.rglob("1.0.0"))
    published = publish(builder, keep_going=True)
    (reason,) = published.manifest["left_out"]["part_000"]
    assert fault in reason
    assert published.manifest["counted"]["part_000"]["episodes"] == 1
