"""Exports a published version as Parquet files with a dataset card, as the Hugging Face Hub has it.

    README.md                   the card: its YAML header has the splits and the types of columns
    export.json                 what was exported, and the sha256 of every column
    data/<split>/00000.parquet  and so on; an episode is in one file

A row is a step, and the last step of an episode holds its final observation, as the alignment rule
of `rl_datasets.episode` says. Nothing is lost.

    episode_index       int64, the number of the episode in its split
    step_index          int64, the number of the step in its episode
    <field>             a field of the steps; an array is a list of fixed length, or lists of lists
    metadata/<name>     metadata of the episode, the same in all its steps

Images are the PNG files of the version, as `datasets.Image` stores them. The sha256 of images is of
their files one after another, and that of text of its UTF-8 with a zero after each.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dm_env.specs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rl_datasets import staging
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.exporting import columns
from rl_datasets.exporting.source import (
    SUMMARY_FILE,
    Export,
    Source,
    blocks,
    open_source,
    summary,
)
from rl_datasets.published import encoding
from rl_datasets.published.version import ALL, VersionLike

KIND = "parquet"
CARD = "README.md"
_INDICES = ("episode_index", "step_index")
_SPLIT = re.compile(r"\w+(\.\w+)*")  # What `datasets` takes for the name of a split.
_SLICE = 1024  # Steps that are turned into columns at once.
_GROUP_BYTES = 1 << 20  # Of a row group, the least that is read at once.
_FILE_BYTES = 512 << 20


def to_parquet(version: VersionLike, folder: str | os.PathLike[str], split: str = ALL) -> Export:
    """Exports a split to a folder of Parquet files, in the layout that the module describes.

    Memory holds one episode as stored, and a row group.

    Args:
      version: a published version, as `Version.open` takes it.
      folder: the folder to create; it is created whole or not at all.
      split: name of a split, several joined by `+`, or "all".

    Raises:
      DatasetError: there is no such version or split, a file of it is damaged, a name in it cannot
        be that of a column or a split, or the folder exists or cannot be written.
    """
    source = open_source(version, split)
    specs = _columns(source)
    with staging.staged(folder) as path:
        path.mkdir()
        written = {name: _Digest(spec) for name, spec in specs.items()}
        for name in source.splits:
            _write_split(Source(source.version, (name,)), specs, path / "data" / name, written)
        (path / CARD).write_text(_card(source, specs), encoding="utf-8")
        fields = {name: digest.entry() for name, digest in written.items()}
        columns.compare(folder, fields, read_back(path, source))
        export = summary(KIND, pathlib.Path(folder), source, fields)
        (path / SUMMARY_FILE).write_text(
            json.dumps(export.to_json(), indent=1) + "\n", encoding="utf-8"
        )
    return export


def read_back(folder: pathlib.Path, source: Source) -> dict[str, dict[str, Any]]:
    """The shape, the dtype and the sha256 of every column of an export of this source.

    Raises:
      DatasetError: the card is not that of this source, or a file is damaged or has other columns.
    """
    specs = _columns(source)
    if _read_card(folder / CARD) != _card(source, specs):
        raise DatasetError(f"{folder / CARD} is not the card of this export; export again")
    digests = {name: _Digest(spec) for name, spec in specs.items()}
    for split in source.splits:
        for path in sorted((folder / "data" / split).glob("*.parquet")):
            for batch in _batches(path, _schema(specs)):
                for name, digest in digests.items():
                    digest.update(batch.column(name))
    return {name: digest.entry() for name, digest in digests.items()}


def _read_card(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 ({error}); export again") from error


def _batches(path: pathlib.Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path, memory_map=False) as file:
            for field in schema:
                found = file.schema_arrow.get_field_index(field.name)
                if found < 0 or file.schema_arrow.field(found).type != field.type:
                    kind = "missing" if found < 0 else file.schema_arrow.field(found).type
                    raise DatasetError(
                        f"column {field.name!r} of {path} is {kind}, not {field.type}; export again"
                    )
            for group in range(file.num_row_groups):
                yield from file.read_row_group(group, schema.names).to_batches()
    except pa.ArrowInvalid as error:
        raise DatasetError(f"{path} is damaged ({error}); export again") from error


def _columns(source: Source) -> dict[str, dm_env.specs.Array]:
    """The spec of one row of every column."""
    for split in source.splits:
        if not _SPLIT.fullmatch(split):
            raise DatasetError(
                f"split {split!r} of {source.version.location} has a name that a Parquet dataset "
                "cannot have, which are letters, digits and underscores; export the other splits"
            )
    index = dm_env.specs.Array((), np.int64)
    specs = dict.fromkeys(_INDICES, index) | source.spec.step_specs()
    for name in _INDICES:
        if name in source.spec.extras:
            raise DatasetError(
                f"{source.version.location} has a field {name!r}, which in Parquet is a number "
                "that the export gives; publish it under another name"
            )
    return specs | {f"metadata/{name}": spec for name, spec in source.spec.metadata.items()}


def _write_split(
    source: Source,
    specs: Mapping[str, dm_env.specs.Array],
    folder: pathlib.Path,
    written: Mapping[str, _Digest],
) -> None:
    """Writes the files of a split, and what they hold into the digests."""
    folder.mkdir(parents=True)
    episodes = enumerate(source.read())
    for number in range(1 << 20):
        file = folder / f"{number:05}.parquet"
        if not _write_file(file, episodes, specs, written):
            file.unlink()
            return


def _write_file(
    file: pathlib.Path,
    episodes: Iterator[tuple[int, Episode]],
    specs: Mapping[str, dm_env.specs.Array],
    written: Mapping[str, _Digest],
) -> bool:
    """Writes episodes until the file is large enough; returns whether there was one."""
    pending, pending_bytes, file_bytes = [], 0, 0
    with _writer(file, specs) as writer:
        for number, episode in episodes:
            for batch in _of_episode(number, episode, specs):
                for name, digest in written.items():
                    digest.update(batch.column(name))
                pending.append(batch)
                pending_bytes += batch.nbytes
                if pending_bytes >= _GROUP_BYTES:
                    writer.write_table(pa.Table.from_batches(pending))
                    pending, pending_bytes, file_bytes = [], 0, file_bytes + pending_bytes
            if file_bytes >= _FILE_BYTES:
                break
        if pending:
            writer.write_table(pa.Table.from_batches(pending))
    return file_bytes + pending_bytes > 0


@contextlib.contextmanager
def _writer(file: pathlib.Path, specs: Mapping[str, dm_env.specs.Array]) -> Iterator[Any]:
    scalars = [name for name, spec in specs.items() if not spec.shape]
    repeated = [name for name in scalars if not _is_of(specs[name], "f")]
    with pq.ParquetWriter(
        file, _schema(specs), use_dictionary=repeated, write_statistics=scalars
    ) as writer:
        yield writer


def _of_episode(
    number: int, episode: Episode, specs: Mapping[str, dm_env.specs.Array]
) -> Iterator[pa.RecordBatch]:
    """The rows of an episode, a slice of its steps at a time."""
    steps = episode.steps()
    for start in range(0, episode.num_steps, _SLICE):
        count = min(_SLICE, episode.num_steps - start)
        rows: dict[str, Any] = {name: each[start : start + count] for name, each in steps.items()}
        rows["episode_index"] = np.full(count, number)
        rows["step_index"] = np.arange(start, start + count)
        for name, value in episode.metadata.items():
            rows[f"metadata/{name}"] = [value] * count
        arrays = [_array(rows[name], spec) for name, spec in specs.items()]
        yield pa.RecordBatch.from_arrays(arrays, schema=_schema(specs))


def _array(rows: Any, spec: dm_env.specs.Array) -> pa.Array:
    """A column of these rows [N, ...]."""
    if isinstance(spec, dm_env.specs.StringArray):
        return pa.array(rows, pa.string())
    if _is_image(spec):
        for _ in blocks(rows):  # A damaged frame is not passed on.
            pass
        files = pa.array(rows.pngs, pa.binary())
        return pa.StructArray.from_arrays([files, pa.nulls(len(files), pa.string())], _IMAGE)
    array = pa.array(np.ascontiguousarray(rows, spec.dtype).reshape(-1))
    for length in reversed(spec.shape):
        array = pa.FixedSizeListArray.from_arrays(array, length)
    return array


_IMAGE = ["bytes", "path"]


def _schema(specs: Mapping[str, dm_env.specs.Array]) -> pa.Schema:
    return pa.schema([(name, _type(spec)) for name, spec in specs.items()])


def _type(spec: dm_env.specs.Array) -> pa.DataType:
    if isinstance(spec, dm_env.specs.StringArray):
        return pa.string()
    if _is_image(spec):
        return pa.struct(list(zip(_IMAGE, (pa.binary(), pa.string()), strict=True)))
    kind = pa.from_numpy_dtype(spec.dtype)
    for length in reversed(spec.shape):
        kind = pa.list_(kind, length)
    return kind


def _is_image(spec: dm_env.specs.Array) -> bool:
    return encoding.storage(spec) == encoding.PNG


def _is_of(spec: dm_env.specs.Array, kinds: str) -> bool:
    return not isinstance(spec, dm_env.specs.StringArray) and np.dtype(spec.dtype).kind in kinds


class _Digest:
    """The digest of a column, which takes Arrow's arrays."""

    def __init__(self, spec: dm_env.specs.Array):
        self._is_bytes = isinstance(spec, dm_env.specs.StringArray) or _is_image(spec)
        self._row = () if self._is_bytes else spec.shape
        self._digest = columns.Digest(
            self._row, np.dtype(np.uint8 if self._is_bytes else spec.dtype)
        )

    def update(self, array: pa.Array) -> None:
        if pa.types.is_struct(array.type):
            self._add_bytes(array.field("bytes").to_pylist())
        elif self._is_bytes:
            self._add_bytes(f"{text}\0".encode() for text in array.to_pylist())
        else:
            for _ in self._row:
                array = array.flatten()
            values = array.to_numpy(zero_copy_only=False)
            self._digest.update(values.reshape(-1, *self._row))

    def _add_bytes(self, values: Iterable[bytes]) -> None:
        self._digest.update(np.frombuffer(b"".join(values), np.uint8))

    def entry(self) -> dict[str, Any]:
        return self._digest.entry()


def _card(source: Source, specs: Mapping[str, dm_env.specs.Array]) -> str:
    """The card. Its header is YAML, of which JSON is a part."""
    version = source.version
    features = "\n".join(
        f"  - {json.dumps({'name': name} | _feature(spec))}" for name, spec in specs.items()
    )
    splits = "\n".join(
        f"  - {json.dumps({'split': split, 'path': f'data/{split}/*.parquet'})}"
        for split in source.splits
    )
    return f"""---
pretty_name: {json.dumps(version.name)}
task_categories: ["reinforcement-learning"]
tags: ["reinforcement-learning", "offline-reinforcement-learning"]
dataset_info:
  features:
{features}
configs:
- config_name: default
  data_files:
{splits}
---

# {version.name}

{source.counts.episodes:,} episodes with {source.counts.transitions:,} transitions, exported by
rl-datasets. The sha256 of the version's MANIFEST.json is `{version.fingerprint}`.

A row is a step: an observation, the action taken in it, and the reward and the discount that the
action earned. `episode_index` and `step_index` say which step. The last step of an episode
(`is_last`) holds the final observation and nothing else. `is_terminal` says that the environment
ended there, and not a time limit or another cut.
"""


def _feature(spec: dm_env.specs.Array) -> dict[str, Any]:
    """The type of a column, as the YAML of `datasets` writes it."""
    if isinstance(spec, dm_env.specs.StringArray):
        return {"dtype": "string"}
    if _is_image(spec):
        return {"dtype": "image"}
    feature: dict[str, Any] = {"dtype": np.dtype(spec.dtype).name}
    for length in reversed(spec.shape):
        feature = {"list": feature.get("dtype", feature), "length": length}
    return feature
