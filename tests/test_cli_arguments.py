"""What a command is given: places, names and options, and what it says of those it cannot use."""

import dataclasses
import json
import pathlib
import shlex
import shutil

import pytest

from rl_datasets import files, load, terminal
from rl_datasets.published import manifest, summary
from rl_datasets.publishing.publish import publish
from tests.command_line import COMMAND, end, start
from tests.rl_datasets.publishing.synthetic import Synthetic, unit

NEWEST = "synthetic/mine:1.10.0"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
    """A folder with three versions of a dataset, told apart by their manifests."""
    folder = tmp_path_factory.mktemp("made")
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
def folder(made, tmp_path, monkeypatch) -> pathlib.Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Places.


@pytest.mark.parametrize("scheme", ["gs", "s3", "hdfs", "http", "file"])
@pytest.mark.parametrize(
    "command",
    [
        "publish brac collected --data-dir {}",
        "list --data-dir {}",
        "show brac/x:1.0.0 --data-dir {}",
        "show {}",
        "show synthetic/mine --data-dir data --gif {}",
        "show synthetic/mine --data-dir data --sheet {}",
        "verify brac/x:1.0.0 --data-dir {}",
        "verify {}",
        "replay dqn_replay/x:1.0.0 --data-dir {}",
        "serve brac/x:1.0.0 --data-dir {}",
        "serve {}",
        "export brac/x:1.0.0 arrays out --data-dir {}",
        "export synthetic/mine arrays {} --data-dir data",
        "collect Hopper-v4 eps1 {} --transitions 10",
        "log-game Pong random {}",
        "train-policy Hopper-v4 {}",
        "train-policy Hopper-v4 out.npz --kind medium --replay {}",
        "reproduce brac_bc --data-dir {}",
        "reproduce brac_bc --runs-dir {}",
        "reproduce brac_bc --results-dir {}",
        "scores brac_bc {}",
        "report brac_bc {}",
        "quickstart --data-dir {}",
        "roms --folder {}",
        "roms --install --accept --archive {}",
    ],
)
def test_an_object_store_is_refused_wherever_a_path_is_taken(run, folder, command, scheme):
    before = sorted(folder.rglob("*"))
    outcome = run(*command.format(f"{scheme}://bucket/x").split())
    assert outcome.status == 1
    assert outcome.sentence.startswith(f"{scheme}://bucket/x cannot be used: only local folders")
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("command", ["list --data-dir", "collect Hopper-v4 eps1"])
def test_an_empty_path_is_not_where_one_is(run, folder, command):
    assert run(*command.split(), "").sentence.startswith("'' names no folder or file")


@pytest.mark.parametrize("dataset", ["brac", "brac/halfcheetah-eps3"])
def test_a_source_that_must_be_local(run, folder, dataset):
    outcome = run("publish", dataset, "gs://bucket/x")
    assert outcome.sentence.startswith("gs://bucket/x")
    assert "cannot be used: only local" in outcome.sentence


# Names.


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("synthetic/mine", "1.10.0"),
        ("synthetic/mine/", "1.10.0"),
        ("synthetic/mine:1.9.0", "1.9.0"),
        ("data/synthetic/mine/1.0.0", "1.0.0"),
        ("data/synthetic/mine/1.0.0/", "1.0.0"),
    ],
)
def test_a_version_by_its_name_by_its_datasets_or_by_its_folder(run, folder, name, number):
    shown = run("show", name, "--data-dir", "data", "--json")
    assert json.loads(shown.stdout)["plan"]["version"] == number


@pytest.mark.parametrize("command", ["show", "verify", "serve", "export"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "synthetic/mine:2.0.0",
            "'synthetic/mine:2.0.0' is not published in data: the nearest there is synth",
        ),
        ("sinthetic/mein", "'sinthetic/mein' is not published in data: the nearest there is synth"),
        (
            "synthetic/../synthetic/mine",
            "'synthetic/../synthetic/mine' is not published in data: the nearest there is synth",
        ),
        (
            "data/synthetic",
            "data/synthetic has no MANIFEST.json, so it was not published by rl-datasets",
        ),
    ],
)
def test_a_version_that_is_not_published(run, folder, command, name, told):
    rest = ["arrays", "out"] if command == "export" else []
    outcome = run(command, name, *rest, "--data-dir", "data")
    assert outcome.status == 1
    assert outcome.sentence.startswith(told)


def test_where_nothing_is_published(run, folder):
    outcome = run("verify", "synthetic/mine")
    assert outcome.sentence.startswith("'synthetic/mine' is not published in .data: nothing is")
    assert run("list").stdout == "nothing is published in .data\n"


def test_the_version_of_the_package(run):
    import rl_datasets

    assert run("--version").stdout == f"rl-datasets {rl_datasets.__version__}\n"


# What is shown.


def test_a_summary_fits_a_screen(run, folder):
    outcome = run("show", NEWEST, "--data-dir", "data")
    lines = outcome.stdout.splitlines()
    assert lines[0] == NEWEST
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    told = manifest.read(folder / "data/synthetic/mine/1.10.0")[0]["splits"]["train"]
    (row,) = [line.split() for line in lines if line.startswith("train")]
    assert row[1:3] == [str(told["episodes"]), str(told["transitions"])]
    assert f"{told['episode_return']['mean']:,.1f}" in row


def test_of_many_splits_the_first_are_shown_and_all_together(made, capsys):
    version = load(made / "data/synthetic/mine/1.0.0")
    split = version.manifest["splits"]["train"]
    splits = {f"part_{i:02}": split for i in range(50)}
    terminal.show(
        summary.of(dataclasses.replace(version, manifest={**version.manifest, "splits": splits}))
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert "... 42 more" in [line.strip() for line in lines]
    (row,) = [line.split() for line in lines if line.startswith("all ")]
    assert row == ["all", str(50 * split["episodes"]), f"{50 * split['transitions']:,}"]


@pytest.mark.parametrize("option", ["--split train", "--episode 1"])
def test_an_episode_is_chosen_to_be_drawn(run, folder, option):
    outcome = run("show", NEWEST, "--data-dir", "data", *option.split())
    assert outcome.status == 1
    assert "give one too" in outcome.sentence


@pytest.mark.parametrize("command", ["show synthetic/mine", "list", "verify synthetic/mine"])
def test_a_terminal_without_the_characters(folder, monkeypatch, command):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    outcome = end(start([COMMAND, *command.split(), "--data-dir", "data"], folder))
    assert (outcome.status, outcome.stderr) == (0, "")
    assert outcome.stdout.isascii()


def test_shipped_scores_need_no_data(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outcome = run("scores", "brac_bc")
    (row,) = [line for line in outcome.stdout.splitlines() if "Hopper-v2/pure" in line]
    assert "1330 ± 27" in row
    assert row.count("±") == 2  # reported, measured
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["brac_bcc"], "brac_bcc"),
        (["corl"], "corl has no recipe"),
        (["brac_bc", "data"], "data holds no results of brac_bc: name a results folder"),
    ],
)
def test_scores_that_are_not_there(run, folder, arguments, told):
    outcome = run("scores", *arguments)
    assert outcome.status == 1
    assert told in outcome.sentence


# What collect refuses before it collects.


def write_mixture(path: pathlib.Path, head: str = "", kind: str = "uniform") -> None:
    path.write_text(f'{head}\n[[policies]]\nname = "a"\nkind = "{kind}"\nweight = 1\n')


@pytest.mark.parametrize(
    ("mixture", "head", "options", "told"),
    [
        ("mine.toml", "", ["--name", "../../x"], "'../../x' cannot be the name of a dataset"),
        ("mine.toml", "", ["--name", ""], "'' cannot be the name of a dataset"),
        ("a b;$x.toml", "", [], "'hopper-v4-a b;$x-"),
        ("mine.toml", 'protocl = "d4rl"', [], "mine.toml has no field 'protocl'"),
        ("mine.toml", "", ["--policy", "x.npz"], "the mixture 'mine' has no policy that --policy"),
    ],
)
def test_collect_refuses_at_once(run, tmp_path, monkeypatch, mixture, head, options, told):
    monkeypatch.chdir(tmp_path)
    write_mixture(tmp_path / mixture, head)
    outcome = run("collect", "Hopper-v4", mixture, "new", "--transitions", 10, *options)
    assert outcome.status == 1
    assert outcome.sentence.startswith(told)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("reproduce --rows Hopper*", "--rows needs a TABLE: leave it out"),
        ("reproduce --seeds 3", "--seeds needs a TABLE"),
        ("reproduce corl --rows nosuch", "--rows is of no use with corl, which has no recipe"),
        ("reproduce corl --seed 3 --dry-run", "--seed is of no use with corl"),
        ("roms --accept", "--accept goes with --install"),
        ("roms --archive x.tar.gz", "--archive goes with --install"),
        ("train-policy Hopper-v4 x.txt", "x.txt cannot be the policy's file: its name must end in"),
        ("train-policy Hopper-v4 x.npz --target nan", "--target nan can never be reached"),
        ("verify ''", "'' names no folder or file"),
    ],
)
def test_nothing_is_passed_over_in_silence(run, folder, command, told):
    before = sorted(folder.rglob("*"))
    outcome = run(*shlex.split(command))
    assert outcome.status == 1
    assert outcome.sentence.startswith(told)
    assert sorted(folder.rglob("*")) == before


def test_a_file_that_cannot_be_written_is_told_by_its_own_name(tmp_path):
    with (
        pytest.raises(OSError, match=r"absent/x\.gif'$"),
        files.replacing(tmp_path / "absent/x.gif") as partial,
    ):
        partial.write_bytes(b"")
