"""`publish`."""

import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil

import filelock
import numpy as np
import pytest

from rl_datasets import npz
from rl_datasets.collection import collected_folder
from rl_datasets.sources import collected
from tests.command_line import Outcome
from tests.optional import optional
from tests.rl_datasets.cli.users_folder import COLLECT, DATA_DIR, DATASET, PUBLISHED, contents

tf = optional("tensorflow")


def test_publish_tells_where(made):
    assert (made / "publish.txt").read_text() == f"{made / PUBLISHED}: published\n"


def test_publishing_the_same_again_reuses_it(run, published):
    outcome = run("publish", f"brac/{DATASET}", "collected", *DATA_DIR)
    assert outcome == Outcome(0, f"{published / PUBLISHED}: already published\n", "")


def test_publishing_again_with_other_data(run, published):
    name = "brac/mine"
    assert run("publish", name, "collected", "--data-dir", "new").status == 0
    shutil.rmtree("collected")
    other = [*COLLECT, "--seed", "5", "--processes", "1"]
    assert run("collect", *other).status == 0
    outcome = run("publish", name, "collected", "--data-dir", "new")
    assert outcome.status == 1
    there = published / "new" / name / "2.0.0"
    assert outcome.sentence.startswith(f"{there} is already published and its ")
    assert "a published version never changes: give another --version" in outcome.sentence
    outcome = run("publish", name, "collected", "--version", "2.0.1", "--data-dir", "new")
    assert outcome.stdout == f"{there.with_name('2.0.1')}: published\n"


@pytest.mark.parametrize(
    ("dataset", "source", "told"),
    [
        ("d5rl/x", "collected", r"there is no builder 'd5rl': choose one of .*brac"),
        (
            "brac/hopper-eps3-recollected",
            "collected",
            f"collected was collected as '{DATASET}': publish it as brac/{DATASET}, or under",
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
    outcome = run("publish", dataset, source, *DATA_DIR)
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
        ({"reward": with_nan}, "has values that are not finite in steps/reward: delete it"),
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


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("field", "change", "told"),
    [
        ("_s1", with_nan, "has a value that is not finite in row 1: use another file"),
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
    outcome = run("publish", "brac/halfcheetah-eps3", "saved", *DATA_DIR)
    assert outcome.status == 1
    assert outcome.sentence.startswith("saved: data/")
    assert told in outcome.sentence


@pytest.mark.tensorflow
def test_saved_data_does_not_say_which_configuration_it_is(run, published):
    tf.train.Checkpoint(data=tf.Module()).write("saved")
    outcome = run("publish", "brac", "saved", *DATA_DIR)
    assert outcome.status == 1
    assert re.match(r"saved is not a collected folder.*brac/halfcheetah-eps3", outcome.sentence)


def test_a_full_disk_when_publishing(run, published, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target = pathlib.Path("new", "brac", DATASET, "2.0.0").absolute()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        outcome = run("publish", "brac", "collected", "--data-dir", "new")
    assert outcome.status == 1
    assert outcome.sentence == (
        f"cannot write {target}.staging/plan.json (No space left on device): fix that and run the "
        "same command again"
    )
    assert not target.exists()
    assert run("publish", "brac", "collected", "--data-dir", "new").status == 0
    assert contents(pathlib.Path("new")) == contents(published / "published")


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


def test_publishing_stops_at_a_bad_checkpoint_or_keeps_going(run, logged):
    damaged = logged / "Pong/1/replay_logs/$store$_reward_ckpt.1.gz"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    stopped = run("publish", "dqn_replay", "Pong/1", *DATA_DIR)
    assert stopped.status == 1
    assert str(damaged) in stopped.sentence
    assert not list(logged.glob("published/*/*/1.0.0"))
    went_on = run("publish", "dqn_replay", "Pong/1", *DATA_DIR, "--keep-going")
    assert went_on.status == 0
    assert "skipped checkpoint_01" in went_on.stderr
    assert damaged.name in went_on.stderr
    manifest = json.loads(run("show", "published/dqn_replay/Pong_run_1/1.1.0", "--json").stdout)
    assert list(manifest["skipped"]) == ["checkpoint_01"]
    assert "checkpoint_01" not in manifest["splits"]
