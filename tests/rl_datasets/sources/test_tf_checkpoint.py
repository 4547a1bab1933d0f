"""Checkpoints that TensorFlow wrote, whole and damaged."""

import numpy as np
import pytest

from rl_datasets import errors
from rl_datasets.sources import tf_checkpoint
from tests.optional import optional

tf = optional("tensorflow")
pytestmark = pytest.mark.tensorflow

DATA = ".data-00000-of-00001"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("checkpoint") / "agent"
    values = {
        "weights": np.arange(2000, dtype=np.float32).reshape(40, 50),
        "count": np.int32(7),
    }
    module = tf.Module()
    module.variables_ = {name: tf.Variable(value) for name, value in values.items()}
    tf.train.Checkpoint(root=module).write(str(prefix))
    files = {
        suffix: prefix.with_name(prefix.name + suffix).read_bytes() for suffix in (".index", DATA)
    }
    return values, files


@pytest.fixture
def checkpoint(written, tmp_path):
    """A fresh copy of the checkpoint: its prefix and the values in it."""
    values, files = written
    for suffix, content in files.items():
        (tmp_path / f"agent{suffix}").write_bytes(content)
    return tmp_path / "agent", values


def test_round_trip(checkpoint):
    prefix, values = checkpoint
    variables = tf_checkpoint.read_variables(prefix)
    assert variables.keys() == {f"variables_/{name}" for name in values}
    for name, value in values.items():
        np.testing.assert_array_equal(variables[f"variables_/{name}"], value)
        assert variables[f"variables_/{name}"].dtype == value.dtype


@pytest.mark.parametrize("suffix", [".index", DATA])
def test_missing_file_is_named(checkpoint, suffix):
    prefix, _ = checkpoint
    file = prefix.with_name(prefix.name + suffix)
    file.unlink()
    with pytest.raises(errors.DatasetError, match=f"{file} does not exist"):
        tf_checkpoint.read_variables(prefix)


@pytest.mark.parametrize("suffix", [".index", DATA])
@pytest.mark.parametrize("kept", [0, 0.1, 0.9, -1])
def test_truncated_file_is_named(checkpoint, suffix, kept):
    prefix, _ = checkpoint
    file = prefix.with_name(prefix.name + suffix)
    content = file.read_bytes()
    file.write_bytes(content[: kept if kept < 0 else int(len(content) * kept)])
    with pytest.raises(errors.DatasetError, match=f"{file} is truncated"):
        tf_checkpoint.read_variables(prefix)


def in_shards(prefix, *shards):
    """Writes a checkpoint of several data files, as a sharded saver does."""
    parts = [f"{prefix}-part-{number}" for number in range(len(shards))]
    for part, values in zip(parts, shards, strict=True):
        names = [name + tf_checkpoint.VALUE for name in values]
        tf.raw_ops.SaveV2(
            prefix=part,
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=list(values.values()),
        )
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=str(prefix))


def test_a_checkpoint_of_several_data_files_is_read_whole(tmp_path):
    prefix = tmp_path / "agent"
    in_shards(prefix, {"one": np.arange(3)}, {"two": np.arange(5)})
    one, two = (tmp_path / f"agent.data-0000{number}-of-00002" for number in range(2))
    assert tf_checkpoint.checkpoint_files(prefix) == [tmp_path / "agent.index", one, two]
    variables = tf_checkpoint.read_variables(prefix)
    assert {name: len(value) for name, value in variables.items()} == {"one": 3, "two": 5}
    (tmp_path / f"agent{DATA}").touch()
    with pytest.raises(errors.DatasetError, match="belong to 2 checkpoints, of 1 and 2 data files"):
        tf_checkpoint.read_variables(prefix)
    (tmp_path / f"agent{DATA}").unlink()
    two.unlink()
    with pytest.raises(errors.DatasetError, match="-00001-of-00002 does not exist: copy it"):
        tf_checkpoint.read_variables(prefix)


def test_flipped_byte_is_found(checkpoint):
    prefix, _ = checkpoint
    file = prefix.with_name(prefix.name + DATA)
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(errors.DatasetError, match=f"{file} is truncated or damaged"):
        tf_checkpoint.read_variables(prefix)


def test_garbage_index(checkpoint):
    prefix, _ = checkpoint
    prefix.with_name("agent.index").write_bytes(b"\x00" * 500)
    with pytest.raises(errors.DatasetError, match=r"agent\.index is truncated or is not"):
        tf_checkpoint.read_variables(prefix)


def test_real_policy_truncated_by_one_byte(shared, tmp_path):
    source = shared / "brac/Hopper-v2"
    for file in source.glob("agent_partial_target*"):
        (tmp_path / file.name).write_bytes(file.read_bytes()[: -1 if DATA in file.name else None])
    with pytest.raises(errors.DatasetError, match="truncated or damaged"):
        tf_checkpoint.read_variables(tmp_path / "agent_partial_target")
