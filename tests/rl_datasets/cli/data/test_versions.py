"""`list`, `show`, `verify`, `export` and `serve`."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import PIL.Image
import pytest

from rl_datasets import load, terminal
from rl_datasets.collection import collected_folder
from rl_datasets.published import manifest
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.part import Part
from rl_datasets.showing import card, console
from rl_datasets.sources import collected
from tests.command_line import Outcome
from tests.rl_datasets.cli.users_folder import DATA_DIR, DATASET, NEWEST, PUBLISHED, contents


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
def test_a_version_by_its_name_by_its_datasets_or_by_its_folder(run, numbered_folder, name, number):
    shown = run("show", name, "--data-dir", "data", "--json")
    assert json.loads(shown.stdout)["plan"]["version"] == number


@pytest.mark.parametrize(
    "command", ["show", "verify", "export", pytest.param("serve", marks=pytest.mark.reverb)]
)
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
def test_a_version_that_is_not_published(run, numbered_folder, command, name, told):
    rest = ["arrays", "out"] if command == "export" else []
    outcome = run(command, name, *rest, "--data-dir", "data")
    assert outcome.status == 1
    assert outcome.sentence.startswith(told)


def test_where_nothing_is_published(run, numbered_folder):
    outcome = run("verify", "synthetic/mine")
    assert outcome.sentence.startswith("'synthetic/mine' is not published in .data: nothing is")
    assert run("list").stdout == "nothing is published in .data\n"


def test_list_has_a_line_a_version_whatever_the_length_of_its_name(run, folder):
    long = "halfcheetah-" + "of-a-very-long-name-" * 10
    collection = dataclasses.replace(collected.read_collection("collected"), dataset=long)
    collected_folder.write_collection(collection)
    assert run("publish", "brac", "collected", *DATA_DIR).status == 0
    told = run("list", *DATA_DIR).stdout
    for name in (DATASET, long):
        (line,) = (line for line in told.splitlines() if f"brac/{name}:2.0.0 " in line)
        assert re.search(r" +[1-9]\d* +300 +0\.\d$", line)


def test_an_empty_list(run, tmp_path):
    outcome = run("list", "--data-dir", tmp_path / "absent")
    assert (outcome.status, outcome.stderr) == (0, "")


@pytest.mark.parametrize("version", [[f"brac/{DATASET}:2.0.0", *DATA_DIR], [PUBLISHED]])
def test_show_and_verify_take_a_name_or_a_folder(run, published, version):
    shown = run("show", *version, "--json")
    manifest = json.loads((published / PUBLISHED / "MANIFEST.json").read_text())
    assert json.loads(shown.stdout) == manifest
    assert manifest["splits"]["train"]["transitions"] == 300
    verified = run("verify", *version)
    assert verified == Outcome(0, f"{PUBLISHED}: whole, {len(manifest['files'])} files\n", "")


def test_a_damaged_version(run, folder):
    (shard, *_) = sorted((folder / PUBLISHED).glob("*.tfrecord-*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    before = contents(folder / "published")
    outcome = run("verify", f"brac/{DATASET}:2.0.0", *DATA_DIR)
    assert outcome.status == 1
    assert outcome.sentence.startswith(f"{shard.relative_to(folder)} is not what was published")
    assert outcome.sentence.endswith("copy or publish this version again")
    assert contents(folder / "published") == before


@pytest.mark.reverb
def test_serve_hands_its_options_on(run, published, monkeypatch):
    from rl_datasets.serving import reverb

    given = []
    monkeypatch.setattr(reverb, "serve", lambda version, *options: given.append((version, options)))
    options = (
        "--split test --port 8001 --seed 3 --n-step 5 --gamma 0.9 --frame-stack 4 --next-action "
        "--reward-field raw_reward --checkpoint kept --part 2/3"
    )
    assert run("serve", PUBLISHED, *options.split()).status == 0
    cut = Cut(n_step=5, gamma=0.9, frame_stack=4, next_action=True, reward_field="raw_reward")
    assert given == [(load(PUBLISHED), ("test", cut, 8001, 3, pathlib.Path("kept"), Part(2, 3)))]


def test_a_summary_fits_a_screen(run, numbered_folder):
    outcome = run("show", NEWEST, "--data-dir", "data")
    lines = outcome.stdout.splitlines()
    assert lines[0] == NEWEST
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    told = manifest.read(numbered_folder / "data/synthetic/mine/1.10.0")[0]["splits"]["train"]
    (row,) = [line.split() for line in lines if line.startswith("train")]
    assert row[1:3] == [str(told["episodes"]), str(told["transitions"])]
    assert f"{told['episode_return']['mean']:,.1f}" in row


def test_of_many_splits_the_first_are_shown_and_all_together(numbered, capsys):
    version = load(numbered / "data/synthetic/mine/1.0.0")
    split = version.manifest["splits"]["train"]
    splits = {f"part_{i:02}": split for i in range(50)}
    version = dataclasses.replace(version, manifest={**version.manifest, "splits": splits})
    terminal.show(console.drawn(card.of(version)))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert "... 42 more" in [line.strip() for line in lines]
    (row,) = [line.split() for line in lines if line.startswith("all ")]
    assert row[:3] == ["all", str(50 * split["episodes"]), f"{50 * split['transitions']:,}"]
    assert f"{split['episode_return']['mean']:,.1f}" in row[3:]


@pytest.mark.parametrize("option", ["--split train", "--episode 1"])
def test_an_episode_is_chosen_to_be_drawn(run, numbered_folder, option):
    outcome = run("show", NEWEST, "--data-dir", "data", *option.split())
    assert outcome.status == 1
    assert "give one of these too" in outcome.sentence


def test_a_logged_run_is_published_shown_and_exported(run, logged):
    assert run("publish", "dqn_replay", "Pong/1", *DATA_DIR).status == 0
    version = "published/dqn_replay/Pong_run_1/1.1.0"
    shown = run("show", version, "--gif", "pong.gif", "--sheet", "pong.png", "--episode", "1")
    assert "every frame of 18" in shown.stdout
    with PIL.Image.open("pong.gif") as gif, PIL.Image.open("pong.png") as sheet:
        assert gif.n_frames == 18
        assert sheet.width > gif.width
    exported = run("export", version, "arrays", "arrays")
    assert exported.status == 0, exported.stderr
    lengths = np.load("arrays/episode_length.npy")
    assert lengths.sum() == len(np.load("arrays/steps/action.npy", mmap_mode="r"))
    assert f"{len(lengths)} episodes" in exported.stdout


def test_an_episode_that_is_not_there(run, logged):
    assert run("publish", "dqn_replay", "Pong/1", *DATA_DIR).status == 0
    outcome = run(
        "show", "published/dqn_replay/Pong_run_1/1.1.0", "--gif", "a.gif", "--episode", 99
    )
    assert outcome.status == 1
    assert "has no episode 99" in outcome.sentence
    assert not pathlib.Path("a.gif").exists()


def test_a_catalog_of_a_damaged_version_names_it_and_fails(run, folder):
    (shard, *_) = sorted((folder / PUBLISHED).glob("*.tfrecord-*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    outcome = run("catalog", "published", "catalog")
    assert outcome.status == 1
    assert outcome.sentence.startswith(f"{shard.relative_to(folder)} is not what was published")
    assert outcome.stdout == "catalog/index.html: 1 versions, 0 read before\n"
    assert str(shard.name) in pathlib.Path("catalog/index.html").read_text()
    assert run("catalog", "absent", "catalog").sentence.startswith("absent is not a folder")
