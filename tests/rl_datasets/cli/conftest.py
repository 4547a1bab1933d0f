"""Folders where a user has collected and published."""

import pathlib
import shutil

import numpy as np
import pytest

from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.published import manifest
from rl_datasets.publishing.publish import publish
from tests.command_line import COMMAND, end, start
from tests.rl_datasets.cli.users_folder import COLLECT, DATA_DIR, DATASET, contents
from tests.rl_datasets.publishing.synthetic import Synthetic, unit


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A folder where a user has collected and published."""
    folder = tmp_path_factory.mktemp("made")
    for command in (["collect", *COLLECT], ["publish", "brac", "collected", *DATA_DIR]):
        arguments = ["--processes", "1"] if command[0] == "collect" else []
        outcome = end(start([COMMAND, *command, *arguments], folder))
        assert outcome.status == 0, outcome.stderr
        (folder / f"{command[0]}.txt").write_text(outcome.stdout)
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy of that folder to break, where the commands run."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def published(folder):
    """What was published, which must be there unchanged in the end."""
    before = contents(folder / "published")
    assert f"brac/{DATASET}/2.0.0/MANIFEST.json" in before
    yield folder
    assert contents(folder / "published") == before


@pytest.fixture(scope="session")
def numbered(tmp_path_factory) -> pathlib.Path:
    """A folder with three versions of a dataset, told apart by their manifests."""
    folder = tmp_path_factory.mktemp("numbered")
    (folder / "source.bin").write_bytes(b"raw logs")
    units = [unit(index, str(folder / "source.bin")) for index in range(2)]
    first = publish(Synthetic(units=units, config="mine", data_dir=folder / "data")).path
    for number in ("1.9.0", "1.10.0"):
        shutil.copytree(first, first.with_name(number))
        content = manifest.read(first)[0]
        content["plan"]["version"] = number
        manifest.write(first.with_name(number), content)
    return folder


@pytest.fixture
def numbered_folder(numbered, tmp_path, monkeypatch) -> pathlib.Path:
    shutil.copytree(numbered, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def logged(tmp_path, monkeypatch):
    """A folder with a run of Pong in Dopamine's layout: 3 checkpoints of 60 rows, and the last."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with ReplayLog(tmp_path / "Pong/1/replay_logs", capacity=60) as log:
        for step in range(1, 190):
            frame = rng.integers(0, 256, (84, 84), np.uint8)
            log.add(frame, rng.integers(6), rng.integers(-1, 2), step % 17 == 0)
    return tmp_path
