"""Archives of arrays: read as they were written, and refused where anything is wrong with them."""

import zipfile

import numpy as np
import pytest

from rl_datasets import npz
from rl_datasets.errors import DatasetError

ARRAYS = {
    "kernel_0": np.arange(6, dtype=np.float32).reshape(2, 3),
    "steps/reward": np.array([0.5, -1.0]),
    "count": np.array(3),
}
WHAT_TO_DO = "copy it again"


def test_arrays_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "arrays.npz"
    npz.write_arrays(path, ARRAYS)
    found = npz.read_arrays(path, WHAT_TO_DO)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_numpy_reads_the_archive_and_is_read(tmp_path):
    npz.write_arrays(tmp_path / "ours.npz", ARRAYS)
    with np.load(tmp_path / "ours.npz") as loaded:
        np.testing.assert_array_equal(loaded["kernel_0"], ARRAYS["kernel_0"])
    np.savez_compressed(tmp_path / "theirs.npz", **ARRAYS)
    found = npz.read_arrays(tmp_path / "theirs.npz", WHAT_TO_DO)
    np.testing.assert_array_equal(found["kernel_0"], ARRAYS["kernel_0"])


def test_a_missing_archive_is_named_with_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match=r"none\.npz does not exist: copy it again$"):
        npz.read_arrays(tmp_path / "none.npz", WHAT_TO_DO)
    with pytest.raises(DatasetError, match=r"is a folder, and not a file: copy it again$"):
        npz.read_arrays(tmp_path, WHAT_TO_DO)


def test_a_pickle_is_refused_and_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "exploded").touch, ()

    path = tmp_path / "pickle.npz"
    np.savez(path, safe=np.zeros(2), bomb=np.array([Bomb()], dtype=object))
    with pytest.raises(
        DatasetError, match=r"pickle\.npz is .*holds more than arrays .*: copy it ag"
    ):
        npz.read_arrays(path, WHAT_TO_DO)
    assert not (tmp_path / "exploded").exists()


def test_a_cut_archive_is_named_wherever_it_is_cut(tmp_path):
    path = tmp_path / "cut.npz"
    npz.write_arrays(path, ARRAYS)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(DatasetError, match=r"cut\.npz is truncated, damaged or .*: copy it ag"):
            npz.read_arrays(path, WHAT_TO_DO)


def test_a_changed_byte_of_an_array_is_found(tmp_path):
    path = tmp_path / "changed.npz"
    npz.write_arrays(path, ARRAYS)
    content = bytearray(path.read_bytes())
    place = content.index(ARRAYS["kernel_0"].tobytes())
    content[place + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"changed\.npz .*Bad CRC-32"):
        npz.read_arrays(path, WHAT_TO_DO)


def test_a_member_that_is_no_array_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("notes.txt", "not an array")
    with pytest.raises(DatasetError, match=r"text\.npz is .*holds more than arrays"):
        npz.read_arrays(tmp_path / "text.npz", WHAT_TO_DO)


def test_an_archive_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "arrays.npz"
    npz.write_arrays(path, {"old": np.zeros(2)})
    with pytest.raises(DatasetError, match=r"cannot write .*absent/arrays\.npz \(No such file"):
        npz.write_arrays(tmp_path / "absent" / "arrays.npz", ARRAYS)
    with pytest.raises(ValueError, match="inhomogeneous"):
        npz.write_arrays(path, {"ragged": [[1], [1, 2]]})
    assert list(npz.read_arrays(path, WHAT_TO_DO)) == ["old"]
    assert [each.name for each in tmp_path.iterdir()] == ["arrays.npz"]
