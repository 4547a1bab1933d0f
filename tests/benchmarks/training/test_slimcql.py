"""slimCQL's path, from RL Unplugged's shards to a score, without the bugs of its data scripts.

The shards are made by hand: three checkpoints of different lengths, each of a game that ended and
of one that a time limit cut. The first two pixels of a frame say of which episode and row it is.
"""

import collections
import dataclasses

import numpy as np
import pytest

from benchmarks.training import feeds, runner
from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.cells import Cell, plan
from benchmarks.training.preparation import Places
from benchmarks.training.recipe import load_recipe
from benchmarks.training.results import RESULTS, read_results
from benchmarks.training.row import Row
from benchmarks.training.tasks.choice import task_of
from builders.rl_unplugged_atari.rl_unplugged_atari_dataset_builder import Builder
from rl_datasets import wire
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.publish import publish
from rl_datasets.serving.rewards import rescaled
from rl_datasets.sources import rl_unplugged
from tests.benchmarks import tiny_recipe
from tests.rl_datasets.sources import rl_unplugged_files

# Of the first 9 rows, and then of 5; the game's end is stored by the discount of the last row.
ROWS = [(9, 5), (6, 4), (13, 3)]
LATER = "checkpoint_01+checkpoint_02"  # a share of the data that does not begin where they do

RECIPE = """
title = "slimCQL, in small"
seeds = [1]
steps = 4
batch_size = 2
evaluate_every = 2
episodes = 1

[config]
is_squared = true
learning_rate = 5e-5

[atari]
evaluation_steps = 30
max_episode_steps = 20

[[algorithms]]
name = "DQN"
learner = "dqn"
config = { optimizer = "adam", epsilon = 1.5e-4 }

[[algorithms]]
name = "CQL"
learner = "discrete_cql"
config = { network = "dopamine", weight = 0.1, num_quantiles = false }

[[rows]]
name = "Asterix"
dataset = "rl_unplugged_atari/Asterix_run_1:2.0.0"
environment = "Asterix"
split = "checkpoint_01+checkpoint_02"
"""


def write_shards(folder, **changes):
    """The bucket's copy: episode 2 i ended, and episode 2 i + 1 was cut, of checkpoint i."""
    for index, (ended, cut) in enumerate(ROWS):
        of = {"checkpoint_idx": wire.int64_list(np.array([index])), **changes}
        examples = [
            rl_unplugged_files.episode(2 * index, ended, 0, **of),
            rl_unplugged_files.episode(2 * index + 1, cut, 1, **of),
        ]
        name = f"run_1-{index:05d}-of-{len(ROWS):05d}"
        shard = folder / rl_unplugged.EPISODES / "Asterix" / name
        rl_unplugged_files.write(shard, examples)
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slimcql")
    source = str(write_shards(folder / "bucket"))
    publish(Builder(config="Asterix_run_1", source=source, data_dir=folder / "data"))
    return folder / "data"


def cell_and_task(data_dir, split="all", **options):
    row = Row.of(
        "Asterix", "rl_unplugged_atari/Asterix_run_1:2.0.0", "Asterix", split=split, **options
    )
    recipe = tiny_recipe.of(row)
    return Cell(recipe, row, 0), task_of(recipe, row, data_dir)


def drawn(cell, task, feed, count):
    """`count` transitions as the learner gets them, by the episode and row of their frame."""
    found = collections.defaultdict(list)
    with feeds.open_feed(cell, task, feed, 1, 0) as batches:
        for _ in range(count // cell.recipe.batch_size):
            batch = rescaled(next(batches), task.reward_scale("arrays"), task.row.data.reward_bias)
            for place in np.ndindex(batch.action.shape):
                stack, following = batch.observation[place], batch.next_observation[place]
                found[marks(stack)[-1]].append(
                    (
                        marks(stack),
                        float(batch.reward[place]),
                        float(batch.discount[place]),
                        marks(following),
                    )
                )
    return found


def marks(stack):
    """(episode, row) of each frame of a stack [84, 84, 4]; (-1, -1) of zeros."""
    return [tuple((stack[0, :2, i].astype(int) - 1).tolist()) for i in range(4)]


BLANK = (-1, -1)


def stack_at(episode, row):
    """What the stack holds that ends in a row: zeros before the episode's first."""
    return [(episode, r) if r >= 0 else BLANK for r in range(row - 3, row + 1)]


def test_from_the_shards_to_a_score_by_two_commands(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shards(tmp_path / "bucket")
    (tmp_path / "slim.toml").write_text(RECIPE)
    outcome = run("publish", "rl_unplugged_atari/Asterix_run_1", "bucket", "--data-dir", "data")
    assert outcome.status == 0, outcome.stderr
    outcome = run("reproduce", "slim.toml", "--data-dir", "data", "--runs-dir", "runs")
    assert outcome.status == 0, outcome.stderr
    lines = {
        path.relative_to(tmp_path / "runs").parts[-3]: read_results(path)
        for path in (tmp_path / "runs").rglob(RESULTS)
    }
    assert lines.keys() == {"DQN", "CQL"}
    for of_learner in lines.values():
        assert [line["step"] for line in of_learner] == [2, 4]
        for line in of_learner:
            assert line["split"] == LATER
            assert (line["rom_set"], line["sticky_probability"]) == ("atari-py 0.2.5", 0.25)
            assert len(line["returns"]) >= 2  # as many whole episodes as have 30 steps
            assert np.isfinite([*line["returns"], *line["metrics"].values()]).all()
    (report,) = (tmp_path / "runs").rglob("*.md")
    assert "| DQN/Asterix |" in report.read_text()


def test_the_recipe_that_ships_trains_both_of_its_learners(data_dir, tmp_path):
    shipped = load_recipe("slimcql")
    short = dataclasses.replace(
        shipped,
        steps=1,
        evaluate_every=1,
        batch_size=2,
        atari=AtariProtocol(evaluation_steps=20, max_episode_steps=20),
    )
    cells = plan(short, ["DQN/Asterix/run_1", "CQL/Asterix/run_1"])
    assert [cell.recipe.learner for cell in cells] == ["dqn", "discrete_cql"]
    runner.run_cells(cells, Places(data_dir, tmp_path), lambda cell, step: None)
    for cell in cells:
        (line,) = read_results(cell.folder(tmp_path) / RESULTS)
        assert np.isfinite(line["metrics"]["loss"])


@pytest.mark.parametrize("feed", ["arrays", "stream"])
def test_a_game_that_ended_does_not_bootstrap_and_one_that_was_cut_does(data_dir, feed):
    """slimCQL takes `is_last` for `is_terminal` and the other way round.

    So nothing would bootstrap from a time limit, and the episode after it would be its sequel.
    """
    found = drawn(*cell_and_task(data_dir), feed, 600)
    for index, (ended, cut) in enumerate(ROWS):
        assert {each[2] for each in found[2 * index, ended - 1]} == {0.0}
        # The last row of the other gives its frame alone: the one before bootstraps from it.
        assert (2 * index + 1, cut - 1) not in found
        for stack, _, discount, following in found[2 * index + 1, cut - 2]:
            assert discount == 1
            assert stack == stack_at(2 * index + 1, cut - 2)
            assert following == stack_at(2 * index + 1, cut - 1)
        for row in range(ended - 1):
            assert {each[2] for each in found[2 * index, row]} == {1.0}


def test_several_rewards_end_with_their_episode_whichever_way_it_ends(data_dir):
    """The same mistake with three rewards in a transition: they would be those of two games."""
    _, task = cell_and_task(data_dir, n_step=3)
    rows = task.transitions().rows
    _, one_step = cell_and_task(data_dir)
    rewards, start, gamma = one_step.transitions().rows["reward"], 0, task.cut.gamma
    for ended, cut in ROWS:
        for length, is_terminal in ((ended, True), (cut - 1, False)):
            for row in range(length):
                window = rewards[start + row : start + min(row + 3, length)]
                expected = float(window @ gamma ** np.arange(len(window)))
                assert rows["reward"][start + row] == pytest.approx(expected, abs=1e-6)
                is_zero = is_terminal and row + 3 >= length
                assert (rows["discount"][start + row] == 0) == is_zero
            start += length
    assert start == len(rows)


def test_a_reward_of_seven_does_not_reach_a_learner(tmp_path):
    """slimCQL is given a function that clips, and never calls it: 7 stays 7."""
    seven = wire.float_list(np.array([0, 7, 0, 0], np.float32))
    shard = tmp_path / "bucket" / rl_unplugged.EPISODES / "Asterix" / "run_1-00000-of-00001"
    record = rl_unplugged_files.episode(0, 4, unclipped_rewards=seven)
    rl_unplugged_files.write(shard, [record])
    builder = Builder(
        config="Asterix_run_1", source=str(tmp_path / "bucket"), data_dir=tmp_path / "data"
    )
    with pytest.raises(DatasetError, match=r"record 0 .* has a reward of 7\.0, and rewards of"):
        publish(builder)
    assert not list((tmp_path / "data").rglob("MANIFEST.json"))


@pytest.mark.parametrize("feed", ["arrays", "stream"])
def test_checkpoints_of_different_lengths_are_drawn_whole_and_with_what_follows(data_dir, feed):
    """slimCQL numbers what follows wrongly in a part of the data that does not begin at 0.

    It also draws from buffers of different lengths by the row numbers of one of them.
    """
    cell, task = cell_and_task(data_dir, split=LATER)
    expected = {
        (2 * index + which, row)
        for index in (1, 2)
        for which, rows in enumerate((ROWS[index][0], ROWS[index][1] - 1))
        for row in range(rows)
    }
    found = drawn(cell, task, feed, 20 * len(expected))
    assert found.keys() == expected
    for (episode, row), each in found.items():
        for stack, _, discount, following in each:
            assert stack == stack_at(episode, row)
            if discount:
                assert following == stack_at(episode, row + 1)
    times = [len(found[place]) for place in sorted(expected)]
    if feed == "stream":
        assert set(times) == {20}  # of 20 epochs
    else:
        # Drawn with replacement: 20 times each, by Poisson's law between 4 and 42.
        assert 4 <= min(times) <= max(times) <= 42
