"""TFRecord framing, held against TensorFlow's own reader and writer."""

import pytest
import tensorflow as tf

from rl_datasets import records
from rl_datasets.errors import DatasetError

RECORDS = [b"", b"a", bytes(range(256)) * 40, b"\x00" * 5]


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
