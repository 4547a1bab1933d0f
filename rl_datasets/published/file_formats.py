"""The file formats of a version's shards, by the names that TFDS gives them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from rl_datasets import array_records, records

TFRECORD = "tfrecord"
ARRAY_RECORD = "array_record"


class FileFormat(Protocol):
    """What the module of a file format defines."""

    def writing(
        self, path: str | os.PathLike[str]
    ) -> AbstractContextManager[Callable[[bytes], object]]: ...

    def read_records(
        self, path: str | os.PathLike[str], *, digest: Any = None
    ) -> Iterator[bytes]: ...

    def open_records(self, path: str | os.PathLike[str]) -> Sequence[bytes]: ...


FILE_FORMATS: Mapping[str, FileFormat] = {TFRECORD: records, ARRAY_RECORD: array_records}
