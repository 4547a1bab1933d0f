"""Reads and writes measured results: one JSON line for each evaluation, with the run it is from."""

from __future__ import annotations

import functools
import json
import math
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterable
from typing import Any

from rl_datasets import files
from rl_datasets._version import __version__
from rl_datasets.errors import DatasetError

RESULTS = "results.jsonl"

FIELDS: dict[str, Any] = {  # fields of every line, and their types
    "row": str,
    "dataset": str,
    "fingerprint": str,
    "environment": str,
    "learner": str,
    "config": dict,
    "batch_size": int,
    "feed": str,
    "seed": int,
    "budget": int | float,
    "steps": int,
    "evaluate_every": int,
    "episodes": int,
    "step": int,
    "returns": list,
    "code_version": str,
    "seconds": dict,
}


@functools.cache
def code_version() -> str:
    """The package's version and, in a checkout, its commit."""
    root = pathlib.Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--match", "v*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__}+{commit}"


def machine() -> str:
    """The processor's name and the number of cores this process may use."""
    lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def read_results(path: pathlib.Path, may_grow: bool = True) -> list[dict[str, Any]]:
    """The lines of a results file in order.

    Args:
      path: the file; if it does not exist, there are no lines.
      may_grow: whether to ignore a last line whose writing was interrupted.

    Raises:
      DatasetError: a line is not a result.
    """
    if not path.exists():
        return []
    results = []
    # A line is ASCII; bytes that are not, as a broken disk leaves them, are no JSON.
    *whole, last = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate([*whole, *([last] if last else [])], start=1):
        try:
            result = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            if may_grow and number > len(whole):
                break
            raise DatasetError(
                f"line {number} of {path} is not JSON ({error}): restore or remove it"
            ) from error
        if fault := _fault(result):
            raise DatasetError(f"line {number} of {path} {fault}: restore or remove it")
        results.append(result)
    return results


def _fault(result: Any) -> str:
    """What is wrong with a line; "" if nothing is."""
    if not isinstance(result, dict):
        return "is not an object"
    for field, kind in FIELDS.items():
        if field not in result:
            return f"lacks the field {field!r}"
        if not isinstance(result[field], kind) or isinstance(result[field], bool):
            return f"has a {field} {result[field]!r} of another type than it should be"
    of_policies = result.get("returns_of", {})
    if not isinstance(of_policies, dict):
        return "has returns_of that are not an object"
    if result["step"] < 1 or result["seed"] < 0:
        return f"has the step {result['step']} and the seed {result['seed']}"
    for returns in (result["returns"], *of_policies.values()):
        if not isinstance(returns, list) or not returns or not all(map(_is_finite, returns)):
            return "has returns that are not a list of finite numbers"
    if not all(map(_is_finite, result["seconds"].values())):
        return "has seconds that are not finite numbers"
    return ""


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and not isinstance(value, bool)


def append_result(path: pathlib.Path, result: dict[str, Any]) -> None:
    """Appends one line and waits until it is on the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
        file.flush()
        os.fsync(file.fileno())


def write_results(path: pathlib.Path, results: Iterable[dict[str, Any]]) -> None:
    """Replaces the file atomically, so that a kill leaves the old lines or the new ones."""
    files.write(path, "".join(json.dumps(result) + "\n" for result in results))
