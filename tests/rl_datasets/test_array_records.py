"""ArrayRecord files are those that array_record and TFDS write and read."""

import hashlib
import resource

import pytest
from array_record.python import array_record_module as module
from hypothesis import given
from hypothesis import strategies as st

from rl_datasets import array_records
from rl_datasets.errors import DatasetError

RECORDS = [b"", b"one", bytes(100_000), b"last"]


def write(path, records=RECORDS):
    with array_records.writing(path) as append:
        for record in records:
            append(record)
    return path


@given(records=st.lists(st.binary(max_size=2_000), max_size=20))
def test_their_reader_reads_what_is_written(tmp_path_factory, records):
    path = write(tmp_path_factory.mktemp("written") / "shard", records)
    theirs = module.ArrayRecordReader(str(path))
    assert theirs.read_all() == records
    assert list(array_records.read_records(path)) == records
    assert list(array_records.open_records(path)) == records


def test_what_tfds_writes_is_read(tmp_path):
    writer = module.ArrayRecordWriter(str(tmp_path / "theirs"), "group_size:1")
    for record in RECORDS:
        writer.write(record)
    writer.close()
    assert list(array_records.read_records(tmp_path / "theirs")) == RECORDS
    found = array_records.open_records(tmp_path / "theirs")
    assert [found[number] for number in (3, 1, -2)] == [RECORDS[3], RECORDS[1], RECORDS[2]]
    with pytest.raises(IndexError):
        found[4]


def test_the_same_records_give_the_same_bytes_without_compression(tmp_path):
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
    assert len(one.read_bytes()) > 100_000
    options = module.ArrayRecordReader(str(one)).writer_options_string()
    assert "group_size:1," in options
    assert "uncompressed" in options


def test_a_digest_is_that_of_the_file(tmp_path):
    digest = hashlib.sha256()
    assert list(array_records.read_records(write(tmp_path / "shard"), digest=digest)) == RECORDS
    assert digest.hexdigest() == hashlib.sha256((tmp_path / "shard").read_bytes()).hexdigest()


@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied"])
@pytest.mark.parametrize("read", [array_records.read_records, array_records.open_records])
def test_damage_is_named(tmp_path, damage, read):
    path = write(tmp_path / "shard")
    content = bytearray(path.read_bytes())
    content[70_000] ^= 1  # in the record of zeros
    path.write_bytes({"flipped": content, "cut": content[:-70_000], "emptied": b""}[damage])
    with pytest.raises(DatasetError, match=r"shard is damaged: .*; copy it again"):
        list(read(path))


def test_a_file_that_is_not_there_and_a_disk_that_is_full(tmp_path):
    with pytest.raises(FileNotFoundError):
        array_records.open_records(tmp_path / "nowhere")
    with pytest.raises(OSError, match="No such file"):
        write(tmp_path / "nowhere" / "shard")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path / "shard")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_error_of_the_writer_is_the_one_that_is_told(tmp_path):
    with pytest.raises(TypeError, match="incompatible function arguments"):
        write(tmp_path / "shard", [b"one", 2])
