"""`d4rl.qlearning_dataset`, against its own loop over the rows of the file."""

import numpy as np
import pytest

from builders.brac.brac_dataset_builder import Builder as Brac
from builders.d4rl.d4rl_dataset_builder import Builder
from rl_datasets.errors import DatasetError
from rl_datasets.exporting.d4rl import to_d4rl
from rl_datasets.publishing.publish import publish
from rl_datasets.serving.d4rl import load_qlearning_dataset
from rl_datasets.serving.transitions import load_transitions
from rl_datasets.sources.d4rl_tasks import task
from tests.rl_datasets.sources import d4rl_files
from tests.rl_datasets.sources.d4rl_files import content, with_next_observations, write


def by_row(file, horizon):
    """What D4RL does, a row at a time: (o, a, r, o', terminal) of each that it keeps."""
    kept, steps = [], 0
    reward = file["rewards"].reshape(-1)
    for i in range(len(reward) - 1):
        done = bool(file["terminals"][i])
        limit = file["timeouts"][i] if "timeouts" in file else steps == horizon - 1
        if limit:
            steps = 0
            continue
        if done:
            steps = 0
        steps += 1
        both = file["observations"][i].astype("f4"), file["observations"][i + 1].astype("f4")
        kept.append(
            (both[0], file["actions"][i].astype("f4"), reward[i].astype("f4"), both[1], done)
        )
    return kept


def check(version, file, horizon):
    ours = load_qlearning_dataset(version)
    observation, action, reward, following, done = map(
        np.array, zip(*by_row(file, horizon), strict=True)
    )
    np.testing.assert_array_equal(ours.observation, observation)
    np.testing.assert_array_equal(ours.action, action)
    np.testing.assert_array_equal(ours.reward, reward)
    np.testing.assert_array_equal(ours.next_observation, following)
    np.testing.assert_array_equal(ours.discount, 1 - done.astype(np.float32))
    assert {field.dtype for field in ours[:5]} == {np.dtype(np.float32)}
    return ours


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
