"""The command line as a user meets it: one clear sentence for what can be mended, no traceback.

Most of it runs in this process, by the function that is the command; what has to do with processes
(signals, what the system refuses, what is imported) runs in one.
"""

import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import filelock
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from rl_datasets import cli, load, npz
from rl_datasets.collection import collected_folder
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.serving.cut import Cut
from rl_datasets.sources import collected
from tests.command_line import COMMAND, Outcome, end, start

COMMANDS = sorted(name for of_heading in cli.COMMANDS.values() for name in of_heading)
DATASET = "hopper-v4-eps1-recollected-n300-seed4"
COLLECT = ["Hopper-v4", "eps1", "collected", "--transitions", "300", "--seed", "4"]
PUBLISHED = f"published/brac/{DATASET}/2.0.0"
HEAVY = ("tensorflow", "apache_beam", "reverb", "gymnasium", "jax")


def wait_for(path: pathlib.Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.02)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder where a user has collected and published."""
    folder = tmp_path_factory.mktemp("made")
    for command in (["collect", *COLLECT], ["publish", "brac", "collected", *data_dir()]):
        arguments = ["--processes", "1"] if command[0] == "collect" else []
        outcome = end(start([COMMAND, *command, *arguments], folder))
        assert outcome.status == 0, outcome.stderr
        (folder / f"{command[0]}.txt").write_text(outcome.stdout)
    return folder


def data_dir() -> list[str]:
    return ["--data-dir", "published"]


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


# Help and options.


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help(run, command):
    outcome = run(*command, "--help")
    assert (outcome.status, outcome.stderr) == (0, "")
    assert "Usage: rl-datasets" in outcome.stdout
    assert len(outcome.stdout.splitlines()) > 8


def test_help_imports_nothing_heavy():
    """Of the root and of every command, in one process that looks after each."""
    script = f"""
import contextlib, sys
from rl_datasets import cli
for command in {[[], *([name] for name in COMMANDS)]}:
    sys.argv = ["rl-datasets", *command, "--help"]
    with contextlib.suppress(SystemExit):
        cli.main()
    loaded = set({HEAVY}) & set(sys.modules)
    assert not loaded, (command, loaded)
print("and nothing heavy")
"""
    outcome = end(start([sys.executable, "-c", script], pathlib.Path.cwd()))
    assert outcome.stdout.count("Usage: rl-datasets") == 1 + len(COMMANDS)
    assert outcome.stdout.endswith("and nothing heavy\n"), outcome.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["collect", *COLLECT[:3], "--transitions", "many"],
            "'--transitions': Input should be a valid integer",
        ),
        (
            ["collect", *COLLECT[:3], "--transitions", "0"],
            "'--transitions': Input should be greater than or equal to 1",
        ),
        (
            ["collect", *COLLECT[:3], "--seed", "-1"],
            "'--seed': Input should be greater than or equal to 0",
        ),
        (
            ["collect", *COLLECT[:3], "--processes", "0"],
            "'--processes': Input should be greater than or equal to 1",
        ),
        (["collect", "Hopper-v4"], "Missing argument 'mixture'"),
        (
            ["publish", "brac", "collected", "--workers", "0"],
            "'--workers': Input should be greater than or equal to 1",
        ),
        (
            ["serve", "brac/x:1.0.0", "--port", "65536"],
            "'--port': Input should be less than or equal to 65535",
        ),
        (
            ["serve", "brac/x:1.0.0", "--n-step", "0"],
            "'--n-step': Input should be greater than or equal to 1",
        ),
        (
            ["serve", "brac/x:1.0.0", "--gamma", "1.1"],
            "'--gamma': Input should be less than or equal to 1",
        ),
        (["list", "--nonsense"], "No such option: --nonsense"),
        (["collect", "Pong", "dqn", "logs", "--run", "2"], "No such option: --run"),
        (["log-game", "Pong", "dqn", "logs", "--policy", "x"], "No such option: --policy"),
        (["colect"], "No such command 'colect'"),
    ],
)
def test_a_mistake_in_the_options_is_told_with_the_usage(
    run, tmp_path, monkeypatch, arguments, told
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    outcome = run(*arguments)
    assert outcome.status == 2
    assert "Usage: rl-datasets" in outcome.stderr
    assert told in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not list(tmp_path.iterdir())


# The way that works.


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


def test_publish_tells_where(made):
    assert (made / "publish.txt").read_text() == f"{made / PUBLISHED}: published\n"


def test_publishing_the_same_again_reuses_it(run, published):
    outcome = run("publish", f"brac/{DATASET}", "collected", *data_dir())
    assert outcome == Outcome(0, f"{published / PUBLISHED}: was published\n", "")


def test_list_has_a_line_a_version_whatever_the_length_of_its_name(run, folder):
    long = "halfcheetah-" + "of-a-very-long-name-" * 10
    collection = dataclasses.replace(collected.read_collection("collected"), dataset=long)
    collected_folder.write_collection(collection)
    assert run("publish", "brac", "collected", *data_dir()).status == 0
    told = run("list", *data_dir()).stdout
    for name in (DATASET, long):
        (line,) = (line for line in told.splitlines() if f"brac/{name}:2.0.0 " in line)
        assert re.search(r" +[1-9]\d* +300 +0\.\d$", line)


def test_an_empty_list(run, tmp_path):
    outcome = run("list", "--data-dir", tmp_path / "absent")
    assert (outcome.status, outcome.stderr) == (0, "")


@pytest.mark.parametrize("version", [[f"brac/{DATASET}:2.0.0", *data_dir()], [PUBLISHED]])
def test_show_and_verify_take_a_name_or_a_folder(run, published, version):
    shown = run("show", *version, "--json")
    manifest = json.loads((published / PUBLISHED / "MANIFEST.json").read_text())
    assert json.loads(shown.stdout) == manifest
    assert manifest["splits"]["train"]["transitions"] == 300
    verified = run("verify", *version)
    assert verified == Outcome(0, f"{PUBLISHED}: whole, {len(manifest['files'])} files\n", "")


def test_serve_hands_its_options_on(run, published, monkeypatch):
    from rl_datasets.serving import reverb

    given = []
    monkeypatch.setattr(reverb, "serve", lambda version, *options: given.append((version, options)))
    options = (
        "--split test --port 8001 --seed 3 --n-step 5 --gamma 0.9 --frame-stack 4 --next-action "
        "--reward-field raw_reward"
    )
    assert run("serve", PUBLISHED, *options.split()).status == 0
    cut = Cut(n_step=5, gamma=0.9, frame_stack=4, next_action=True, reward_field="raw_reward")
    assert given == [(load(PUBLISHED), ("test", cut, 8001, 3))]


# What a user can mend.


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


@pytest.mark.parametrize(
    ("dataset", "source", "told"),
    [
        ("d5rl/x", "collected", r"there is no builder 'd5rl': choose one of .*brac"),
        (
            "brac/hopper-eps3-recollected",
            "collected",
            f"collected was collected as '{DATASET}': publish it as brac/{DATASET}, or by a name",
        ),
        ("brac", "absent", r"absent.* does not exist.*: collect it"),
        (
            "brac/hopper-eps1",
            "absent",
            r"absent.index does not exist: give the checkpoint's prefix",
        ),
    ],
)
def test_an_unknown_builder_or_configuration_or_source(run, published, dataset, source, told):
    outcome = run("publish", dataset, source, *data_dir())
    assert outcome.status == 1
    assert re.match(told, outcome.sentence), outcome.sentence


def change_unit(**changes) -> pathlib.Path:
    """Gives the second unit other arrays, and says so in `collection.json` as its writer would."""
    path = pathlib.Path("collected") / "unit-00001.npz"
    arrays = npz.read_arrays(path, "")
    for name, change in changes.items():
        arrays[f"steps/{name}"] = change(arrays[f"steps/{name}"])
    np.savez(path, **arrays)
    collection = collected.read_collection("collected", check_units=False)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    units = [
        dataclasses.replace(unit, sha256=sha256) if unit.file == path.name else unit
        for unit in collection.units
    ]
    collected_folder.write_collection(dataclasses.replace(collection, units=tuple(units)))
    return path


def with_nan(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[1] = np.nan
    return array


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reward": with_nan}, "holds numbers that are not finite in steps/reward: delete it"),
        ({"observation": lambda field: field[:, :-1]}, r"observation.*\(11,\)"),
        ({"action": lambda field: field[:-1]}, "must have [0-9]+ rows in every field of the steps"),
    ],
)
def test_a_unit_of_a_wrong_shape_or_with_nan(run, published, changes, told):
    path = change_unit(**changes)
    outcome = run("publish", "brac", "collected", "--data-dir", "new")
    assert outcome.status == 1
    assert str(path) in outcome.sentence
    assert re.search(told, outcome.sentence), outcome.sentence
    assert not list(pathlib.Path("new").rglob("2.0.0"))


@pytest.mark.parametrize(
    ("field", "change", "told"),
    [
        ("_s1", with_nan, "holds a number that is not finite in row 1: use another file"),
        ("_s2", lambda field: field[:, :-1], "data/_s2 must be float32 with 2 axes and 20 rows"),
    ],
)
def test_saved_data_of_a_wrong_shape_or_with_nan(run, published, field, change, told):
    observation = np.zeros((20, 17), np.float32)
    fields = {
        "_s1": observation,
        "_s2": observation,
        "_a1": np.zeros((20, 6), np.float32),
        "_a2": np.zeros((20, 6), np.float32),
        "_reward": np.zeros(20, np.float32),
        "_discount": np.ones(20, np.float32),
        "_current_size": np.int32(20),
    }
    fields[field] = change(fields[field])
    data = tf.Module()
    for name, value in fields.items():
        setattr(data, name, tf.Variable(value))
    tf.train.Checkpoint(data=data).write("saved")
    outcome = run("publish", "brac/halfcheetah-eps3", "saved", *data_dir())
    assert outcome.status == 1
    assert outcome.sentence.startswith("saved: data/")
    assert told in outcome.sentence


def test_saved_data_does_not_say_which_configuration_it_is(run, published):
    tf.train.Checkpoint(data=tf.Module()).write("saved")
    outcome = run("publish", "brac", "saved", *data_dir())
    assert outcome.status == 1
    assert re.match(r"saved is no collected folder.*brac/halfcheetah-eps3", outcome.sentence)


def test_a_full_disk_when_publishing(run, published, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = pathlib.Path("new", "brac", DATASET, "2.0.0").absolute()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        outcome = run("publish", "brac", "collected", "--data-dir", "new")
    assert outcome.status == 1
    assert outcome.sentence == (
        f"cannot write {target}.staging/plan.json (No space left on device): mend that and run the "
        "same command again"
    )
    assert not target.exists()
    assert run("publish", "brac", "collected", "--data-dir", "new").status == 0
    assert contents(pathlib.Path("new")) == contents(published / "published")


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
        r"cannot write new/unit-0000\d\.npz \(File too large\): mend that and run the same command",
        outcome.sentence,
    )
    assert set(contents(published / "new")) <= {"plan.json", "unit-00000.npz"}


def test_what_the_system_refuses_elsewhere_is_a_sentence_too(run, published, monkeypatch):
    from rl_datasets.published import catalog

    def refuse(data_dir):
        raise error

    monkeypatch.setattr(catalog, "list_published", refuse)
    error = PermissionError(errno.EACCES, "Permission denied", "some/file")
    assert run("list").sentence.startswith("some/file: Permission denied; mend that and run")
    error = OSError(errno.ENOSPC, "No space left on device")
    assert run("list").sentence.startswith("No space left on device; mend that and run")


def test_what_is_no_users_fault_keeps_its_traceback(monkeypatch):
    from rl_datasets.published import catalog

    def broken(data_dir):
        raise KeyError("episodes")

    monkeypatch.setattr(catalog, "list_published", broken)
    monkeypatch.setattr(sys, "argv", ["rl-datasets", "list"])
    with pytest.raises(KeyError):
        cli.main()


def test_a_second_publisher(run, published):
    lock = published / "new" / "brac" / DATASET / "2.0.0.lock"
    lock.parent.mkdir(parents=True)
    with filelock.FileLock(lock):
        outcome = run("publish", "brac", "collected", "--data-dir", "new")
    assert outcome.status == 1
    target = lock.with_name("2.0.0")
    assert outcome.sentence == (
        f"another process is publishing {target}; wait until it has finished"
    )
    assert not target.exists()


def test_publishing_again_with_other_data(run, published):
    name = "brac/mine"
    assert run("publish", name, "collected", "--data-dir", "new").status == 0
    shutil.rmtree("collected")
    other = [*COLLECT, "--seed", "5", "--processes", "1"]
    assert run("collect", *other).status == 0
    outcome = run("publish", name, "collected", "--data-dir", "new")
    assert outcome.status == 1
    there = published / "new" / name / "2.0.0"
    assert outcome.sentence.startswith(f"{there} is published already and its ")
    assert "a published version never changes: publish another by --version" in outcome.sentence
    outcome = run("publish", name, "collected", "--version", "2.0.1", "--data-dir", "new")
    assert outcome.stdout == f"{there.with_name('2.0.1')}: published\n"


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


def test_a_damaged_version(run, folder):
    (shard, *_) = sorted((folder / PUBLISHED).glob("*.tfrecord-*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    before = contents(folder / "published")
    outcome = run("verify", f"brac/{DATASET}:2.0.0", *data_dir())
    assert outcome.status == 1
    assert outcome.sentence.startswith(f"{shard.relative_to(folder)} is not what was published")
    assert outcome.sentence.endswith("copy or publish this version anew")
    assert contents(folder / "published") == before


# Ctrl-C.


def test_ctrl_c_while_collecting(published):
    collect = ["collect", "Hopper-v4", "pure", "new", "--transitions", "2000000", "--processes"]
    process = start([COMMAND, *collect, "2"], published)
    wait_for(published / "new" / "plan.json", process)
    os.killpg(process.pid, signal.SIGINT)  # As a terminal does: to every process, while they start.
    outcome = end(process)
    assert outcome.status == cli.INTERRUPTED
    assert outcome.sentence == "interrupted; run the same command again to go on"
    assert set(contents(published / "new")) <= {"plan.json", *(f"unit-0000{i}.npz" for i in "01")}


# Publishes by the command line, with a reader that waits the first time in the middle of a unit.
WAITING = """
import pathlib, time
from rl_datasets import cli
from rl_datasets import npz

read_arrays = npz.read_arrays

def read_slowly(*arguments):
    pathlib.Path("reading").touch()
    time.sleep(60)
    return read_arrays(*arguments)

npz.read_arrays = read_slowly
cli.main()
"""


def test_ctrl_c_while_publishing(published, run):
    publish = ["publish", "brac", "collected", "--data-dir", "new"]
    process = start([sys.executable, "-c", WAITING, *publish], published)
    wait_for(published / "reading", process)
    second = run(*publish)
    os.killpg(process.pid, signal.SIGINT)
    outcome = end(process)
    assert second.status == 1
    assert second.sentence.startswith("another process is publishing")
    assert outcome.status == cli.INTERRUPTED
    assert outcome.sentence == "interrupted; run the same command again to go on"
    assert not (published / "new" / "brac" / DATASET / "2.0.0").exists()
    assert run(*publish).status == 0
    assert contents(published / "new") == contents(published / "published")


def test_ctrl_c_while_the_workers_of_a_publish_start(published):
    """When Beam would wait for ever for them, and each would show its own traceback."""
    publish = ["publish", "brac", "collected", "--data-dir", "new", "--workers", "2"]
    process = start([COMMAND, *publish], published)
    wait_for(published / "new" / "brac" / DATASET / "2.0.0.staging" / "version", process)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    outcome = end(process)
    assert outcome.status == cli.INTERRUPTED
    assert outcome.sentence == "interrupted; run the same command again to go on"
    assert not (published / "new" / "brac" / DATASET / "2.0.0").exists()


def test_ctrl_c_under_another_name(run, published, monkeypatch):
    """An extension that is imported makes it an ImportError."""
    from rl_datasets.published import catalog

    def interrupted(data_dir):
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr(catalog, "list_published", interrupted)
    outcome = run("list")
    assert outcome.status == cli.INTERRUPTED
    assert outcome.sentence == "interrupted; run the same command again to go on"


# Frames: a run of a game that was logged, published, shown and exported.


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


def test_a_logged_run_is_published_shown_and_exported(run, logged):
    assert run("publish", "dqn_replay", "Pong/1", *data_dir()).status == 0
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
    assert run("publish", "dqn_replay", "Pong/1", *data_dir()).status == 0
    outcome = run(
        "show", "published/dqn_replay/Pong_run_1/1.1.0", "--gif", "a.gif", "--episode", 99
    )
    assert outcome.status == 1
    assert "has no episode 99" in outcome.sentence
    assert not pathlib.Path("a.gif").exists()


def test_publishing_stops_at_a_bad_checkpoint_or_keeps_going(run, logged):
    damaged = logged / "Pong/1/replay_logs/$store$_reward_ckpt.1.gz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    stopped = run("publish", "dqn_replay", "Pong/1", *data_dir())
    assert stopped.status == 1
    assert str(damaged) in stopped.sentence
    assert not list(logged.glob("published/*/*/1.0.0"))
    went_on = run("publish", "dqn_replay", "Pong/1", *data_dir(), "--keep-going")
    assert went_on.status == 0
    assert "skipped checkpoint_01" in went_on.stderr
    assert damaged.name in went_on.stderr
    manifest = json.loads(run("show", "published/dqn_replay/Pong_run_1/1.1.0", "--json").stdout)
    assert list(manifest["skipped"]) == ["checkpoint_01"]
    assert "checkpoint_01" not in manifest["splits"]


def test_an_agent_that_learns_a_game_is_logged(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    schedule = "--iterations 1 --steps-per-iteration 1 --checkpoint-rows 500 --min-replay 50"
    logged = run("log-game", "Pong", "random", "logs", *schedule.split())
    assert logged.status == 0, logged.stderr
    assert "publish dqn_replay logs/Pong/1" in logged.stdout
    published = run("publish", "dqn_replay", "logs/Pong/1", *data_dir())
    assert "dqn_replay/Pong_run_1-recollected/1.1.0: published" in published.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("log-game Pong sarsa logs", "there is no agent sarsa"),
        ("log-game Pong dqn logs --roms new", "there are no ROMs 'new'"),
        ("log-game Hopper-v4 dqn logs", "Hopper-v4 is not one of DQN Replay's games"),
        (
            "collect Pong dqn logs",
            "Pong is a game, of which a run is logged while an agent learns it: "
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
