"""`d4rl.qlearning_dataset`, against its own loop over the rows of the file."""

import dataclasses
import itertools
import pathlib

import numpy as np
import pytest
from dm_env import specs

from builders.brac.brac_dataset_builder import Builder as Brac
from builders.d4rl.d4rl_dataset_builder import Builder
from rl_datasets.episode import EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.exporting.d4rl import to_d4rl
from rl_datasets.published import manifest
from rl_datasets.published.lineage import Lineage
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.serving.d4rl import load_qlearning_dataset
from rl_datasets.serving.loading import load_transitions
from rl_datasets.sources import d4rl_episodes
from rl_datasets.sources.d4rl_contents import METADATA, Contents
from rl_datasets.sources.d4rl_tasks import task
from tests.rl_datasets.sources import d4rl_files
from tests.rl_datasets.sources.d4rl_files import content, with_next_observations, write


def by_row(file, horizon):
    """What D4RL does, a row at a time: (o, a, r, o', terminal) of each that it keeps.

    Written from what the function of that name is documented to do: the last row has no successor;
    a row at a time limit is skipped, which is a row that `timeouts` marks, or, in a file without
    timeouts, the one before which a count of steps reaches the horizon less one; the count starts
    anew at a limit, and at a terminal before that row is counted itself.
    """
    kept, steps = [], 0
    for row, following in itertools.pairwise(range(len(file["rewards"]))):
        is_limit = file["timeouts"][row] if "timeouts" in file else steps == horizon - 1
        is_terminal = bool(file["terminals"][row])
        if is_limit or is_terminal:
            steps = 0
        if is_limit:
            continue
        steps += 1
        kept.append(
            (
                np.float32(file["observations"][row]),
                np.float32(file["actions"][row]),
                np.float32(file["rewards"][row].item()),
                np.float32(file["observations"][following]),
                is_terminal,
            )
        )
    return kept


def check(version, file, horizon):
    ours = load_qlearning_dataset(version)
    compare(ours, file, horizon)
    return ours


def compare(ours, file, horizon):
    theirs = by_row(file, horizon)
    if not theirs:
        assert [len(field) for field in ours[:5]] == [0] * 5
        return
    observation, action, reward, following, done = map(np.array, zip(*theirs, strict=True))
    np.testing.assert_array_equal(ours.observation, observation)
    np.testing.assert_array_equal(ours.action, action)
    np.testing.assert_array_equal(ours.reward, reward)
    np.testing.assert_array_equal(ours.next_observation, following)
    np.testing.assert_array_equal(ours.discount, 1 - done.astype(np.float32))
    assert {field.dtype for field in ours[:5]} == {np.dtype(np.float32)}


def published(folder, name, rows):
    path = write(folder / "file.hdf5", rows)
    return publish(Builder(config=name, source=str(path), data_dir=folder)).path


@pytest.mark.parametrize("file", d4rl_files.SLICES)
def test_every_real_slice_reads_as_by_d4rl(shared, tmp_path, file):
    path, name = shared / "d4rl" / file, d4rl_files.SLICES[file]
    version = publish(Builder(config=name, source=str(path), data_dir=tmp_path)).path
    check(version, d4rl_files.load(path), task(name).horizon)


def test_what_the_two_readings_differ_in(shared, tmp_path):
    """Two episodes of 1000 that a time limit cut: D4RL loses the last transition of both."""
    source = str(shared / "d4rl" / "halfcheetah_medium-v2.hdf5")
    version = publish(
        Builder(config="halfcheetah-medium-v2", source=source, data_dir=tmp_path)
    ).path
    corrected, parity = load_transitions(version), load_qlearning_dataset(version)
    assert (len(corrected.reward), len(parity.reward)) == (2000, 1998)
    np.testing.assert_array_equal(np.delete(corrected.reward, [999, 1999]), parity.reward)


def patterns(rows, kinds=(False, True)):
    """Every way in which so many rows can be marked."""
    return itertools.product(kinds, repeat=rows)


# By case: task, and what the file lacks or has beside.
KINDS = {
    "flags": ("hopper-medium-v0", {}),
    "flags, with next observations": ("hopper-medium-v2", {"next_observations": True}),
    "flags, of limits that no flag marks": (
        "hopper-medium-v2",
        {"next_observations": True, "timeouts": None},
    ),
    "terminals": ("kitchen-mixed-v0", {"timeouts": None}),
    "timeouts": ("antmaze-umaze-v2", {}),
    "jumps": ("antmaze-umaze-v0", {}),
    "one": ("maze2d-umaze-v1", {}),
    "one, with states": ("maze2d-umaze-v1", {"infos": True}),
    "one, without timeouts": ("maze2d-umaze-v1", {"timeouts": None}),
    "one, without timeouts, with states": (
        "maze2d-umaze-v1",
        {"timeouts": None, "infos": True},
    ),
}


def files_of(kind, rows):
    """Every file of so many rows of a kind; both flags in a row where the task has such rows."""
    name, has = KINDS[kind]
    of = dataclasses.replace(task(name), horizon=3)
    for terminals in patterns(rows):
        timeouts_of = [None] if "timeouts" in has else patterns(rows)
        for timeouts in timeouts_of:
            both = timeouts and any(map(all, zip(terminals, timeouts, strict=True)))
            if both and of.trajectories in ("flags", "terminals"):
                continue
            marked = [np.flatnonzero(each) for each in (terminals, timeouts or ())]
            file = content(of, rows, *marked)
            if of.trajectories == "jumps":
                file["observations"][:, :2] = 0
            if "infos" in has:
                state = np.random.default_rng(1).normal(size=(rows, 4)).astype(np.float32)
                file |= {"infos/qpos": state[:, :2], "infos/qvel": state[:, 2:]}
            if "next_observations" in has:
                file = with_next_observations(file)
            if timeouts is None:
                del file["timeouts"]
            yield of, file


SPEC = EpisodeSpec(specs.Array((2,), np.float32), specs.Array((1,), np.float32), {}, METADATA)


def plan_and_episodes(of, file):
    """Of the version that the file would be published as, without the file."""
    fields = {name: (field.shape[1:], field.dtype) for name, field in file.items()}
    contents = Contents(len(file["rewards"]), fields, {}, np.dtype(np.float32))
    no_flags = np.zeros(len(file["rewards"]))
    rows = {"timeouts": no_flags} | file | {"terminals": file["terminals"].astype(np.float64)}
    rows["timeouts"] = rows["timeouts"].astype(np.float64)
    lineage = {
        "trajectories": of.trajectories,
        "rows": contents.rows,
        "horizon": of.horizon,
        "has_timeouts": contents.has_timeouts,
    }
    plan = {"lineage": lineage, "spec": manifest.spec_to_json(SPEC)}
    return plan, list(d4rl_episodes.episodes_of([rows], contents, of, "a file"))


# How many of the files with five rows lack a row in their version, and how many are published.
REFUSED = {
    "flags": (172, 241),
    "flags, with next observations": (0, 243),
    "flags, of limits that no flag marks": (0, 32),
    "terminals": (8, 32),
    "timeouts": (512, 960),
    "jumps": (1024, 1024),
    "one": (0, 1024),
    "one, with states": (256, 1024),
    "one, without timeouts": (0, 32),
    "one, without timeouts, with states": (12, 32),
}


def opened(folder: pathlib.Path, plan: dict) -> Version:
    """A version of which nothing but the plan is known."""
    spec, lineage = manifest.spec_from_json(plan["spec"]), Lineage.from_json(plan["lineage"])
    return Version(str(folder), folder, {"plan": plan}, "", spec, lineage)


@pytest.mark.parametrize("kind", KINDS)
def test_every_pattern_of_flags_reads_as_by_d4rl(tmp_path, monkeypatch, kind):
    """Of two to five rows: or it is refused, where the version lacks a row that D4RL keeps."""
    for rows in range(2, 6):
        read = refused = 0
        for of, file in files_of(kind, rows):
            plan, episodes = plan_and_episodes(of, file)
            if not episodes:
                continue  # Which is not published.
            monkeypatch.setattr(Version, "episodes", lambda *_, found=episodes: iter(found))
            read += 1
            try:
                ours = load_qlearning_dataset(opened(tmp_path, plan))
            except DatasetError:
                refused += 1
            else:
                compare(ours, file, of.horizon)
    assert (refused, read) == REFUSED[kind]


MAZE = content("maze2d-umaze-v1", 40, timeouts=[4, 5, 20])
ANT = content("antmaze-umaze-v2", 40, terminals=[3, 4, 10, 19, 30], timeouts=[11, 20, 30])
KITCHEN = content("kitchen-mixed-v0", 700, terminals=[299, 330, 699])
UNMARKED = with_next_observations(content("hopper-medium-replay-v2", 40, [20], [9, 30]))
UNMARKED["timeouts"][9] = False


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("maze2d-umaze-v1", MAZE),
        ("maze2d-umaze-v1", content("maze2d-umaze-v1", 650) | {"timeouts": None}),
        ("antmaze-umaze-v2", ANT),
        ("kitchen-mixed-v0", KITCHEN | {"timeouts": None}),
        ("hopper-medium-replay-v2", UNMARKED),
        ("pen-human-v1", content("pen-human-v1", 40, timeouts=[10, 38])),
        ("pen-human-v0", content("pen-human-v0", 40, terminals=[39], timeouts=[10])),
    ],
)
def test_other_layouts_read_as_by_d4rl(tmp_path, name, rows):
    version = published(tmp_path, name, rows)
    file = {field: value for field, value in rows.items() if value is not None}
    check(version, file, task(name).horizon)


@pytest.mark.tensorflow
def test_other_builders_versions_read_as_their_exports(shared, tmp_path):
    """BRAC's own data: ten episodes of 1000, each cut by the time limit."""
    source = str(shared / "brac_testdata/data/HalfCheetah-v2/example/0/data")
    version = publish(Brac(config="halfcheetah-eps3", source=source, data_dir=tmp_path)).path
    to_d4rl(version, tmp_path / "export.hdf5")
    ours = check(version, d4rl_files.load(tmp_path / "export.hdf5"), 1000)
    corrected = load_transitions(version)
    kept = np.arange(10_000) % 1000 != 999
    np.testing.assert_array_equal(ours.next_observation, corrected.next_observation[kept])


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("antmaze-umaze-v0", content("antmaze-umaze-v0", 20, timeouts=[9])),
        ("hopper-medium-v0", content("hopper-medium-v0", 20, terminals=[8], timeouts=[9])),
        ("hopper-medium-v0", content("hopper-medium-v0", 20, timeouts=[0, 9])),
    ],
)
def test_a_version_that_lacks_rows_of_the_file_is_refused(tmp_path, name, rows):
    rows["observations"][:, :2] = np.arange(20)[:, None] // 4 * 5
    with pytest.raises(DatasetError, match="use the corrected reading, or D4RL's code"):
        load_qlearning_dataset(published(tmp_path, name, rows))


def test_a_version_that_does_not_tell_its_terminals_is_refused(tmp_path, monkeypatch):
    """As versions were before episodes had `is_done`."""
    monkeypatch.setattr(Version, "episodes", lambda *_: iter(()))
    spec = dataclasses.replace(SPEC, metadata={"is_timeout": METADATA["is_timeout"]})
    plan = {"lineage": {"has_timeouts": True}, "spec": manifest.spec_to_json(spec)}
    version = opened(tmp_path, plan)
    with pytest.raises(DatasetError, match="which rows of D4RL's file were terminals: publish"):
        load_qlearning_dataset(version)
