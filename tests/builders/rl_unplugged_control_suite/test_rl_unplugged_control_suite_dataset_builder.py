"""`rl_unplugged_control_suite`: a real episode and shards made by hand, held to the contract."""

import gzip

import numpy as np
import pytest
import tensorflow_datasets as tfds

from builders import rl_unplugged_suites
from builders.rl_unplugged_control_suite.rl_unplugged_control_suite_dataset_builder import Builder
from rl_datasets import wire
from rl_datasets.errors import DatasetError
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.sources import rl_unplugged_control
from tests.dataset_contract import DatasetContract
from tests.optional import optional
from tests.rl_datasets.sources.fake_bucket import serving
from tests.rl_datasets.sources.rl_unplugged_suite_files import EMPTY, control, shard, write

optional("tensorflow")
SUITE = "dm_control_suite_episodes"
FISH = rl_unplugged_control.CONTROL_SUITE["fish_swim"]


def copy_of_bucket(folder, task="fish_swim", shards=4):
    """A folder with a task's shards: every other one holds an episode, and the others none."""
    task_of = rl_unplugged_control.CONTROL_SUITE[task]
    empty = list(EMPTY.values())
    for index in range(shards):
        content = empty[index // 2 % 2] if index % 2 else shard([control(task_of, index)])
        write(folder / SUITE / task / f"train-{index:05d}-of-{shards:05d}", content)
    return folder


def published_from(source, data_dir, config="fish_swim", **kwargs):
    return publish(Builder(config=config, source=str(source), data_dir=data_dir), **kwargs)


def ids(published) -> list[int]:
    episodes = Version.open(published.path).episodes("train")
    return [int(each.metadata["episode_id"]) + 2**62 for each in episodes]


class TestReal(DatasetContract):
    """A real episode of cartpole_swingup."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _source(cls, shared):
        cls.source = shared / "rl_unplugged"

    def make_builder(self, folder):
        return Builder(config="cartpole_swingup", source=str(self.source), data_dir=folder)

    def episodes(self):
        dataset = rl_unplugged_control.control_suite("cartpole_swingup")
        (path,) = dataset.shards.find(self.source)
        return list(dataset.layout.read(path, dataset.parse))

    def test_the_manifest_tells_what_was_read(self, published):
        told = published.manifest
        assert told["plan"]["sources"].keys() == {"train-00000-of-00001"}
        assert told["counted"] == {"part_000": {"episodes": 1, "transitions": 1000, "truncated": 1}}
        lineage = told["plan"]["lineage"]
        assert lineage["source"] == f"RL Unplugged, gs://rl_unplugged/{SUITE}/cartpole_swingup"
        assert lineage["task"] == "cartpole_swingup"
        assert "with the action that earned them here, one step earlier" in lineage["repaired"][0]

    def test_the_commands_show_and_verify_it(self, published, run):
        shown = run("show", published.path)
        assert shown.stdout.startswith("rl_unplugged_control_suite/cartpole_swingup:1.0.0\n")
        assert "861" in shown.stdout
        assert run("verify", published.path).status == 0


@pytest.mark.tensorflow
@pytest.mark.parametrize("config", rl_unplugged_control.CONTROL_SUITE)
def test_the_features_are_those_of_tfds_and_touch(tmp_path, config):
    suite = pytest.importorskip("tensorflow_datasets.rl_unplugged.rlu_control_suite")
    theirs = suite.rlu_control_suite.RluControlSuite(config=config, data_dir=str(tmp_path))
    ours = Builder(config=config, source=str(tmp_path), data_dir=tmp_path)
    told = ours.info.features.get_tensor_info()
    if config == "finger_turn_hard":
        assert told["steps"]["observation"].pop("touch").shape == (2,)
    assert told == theirs.info.features.get_tensor_info()
    assert list(Builder.builder_configs) == list(theirs.builder_configs)


def test_empty_shards_are_read_and_small_ones_make_one_unit(tmp_path):
    published = published_from(copy_of_bucket(tmp_path / "bucket"), tmp_path)
    assert ids(published) == [0, 2]
    (unit,) = published.manifest["plan"]["units"]
    assert unit["files"] == [f"train-{index:05d}-of-00004" for index in range(4)]
    verify(Version.open(published.path))


def test_large_shards_make_several_units(tmp_path, monkeypatch):
    """A unit is closed as soon as it is large enough; what is left over joins the last."""
    monkeypatch.setattr(rl_unplugged_suites, "UNIT_BYTES", 100_000)
    published = published_from(copy_of_bucket(tmp_path / "bucket", shards=6), tmp_path)
    files = [len(unit["files"]) for unit in published.manifest["plan"]["units"]]
    assert files == [1, 2, 3]
    assert ids(published) == [0, 2, 4]


@pytest.mark.tensorflow
def test_plain_tfds_loads_it(tmp_path):
    published_from(copy_of_bucket(tmp_path / "bucket"), tmp_path)
    dataset = tfds.load("rl_unplugged_control_suite/fish_swim", data_dir=tmp_path, split="train")
    episodes = list(tfds.as_numpy(dataset))
    assert len(episodes) == 2
    steps = list(episodes[0]["steps"])
    assert len(steps) == 1001
    assert {name: of.shape for name, of in steps[0]["observation"].items()} == {
        name: (size,) for name, size in FISH.sizes.items()
    }
    assert not any(step["is_terminal"] for step in steps)


BAD = [
    ({"reward": wire.float_list(np.full(1001, np.nan, np.float32))}, "finite"),
    ({"velocity": None}, "no feature 'observation/velocity'"),
    ({"target": wire.float_list(np.zeros(2002, np.float32))}, "'observation/target' has 2002"),
    ({"discount": wire.float_list(np.array([np.nan, *[1] * 999, 0]))}, "a last discount of 0"),
]


@pytest.mark.parametrize(("changes", "fault"), BAD)
def test_a_bad_record_is_named_and_costs_itself(tmp_path, changes, fault):
    source = copy_of_bucket(tmp_path / "bucket")
    path = source / SUITE / "fish_swim" / "train-00000-of-00004"
    write(path, shard([control(FISH, 10), control(FISH, 11, **changes)]))
    with pytest.raises(DatasetError, match=f"episode 1 of unit 'part_000'.*{fault}") as caught:
        published_from(source, tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("1.0.0"))
    published = published_from(source, tmp_path, keep_going=True)
    (reason,) = published.manifest["left_out"]["part_000"]
    assert fault in reason
    assert ids(published) == [10, 2]


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "is damaged"),
        (lambda path: path.write_bytes(gzip.decompress(path.read_bytes())), "was decompressed"),
    ],
)
def test_a_bad_shard_is_named_and_costs_itself(tmp_path, spoil, fault):
    source = copy_of_bucket(tmp_path / "bucket")
    spoil(source / SUITE / "fish_swim" / "train-00002-of-00004")
    with pytest.raises(DatasetError, match=f"train-00002-of-00004 {fault}"):
        published_from(source, tmp_path)
    assert not list(tmp_path.rglob("1.0.0"))
    published = published_from(source, tmp_path, keep_going=True)
    (reason,) = published.manifest["left_out"]["part_000"]
    assert f"train-00002-of-00004 {fault}" in reason
    assert ids(published) == [0]


def test_another_tasks_shard_under_this_tasks_name_is_refused(tmp_path):
    source = tmp_path / "bucket" / SUITE / "fish_swim"
    cheetah = rl_unplugged_control.CONTROL_SUITE["cheetah_run"]
    write(source / "train-00000-of-00001", shard([control(cheetah, 0)]))
    with pytest.raises(DatasetError, match="record 0 of train-00000-of-00001 "):
        published_from(source, tmp_path)


def test_a_bucket_gives_the_same_bytes_as_a_copy_of_it(tmp_path, monkeypatch):
    source = copy_of_bucket(tmp_path / "bucket")
    local = published_from(source, tmp_path / "local")
    with serving(rl_unplugged=source) as storage:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        remote = published_from("gs://rl_unplugged", tmp_path / "remote")
    shards = [path.read_bytes() for p in (local, remote) for path in p.path.glob("*.tfrecord-*")]
    assert shards[0] == shards[1]
    assert len(remote.manifest["copied"]) == 4


def test_what_is_no_task_and_no_source_are_told(tmp_path):
    with pytest.raises(DatasetError, match="rl_unplugged_control_suite/ant_run is not a dataset"):
        Builder(config="ant_run", source=str(tmp_path), data_dir=tmp_path)
    with pytest.raises(DatasetError, match="has no shard of fish_swim, such as fish_swim/train-0"):
        published_from(tmp_path, tmp_path)
