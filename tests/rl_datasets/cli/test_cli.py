"""The command line as a user meets it: one clear sentence for what the user can fix, no traceback.

Most of it runs in this process, by the function that is the command; what has to do with processes
(signals, what the system refuses, what is imported) runs in one.
"""

import errno
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from rl_datasets import cli
from tests.command_line import COMMAND, end, start
from tests.rl_datasets.cli.users_folder import COLLECT, DATASET, contents

COMMANDS = sorted(name for of_heading in cli.COMMANDS.values() for name in of_heading)
HEAVY = ("tensorflow", "apache_beam", "reverb", "gymnasium", "jax")


def wait_for(path: pathlib.Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.02)


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help(run, command):
    outcome = run(*command, "--help")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert "Usage: rl-datasets" in outcome.stdout
    assert len(outcome.stdout.splitlines()) > 8


def test_help_imports_nothing_heavy():
    """Of the root and of every command, in one process that looks after each."""
    script = f"""
import contextlib, sys
from rl_datasets import cli
for command in {[[], *([name] for name in COMMANDS)]}:
    sys.argv = ["rl-datasets", *command, "--help"]
    with contextlib.suppress(SystemExit):
        cli.main()
    loaded = set({HEAVY}) & set(sys.modules)
    assert not loaded, (command, loaded)
print("and nothing heavy")
"""
    outcome = end(start([sys.executable, "-c", script], pathlib.Path.cwd()))
    assert outcome.stdout.count("Usage: rl-datasets") == 1 + len(COMMANDS)
    assert outcome.stdout.endswith("and nothing heavy\n"), outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["collect", *COLLECT[:3], "--transitions", "many"],
            "'--transitions': 'many' is not a valid int range",
        ),
        (
            ["collect", *COLLECT[:3], "--transitions", "0"],
            "'--transitions': 0 is not in the range x>=1",
        ),
        (
            ["collect", *COLLECT[:3], "--seed", "-1"],
            "'--seed': -1 is not in the range x>=0",
        ),
        (
            ["collect", *COLLECT[:3], "--processes", "0"],
            "'--processes': 0 is not in the range x>=1",
        ),
        (["collect", "Hopper-v4"], "Missing argument 'mixture'"),
        (
            ["publish", "brac", "collected", "--workers", "0"],
            "'--workers': 0 is not in the range x>=1",
        ),
        (
            ["serve", "brac/x:1.0.0", "--port", "65536"],
            "'--port': 65536 is not in the range 1<=x<=65535",
        ),
        (
            ["serve", "brac/x:1.0.0", "--n-step", "0"],
            "'--n-step': 0 is not in the range x>=1",
        ),
        (
            ["serve", "brac/x:1.0.0", "--gamma", "1.1"],
            "'--gamma': 1.1 is not in the range 0<=x<=1",
        ),
        (["list", "--nonsense"], "No such option: --nonsense"),
        (["collect", "Pong", "dqn", "logs", "--run", "2"], "No such option: --run"),
        (["log-game", "Pong", "dqn", "logs", "--policy", "x"], "No such option: --policy"),
        (["colect"], "No such command 'colect'"),
    ],
)
def test_a_mistake_in_the_options_is_told_with_the_usage(
    run, tmp_path, monkeypatch, arguments, told
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    outcome = run(*arguments)
    assert outcome.status == 2
    assert "Usage: rl-datasets" in outcome.stderr
    assert told in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not list(tmp_path.iterdir())


def test_the_version_of_the_package(run):
    import rl_datasets

    assert run("--version").stdout == f"rl-datasets {rl_datasets.__version__}\n"


@pytest.mark.parametrize("command", ["show synthetic/mine", "list", "verify synthetic/mine"])
def test_a_terminal_without_the_characters(numbered_folder, monkeypatch, command):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    outcome = end(start([COMMAND, *command.split(), "--data-dir", "data"], numbered_folder))
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout.isascii()


def test_what_the_system_refuses_elsewhere_is_a_sentence_too(run, published, monkeypatch):
    from rl_datasets.published import catalog

    def refuse(data_dir):
        raise error

    monkeypatch.setattr(catalog, "list_published", refuse)
    error = PermissionError(errno.EACCES, "Permission denied", "some/file")
    assert run("list").sentence.startswith("some/file: Permission denied; fix that and run")
    error = OSError(errno.ENOSPC, "No space left on device")
    assert run("list").sentence.startswith("No space left on device; fix that and run")


def test_what_is_no_users_fault_keeps_its_traceback(monkeypatch):
    from rl_datasets.published import catalog

    def broken(data_dir):
        raise KeyError("episodes")

    monkeypatch.setattr(catalog, "list_published", broken)
    monkeypatch.setattr(sys, "argv", ["rl-datasets", "list"])
    with pytest.raises(KeyError):
        cli.main()


# Ctrl-C.


def test_ctrl_c_while_collecting(published):
    collect = ["collect", "Hopper-v4", "pure", "new", "--transitions", "2000000", "--processes"]
    process = start([COMMAND, *collect, "2"], published)
    wait_for(published / "new" / "plan.json", process)
    os.killpg(process.pid, signal.SIGINT)  # As a terminal does: to every process, while they start.
    outcome = end(process)
    assert outcome.status == cli.INTERRUPTED
    assert outcome.sentence == "interrupted; run the same command again to continue"
    assert set(contents(published / "new")) <= {"plan.json", *(f"unit-0000{i}.npz" for i in "01")}


# Publishes by the command line, with a reader that waits the first time in the middle of a unit.
WAITING = """
import pathlib, time
from rl_datasets import cli
from rl_datasets import npz

read_arrays = npz.read_arrays

def read_slowly(*arguments):
    pathlib.Path("reading").touch()
    time.sleep(60)
    return read_arrays(*arguments)

npz.read_arrays = read_slowly
cli.main()
"""


def test_ctrl_c_while_publishing(published, run):
    publish = ["publish", "brac", "collected", "--data-dir", "new"]
    process = start([sys.executable, "-c", WAITING, *publish], published)
    wait_for(published / "reading", process)
    second = run(*publish)
    os.killpg(process.pid, signal.SIGINT)
    outcome = end(process)
    assert second.status == 1
    assert second.sentence.startswith("another process is publishing")
    assert outcome.status == cli.INTERRUPTED
    assert outcome.sentence == "interrupted; run the same command again to continue"
    assert not (published / "new" / "brac" / DATASET / "2.0.0").exists()
    assert run(*publish).status == 0
    assert contents(published / "new") == contents(published / "published")


def test_ctrl_c_while_the_workers_of_a_publish_start(published):
    """When Beam would wait for ever for them, and each would show its own traceback."""
    publish = ["publish", "brac", "collected", "--data-dir", "new", "--workers", "2"]
    process = start([COMMAND, *publish], published)
    wait_for(published / "new" / "brac" / DATASET / "2.0.0.staging" / "version", process)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    outcome = end(process)
    assert outcome.status == cli.INTERRUPTED
    assert outcome.sentence == "interrupted; run the same command again to continue"
    assert not (published / "new" / "brac" / DATASET / "2.0.0").exists()


def test_ctrl_c_under_another_name(run, published, monkeypatch):
    """An extension that is imported makes it an ImportError."""
    from rl_datasets.published import catalog

    def interrupted(data_dir):
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr(catalog, "list_published", interrupted)
    outcome = run("list")
    assert outcome.status == cli.INTERRUPTED
    assert outcome.sentence == "interrupted; run the same command again to continue"
