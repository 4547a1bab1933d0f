"""The README's examples run as they stand in an empty folder: the commands, then the code."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
COMMANDS = [text for kind, text in BLOCKS if kind == "console" and "make " not in text]
CODE = [text for kind, text in BLOCKS if kind == "python"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Where the README's commands have been run."""
    folder = tmp_path_factory.mktemp("readme")
    run(["bash", "-euxc", "".join(COMMANDS)], folder)
    return folder


def run(command: list[str], folder: pathlib.Path) -> str:
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_there_are_examples():
    assert len(COMMANDS) >= 2
    assert len(CODE) >= 3


@pytest.mark.parametrize("code", CODE, ids=lambda code: code.splitlines()[0][:30])
def test_code_runs_after_the_commands(code, folder):
    assert run([sys.executable, "-c", code], folder).strip()


def measured(room: str) -> dict[str, dict]:
    """The rows that a room of `make bench` saved, by name; the first of a name counts."""
    file = ROOT / f"benchmarks/results/speed/{room}.json"
    return {row["name"]: row for row in reversed(json.loads(file.read_text())["rows"])}


def test_the_quickstart_took_as_long_as_was_measured():
    lines = (ROOT / "benchmarks/results/quickstart.jsonl").read_text().splitlines()
    first, second = (json.loads(line)["seconds"] for line in lines)
    told = README.replace("\n", " ")
    assert f"took {first / 60:.1f} minutes after half a minute of installing" in told
    assert f"and {second:.0f} seconds a second time" in told


def speed_rows() -> list[list[str]]:
    section = README.partition("\n## Speed\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("cells", speed_rows(), ids=lambda cells: cells[1])
def test_a_speed_is_the_one_that_was_measured(cells):
    room, name, value, anchor, ratio = cells
    row = measured(room)[name]
    assert value == f"{row['value']:,.0f} {row['unit']}"
    expected = row["anchor"]
    assert anchor == (f"{expected:,.0f}" if isinstance(expected, float) else expected)
    assert ratio == ("" if row["ratio"] is None else f"{row['ratio']:.2f}")
