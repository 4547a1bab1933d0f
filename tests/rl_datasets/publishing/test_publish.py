"""Publishing: whole or not at all, never changed, and every failure leaves what was published."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import time

import filelock
import numpy as np
import pytest
import tensorflow_datasets as tfds

from rl_datasets.episode import EpisodeError
from rl_datasets.errors import DatasetError
from rl_datasets.published import catalog, manifest
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing import pipeline
from rl_datasets.publishing.publish import publish
from tests.rl_datasets.publishing import synthetic
from tests.rl_datasets.publishing.synthetic import Synthetic, unit

NUM_UNITS = 3


@pytest.fixture
def source(tmp_path) -> str:
    """A source file; the synthetic units only pretend to read it."""
    path = tmp_path / "source.bin"
    path.write_bytes(b"raw logs")
    return str(path)


@pytest.fixture
def units(source):
    return [unit(index, source) for index in range(NUM_UNITS)]


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file under a folder, by relative name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def fails_with(message: str, units, data_dir, **kwargs) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        publish(Synthetic(units=units, data_dir=data_dir), **kwargs)
    assert "\n" not in str(caught.value)


def test_a_version_holds_the_source_and_tells_where_it_came_from(tmp_path, units, source):
    published = publish(Synthetic(units=units, data_dir=tmp_path / "data"))
    assert published.is_new
    assert published.path == tmp_path / "data" / "synthetic" / "1.0.0"
    episodes = list(Version.open(published.path).episodes())
    expected = [synthetic.episode(i) for i in range(4 * NUM_UNITS)]
    assert len(episodes) == len(expected)
    for ours, theirs in zip(episodes, expected, strict=True):
        assert ours.metadata == theirs.metadata
        for name, field in theirs.steps().items():
            np.testing.assert_array_equal(ours.steps()[name], field, err_msg=name)

    told = json.loads((published.path / manifest.FILE_NAME).read_text())
    assert told == published.manifest
    assert told["plan"]["sources"] == {"source.bin": hashlib.sha256(b"raw logs").hexdigest()}
    assert told["plan"]["lineage"] == {"source": "synthetic", "repaired": []}
    assert told["code"].startswith("rl-datasets ")
    returns = [float(np.sum(each.reward, dtype=np.float64)) for each in expected]
    train = told["splits"]["train"]
    assert train["episodes"] == 12
    assert train["transitions"] == sum(3 + i % 5 for i in range(12))
    assert train["episode_return"]["mean"] == pytest.approx(np.mean(returns))
    assert train["episode_return"]["standard_deviation"] == pytest.approx(np.std(returns))
    assert train["episode_return"]["min"] == min(returns)
    assert sum(train["episode_return"]["histogram"]["counts"]) == 12
    for name, entry in told["files"].items():
        content = (published.path / name).read_bytes()
        assert entry == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert {path.name for path in published.path.parent.iterdir()} == {"1.0.0"}


@pytest.mark.tensorflow
def test_splits_and_their_shards_follow_the_order_of_the_units(tmp_path, source):
    units = [unit(index, source, count=1) for index in range(12)]
    units[5] = dataclasses.replace(units[5], split="test")
    builder = Synthetic(units=units, data_dir=tmp_path)
    published = publish(builder)
    ids = [int(e.metadata["episode_id"]) for e in Version.open(published.path).episodes()]
    assert ids == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    (alone,) = Version.open(published.path).episodes("test")
    assert alone.metadata["episode_id"] == 5
    read_config = tfds.ReadConfig(interleave_cycle_length=1)
    theirs = builder.as_dataset(split="train[3:11]", read_config=read_config)
    assert [int(e["episode_id"]) for e in theirs] == [3, 4, 6, 7, 8, 9, 10, 11]
    with pytest.raises(DatasetError, match=r"no split 'dev'.*\['train', 'test'\]"):
        list(Version.open(published.path).episodes("dev"))


def test_the_same_source_gives_the_same_bytes_wherever_it_lies(tmp_path, units):
    moved = tmp_path / "elsewhere" / "source.bin"
    moved.parent.mkdir()
    moved.write_bytes(b"raw logs")
    moved_units = [dataclasses.replace(each, files=(str(moved),)) for each in units]
    one = publish(Synthetic(units=units, data_dir=tmp_path / "one")).path
    two = publish(Synthetic(units=moved_units, data_dir=tmp_path / "two")).path
    assert contents(one) == contents(two)


def test_publishing_again_verifies_and_reuses(tmp_path, units):
    first = publish(Synthetic(units=units, data_dir=tmp_path))
    before = contents(first.path)
    again = publish(Synthetic(units=units, data_dir=tmp_path))
    assert not again.is_new
    assert again.manifest == first.manifest
    assert contents(first.path) == before
    assert {path.name for path in first.path.parent.iterdir()} == {"1.0.0"}
    shard = first.path / "synthetic-train.tfrecord-00001-of-00003"
    shard.write_bytes(shard.read_bytes()[:-1])
    fails_with("tfrecord-00001-of-00003 is not what was published", units, tmp_path)


@pytest.mark.parametrize("change", ["source", "units", "lineage"])
def test_a_published_version_is_never_changed(tmp_path, units, source, change):
    data_dir = tmp_path / "data"
    published = publish(Synthetic(units=units, data_dir=data_dir))
    before = contents(published.path)
    lineage = None
    if change == "source":
        pathlib.Path(source).write_bytes(b"other logs")
    elif change == "units":
        units = units[:-1]
    else:
        lineage = {"source": "another", "repaired": []}
    with pytest.raises(DatasetError, match=f"already published and its {change}s? would differ"):
        publish(Synthetic(units=units, lineage=lineage, data_dir=data_dir))
    assert contents(published.path) == before


def test_a_folder_that_was_not_published_here_is_left_alone(tmp_path, units):
    stranger = tmp_path / "synthetic" / "1.0.0"
    stranger.mkdir(parents=True)
    (stranger / "notes.txt").write_text("mine")
    fails_with("was not published by rl-datasets", units, tmp_path)
    assert contents(stranger) == {"notes.txt": b"mine"}


def test_a_source_that_lies_about_its_counts_is_refused(tmp_path, units):
    more = dataclasses.replace(units[1], num_transitions=units[1].num_transitions + 1)
    fails_with(
        f"'unit-1'.*4 episodes with {units[1].num_transitions} transitions, but its source says 4 "
        f"with {units[1].num_transitions + 1}",
        [units[0], more, units[2]],
        tmp_path,
    )
    fewer = dataclasses.replace(units[1], num_episodes=3)
    fails_with("'unit-1'.*its source says 3", [units[0], fewer, units[2]], tmp_path)
    assert not (tmp_path / "synthetic" / "1.0.0").exists()


def test_an_episode_that_breaks_a_rule_is_refused_by_name(tmp_path, units, source):
    bad = unit(1, source, reader=synthetic.read_nan)
    fails_with(
        r"episode 0 of unit 'unit-1' of .*source\.bin .*every number must be finite",
        [units[0], bad, units[2]],
        tmp_path,
    )
    assert not (tmp_path / "synthetic" / "1.0.0").exists()


def test_a_source_file_that_is_missing_is_named(tmp_path, units, source):
    os.remove(source)
    fails_with(r"source\.bin cannot be read", units, tmp_path)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda units: [], "no units"),
        (lambda units: [units[0], units[0]], "two units of the source are named 'unit-0'"),
        (lambda units: [dataclasses.replace(units[0], num_episodes=0)], "'unit-0' has no episodes"),
    ],
)
def test_units_that_cannot_be_published_are_refused(tmp_path, units, broken, message):
    fails_with(message, broken(units), tmp_path)


def test_a_full_disk_leaves_what_was_published_and_what_is_whole(tmp_path, units, source):
    other = publish(Synthetic(units=units, data_dir=tmp_path / "other"))
    full = unit(1, source, reader=synthetic.read_full_disk)
    fails_with(
        "'unit-1' could not be written to .*00001-of-00003: No space left on device; fix that",
        [units[0], full, units[2]],
        tmp_path / "data",
    )
    staging = tmp_path / "data" / "synthetic" / "1.0.0.staging"
    assert not list(staging.rglob(".*"))
    assert publish(Synthetic(units=units, data_dir=tmp_path / "data")).is_new
    assert contents(tmp_path / "data" / "synthetic" / "1.0.0") == contents(other.path)


def test_a_disk_that_fills_when_the_metadata_are_written(tmp_path, units, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, os.strerror(28), "MANIFEST.json")

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write", full)
        fails_with("No space left on device .MANIFEST.json.; fix", units, tmp_path)
    assert not (tmp_path / "synthetic" / "1.0.0").exists()
    assert publish(Synthetic(units=units, data_dir=tmp_path)).is_new


def test_what_the_runner_raises_is_not_hidden(tmp_path, units, monkeypatch):
    def broken(tasks, **kwargs):
        raise RuntimeError("Channel closed prematurely.")

    monkeypatch.setattr(pipeline, "run", broken)
    with pytest.raises(RuntimeError, match="Channel closed"):
        publish(Synthetic(units=units, data_dir=tmp_path))
    assert not (tmp_path / "synthetic" / "1.0.0").exists()


def test_a_unit_that_the_runner_lost_is_missed(tmp_path, units, monkeypatch):
    everything = pipeline.run
    monkeypatch.setattr(pipeline, "run", lambda tasks, **kwargs: everything(tasks[:-1], **kwargs))
    fails_with("the runner lost unit 'unit-2'", units, tmp_path)
    assert not (tmp_path / "synthetic" / "1.0.0").exists()


def test_a_second_publisher_is_turned_away(tmp_path, units):
    lock = tmp_path / "synthetic" / "1.0.0.lock"
    lock.parent.mkdir()
    with filelock.FileLock(lock):
        fails_with("another process is publishing .*1.0.0; wait", units, tmp_path)
    assert publish(Synthetic(units=units, data_dir=tmp_path)).is_new


def test_an_address_of_no_store_is_refused(units):
    fails_with("ftp://host/data is not the address of a store: name", units, "ftp://host/data")


def test_tfds_does_not_take_the_staging_folder_for_a_version(tmp_path, units):
    publish(Synthetic(units=units, data_dir=tmp_path))
    staging = tmp_path / "synthetic" / "9.0.0.staging"
    staging.mkdir()
    assert str(tfds.builder("synthetic", data_dir=tmp_path).version) == "1.0.0"
    (version,), _ = catalog.list_published(tmp_path)
    assert version.name == "synthetic:1.0.0"


SCRIPT = """
import sys, pathlib
from tests.rl_datasets.publishing import synthetic
from rl_datasets.publishing.publish import publish
reader, data_dir, source, once = sys.argv[1:]
units = [synthetic.unit(index, source) for index in range(3)]
if reader != "read":
    units[1] = synthetic.unit(1, source, reader=getattr(synthetic, reader), once=once)
publish(synthetic.Synthetic(units=units, data_dir=data_dir))
"""


def start(reader_name: str, data_dir, source, once) -> subprocess.Popen:
    """A publisher in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, reader_name, str(data_dir), source, str(once)],
        env={**os.environ, "PYTHONPATH": str(synthetic.ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: pathlib.Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, f"{path} never appeared"
        time.sleep(0.05)


def test_a_killed_publish_goes_on_from_the_units_that_are_whole(tmp_path, units, source):
    killed = start("read_then_kill", tmp_path / "data", source, tmp_path / "once")
    killed.communicate(timeout=180)
    assert killed.returncode == -signal.SIGKILL
    staging = tmp_path / "data" / "synthetic" / "1.0.0.staging" / "version"
    whole = {path: path.stat().st_ino for path in staging.glob("synthetic-*")}
    assert whole, "no unit was whole when it was killed; this test then shows nothing"
    assert not (tmp_path / "data" / "synthetic" / "1.0.0").exists()

    published = publish(Synthetic(units=units, data_dir=tmp_path / "data"))
    fresh = publish(Synthetic(units=units, data_dir=tmp_path / "fresh"))
    assert contents(published.path) == contents(fresh.path)
    assert {p.name for p in published.path.parent.iterdir()} == {"1.0.0"}
    for path, inode in whole.items():
        assert (published.path / path.name).stat().st_ino == inode, "a whole unit was done again"


def test_units_that_are_whole_are_not_done_again(tmp_path, units, source):
    full = unit(2, source, reader=synthetic.read_full_disk)
    with pytest.raises(DatasetError):
        publish(Synthetic(units=[*units[:2], full], data_dir=tmp_path))
    staging = tmp_path / "synthetic" / "1.0.0.staging" / "version"
    whole = {path.name: path.stat().st_ino for path in staging.iterdir()}
    assert whole, "Beam began with the unit that fails; this test then shows nothing"
    damaged = min(whole)
    (staging / damaged).write_bytes(b"damaged")
    published = publish(Synthetic(units=units, data_dir=tmp_path))
    verify(Version.open(published.path))
    for name, inode in whole.items():
        assert ((published.path / name).stat().st_ino == inode) == (name != damaged)


def test_a_publisher_at_work_turns_others_away_and_can_be_interrupted(tmp_path, units, source):
    once = tmp_path / "once"
    at_work = start("read_then_wait", tmp_path / "data", source, once)
    wait_for(once, at_work)
    fails_with("another process is publishing", units, tmp_path / "data")
    at_work.send_signal(signal.SIGINT)
    _, stderr = at_work.communicate(timeout=60)
    assert at_work.returncode == -signal.SIGINT
    assert "KeyboardInterrupt: publishing was interrupted; publish a" in stderr.splitlines()[-1]
    assert not (tmp_path / "data" / "synthetic" / "1.0.0").exists()
    published = publish(Synthetic(units=units, data_dir=tmp_path / "data"))
    assert published.is_new
    verify(Version.open(published.path))


def test_publishing_leaves_no_module_of_tensorflow_behind():
    """A worker imports this much; it should not pay for more."""
    script = (
        "import sys, rl_datasets.publishing.pipeline, rl_datasets.published.reader;"
        "print(sorted({'tensorflow', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
    assert output.strip() == "[]"


def test_a_staging_folder_of_another_plan_is_not_taken_up(tmp_path, units, source):
    full = unit(2, source, reader=synthetic.read_full_disk)
    with pytest.raises(DatasetError):
        publish(Synthetic(units=[*units[:2], full], data_dir=tmp_path))
    assert list((tmp_path / "synthetic" / "1.0.0.staging" / "receipts").iterdir())
    pathlib.Path(source).write_bytes(b"other logs")
    other = [dataclasses.replace(unit(10 + i, source), name=units[i].name) for i in range(3)]
    published = publish(Synthetic(units=other, data_dir=tmp_path))
    ids = [int(each.metadata["episode_id"]) for each in Version.open(published.path).episodes()]
    assert ids == list(range(40, 52))


def test_a_shard_that_the_system_refuses_to_write(tmp_path, source):
    """A real failure of a write, by the limit on the size of a file."""
    units = [unit(index, source, count=100) for index in range(2)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        fails_with("'unit-[01]' could not be written to .*: File too large", units, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    verify(Version.open(publish(Synthetic(units=units, data_dir=tmp_path)).path))


def damaged(index: int, source: str, **changes):
    bad = unit(index, source)
    changes = {"read": functools.partial(synthetic.read_damaged, 4 * index, 4, source), **changes}
    return dataclasses.replace(bad, **changes)


def test_without_a_word_a_bad_unit_stops_everything(tmp_path, units, source):
    fails_with("source.bin is damaged", [units[0], damaged(1, source), units[2]], tmp_path)
    assert not (tmp_path / "synthetic" / "1.0.0").exists()


@pytest.mark.tensorflow
def test_what_is_good_is_published_where_that_is_asked_for(tmp_path, units, source):
    """The version is the one that the good units alone would have given, and tells the rest."""
    mixed = [units[0], damaged(1, source), units[2], damaged(3, source, split="test")]
    mixed_builder = Synthetic(units=mixed, data_dir=tmp_path / "mixed")
    published = publish(mixed_builder, keep_going=True)
    reason = "source.bin is damaged; copy it again"
    assert published.manifest["skipped"] == {"unit-1": reason, "unit-3": reason}
    alone = publish(Synthetic(units=[units[0], units[2]], data_dir=tmp_path / "alone"))
    theirs, ours = contents(alone.path), contents(published.path)
    assert "skipped" not in json.loads(theirs.pop(manifest.FILE_NAME))
    del ours[manifest.FILE_NAME]
    assert ours == theirs
    verify(Version.open(published.path))
    assert [path.name for path in published.path.parent.iterdir()] == ["1.0.0"]
    dataset = tfds.builder_from_directory(published.path).as_dataset(split="train")
    assert sorted(int(e["episode_id"]) for e in dataset) == [0, 1, 2, 3, 8, 9, 10, 11]


def test_a_version_that_lacks_units_is_not_taken_for_a_whole_one(tmp_path, units, source):
    mixed = [units[0], damaged(1, source)]
    first = publish(Synthetic(units=mixed, data_dir=tmp_path), keep_going=True)
    fails_with("published without unit unit-1 of this source", mixed, tmp_path)
    again = publish(Synthetic(units=mixed, data_dir=tmp_path), keep_going=True)
    assert not again.is_new
    assert again.manifest == first.manifest


def read_with_faults(first, count):
    """The first holds no number in its rewards, the second cannot be given at all."""
    yield next(synthetic.read_nan(first, 1))
    yield EpisodeError("row 7 says so")
    yield from synthetic.read(first + 2, count - 2)


@pytest.mark.parametrize("is_counted", [True, False])
def test_one_bad_episode_does_not_cost_its_unit(tmp_path, units, source, is_counted):
    """The source's counts hold of all, so a reader that cannot count the lost gives none."""
    bad = unit(1, source, reader=read_one_nan if is_counted else read_with_faults)
    if not is_counted:
        bad = dataclasses.replace(bad, num_episodes=None, num_transitions=None)
    fails_with("episode 0 of unit 'unit-1' .*finite.*--keep-going", [units[0], bad], tmp_path)
    builder = Synthetic(units=[units[0], bad], data_dir=tmp_path)
    published = publish(builder, keep_going=True)
    not_finite = "episode 0: every number must be finite (field 'reward', step 0)"
    rest = [] if is_counted else ["episode 1: row 7 says so"]
    assert published.manifest["left_out"] == {"unit-1": [not_finite, *rest]}
    assert "skipped" not in published.manifest
    ids = [int(each.metadata["episode_id"]) for each in Version.open(published.path).episodes()]
    assert ids == [0, 1, 2, 3, *([5, 6, 7] if is_counted else [6, 7])]
    verify(Version.open(published.path))
    again = publish(Synthetic(units=[units[0], bad], data_dir=tmp_path), keep_going=True)
    assert (again.is_new, again.manifest) == (False, published.manifest)
    fails_with(f"without {1 + len(rest)} records of unit unit-1", [units[0], bad], tmp_path)


def read_one_nan(first, count):
    yield next(synthetic.read_nan(first, 1))
    yield from synthetic.read(first + 1, count - 1)


def test_a_unit_that_lacks_records_is_done_again_by_those_who_want_all(
    tmp_path, units, source, monkeypatch
):
    bad = dataclasses.replace(units[1], read=functools.partial(read_one_nan, 4, 4))
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write", lambda *args: (_ for _ in ()).throw(OSError(5, "cut")))
        fails_with("cut", [units[0], bad], tmp_path, keep_going=True)
    fails_with("episode 0 of unit 'unit-1'", [units[0], bad], tmp_path)
    assert "left_out" not in publish(Synthetic(units=units, data_dir=tmp_path)).manifest


def test_a_unit_without_a_good_episode_is_skipped(tmp_path, units, source):
    bad = dataclasses.replace(units[1], read=functools.partial(synthetic.read_nan, 4, 4))
    published = publish(Synthetic(units=[units[0], bad], data_dir=tmp_path), keep_going=True)
    assert "the first because of episode 0: every" in published.manifest["skipped"]["unit-1"]
    assert "left_out" not in published.manifest


def test_a_missing_source_file_skips_its_units_alone(tmp_path, units, source):
    absent = str(tmp_path / "absent.bin")
    missing = dataclasses.replace(damaged(1, absent), files=(absent,))
    fails_with(
        "absent.bin cannot be read: No such file.*--keep-going", [units[0], missing], tmp_path
    )
    published = publish(Synthetic(units=[units[0], missing], data_dir=tmp_path), keep_going=True)
    assert published.manifest["plan"]["sources"]["absent.bin"] is None
    assert published.manifest["skipped"] == {"unit-1": "absent.bin is damaged; copy it again"}


def test_nothing_is_published_where_nothing_is_good(tmp_path, source):
    fails_with(
        "every unit of the source is bad.*the first one because source.bin is damaged",
        [damaged(0, source), damaged(1, source)],
        tmp_path,
        keep_going=True,
    )
    assert not (tmp_path / "synthetic" / "1.0.0").exists()


def test_a_full_disk_stops_even_those_who_would_go_on(tmp_path, units, source):
    full = unit(1, source, reader=synthetic.read_full_disk)
    fails_with("No space left on device", [units[0], full], tmp_path, keep_going=True)
    assert not (tmp_path / "synthetic" / "1.0.0").exists()


def test_a_unit_that_was_skipped_is_tried_again(tmp_path, units, source, monkeypatch):
    """A publish that was interrupted after the shards were renamed leaves no file of its own."""
    mixed = [damaged(0, source), *units[1:]]
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "write", lambda *args: (_ for _ in ()).throw(OSError(5, "cut")))
        fails_with("cut", mixed, tmp_path, keep_going=True)
    repaired = publish(Synthetic(units=units, data_dir=tmp_path), keep_going=True)
    assert "skipped" not in repaired.manifest
    fresh = publish(Synthetic(units=units, data_dir=tmp_path / "fresh"))
    assert contents(repaired.path) == contents(fresh.path)


def test_a_source_that_does_not_say_what_it_holds_is_counted(tmp_path, units):
    silent = [
        dataclasses.replace(units[0], num_episodes=None, num_transitions=None),
        *units[1:],
    ]
    told = publish(Synthetic(units=silent, data_dir=tmp_path)).manifest
    assert told["counted"] == {
        "unit-0": {"episodes": 4, "transitions": units[0].num_transitions, "truncated": 2}
    }
    assert told["plan"]["units"][0]["episodes"] is None
    assert told["splits"]["train"]["episodes"] == 12


def test_a_silent_source_without_episodes_is_refused(tmp_path, units, source):
    empty = dataclasses.replace(
        units[0], num_episodes=None, num_transitions=None, read=functools.partial(iter, ())
    )
    fails_with("unit 'unit-0' of .*source.bin has no episodes", [empty, units[1]], tmp_path)


def test_a_frame_that_is_no_such_png_is_refused_by_unit(tmp_path, units):
    bad = dataclasses.replace(units[1], read=functools.partial(synthetic.read_cut_frame, 4, 4))
    fails_with(
        r"episode 0 of unit 'unit-1' .*frame 2 is truncated.*\(field 'frame'\)",
        [units[0], bad],
        tmp_path,
    )


@pytest.mark.parametrize("config", ["../elsewhere", "a/b", ".", "", "a b", "-a"])
def test_a_configuration_cannot_climb_out_of_its_folder(tmp_path, units, config):
    with pytest.raises(DatasetError, match="cannot be the name of a dataset"):
        Synthetic(units=units, config=config, data_dir=tmp_path)


def read_while_it_changes(first, count, source):
    """Another process replaces the file before, or right after, it is read."""
    yield from synthetic.read(first, count)
    pathlib.Path(source).write_bytes(b"new logs")


@pytest.mark.parametrize("keep_going", [False, True])
def test_a_source_that_changes_while_it_is_published(tmp_path, units, source, keep_going):
    """None of it is certified by a sha256 that it has no more, nor left out for ever."""
    last = dataclasses.replace(
        units[2], read=functools.partial(read_while_it_changes, 8, 4, source)
    )
    says = "source.bin changed while it was published; publish again"
    fails_with(says, [*units[:2], last], tmp_path, keep_going=keep_going)
    assert not (tmp_path / "synthetic" / "1.0.0").exists()
    published = publish(Synthetic(units=units, data_dir=tmp_path))
    new = hashlib.sha256(b"new logs").hexdigest()
    assert published.manifest["plan"]["sources"] == {"source.bin": new}


def read_then_unlink(first, count, source):
    yield from synthetic.read(first, count)
    os.unlink(source)


def test_a_source_that_goes_away_while_it_is_published(tmp_path, units, source):
    gone = dataclasses.replace(units[0], read=functools.partial(read_then_unlink, 0, 4, source))
    fails_with("source.bin changed while it was published", [gone], tmp_path)


def test_a_kill_after_the_commit_leaves_nothing_for_ever(tmp_path, units, monkeypatch):
    folder, remove = tmp_path / "synthetic", shutil.rmtree

    def killed(path, **options):
        if (folder / "1.0.0").exists():
            raise KeyboardInterrupt
        remove(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            publish(Synthetic(units=units, data_dir=tmp_path))
    assert {"1.0.0", "1.0.0.staging"} <= {path.name for path in folder.iterdir()}
    assert not publish(Synthetic(units=units, data_dir=tmp_path)).is_new
    assert {path.name for path in folder.iterdir()} == {"1.0.0"}
