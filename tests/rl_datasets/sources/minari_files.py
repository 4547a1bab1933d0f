"""Datasets that Minari wrote (`tests/parity/minari_datasets.py`), and what it reads of them."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping

import numpy as np

from rl_datasets.episode import Episode

READABLE = ("box", "discrete", "dict", "jpeg")
_FILE = pathlib.Path(__file__).resolve().parents[2] / "parity" / "values" / "minari.npz"


@functools.cache
def _values() -> Mapping[str, np.ndarray]:
    with np.load(_FILE) as file:
        return dict(file)


def write(folder: pathlib.Path, name: str) -> pathlib.Path:
    """The folder of a dataset, made anew within `folder`."""
    for key, content in _values().items():
        kind, dataset, *path = key.split("/")
        if (kind, dataset) == ("file", name):
            target = folder.joinpath(name, *path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.tobytes())
    return folder / name


def episodes(name: str) -> list[Episode]:
    """What Minari's own reader reads of a dataset, as episodes."""
    prefix, found = f"read/{name}/", {}
    for key, array in _values().items():
        if key.startswith(prefix):
            number, _, array_name = key.removeprefix(prefix).partition("/")
            found.setdefault(int(number), {})[array_name] = array
    return [
        Episode.from_transitions(
            {
                key.removeprefix("observations/"): array
                for key, array in arrays.items()
                if key.startswith("observations/")
            }
            or arrays["observations"],
            arrays["actions"],
            arrays["rewards"],
            is_terminal=bool(arrays["terminations"][-1]),
            metadata={"episode_id": np.int64(number)},
        )
        for number, arrays in sorted(found.items())
    ]
