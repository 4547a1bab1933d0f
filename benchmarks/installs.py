"""`python -m benchmarks.installs`: the packages, seconds and bytes of an install with each extra.

Each install is by pip, of the wheel of this checkout, into an empty environment of its own. The
seconds are those of the second of two installs, whose downloads are in pip's cache.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.training.results import code_version, machine
from rl_datasets import files
from rl_datasets.errors import DatasetError

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks/results/installs.json"
EXTRAS = ("", "train", "collect", "publish", "train,collect,publish", "all")


def main(
    pythons: Annotated[
        list[pathlib.Path] | None,
        typer.Argument(help="Interpreters, such as /usr/bin/python3.13; by default this one."),
    ] = None,
    save: Annotated[bool, typer.Option(help="Write benchmarks/results/installs.json.")] = False,
) -> None:
    """Installs the wheel with each extra, and shows how much that is."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = _wheel(pathlib.Path(folder))
        rows = [
            _install(python, wheel, extra)
            for python in pythons or [pathlib.Path(sys.executable)]
            for extra in EXTRAS
        ]
    _show(rows)
    if save:
        measured = {
            "command": "python -m benchmarks.installs",
            "machine": machine(),
            "code_version": code_version(),
            "rows": rows,
        }
        files.write(RESULT, json.dumps(measured, indent=1) + "\n")


def _wheel(folder: pathlib.Path) -> pathlib.Path:
    _call(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def _install(python: pathlib.Path, wheel: pathlib.Path, extra: str) -> dict[str, Any]:
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            _call(python, "-m", "venv", folder)
            own, before = pathlib.Path(folder, "bin/python"), _size(folder)
            start = time.monotonic()
            _call(own, "-m", "pip", "install", "--quiet", requirement)
            seconds = time.monotonic() - start
            listed = json.loads(_call(own, "-m", "pip", "list", "--format", "json"))
            size = _size(folder) - before
    names = {package["name"].lower() for package in listed} - {"pip", "setuptools", "rl-datasets"}
    version = _call(python, "-c", "import platform; print(platform.python_version())").strip()
    return {
        "python": version,
        "extra": extra,
        "packages": len(names),
        "megabytes": round(size / 1e6),
        "seconds": round(seconds, 1),
    }


def _call(*command: str | pathlib.Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise DatasetError(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


def _size(folder: str) -> int:
    return sum(path.lstat().st_size for path in pathlib.Path(folder).rglob("*"))


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
