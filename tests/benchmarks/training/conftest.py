"""Published logs of games, and learners that take no time."""

import dataclasses

import pytest

from benchmarks.training.online import atari as online_atari
from learners.registry import LEARNERS
from tests.benchmarks.training.game_runs import log_by_hand, publish_run
from tests.benchmarks.training.test_online_atari import MAKE, SMALL, small_network


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """Two published runs: a random agent's of Pong in three checkpoints, and one made by hand."""
    folder = tmp_path_factory.mktemp("atari")
    home = online_atari.log_run("Pong", folder / "logs", agent="random", schedule=SMALL)
    publish_run(str(home), folder / "data")
    publish_run(log_by_hand(folder / "logs", rom_set="atari-py 0.2.5"), folder / "data")
    return folder / "data"


@pytest.fixture
def quick_learners(monkeypatch):
    """Learners of small networks, compiled once: both take longer than these runs."""
    use_quick_learners(monkeypatch)


def use_quick_learners(monkeypatch):
    for module, make in MAKE.items():
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(module, "styled", small_network)
        monkeypatch.setitem(LEARNERS, name, dataclasses.replace(LEARNERS[name], make=make))
