"""What several tests of the runner train on, and the terminal that some show tables in."""

import pathlib
import re
import sys

import pytest

from builders.brac.brac_dataset_builder import Builder
from rl_datasets.collection.collector import collect
from rl_datasets.publishing.publish import publish

MIXTURE = """
[[policies]]
name = "random"
kind = "uniform"
weight = 1
"""


@pytest.fixture(scope="session")
def pendulum(tmp_path_factory) -> pathlib.Path:
    """A data directory that holds `brac/pendulum:2.0.0`, really collected and published."""
    folder = tmp_path_factory.mktemp("pendulum")
    (folder / "uniform.toml").write_text(MIXTURE)
    source = str(folder / "collected")
    collect(
        "Pendulum-v1", folder / "uniform.toml", 400, source, processes=1, name="pendulum",
        show_progress=False,
    )  # fmt: skip
    publish(Builder(source=source, config="pendulum", data_dir=str(folder / "data")))
    return folder / "data"


@pytest.fixture
def on_eighty_columns(capsys, monkeypatch):
    """Calls a function with a terminal of that width; gives what it shows, without colours."""

    def call(function, *arguments):
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        function(*arguments)
        return re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)

    return call
