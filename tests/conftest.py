"""Fixtures that every test may use."""

import os
import pathlib
import signal
import sys

import hypothesis
import pytest

# What lands must not hang on luck, so CI draws the same examples every time.
hypothesis.settings.register_profile("suite", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("suite")

# A shell starts what it runs in the background deaf to Ctrl-C, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of real files that no one here made; absent on most machines."""
    folder = pathlib.Path(os.environ.get("RL_DATASETS_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real files at {folder}; set RL_DATASETS_SHARED to their folder")
    return folder


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs a command of the command line in this process, by the function that it is."""
    from rl_datasets import cli
    from tests.command_line import Outcome

    def run(*arguments):
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["rl-datasets", *map(str, arguments)])
        monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Outcome(ended.value.code or 0, *capfd.readouterr())

    return run


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems():
    """Haiku leaves what is no module where flax would be, and Hypothesis asks it for its file."""
    sys.modules.pop("haiku.experimental.flax", None)
