"""ArrayRecord files: records that can be read by their numbers.

github.com/google/array_record defines the format and has its only implementation, in C++. Every
record is a chunk of its own and nothing is compressed, so a record is read without its neighbours,
and the bytes do not depend on the version of a compressor.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rl_datasets.errors import DatasetError

_WRITE = "group_size:1,uncompressed,max_parallelism:1"
_READ = "readahead_buffer_size:0,max_parallelism:0"  # Anything else reads ahead, in threads.


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[Callable[[bytes], object]]:
    """Writes a file: yields the function that appends a record.

    Raises:
      ModuleNotFoundError: array_record is not installed.
      OSError: the file cannot be written.
    """
    from array_record.python import array_record_module as module

    with _raising(OSError, ""):
        writer = module.ArrayRecordWriter(os.fspath(path), _WRITE)

    def write(record: bytes) -> None:
        with _raising(OSError, ""):
            writer.write(record)

    try:
        yield write
    except BaseException:
        with contextlib.suppress(RuntimeError):  # The first error is the one to tell.
            writer.close()
        raise
    with _raising(OSError, ""):
        writer.close()


def read_records(path: str | os.PathLike[str], *, digest: Any = None) -> Iterator[bytes]:
    """Reads every record of a file; memory holds one record at a time.

    Args:
      path: the file.
      digest: a digest of `hashlib`, which is updated with every byte of the file at the end.

    Raises:
      DatasetError: the file is damaged.
      OSError: the file cannot be opened or read.
    """
    yield from open_records(path)
    if digest is not None:
        with open(path, "rb") as file:
            while content := file.read(1 << 20):
                digest.update(content)


def open_records(path: str | os.PathLike[str]) -> Sequence[bytes]:
    """The records of a file by number, each read when it is accessed.

    A forked process may use them beside its parent: a read moves no position that they share.

    Raises:
      DatasetError: the file is damaged; also from an access.
      OSError: the file cannot be opened.
    """
    return _Records(path)


class _Records(Sequence[bytes]):
    def __init__(self, path: str | os.PathLike[str]):
        from array_record.python import array_record_module as module

        with open(path, "rb"):  # It raises OSError, and the reader only its text.
            pass
        self._error = f"{os.fspath(path)} is damaged: {{}}; copy it again"
        with _raising(DatasetError, self._error):
            self._reader = module.ArrayRecordReader(os.fspath(path), _READ)
            if not self._reader.ok():
                self._reader.read()  # It raises what is wrong.

    def __len__(self) -> int:
        return self._reader.num_records()

    def __getitem__(self, number: Any) -> Any:
        number = range(len(self))[number]
        with _raising(DatasetError, self._error):
            return self._reader.read([number])[0]


@contextlib.contextmanager
def _raising(kind: type[Exception], message: str) -> Iterator[None]:
    """Raises an error of this kind in place of the C++ library's RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        raise kind(message.format(error) if message else str(error)) from error
