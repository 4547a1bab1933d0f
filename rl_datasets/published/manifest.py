"""MANIFEST.json: what a published version holds, what it was made from, and the proof of both.

It holds neither a time nor a machine's name, so that the same command gives the same bytes.

    format          version of this format
    code            version of this package
    plan            everything that determines the bytes: dataset, configuration, version, file
                    format, spec of an episode, units, lineage, and the sha256 of every source file,
                    or the size and checksums that a bucket gives of every source object
    splits          by split: episodes, transitions, and statistics of the episodes' returns; or
                    counts of transitions and their mean reward, where each transition is a record;
                    `flags`, if there are boolean metadata, count the episodes where each is True;
                    `raw_return`, if some are known, has the statistics of raw returns
    files           by name: sha256 and size of every other file of the version

These are there only where there is something to say:

    counted         by unit whose source does not say what it holds: episodes, transitions, and
                    truncated episodes, as counted when it was read
    copied          by object of a bucket: sha256 of what was read
    skipped         by unit that was left out because its source is bad: the reason
    left_out        by unit: the reasons why records of its source were left out, one for each
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import dm_env.specs
import numpy as np

from rl_datasets import files
from rl_datasets._version import __version__
from rl_datasets.episode import RAW_RETURN, EpisodeSpec, ObservationSpec
from rl_datasets.errors import DatasetError, in_words
from rl_datasets.published import encoding, file_formats
from rl_datasets.published.lineage import Lineage
from rl_datasets.transition import TransitionSpec

FILE_NAME = "MANIFEST.json"
FORMAT = 1
_BINS = 50
_ARRAYS = "arrays"  # The key of an observation's several arrays.
_MAX_BYTES = 1 << 31  # The size limit of a value: no serialized Example is larger.
_COUNT = int
_NUMBER = (int, float)
# The types of everything that is read from a manifest; `str` as a key stands for any name.
_FORM = {
    "code": str,
    "plan": {
        "dataset": str,
        "config": (str, type(None)),
        "version": str,
        "spec": dict,
        "sources": dict,
        "lineage": dict,
    },
    "splits": {str: {"transitions": _COUNT}},
    "files": {str: {"size": _COUNT, "sha256": str}},
}
_IF_ANY = {"skipped": {str: str}, "left_out": {str: list}}
_FORM_OF_RETURNS = {
    "mean": _NUMBER,
    "standard_deviation": _NUMBER,
    "min": _NUMBER,
    "max": _NUMBER,
    "histogram": {"counts": list, "edges": list},
}
_FORM_OF_EPISODES = {
    "episodes": _COUNT,
    "episode_length": {"min": _COUNT, "max": _COUNT},
    "episode_return": _FORM_OF_RETURNS,
}
_IF_ANY_OF_EPISODES = {"flags": {str: _COUNT}, RAW_RETURN: _FORM_OF_RETURNS}


def make(
    plan: Mapping[str, Any],
    splits: Mapping[str, Any],
    entries: Mapping[str, Any],
    *,
    counted: Mapping[str, Any],
    skipped: Mapping[str, str],
    copied: Mapping[str, str] | None = None,
    left_out: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The manifest of a version; the module's docstring describes the arguments."""
    return {
        "format": FORMAT,
        "code": f"rl-datasets {__version__}",
        "plan": plan,
        "splits": splits,
        "files": dict(sorted(entries.items())),
        **({"counted": counted} if counted else {}),
        **({"copied": copied} if copied else {}),
        **({"skipped": skipped} if skipped else {}),
        **({"left_out": left_out} if left_out else {}),
    }


def lacking(manifest: Mapping[str, Any]) -> list[str]:
    """What a version lacks of its source, by its manifest: one phrase for each unit."""
    return [f"unit {name}" for name in manifest.get("skipped", {})] + [
        f"{len(reasons)} records of unit {name}"
        for name, reasons in manifest.get("left_out", {}).items()
    ]


def write(folder: pathlib.Path, manifest: Mapping[str, Any]) -> None:
    """Writes the manifest of the version in this folder."""
    with files.replacing(folder / FILE_NAME) as partial:
        partial.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def read(folder: pathlib.Path) -> tuple[dict[str, Any], str]:
    """Reads the manifest of the published version in this folder, and the sha256 of its file.

    Raises:
      DatasetError: there is no manifest, or as `parse`.
    """
    path = folder / FILE_NAME
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise absent(os.fspath(folder)) from None
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror}; make it readable, or copy the version again"
        ) from error
    return parse(content, os.fspath(path)), hashlib.sha256(content).hexdigest()


def absent(folder: str) -> DatasetError:
    """The error of a folder or an address that has no manifest."""
    return DatasetError(
        f"{folder} has no {FILE_NAME}, so it was not published by rl-datasets; name the folder "
        "of a version, such as <data_dir>/brac/halfcheetah-eps1-recollected/1.0.0"
    )


def parse(content: bytes, path: str) -> dict[str, Any]:
    """The manifest that a file holds.

    Its form is checked. No name in it may lead out of the folder.

    Args:
      content: the bytes of the file.
      path: its path or address.

    Raises:
      DatasetError: it is damaged, or its format is unknown.
    """
    try:
        manifest = json.loads(content)
        if not isinstance(manifest, dict):
            raise ValueError("it is not a JSON object")
        if manifest.get("format") == FORMAT:
            _check(manifest)
    except (ValueError, RecursionError) as error:
        raise DatasetError(
            f"{path} is damaged ({error}); copy or publish this version again"
        ) from error
    if manifest.get("format") != FORMAT:
        raise DatasetError(
            f"{path} has format {manifest.get('format')}, and this rl-datasets reads {FORMAT}; "
            "use the version of rl-datasets that wrote it"
        )
    return manifest


def _check(manifest: Mapping[str, Any]) -> None:
    """Raises `ValueError` unless everything that is read from a manifest is there and valid."""
    _check_form(manifest, _FORM, "")
    _check_form(manifest, {name: _IF_ANY[name] for name in _IF_ANY.keys() & manifest}, "")
    plan = manifest["plan"]
    Lineage.from_json(plan["lineage"])
    spec = spec_from_json(plan["spec"])
    if file_format(plan) not in [*file_formats.FILE_FORMATS]:
        raise ValueError(f"plan.file_format is {json.dumps(file_format(plan)):.80}")
    if isinstance(spec, EpisodeSpec):
        _check_form(manifest["splits"], {str: _FORM_OF_EPISODES}, "splits")
        for name, split in manifest["splits"].items():
            form = {each: _IF_ANY_OF_EPISODES[each] for each in _IF_ANY_OF_EPISODES.keys() & split}
            _check_form(split, form, f"splits.{name}")
    names = {
        "plan.dataset": [plan["dataset"]],
        "plan.config": [plan["config"]] if plan["config"] else [],
        "plan.version": [plan["version"]],
        "splits": manifest["splits"],
        "files": manifest["files"],
    }
    for place, of_place in names.items():
        for name in of_place:
            if not files.NAME.fullmatch(name):
                raise ValueError(f"{place} has {name!r:.80}, which cannot be the name of a file")
    for split in manifest["splits"]:
        shards = shard_names(manifest, split)
        size = sum(manifest["files"][name]["size"] for name in shards)
        if manifest["splits"][split]["transitions"] > size:  # Each takes several bytes.
            raise ValueError(f"splits.{split} has more transitions than its files have bytes")


def _check_form(value: Any, form: Any, place: str) -> None:
    """Raises `ValueError` unless a JSON value has the types of a form such as `_FORM`."""
    if not isinstance(form, dict):
        if isinstance(value, bool) or not isinstance(value, form):
            raise ValueError(f"{place} is {json.dumps(value):.80}")
        if form is _COUNT and value < 0:
            raise ValueError(f"{place} is {value}")
        return
    if not isinstance(value, dict):
        raise ValueError(f"{place} is {json.dumps(value):.80}")
    for key, of_key in form.items():
        for name in value if key is str else [key]:
            inner = f"{place}.{name}".removeprefix(".")
            if name not in value:
                raise ValueError(f"it has no {inner}")
            _check_form(value[name], of_key, inner)


def file_entry(path: pathlib.Path) -> dict[str, Any]:
    """The size and the sha256 of a file."""
    return {"size": path.stat().st_size, "sha256": files.sha256_of(path)}


def statistics(lengths: Sequence[int], returns: Sequence[float]) -> dict[str, Any]:
    """Counts of a split and statistics of its returns, whatever its units are."""
    return {
        "episodes": len(lengths),
        "transitions": sum(lengths),
        "episode_length": {"min": min(lengths), "max": max(lengths)},
        "episode_return": of_returns(returns),
    }


def of_returns(returns: Sequence[float]) -> dict[str, Any]:
    """Statistics of returns, whatever their order."""
    mean = math.fsum(returns) / len(returns)
    variance = math.fsum((r - mean) ** 2 for r in returns) / len(returns)
    low, high = min(returns), max(returns)
    # Large returns may be so alike that too few numbers lie between them for the bins.
    are_alike = ((high - low) or 1.0) / _BINS < np.spacing(max(abs(low), abs(high)))
    counts, edges = np.histogram(returns, bins=[low, high] if are_alike else _BINS)
    return {
        "mean": mean,
        "standard_deviation": math.sqrt(variance),
        "min": low,
        "max": high,
        "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
    }


def shard_names(published: Mapping[str, Any], split: str) -> list[str]:
    """File names of the shards of a split, in order, by the manifest."""
    plan = published["plan"]
    prefix = f"{plan['dataset']}-{split}.{file_format(plan)}-"
    return sorted(name for name in published["files"] if name.startswith(prefix))


def file_format(plan: Mapping[str, Any]) -> Any:
    """The name of the file format of the shards; plans of before there was a choice have none."""
    return plan.get("file_format", file_formats.TFRECORD)


def records(split: Mapping[str, Any]) -> int:
    """The number of records of a split, from its statistics."""
    return split.get("episodes", split["transitions"])


def spec_to_json(spec: EpisodeSpec | TransitionSpec) -> dict[str, Any]:
    """A spec as plain data."""
    if isinstance(spec, TransitionSpec):
        return {
            "transition": {
                "frame": _array_to_json(spec.frame),
                "stack": spec.stack,
                "action": _array_to_json(spec.action),
            }
        }
    return {
        "observation": _observation_to_json(spec.observation),
        "action": _array_to_json(spec.action),
        "extras": {name: _array_to_json(array) for name, array in spec.extras.items()},
        "metadata": {name: _array_to_json(array) for name, array in spec.metadata.items()},
    }


def spec_from_json(fields: Mapping[str, Any]) -> EpisodeSpec | TransitionSpec:
    """The inverse of `spec_to_json`.

    Raises:
      ValueError: `spec_to_json` gives no such fields.
    """
    try:
        if "transition" not in fields:
            return EpisodeSpec(
                observation=_observation_from_json(fields["observation"]),
                action=_array_from_json("action", fields["action"]),
                extras=_arrays_from_json(fields["extras"]),
                metadata=_arrays_from_json(fields["metadata"]),
            )
        of_transition = fields["transition"]
        action = _array_from_json("action", of_transition["action"])
        if not isinstance(action, dm_env.specs.BoundedArray):
            raise ValueError("its action has no bounds")
        frame = _array_from_json("frame", of_transition["frame"])
        return TransitionSpec(frame, operator.index(of_transition["stack"]), action)
    except (KeyError, TypeError, AttributeError, ValueError, DatasetError) as error:
        raise ValueError(f"plan.spec is not a dataset's spec: {in_words(error):.80}") from error


def _observation_to_json(spec: ObservationSpec) -> dict[str, Any]:
    if isinstance(spec, Mapping):
        return {_ARRAYS: {name: _array_to_json(array) for name, array in spec.items()}}
    return _array_to_json(spec)


def _observation_from_json(fields: Mapping[str, Any]) -> ObservationSpec:
    if _ARRAYS in fields:
        return _arrays_from_json(fields[_ARRAYS])
    return _array_from_json("observation", fields)


def _array_to_json(spec: dm_env.specs.Array) -> dict[str, Any]:
    if isinstance(spec, dm_env.specs.StringArray):
        return {"shape": list(spec.shape), "dtype": "str"}
    fields = {"shape": list(spec.shape), "dtype": np.dtype(spec.dtype).name}
    if isinstance(spec, dm_env.specs.BoundedArray):
        fields |= {"minimum": spec.minimum.tolist(), "maximum": spec.maximum.tolist()}
    return fields


def _arrays_from_json(fields: Mapping[str, Any]) -> dict[str, dm_env.specs.Array]:
    return {name: _array_from_json(name, array) for name, array in fields.items()}


def _array_from_json(name: str, fields: Mapping[str, Any]) -> dm_env.specs.Array:
    shape, dtype = tuple(map(operator.index, fields["shape"])), fields["dtype"]
    if dtype == "str":
        return dm_env.specs.StringArray(shape, name=name)
    if min(shape, default=1) < 0 or math.prod(shape) * np.dtype(dtype).itemsize > _MAX_BYTES:
        raise ValueError(f"{name} has shape {list(shape)}")
    spec = dm_env.specs.Array(shape, np.dtype(dtype), name=name)
    if "minimum" in fields:
        spec = dm_env.specs.BoundedArray(
            shape, np.dtype(dtype), fields["minimum"], fields["maximum"], name=name
        )
    encoding.storage(spec)  # It refuses a dtype that no dataset has.
    return spec
