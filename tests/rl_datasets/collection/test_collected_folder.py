"""The writer of the collected folder: a unit file is written whole or not at all."""

import dataclasses
import errno
import os

import pytest

from rl_datasets import errors
from rl_datasets.collection import collected_folder
from tests.rl_datasets.sources.collected_units import make_episode


def test_units_without_episodes_or_of_different_fields_are_refused(tmp_path):
    other = dataclasses.replace(make_episode(2), extras={})
    for episodes in ([], [make_episode(2), other]):
        with pytest.raises(ValueError, match="all with the same fields"):
            collected_folder.write_unit(tmp_path / "unit.npz", episodes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_full_disk_leaves_the_folder_as_it_was(tmp_path, monkeypatch, failing):
    path = tmp_path / "unit.npz"
    collected_folder.write_unit(path, [make_episode(2)])
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(errors.DatasetError, match=r"cannot write .*unit\.npz \(No space left"):
        collected_folder.write_unit(path, [make_episode(3)])
    assert [file.name for file in tmp_path.iterdir()] == ["unit.npz"]
    assert path.read_bytes() == before
