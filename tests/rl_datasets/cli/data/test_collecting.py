"""`collect`, `log-game` and `roms`."""

import os
import pathlib
import re
import resource
import shutil

import pytest

from rl_datasets.sources import collected
from tests.command_line import COMMAND, end, start
from tests.rl_datasets.cli.users_folder import COLLECT, DATA_DIR, DATASET, contents


def test_collect_tells_what_it_made_and_its_speed(made):
    told = (made / "collect.txt").read_text()
    assert re.fullmatch(
        rf"collected: {DATASET}, 300 transitions in 3 units, 300 of them now at [\d,]+ steps/s\n",
        told,
    )


def test_the_speed_counts_what_was_collected_now_alone(run, folder):
    before = contents(folder / "collected")
    assert run("collect", *COLLECT).stdout.endswith(
        "300 transitions in 3 units, none of them new\n"
    )
    (folder / "collected" / "unit-00001.npz").unlink()
    told = run("collect", *COLLECT, "--processes", "1").stdout
    assert re.search(r"300 transitions in 3 units, 120 of them now at [\d,]+ steps/s\n", told)
    assert contents(folder / "collected") == before


def test_collections_that_differ_never_share_a_name(run, published):
    """In environment, transitions, seed, mixture or policy."""
    others = [
        ["Hopper-v2", "eps1", "a", "--transitions", "300", "--seed", "4"],
        ["Hopper-v4", "eps3", "a", "--transitions", "300", "--seed", "4"],
        ["Hopper-v4", "eps1", "a", "--transitions", "301", "--seed", "4"],
        ["Hopper-v4", "eps1", "a", "--transitions", "300", "--seed", "5"],
    ]
    names = {DATASET}
    for collect in others:
        assert run("collect", *collect, "--processes", "1").status == 0
        names.add(collected.read_collection("a").dataset)
        shutil.rmtree("a")
    assert len(names) == 1 + len(others)


def copy_checkpoint(shared: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """A copy of BRAC's Hopper policy; its prefix."""
    for path in (shared / "brac" / "Hopper-v2").glob("agent_partial_target.*"):
        shutil.copy(path, folder)
    return folder / "agent_partial_target"


def test_a_missing_checkpoint(run, published):
    outcome = run("collect", *COLLECT[:2], "new", "--policy", "nowhere/agent")
    assert outcome.status == 1
    assert outcome.sentence.startswith("nowhere/agent.index does not exist: give the checkpoint's")
    assert not pathlib.Path("new").exists()


@pytest.mark.tensorflow
def test_a_truncated_checkpoint(shared, published):
    """In a process, so that what TensorFlow itself would print is seen."""
    prefix = copy_checkpoint(shared, published)
    data = prefix.with_name(f"{prefix.name}.data-00000-of-00001")
    os.truncate(data, data.stat().st_size - 100)
    outcome = end(start([COMMAND, "collect", *COLLECT[:2], "new", "--policy", prefix], published))
    assert outcome.status == 1
    assert outcome.stderr.count("\n") == 1
    assert outcome.sentence.startswith(f"{data} is truncated or damaged")
    assert outcome.sentence.endswith("copy the checkpoint again")
    assert not (published / "new").exists()


@pytest.mark.tensorflow
def test_a_truncated_index(run, shared, published):
    prefix = copy_checkpoint(shared, published)
    index = prefix.with_name(f"{prefix.name}.index")
    os.truncate(index, index.stat().st_size // 2)
    outcome = run("collect", *COLLECT[:2], "new", "--policy", prefix)
    assert outcome.status == 1
    assert f"{index} is truncated" in outcome.sentence
    assert "copy it again" in outcome.sentence


@pytest.mark.parametrize("arguments", [["eps2", "new"], ["mine.toml", "new"]])
def test_an_unknown_mixture(run, published, arguments):
    outcome = run("collect", "Hopper-v4", *arguments)
    assert outcome.status == 1
    assert outcome.sentence.startswith(f"there is no data configuration '{arguments[0]}': give one")
    assert not pathlib.Path("new").exists()


def test_a_disk_that_refuses_what_is_collected(published):
    """A real failure of a write, by the limit on the size of a file."""
    outcome = end(
        start(
            [COMMAND, "collect", *COLLECT[:2], "new", *COLLECT[3:], "--processes", "2"],
            published,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000)),
        )
    )
    assert outcome.status == 1
    assert re.match(
        r"cannot write new/unit-0000\d\.npz \(File too large\): fix that and run the same command",
        outcome.sentence,
    )
    assert set(contents(published / "new")) <= {"plan.json", "unit-00000.npz"}


def write_mixture(path: pathlib.Path, head: str = "", kind: str = "uniform") -> None:
    path.write_text(f'{head}\n[[policies]]\nname = "a"\nkind = "{kind}"\nweight = 1\n')


@pytest.mark.parametrize(
    ("mixture", "head", "options", "told"),
    [
        ("mine.toml", "", ["--name", "../../x"], "'../../x' cannot be the name of a dataset"),
        ("mine.toml", "", ["--name", ""], "'' cannot be the name of a dataset"),
        ("a b;$x.toml", "", [], "'hopper-v4-a b;$x-"),
        ("mine.toml", 'protocl = "d4rl"', [], "mine.toml has no field 'protocl'"),
        ("mine.toml", "", ["--policy", "x.npz"], "the mixture 'mine' takes no policy"),
    ],
)
def test_collect_refuses_at_once(run, tmp_path, monkeypatch, mixture, head, options, told):
    monkeypatch.chdir(tmp_path)
    write_mixture(tmp_path / mixture, head)
    outcome = run("collect", "Hopper-v4", mixture, "new", "--transitions", 10, *options)
    assert outcome.status == 1
    assert outcome.sentence.startswith(told)
    assert not (tmp_path / "new").exists()


def test_an_agent_that_learns_a_game_is_logged(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    schedule = "--iterations 1 --steps-per-iteration 1 --checkpoint-rows 500 --min-replay 50"
    logged = run("log-game", "Pong", "random", "logs", *schedule.split())
    assert logged.status == 0, logged.stderr
    assert "publish dqn_replay logs/Pong/1" in logged.stdout
    published = run("publish", "dqn_replay", "logs/Pong/1", *DATA_DIR)
    assert "dqn_replay/Pong_run_1-recollected/1.1.0: published" in published.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("log-game Pong sarsa logs", "there is no agent sarsa"),
        ("log-game Pong dqn logs --roms new", "there are no ROMs 'new'"),
        ("log-game Hopper-v4 dqn logs", "Hopper-v4 is not one of DQN Replay's games"),
        (
            "collect Pong dqn logs",
            "Pong is a game, which is logged while an agent learns it: run "
            "`rl-datasets log-game Pong dqn logs`",
        ),
    ],
)
def test_what_is_no_game_or_no_agent_or_no_mixture(run, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    outcome = run(*arguments.split())
    assert outcome.status == 1
    assert outcome.sentence.startswith(told)
    assert not list(tmp_path.iterdir())


def test_roms_shows_both_sets_and_asks_before_it_installs(run, tmp_path):
    shown = run("roms", "--folder", tmp_path).stdout
    assert shown.count("differs") == 31
    assert "60e0ea3cbe0913d39803477945e9e5ec" in shown  # Pong, in both
    refused = run("roms", "--install", "--folder", tmp_path)
    assert refused.status == 1
    assert "--accept" in refused.sentence
    assert not list(tmp_path.iterdir())
