"""TFRecord framing, held against TensorFlow's own reader and writer."""

import hashlib
import threading

import pytest
from isal import igzip

from rl_datasets import background, records
from rl_datasets.errors import DatasetError
from tests.optional import optional

tf = optional("tensorflow")

RECORDS = [b"", b"a", bytes(range(256)) * 40, b"\x00" * 5]


@pytest.mark.tensorflow
def test_framing_is_that_of_tensorflow(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for record in RECORDS:
            writer.write(record)
    theirs = (tmp_path / "theirs").read_bytes()
    assert b"".join(map(records.frame, RECORDS)) == theirs
    assert list(records.read_records(tmp_path / "theirs")) == RECORDS


def test_every_flipped_byte_and_every_cut_is_found(tmp_path):
    path = tmp_path / "shard"
    whole = b"".join(map(records.frame, [b"first", b"second"]))
    boundary = len(records.frame(b"first"))
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match="shard is damaged"):
            list(records.read_records(path))
        path.write_bytes(whole[:position])
        if position not in (0, boundary):  # Between records there is nothing to notice.
            with pytest.raises(DatasetError, match="shard is damaged"):
                list(records.read_records(path))


def test_a_compressed_file_may_be_read_by_one_thread_after_another(tmp_path, monkeypatch):
    monkeypatch.setattr(background, "GROUP_BYTES", 100)
    written = [bytes([i]) * 50 for i in range(20)]
    path = tmp_path / "records.gz"
    with igzip.open(path, "wb") as file:
        file.writelines(map(records.frame, written))
    found, read = records.read_records(path, is_gzip=True), []

    def read_some():
        read.extend(record for _, record in zip(range(3), found, strict=False))

    for _ in range(8):
        thread = threading.Thread(target=read_some)
        thread.start()
        thread.join()
    assert read == written


def test_a_digest_has_every_byte_that_was_read(tmp_path):
    path, digest = tmp_path / "records", hashlib.sha256()
    content = b"".join(records.frame(bytes(size)) for size in (0, 1, 500_000, 7))
    path.write_bytes(content)
    assert [len(each) for each in records.read_records(path, digest=digest)] == [0, 1, 500_000, 7]
    assert digest.digest() == hashlib.sha256(content).digest()
