"""NumPy's npz archives: arrays by name, without pickles, written whole or not at all."""

from __future__ import annotations

import io
import pathlib
import zipfile
from collections.abc import Collection, Mapping

import numpy as np

from rl_datasets import errors, files


def write_arrays(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an archive that `read_arrays` reads, whole or not at all.

    Raises:
      DatasetError: the archive cannot be written.
    """
    # The archive is made in memory, because zipfile would report a failed write a second time.
    content = io.BytesIO()
    np.savez(content, **arrays)
    files.write(path, content.getbuffer())


def read_arrays(
    path: pathlib.Path, what_to_do: str, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Reads an archive that `write_arrays` wrote.

    Args:
      path: of the archive.
      what_to_do: ends the sentence of an error.
      names: of the arrays to read, as far as the archive has them; None for all.

    Raises:
      DatasetError: the archive does not exist, is a folder or is damaged.
    """
    if not path.is_file():
        fault = "is a folder, and not a file" if path.is_dir() else "does not exist"
        raise errors.DatasetError(f"{path} {fault}: {what_to_do}")
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                name = member.removesuffix(".npy")
                if names is not None and name not in names:
                    continue
                # Reading the whole member lets zipfile check its CRC before NumPy uses its header.
                content = io.BytesIO(archive.read(member))
                arrays[name] = np.lib.format.read_array(content, allow_pickle=False)
    except Exception as error:  # A damaged archive can raise almost anything.
        raise errors.DatasetError(
            f"{path} is truncated, damaged or holds more than arrays ({error}): {what_to_do}"
        ) from error
    return arrays
