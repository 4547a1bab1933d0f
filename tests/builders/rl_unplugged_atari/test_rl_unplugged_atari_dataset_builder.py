"""`rl_unplugged_atari`: a real shard and shards made by hand, held to the contract."""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from builders.rl_unplugged_atari.rl_unplugged_atari_dataset_builder import Builder
from rl_datasets import records, wire
from rl_datasets.errors import DatasetError
from rl_datasets.published import catalog, encoding, manifest
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.sources import rl_unplugged
from rl_datasets.stores import google_errors
from tests.dataset_contract import DatasetContract
from tests.optional import optional
from tests.rl_datasets.sources.fake_bucket import serving
from tests.rl_datasets.sources.rl_unplugged_files import episode, frames, transition, write

tf = optional("tensorflow")


def copy_of_bucket(folder, game="Asterix", run=1, missing=(), shards=3):
    """A folder with a run's shards, two episodes each, the second of them truncated."""
    for index in set(range(shards)) - set(missing):
        examples = [
            episode(2 * index, 4 + index, checkpoint_idx=wire.int64_list(np.array([index]))),
            episode(2 * index + 1, 5, 1, checkpoint_idx=wire.int64_list(np.array([index]))),
        ]
        name = f"run_{run}-{index:05d}-of-{shards:05d}"
        write(folder / rl_unplugged.EPISODES / game / name, examples)
    return str(folder)


class TestReal(DatasetContract):
    """Two real episodes; TFDS itself decodes and aligns what a stranger reads."""

    split = "checkpoint_00"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _source(cls, shared):
        cls.source = shared / "rl_unplugged"

    def make_builder(self, folder):
        return Builder(config="Asterix_run_1", source=str(self.source), data_dir=folder)

    def episodes(self):
        (shard,) = rl_unplugged.find_shards(self.source, "Asterix", 1)
        return list(rl_unplugged.read_episodes(shard, 0))

    @pytest.mark.tensorflow
    def test_frames_are_the_released_files_byte_for_byte(self, published):
        (shard,) = rl_unplugged.find_shards(self.source, "Asterix", 1)
        released = [
            tf.train.Example.FromString(record.numpy()).features.feature["observations"]
            for record in tf.data.TFRecordDataset(str(shard), compression_type="GZIP")
        ]
        (ours,) = published.path.glob("*.tfrecord-*")
        for record, theirs in zip(records.read_records(ours), released, strict=True):
            feature = tf.train.Example.FromString(record).features.feature["steps/observation"]
            assert feature.bytes_list.value[:-1] == theirs.bytes_list.value

    @pytest.mark.tensorflow
    def test_the_features_are_those_of_tfds_and_the_stored_reward(self, published):
        utils = pytest.importorskip("tensorflow_datasets.rl_unplugged.atari_utils")
        ours = tfds.builder_from_directory(published.path).info.features
        theirs = utils.features_dict()
        ours_told, theirs_told = ours.get_tensor_info(), theirs.get_tensor_info()
        stored = ours_told["steps"].pop("stored_reward")
        assert (stored.shape, stored.dtype) == ((), np.float32)
        assert ours_told == theirs_told
        assert isinstance(ours["steps"].feature["observation"], tfds.features.Image)

    def test_the_manifest_tells_what_was_read(self, published):
        told = published.manifest
        assert told["plan"]["sources"].keys() == {"run_1-00000-of-00001"}
        assert told["counted"] == {
            "checkpoint_00": {"episodes": 2, "transitions": 1693, "truncated": 0}
        }
        lineage = told["plan"]["lineage"]
        assert lineage["rom_set"] == "atari-py 0.2.5"
        assert "the first action's is stored nowhere, and is 0" in lineage["rewards"]
        assert "stores a reward one row before" in lineage["repaired"][0]
        assert told["plan"]["version"] == "2.0.0"
        assert told["plan"]["spec"]["action"]["maximum"] == 8


@pytest.mark.tensorflow
def test_a_split_is_a_checkpoint(tmp_path):
    source = copy_of_bucket(tmp_path / "bucket")
    published = publish(Builder(config="Asterix_run_1", source=source, data_dir=tmp_path))
    assert list(published.manifest["splits"]) == [f"checkpoint_{i:02d}" for i in range(3)]
    assert published.manifest["counted"]["checkpoint_01"] == {
        "episodes": 2,
        "transitions": 5 + 4,
        "truncated": 1,
    }
    for index in range(3):
        episodes = list(Version.open(published.path).episodes(f"checkpoint_{index:02d}"))
        assert [int(each.metadata["episode_id"]) for each in episodes] == [2 * index, 2 * index + 1]
        assert {int(each.metadata["checkpoint_id"]) for each in episodes} == {index}
        assert [bool(each.is_terminal[-1]) for each in episodes] == [True, False]
    verify(Version.open(published.path))
    dataset = tfds.load("rl_unplugged_atari/Asterix_run_1", data_dir=tmp_path)
    assert len(dataset) == 3


def test_a_missing_shard_is_named_before_anything_is_read_and_can_be_gone_without(tmp_path):
    source = copy_of_bucket(tmp_path / "bucket", missing=[1])
    with pytest.raises(DatasetError, match=r"run_1-00001-of-00003 cannot be read.*--keep-going"):
        publish(Builder(config="Asterix_run_1", source=source, data_dir=tmp_path))
    assert not (tmp_path / "rl_unplugged_atari" / "Asterix_run_1" / "2.0.0").exists()
    published = publish(
        Builder(config="Asterix_run_1", source=source, data_dir=tmp_path), keep_going=True
    )
    assert list(published.manifest["splits"]) == ["checkpoint_00", "checkpoint_02"]
    (reason,) = published.manifest["skipped"].values()
    assert reason.startswith("run_1-00001-of-00003 cannot be read: No such file")


def test_a_damaged_shard_is_named_and_nothing_is_published(tmp_path):
    source = copy_of_bucket(tmp_path / "bucket")
    shard = rl_unplugged.find_shards(source, "Asterix", 1)[2]
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"run_1-00002-of-00003 is damaged"):
        publish(Builder(config="Asterix_run_1", source=source, data_dir=tmp_path))
    assert not (tmp_path / "rl_unplugged_atari" / "Asterix_run_1" / "2.0.0").exists()


def test_a_bad_record_costs_itself_alone(tmp_path):
    source = copy_of_bucket(tmp_path / "bucket", shards=1)
    (shard,) = rl_unplugged.find_shards(source, "Asterix", 1)
    unclipped = wire.float_list(np.full(5, 40.0))
    write(shard, [episode(0, 4), episode(1, 5, unclipped_rewards=unclipped), episode(2, 6)])
    builder = Builder(config="Asterix_run_1", source=source, data_dir=tmp_path)
    with pytest.raises(DatasetError, match=r"episode 1 of unit.*record 1 .*reward of 40\.0"):
        publish(builder)
    published = publish(builder, keep_going=True)
    (reason,) = published.manifest["left_out"]["checkpoint_00"]
    assert reason.startswith("episode 1: record 1 of the shard is not an episode")
    lengths = [e.num_transitions for e in Version.open(published.path).episodes("checkpoint_00")]
    assert lengths == [4, 6]
    verify(Version.open(published.path))


def test_an_action_that_the_game_does_not_have_is_refused(tmp_path):
    source = copy_of_bucket(tmp_path / "bucket", game="Freeway", shards=1)
    with pytest.raises(DatasetError, match="every action must lie within the bounds"):
        publish(Builder(config="Freeway_run_1", source=source, data_dir=tmp_path))


@pytest.fixture
def transitions(tmp_path):
    """A published run of three shards of five transitions."""
    for index in range(3):
        examples = [transition(5 * index + i) for i in range(5)]
        write(tmp_path / "bucket" / "atari" / "Asterix" / f"run_1-{index:05d}-of-00003", examples)
    source = str(tmp_path / "bucket")
    return publish(
        Builder(config="Asterix_run_1_transitions", source=source, data_dir=tmp_path / "data")
    )


def test_transitions_are_records_of_their_own(transitions):
    told = transitions.manifest
    terminal = sum(seed % 4 == 0 for seed in range(15))
    (defect,) = told["plan"]["lineage"]["known_defects"]
    assert "what `action` earned or what `next_action` earned is not known" in defect
    assert told["splits"]["train"]["transitions"] == 15
    assert told["splits"]["train"]["terminal"] == terminal
    assert told["splits"]["train"]["reward"]["mean"] == 0
    assert told["counted"]["shard_02"] == {"transitions": 5, "terminal": 1}
    found = list(Version.open(transitions.path).transitions())
    assert [each.episode_return for each in found] == [0.5 * seed for seed in range(15)]
    with pytest.raises(DatasetError, match="holds transitions that no episode can be made of"):
        Version.open(transitions.path).episodes()
    verify(Version.open(transitions.path))
    (line,), _ = catalog.list_published(transitions.path.parents[2])
    assert line.counts() == (0, 15)


@pytest.mark.tensorflow
def test_tfds_alone_reads_transitions(transitions):
    data_dir = transitions.path.parents[2]
    dataset = tfds.load(
        "rl_unplugged_atari/Asterix_run_1_transitions", data_dir=data_dir, split="train"
    )
    found = sorted(tfds.as_numpy(dataset), key=lambda each: each["episode_id"])
    assert len(found) == 15
    for seed, each in enumerate(found):
        np.testing.assert_array_equal(each["observation"], frames(seed, 5)[:4])
        np.testing.assert_array_equal(each["next_observation"], frames(seed, 5)[1:])
        assert each["action"] == seed % 9
        assert each["next_action"] == (seed + 1) % 9
        assert each["reward"] == seed % 3 - 1
        assert each["discount"] == float(seed % 4 > 0)


def test_bytes_of_a_transition_are_those_of_tfds(transitions):
    features = tfds.builder_from_directory(transitions.path).info.features
    serializer = tfds.core.ExampleSerializer(features.get_serialized_info())
    shards = sorted(transitions.path.glob("*.tfrecord-*"))
    written = [record for shard in shards for record in records.read_records(shard)]
    for record, each in zip(written, Version.open(transitions.path).transitions(), strict=True):
        fields = each._asdict()
        fields |= {name: fields[name].pngs for name in ("observation", "next_observation")}
        theirs = serializer.get_tf_example(features.encode_example(fields))
        assert record == theirs.SerializeToString(deterministic=True)


def test_a_transition_whose_pixels_are_damaged_is_found_by_reading(transitions):
    shard = min(transitions.path.glob("*.tfrecord-*"))
    first, *rest = Version.open(transitions.path).transitions()
    png = bytearray(first.next_observation.pngs[2])
    png[45] ^= 1
    first.next_observation.pngs[2] = bytes(png)
    encoded = [encoding.encode_transition(each) for each in [first, *rest[:4]]]
    shard.write_bytes(b"".join(map(records.frame, encoded)))
    told = manifest.read(transitions.path)[0]
    told["files"][shard.name] = manifest.file_entry(shard)
    manifest.write(transitions.path, told)
    with pytest.raises(DatasetError, match=r"transition 0 of split 'train' .*frame 2 is a damaged"):
        verify(Version.open(transitions.path))


def test_configurations_are_those_of_tfds():
    utils = pytest.importorskip("tensorflow_datasets.rl_unplugged.atari_utils")
    theirs = {config.name for config in utils.builder_configs()}
    assert theirs == {name for name in Builder.builder_configs if name.count("_") == 2}
    assert len(theirs) == 230


@pytest.mark.parametrize("config", ["Pong_run_6", "Skiing_run_1", "Pong", "mine"])
def test_what_is_no_run_is_refused(tmp_path, config):
    with pytest.raises(DatasetError, match=f"rl_unplugged_atari/{config} is not a run of"):
        Builder(config=config, source=str(tmp_path), data_dir=tmp_path)


def test_the_source_does_not_say_which_run_it_is(tmp_path):
    with pytest.raises(DatasetError, match="publish, such as rl_unplugged_atari/Alien_run_1"):
        Builder.config_of(str(tmp_path))


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """gs://rl_unplugged with three shards of Asterix's first run; nothing is tried twice."""
    copy_of_bucket(tmp_path / "bucket")
    monkeypatch.setattr(google_errors, "RETRY_SECONDS", 0)
    with serving(rl_unplugged=tmp_path / "bucket") as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


def published_from(source, data_dir, config="Asterix_run_1", **kwargs):
    return publish(Builder(config=config, source=str(source), data_dir=data_dir), **kwargs)


def contents(published) -> dict[str, bytes]:
    """Of every file but the manifest."""
    files = {path.name: path.read_bytes() for path in published.path.iterdir()}
    del files[manifest.FILE_NAME]
    return files


def downloads(storage) -> list[str]:
    """The index of every shard that was asked for."""
    return [path[-14:-9] for path, _ in storage.requested if path.startswith("/download")]


def holds_no_version(data_dir) -> bool:
    return not list(data_dir.rglob("2.0.0"))


def shard_name(index: int) -> str:
    return f"atari_episodes_ordered/Asterix/run_1-{index:05d}-of-00003"


def test_the_real_shard_gives_the_same_bytes_from_a_bucket(shared, tmp_path, monkeypatch):
    source = shared / "rl_unplugged"
    local = published_from(source, tmp_path / "local")
    with serving(rl_unplugged=source) as storage:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", storage.url)
        published = published_from("gs://rl_unplugged", tmp_path / "remote")
    assert contents(published) == contents(local)
    name = "gs://rl_unplugged/atari_episodes_ordered/Asterix/run_1-00000-of-00001"
    (sha256,) = local.manifest["plan"]["sources"].values()
    assert published.manifest["copied"] == {name: sha256}
    verify(Version.open(published.path))
    assert published.manifest["splits"] == local.manifest["splits"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bucket_gives_the_same_bytes_as_a_copy_of_it(storage, tmp_path, workers):
    local = published_from(tmp_path / "bucket", tmp_path / "local")
    published = published_from("gs://rl_unplugged", tmp_path / "remote", num_workers=workers)
    assert contents(published) == contents(local)
    sources = [f"gs://rl_unplugged/{shard_name(index)}" for index in range(3)]
    told = published.manifest
    assert list(told["plan"]["sources"]) == sources
    assert [unit["files"] for unit in told["plan"]["units"]] == [[name] for name in sources]
    for index, name in enumerate(sources):
        content = (tmp_path / "bucket" / shard_name(index)).read_bytes()
        assert told["copied"][name] == hashlib.sha256(content).hexdigest()
        assert told["plan"]["sources"][name]["size"] == len(content)
    assert sorted(downloads(storage)) == ["00000", "00001", "00002"]
    verify(Version.open(published.path))
    again = published_from("gs://rl_unplugged", tmp_path / "remote")
    assert not again.is_new
    assert len(downloads(storage)) == 3
    (line,), _ = catalog.list_published(tmp_path / "remote")
    assert line.counts() == (6, 3 * 4 + 4 + 5 + 6)


def test_transitions_of_a_bucket_are_those_of_a_copy_of_it(storage, tmp_path):
    for index in range(2):
        examples = [transition(5 * index + i) for i in range(5)]
        write(tmp_path / "bucket" / "atari" / "Asterix" / f"run_1-{index:05d}-of-00002", examples)
    config = "Asterix_run_1_transitions"
    local = published_from(tmp_path / "bucket", tmp_path / "local", config)
    published = published_from("gs://rl_unplugged", tmp_path / "remote", config)
    assert contents(published) == contents(local)
    assert len(published.manifest["copied"]) == 2


def test_an_object_that_is_not_there_is_named_before_any_is_copied(storage, tmp_path):
    (tmp_path / "bucket" / shard_name(1)).unlink()
    fault = f"{shard_name(1)} cannot be read: the bucket does not hold it; .*--keep-going"
    with pytest.raises(DatasetError, match=f"source file gs://rl_unplugged/{fault}"):
        published_from("gs://rl_unplugged", tmp_path / "data")
    assert downloads(storage) == []
    assert holds_no_version(tmp_path / "data")
    published = published_from("gs://rl_unplugged", tmp_path / "data", keep_going=True)
    assert list(published.manifest["splits"]) == ["checkpoint_00", "checkpoint_02"]
    (reason,) = published.manifest["skipped"].values()
    assert reason.startswith(f"gs://rl_unplugged/{shard_name(1)} does not exist")
    assert len(published.manifest["copied"]) == 2


def test_a_transfer_that_breaks_off_publishes_nothing_or_the_rest(storage, tmp_path):
    size = len((tmp_path / "bucket" / shard_name(2)).read_bytes())
    storage.spoil = lambda body: body[:-9] if len(body) == size else body
    with pytest.raises(DatasetError, match=f"{shard_name(2)} cannot be used .*9 more expected"):
        published_from("gs://rl_unplugged", tmp_path / "data")
    assert holds_no_version(tmp_path / "data")
    assert not list(tmp_path.rglob("*.partial"))
    published = published_from("gs://rl_unplugged", tmp_path / "data", keep_going=True)
    assert list(published.manifest["splits"]) == ["checkpoint_00", "checkpoint_01"]
    (reason,) = published.manifest["skipped"].values()
    assert reason.startswith(f"gs://rl_unplugged/{shard_name(2)} cannot be used")
    # What the first attempt had whole was not asked for again.
    assert downloads(storage) == ["00000", "00001", "00002", "00002"]


def test_a_damaged_object_is_named_and_nothing_is_published(storage, tmp_path):
    path = tmp_path / "bucket" / shard_name(1)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=f"^gs://rl_unplugged/{shard_name(1)} is damaged"):
        published_from("gs://rl_unplugged", tmp_path / "data")
    assert holds_no_version(tmp_path / "data")
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("gs://rl_unplugged/atari", "gs://rl_unplugged/atari has no shard of run 1 of Asterix"),
        ("gs://absent", "gs://absent does not exist: name another bucket, or a folder"),
        ("gs://closed", "gs://closed is closed to anonymous readers: copy it with an account"),
    ],
)
def test_a_bucket_without_the_run_is_told(storage, tmp_path, source, sentence):
    storage.closed["closed"] = 401
    with pytest.raises(DatasetError, match=sentence) as caught:
        published_from(source, tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_server_that_falls_silent_is_given_up(storage, tmp_path, monkeypatch):
    monkeypatch.setattr(google_errors, "TIMEOUT", (0.3, 0.3))
    storage.silent.add(shard_name(1))
    with pytest.raises(DatasetError, match=rf"{shard_name(1)} cannot be used \(timed out\)"):
        published_from("gs://rl_unplugged", tmp_path / "data")
    assert downloads(storage).count("00001") == 1
    assert holds_no_version(tmp_path / "data")


def test_a_publish_that_was_killed_goes_on(storage, tmp_path):
    storage.silent.add(shard_name(2))
    command = ["publish", "rl_unplugged_atari/Asterix_run_1", "gs://rl_unplugged", "--data-dir"]
    script = "from rl_datasets import cli; cli.main()"
    process = subprocess.Popen(
        [sys.executable, "-c", script, *command, str(tmp_path / "data")], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 120
        while len(downloads(storage)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert list(tmp_path.rglob("*.partial"))
    storage.silent.clear()
    published = published_from("gs://rl_unplugged", tmp_path / "data")
    assert downloads(storage) == ["00000", "00001", "00002", "00002"]
    local = published_from(tmp_path / "bucket", tmp_path / "local")
    assert contents(published) == contents(local)
    assert published.manifest["copied"].keys() == published.manifest["plan"]["sources"].keys()
    assert not list(tmp_path.rglob("*.partial"))


VERSION_1 = pathlib.Path(__file__).parent / "published_1_0_0"  # as rl-datasets published it then


@pytest.mark.tensorflow
def test_version_1_opens_and_says_where_its_rewards_stand(tmp_path, run):
    """It was published of the two episodes that are published anew here."""
    write(
        tmp_path / "bucket" / rl_unplugged.EPISODES / "Asterix" / "run_1-00000-of-00001",
        [episode(0, 4), episode(1, 5, 1)],
    )
    shutil.copytree(VERSION_1, tmp_path / "data")
    published = published_from(tmp_path / "bucket", tmp_path / "data")
    version = Version.open("rl_unplugged_atari/Asterix_run_1:1.0.0", tmp_path / "data")
    verify(version)
    newest = Version.open("rl_unplugged_atari/Asterix_run_1", tmp_path / "data")
    assert newest.folder == published.path
    for old, new in zip(version.episodes("all"), newest.episodes("all"), strict=True):
        stored = new.extras["stored_reward"][:-1]
        assert old.reward[:-1].tobytes() == stored.tobytes()
        assert np.any(stored != new.reward[:-1])
    builder = Builder(config="Asterix_run_1", data_dir=tmp_path / "data", version="1.0.0")
    assert str(builder.version) == "1.0.0"
    assert "one step before the action" in Builder.RELEASE_NOTES["1.0.0"]
    told = run("show", version.folder, "--json").stdout
    assert "every reward stands one step before the action that earned it" in told
    steps = next(iter(builder.as_dataset(split="checkpoint_00")))["steps"]
    assert "stored_reward" not in steps.element_spec
