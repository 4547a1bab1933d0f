"""What is published is listed, shown, and proved whole; whatever is not whole is named."""

import json
import shutil

import pytest

from rl_datasets import files, records
from rl_datasets.errors import DatasetError
from rl_datasets.published import catalog, encoding, manifest
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from tests.rl_datasets.publishing import synthetic

SHARD = "synthetic-train.tfrecord-00001-of-00002"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return synthetic.published(tmp_path_factory.mktemp("published"), units=2)


@pytest.fixture
def version(published, tmp_path):
    """A copy to break."""
    return shutil.copytree(published.path, tmp_path / "synthetic" / "1.0.0")


def test_a_whole_version_is_verified_and_shown(published):
    version = Version.open(published.path)
    verify(version)
    assert version.manifest == published.manifest


def test_the_list_counts_and_sizes_every_version(published, version):
    (line,), _ = catalog.list_published(version.parents[1])
    assert line.name == "synthetic:1.0.0"
    assert line.folder == version
    assert line.counts() == (8, sum(3 + i % 5 for i in range(8)))
    on_disk = sum(path.stat().st_size for path in version.iterdir())
    assert line.size == on_disk - (version / manifest.FILE_NAME).stat().st_size
    assert catalog.list_published(version.parents[1] / "absent") == ([], {})


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("name", [SHARD, "dataset_info.json", "features.json"])
def test_a_flipped_bit_names_its_file(version, name, deep):
    content = bytearray((version / name).read_bytes())
    content[len(content) // 2] ^= 1
    (version / name).write_bytes(content)
    with pytest.raises(DatasetError, match=f"{name} is not what was published"):
        verify(Version.open(version), deep=deep)


def test_a_missing_file_and_a_stranger_are_named(version):
    (version / SHARD).rename(version / "stranger")
    with pytest.raises(DatasetError, match=f"{SHARD} is missing"):
        verify(Version.open(version))
    (version / "stranger").rename(version / SHARD)
    (version / "stranger").touch()
    with pytest.raises(DatasetError, match="stranger does not belong"):
        verify(Version.open(version))


def rewrite(version, name, content: bytes) -> None:
    """Replaces a file and makes the manifest agree, as only a forger or a bug would."""
    (version / name).write_bytes(content)
    told = manifest.read(version)[0]
    told["files"][name] = manifest.file_entry(version / name)
    manifest.write(version, told)


def test_a_shard_that_lost_an_episode_is_found_by_reading(version):
    kept = list(records.read_records(version / SHARD))[:-1]
    rewrite(version, SHARD, b"".join(map(records.frame, kept)))
    verify(Version.open(version), deep=False)
    with pytest.raises(DatasetError, match="holds 7 episodes with 32 transitions, not 8 with 37"):
        verify(Version.open(version))


def test_an_episode_that_breaks_a_rule_is_found_by_reading(version):
    episode = synthetic.episode(4)
    episode.discount[0] = 0
    record = encoding.encode_episode(episode, synthetic.SPEC)
    rest = list(records.read_records(version / SHARD))[1:]
    rewrite(version, SHARD, b"".join(map(records.frame, [record, *rest])))
    with pytest.raises(DatasetError, match=r"episode 4 of split 'train' .* does not end the epis"):
        verify(Version.open(version))


def test_a_frame_whose_pixels_are_damaged_is_found_by_reading(version):
    """Its ends are whole, so that only decoding it tells."""
    episode = encoding.decode_episode(
        encoding.encode_episode(synthetic.episode(4), synthetic.SPEC), synthetic.SPEC
    )
    png = bytearray(episode.extras["frame"].pngs[1])
    png[45] ^= 1
    episode.extras["frame"].pngs[1] = bytes(png)
    rest = list(records.read_records(version / SHARD))[1:]
    record = encoding.encode_episode(episode, synthetic.SPEC)
    rewrite(version, SHARD, b"".join(map(records.frame, [record, *rest])))
    verify(Version.open(version), deep=False)
    with pytest.raises(
        DatasetError, match=r"episode 4 of split 'train' .*frame 1 is a damaged PNG"
    ):
        verify(Version.open(version))


def test_tfds_counts_that_differ_are_found(version):
    info = json.loads((version / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"][0] = "3"
    rewrite(version, "dataset_info.json", json.dumps(info).encode())
    with pytest.raises(
        DatasetError, match=r"dataset_info\.json and MANIFEST\.json count different episodes"
    ):
        verify(Version.open(version), deep=False)


def test_a_folder_without_a_manifest_says_what_to_name(tmp_path):
    with pytest.raises(DatasetError, match=r"has no MANIFEST\.json.*name the folder of a version"):
        verify(Version.open(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is damaged"), ('{"format": 99}', "has format 99")]
)
def test_a_manifest_that_cannot_be_read_is_named(version, content, message):
    (version / manifest.FILE_NAME).write_text(content)
    with pytest.raises(DatasetError, match=f"MANIFEST.json {message}"):
        Version.open(version)


def test_a_spec_survives_the_manifest():
    fields = json.loads(json.dumps(manifest.spec_to_json(synthetic.SPEC)))
    spec = manifest.spec_from_json(fields)
    assert manifest.spec_to_json(spec) == fields
    assert spec.action == synthetic.SPEC.action
    assert spec.step_specs() == synthetic.SPEC.step_specs()
    assert spec.metadata["agent"].string_type is str


def test_returns_are_summed_exactly():
    """In floats, 1e16 + 1 - 1e16 is 0; exactly it is 1."""
    told = manifest.statistics([1, 2, 3], [1e16, 1.0, -1e16])
    assert told["episode_return"]["mean"] == pytest.approx(1 / 3)
    assert told["transitions"] == 6
    assert told["episode_length"] == {"min": 1, "max": 3}


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"

    def fail_half_way():
        with files.replacing(path) as partial:
            partial.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    with files.replacing(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
