"""Files that are there whole or not at all."""

import pytest

from rl_datasets import files


def test_a_file_that_cannot_be_written_is_told_by_its_own_name(tmp_path):
    with (
        pytest.raises(OSError, match=r"absent/x\.gif'$"),
        files.replacing(tmp_path / "absent/x.gif") as partial,
    ):
        partial.write_bytes(b"")
