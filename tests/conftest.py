"""Fixtures that every test may use."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of real files that no one here made; absent on most machines."""
    folder = pathlib.Path(os.environ.get("RL_DATASETS_SHARED", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real files at {folder}; set RL_DATASETS_SHARED to their folder")
    return folder
