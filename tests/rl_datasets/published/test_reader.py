"""Whatever reads a version holds its shards against the manifest."""

import os
import shutil

import pytest

from rl_datasets import records
from rl_datasets.errors import DatasetError
from rl_datasets.exporting.export import export
from rl_datasets.published import encoding, manifest, reader
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.serving.d4rl import load_qlearning_dataset
from rl_datasets.serving.loading import load_frame_windows, load_transitions
from rl_datasets.serving.streaming import StreamFeed
from tests.optional import optional
from tests.rl_datasets.publishing import synthetic

reverb = optional("rl_datasets.serving.reverb")

SHARD = "synthetic-train.tfrecord-00001-of-00002"


def streamed(version, split) -> None:
    reader.check_shards(Version.open(version), split)
    StreamFeed(version, 8, seed=0, split=split)


READERS = {
    "read_episodes": lambda version, split: list(Version.open(version).episodes(split)),
    "load_transitions": load_transitions,
    "load_qlearning_dataset": load_qlearning_dataset,
    "load_frame_windows": load_frame_windows,
    "stream": streamed,
    "reverb": reverb.ReverbServer.from_published,
    "arrays": lambda version, split: export(version, "arrays", version.parent / "out", split),
    "d4rl": lambda version, split: export(version, "d4rl", version.parent / "out", split),
}
VERIFY = {"verify": lambda version, split: verify(Version.open(version))}


def each(readers: dict) -> pytest.MarkDecorator:
    marks = {"reverb": pytest.mark.reverb}
    return pytest.mark.parametrize(
        "read",
        [pytest.param(read, id=name, marks=marks.get(name, ())) for name, read in readers.items()],
    )


every_reader = each(READERS | VERIFY)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return synthetic.published(tmp_path_factory.mktemp("published"), units=2).path


@pytest.fixture
def version(published, tmp_path):
    """A copy to break."""
    return shutil.copytree(published, tmp_path / "version")


def shard_of(*episodes) -> bytes:
    encoded = [encoding.encode_episode(each, synthetic.SPEC) for each in episodes]
    return b"".join(map(records.frame, encoded))


def of_another_version(version) -> bytes:
    """Episodes of the same lengths in as many bytes, with other rewards."""
    episodes = [synthetic.episode(number) for number in range(4, 8)]
    for episode in episodes:
        episode.reward[:-1] += 1
    content = shard_of(*episodes)
    assert len(content) == (version / SHARD).stat().st_size
    return content


CHANGES = {
    "empty": lambda version: b"",
    "cut between records": lambda version: shard_of(*map(synthetic.episode, range(4, 7))),
    "of another version": of_another_version,
}


@every_reader
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_shard_that_is_not_the_published_one(version, read, change):
    (version / SHARD).write_bytes(change(version))
    with pytest.raises(DatasetError, match=f"{SHARD} is not what was published") as caught:
        read(version, "train")
    assert "\n" not in str(caught.value)
    assert not (version.parent / "out").exists()


@every_reader
def test_a_shard_that_is_missing(version, read):
    os.unlink(version / SHARD)
    with pytest.raises(DatasetError, match=f"{SHARD} is missing; copy or publish"):
        read(version, "train")


@every_reader
@pytest.mark.parametrize("episodes", [range(4, 7), [*range(4, 8), 4]], ids=["fewer", "more"])
def test_counts_that_are_not_the_manifests(version, read, episodes):
    """The manifest describes the shard, as only a bug would leave it, and not the split."""
    (version / SHARD).write_bytes(shard_of(*map(synthetic.episode, episodes)))
    told = manifest.read(version)[0]
    told["files"][SHARD] = manifest.file_entry(version / SHARD)
    manifest.write(version, told)
    number = 4 + len(episodes)
    with pytest.raises(DatasetError, match=f"holds {number} episodes.*not 8"):
        read(version, "train")


def test_none_is_given_that_is_one_too_many(version):
    (version / SHARD).write_bytes(shard_of(*map(synthetic.episode, [*range(4, 8), 4])))
    told = manifest.read(version)[0]
    told["files"][SHARD] = manifest.file_entry(version / SHARD)
    manifest.write(version, told)
    given = []
    with pytest.raises(DatasetError, match="holds 9 episodes"):
        given.extend(Version.open(version).episodes())
    assert len(given) == 8


def test_a_record_of_another_dataset_names_its_shard(version):
    (version / SHARD).write_bytes(records.frame(b""))
    told = manifest.read(version)[0]
    told["files"][SHARD] = manifest.file_entry(version / SHARD)
    manifest.write(version, told)
    with pytest.raises(DatasetError, match=f"in .*{SHARD}, a record does not hold an episode"):
        list(Version.open(version).episodes())


@pytest.mark.parametrize(
    "find", [Version.episode_files, Version.episodes], ids=["stream", "in order"]
)
def test_a_shard_that_goes_away_while_it_is_read(version, find):
    episodes = find(Version.open(version))
    os.unlink(version / SHARD)
    with pytest.raises(DatasetError, match=f"{SHARD} cannot be read any more: No such file"):
        list(episodes)


@each(READERS)
def test_a_split_that_is_named_twice_is_not_counted_twice(version, read):
    with pytest.raises(DatasetError, match=r"'train\+train' names split 'train' twice"):
        read(version, "train+train")
