"""The scripts of docs/batch.md, as far as they can be checked without a cluster."""

import os
import pathlib
import re
import shlex
import subprocess

import pytest
import yaml

from benchmarks.training.parts import Part
from rl_datasets.cli import main

PAGE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "batch.md"
BLOCKS = dict(re.findall(r"```(bash|yaml)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))


def kubernetes_command() -> str:
    (container,) = yaml.safe_load(BLOCKS["yaml"])["spec"]["template"]["spec"]["containers"]
    return container["command"][2]


def expanded(command: str, **environment: str) -> list[str]:
    """The arguments that a shell gives to `rl-datasets`."""
    script = f"rl-datasets() {{ printf '%s\\n' \"$@\"; }}; {command}"
    done = subprocess.run(
        ["bash", "-euc", script], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def slurm_command() -> str:
    return BLOCKS["bash"][BLOCKS["bash"].index("rl-datasets reproduce") :]


def test_every_part_is_run_once():
    array = re.search(r"--array=(\d+)-(\d+)", BLOCKS["bash"])
    numbers = range(int(array[1]), int(array[2]) + 1)
    runs = [expanded(slurm_command(), SLURM_ARRAY_TASK_ID=str(number)) for number in numbers]
    completions = yaml.safe_load(BLOCKS["yaml"])["spec"]["completions"]
    pods = [
        expanded(kubernetes_command(), JOB_COMPLETION_INDEX=str(number))
        for number in range(completions)
    ]
    for commands in (runs, pods):
        parts = [Part.parse(each[each.index("--part") + 1]) for each in commands]
        assert parts == [Part(number, 8) for number in range(1, 9)]


@pytest.mark.parametrize("command", [slurm_command(), kubernetes_command()])
def test_the_command_is_understood(command, tmp_path, monkeypatch, capsys):
    """It gets as far as to say that nothing is published where it looks."""
    arguments = expanded(command, SLURM_ARRAY_TASK_ID="1", JOB_COMPLETION_INDEX="0")
    arguments[arguments.index("--data-dir") + 1] = str(tmp_path / "empty")
    arguments[arguments.index("--runs-dir") + 1] = str(tmp_path / "runs")
    monkeypatch.setattr("sys.argv", ["rl-datasets", *arguments, "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert "is not published in" in capsys.readouterr().err


def test_the_slurm_script_is_bash(tmp_path):
    script = tmp_path / "job.sh"
    script.write_text(BLOCKS["bash"])
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert shlex.split(BLOCKS["bash"], comments=True)[:2] == ["source", ".venv/bin/activate"]
