"""A dataset that is missing is told with the commands that make it, and these make it."""

import re
import shlex

import pytest
from typer.testing import CliRunner

from benchmarks.training import dataset_commands
from benchmarks.training.recipe import load_recipe
from benchmarks.training.row import Row
from rl_datasets import cli
from rl_datasets.errors import DatasetError
from rl_datasets.sources.d4rl_tasks import task
from tests.benchmarks.made_up import recipe


@pytest.mark.parametrize(
    ("dataset", "environment"),
    [
        ("brac/hopper-pure-recollected-n300-seed7:2.0.0", "Hopper-v2"),
        ("brac/hopper-pure-recollected-n300:2.1.0", "Hopper-v4"),
    ],
)
def test_the_commands_make_what_is_missing(tmp_path, monkeypatch, dataset, environment):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(recipe(dataset, environment))
    dry_run = ["reproduce", "mine.toml", "--dry-run", "--data-dir", "my data"]
    with pytest.raises(DatasetError, match="publish it first: `") as told:
        CliRunner().invoke(cli.app, dry_run, catch_exceptions=False)
    for command in re.findall("`(.*?)`", str(told.value)):
        program, *arguments = shlex.split(command)
        assert program == "rl-datasets"
        made = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
        assert made.exit_code == 0, made.output
    assert CliRunner().invoke(cli.app, dry_run, catch_exceptions=False).exit_code == 0


def commands(dataset, environment, **options):
    return dataset_commands.commands(Row.of(dataset, dataset, environment, **options))


def test_the_policy_that_is_asked_for_is_named():
    assert commands("brac/ant-eps1-recollected-brac:2.0.0", "Ant-v2") == [
        "rl-datasets collect Ant-v2 eps1 collected/ant-eps1-recollected-brac "
        "--policy BRAC_CHECKPOINT",
        "rl-datasets publish brac collected/ant-eps1-recollected-brac --version 2.0.0",
    ]
    assert commands("d4rl/hopper-medium-v2-recollected:2.0.0", "Hopper-v2") == [
        "rl-datasets collect Hopper-v2 medium-v2 collected/hopper-medium-v2-recollected "
        "--policy D4RL_FILE",
        "rl-datasets publish d4rl collected/hopper-medium-v2-recollected --version 2.0.0",
    ]
    # At no hand, so that no name says whose it is.
    assert commands("brac/walker2d-pure-recollected-brac:2.0.0", "Walker2d-v2")[0] == (
        "rl-datasets collect Walker2d-v2 pure collected/walker2d-pure-recollected-brac "
        "--policy BRAC_CHECKPOINT --name walker2d-pure-recollected-brac"
    )
    assert commands("d4rl/ant-v4-random-v2-recollected:2.0.0", "Ant-v4") == [
        "rl-datasets collect Ant-v4 random-v2 collected/ant-v4-random-v2-recollected",
        "rl-datasets publish d4rl collected/ant-v4-random-v2-recollected --version 2.0.0",
    ]


def test_d4rls_own_files_are_published_from_where_they_lie():
    assert commands("d4rl/hopper-medium-v2:2.0.0", "Hopper-v2") == [
        f"rl-datasets publish d4rl/hopper-medium-v2 {task('hopper-medium-v2').url} --version 2.0.0"
    ]


def test_logged_runs_of_games_are_published_from_their_source():
    assert commands("dqn_replay/Pong_run_1:1.1.0", "Pong") == [
        "rl-datasets publish dqn_replay/Pong_run_1 DQN_REPLAY_FOLDER --version 1.1.0"
    ]
    assert commands("rl_unplugged_atari/Pong_run_1:2.0.0", "Pong") == [
        "rl-datasets publish rl_unplugged_atari/Pong_run_1 gs://rl_unplugged --version 2.0.0"
    ]


@pytest.mark.parametrize(
    ("dataset", "environment", "options"),
    [
        ("brac/mine:1.0.0", "Hopper-v2", {}),
        ("d4rl/hopper-expert-v2-recollected-sac-0123abcd:2.0.0", "Hopper-v2", {}),
        ("d4rl/hopper-expert-v2-recollected:2.0.0", "Hopper-v2", {}),
        ("d4rl/hopper-pure-recollected:2.0.0", "Hopper-v2", {}),
        ("brac/hopper-medium-v2-recollected:2.0.0", "Hopper-v2", {}),
        ("brac/hopper-pure-recollected:2.0.0", "Hopper-v4", {"in_another_environment": True}),
        ("dqn_replay/Pong_run_1-recollected:1.1.0", "Pong", {}),
    ],
)
def test_what_a_name_does_not_say_is_not_made_up(dataset, environment, options):
    assert commands(dataset, environment, **options) == []


def test_every_dataset_of_bracs_table_has_its_commands():
    assert all(dataset_commands.commands(row) for row in load_recipe("brac_bc").rows)
