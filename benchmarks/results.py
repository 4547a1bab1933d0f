"""Measured results: one JSON line an evaluation, and which run it belongs to."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterable
from typing import Any

import rl_datasets
from rl_datasets import files
from rl_datasets.errors import DatasetError

RESULTS = "results.jsonl"


def fingerprint(version_dir: pathlib.Path) -> str:
    """sha256 of the dataset's MANIFEST.json, which holds the sha256 of every file of it."""
    manifest = version_dir / "MANIFEST.json"
    if not manifest.is_file():
        raise DatasetError(f"no published dataset at {version_dir}, publish it first")
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


@functools.cache
def code_version() -> str:
    """The package's version and, in a checkout, its commit."""
    root = pathlib.Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--match", "v*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return rl_datasets.__version__
    return f"{rl_datasets.__version__}+{commit}"


def machine() -> str:
    """The processor's name and the number of cores this process may use."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def read_results(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of a results file in order; a last line that was cut while written is left out."""
    if not path.exists():
        return []
    *whole, _cut = path.read_text().split("\n")
    try:
        return [json.loads(line) for line in whole]
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path} has a line that is not JSON, remove it: {error}") from error


def append_result(path: pathlib.Path, result: dict[str, Any]) -> None:
    """Appends one line and waits until the disk has it."""
    with path.open("a") as file:
        file.write(json.dumps(result) + "\n")
        file.flush()
        os.fsync(file.fileno())


def write_results(path: pathlib.Path, results: Iterable[dict[str, Any]]) -> None:
    """Replaces the file at once, so that a kill leaves the old lines or the new ones."""
    write_atomically(path, "".join(json.dumps(result) + "\n" for result in results))


def write_atomically(path: pathlib.Path, text: str) -> None:
    """Writes a file whole or not at all, so that nobody reads half of it."""
    with files.replacing(path) as partial:
        partial.write_text(text)
