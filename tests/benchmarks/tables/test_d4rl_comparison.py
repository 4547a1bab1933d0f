"""The comparison of a recollected dataset with D4RL's own, by hand."""

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks.speed import d4rl as speed
from benchmarks.tables import d4rl_comparison
from builders.d4rl.d4rl_dataset_builder import Builder
from rl_datasets.episode import Episode
from rl_datasets.publishing.publish import publish
from rl_datasets.sources import d4rl
from rl_datasets.sources.d4rl_tasks import task


def episode(length: int, reward: float, level: float) -> Episode:
    observation = np.full((length + 1, 2), level, np.float32)
    observation[:, 1] = 7
    return Episode.from_transitions(
        observation, np.zeros((length, 1), np.float32), np.full(length, reward), is_terminal=False
    )


def test_by_hand():
    """Returns 2 and 6: mean 4, deviation 2; the published 9 is 2.5 of them apart."""
    rows = d4rl_comparison.compare([episode(2, 1, 0), episode(3, 2, 4)], [episode(3, 3, 3)])
    assert rows == [
        ["episodes", "2", "1", ""],
        ["return", "4.0 ± 2.0", "9.0 ± 0.0", "2.50"],
        ["length", "2.5 ± 0.5", "3.0 ± 0.0", "1.00"],
        ["mean of observations", "", "", "0.50 at most, 0.25 in the median"],
        ["spread of observations", "", "", "0.00 at most, 0.00 in the median"],
    ]


def test_a_dataset_beside_itself(shared, tmp_path):
    file = shared / "d4rl" / "hopper_medium-v2.hdf5"
    config = "hopper-medium-v2"
    version = publish(Builder(config=config, source=str(file), data_dir=tmp_path)).path
    app = typer.Typer()
    app.command()(d4rl_comparison.main)
    lines = CliRunner().invoke(app, [str(version), str(file)]).stdout.splitlines()
    assert "| return | 1,439.0 ± 26.2 | 1,439.0 ± 26.2 | 0.00 |" in lines
    # (1438.97 + 20.272305) / (3234.3 + 20.272305) = 0.44837
    assert lines[-1] == "| normalised score | 44.8 | 44.8 |  |"


def test_the_speed_file_is_as_d4rls(tmp_path):
    """Each row continues the one before it, and every 1,000th ends an episode."""
    speed.write_file(tmp_path / "file.hdf5", 2_000)
    episodes = list(d4rl.read_episodes(tmp_path / "file.hdf5", task(speed.CONFIG)))
    assert [each.num_transitions for each in episodes] == [1_000, 1_000]
    assert not any(each.is_terminal[-1] for each in episodes)


@pytest.mark.parametrize("how", [{}, {"compression": "gzip"}])
def test_the_anchor_writes_back_what_it_reads(tmp_path, how):
    speed.write_file(tmp_path / "a.hdf5", 1_000)
    speed.read_and_write_back(tmp_path / "a.hdf5", tmp_path / "b.hdf5", **how)
    pairs = [
        d4rl.read_episodes(tmp_path / name, task(speed.CONFIG)) for name in ("a.hdf5", "b.hdf5")
    ]
    for ours, theirs in zip(*pairs, strict=True):
        for name, field in ours.steps().items():
            np.testing.assert_array_equal(field, theirs.steps()[name])
