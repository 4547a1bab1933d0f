"""RL Unplugged's tasks of dm_control: real episodes, and every way in which one can be bad."""

import dataclasses
import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_datasets import records, wire
from rl_datasets.episode import EpisodeError
from rl_datasets.episode_check import check_episode
from rl_datasets.errors import DatasetError
from rl_datasets.sources import rl_unplugged_control as control
from tests.rl_datasets.sources.rl_unplugged_suite_files import (
    EMPTY,
    changed,
    container,
    example,
    read,
    shard,
    write,
)
from tests.rl_datasets.sources.rl_unplugged_suite_files import control as features_of

CARTPOLE = control.CONTROL_SUITE["cartpole_swingup"]


@pytest.fixture(scope="module")
def real(shared):
    return shared / "rl_unplugged/dm_control_suite_episodes/cartpole_swingup/train-00000-of-00001"


@pytest.fixture(scope="module")
def real_corridor(shared):
    return shared / "rl_unplugged/dm_locomotion_episodes/humanoid_corridor/train-00000-of-00001"


@pytest.fixture(params=["real", "real_corridor"])
def either(request):
    return request.getfixturevalue(request.param)


def test_rows_become_transitions_by_the_layout():
    """Three rows, whose numbers say what they are: o_2 is 20, a_1 is 1.1, r_2 is 2.2."""
    episode = control.episode_from_rows(
        np.array([0, 10, 20], np.float32),
        np.array([0.1, 1.1, 0], np.float32),
        np.array([np.nan, 1.2, 2.2], np.float32),
        is_terminal=False,
        metadata={},
    )
    assert episode.observation.tolist() == [0, 10, 20]
    np.testing.assert_array_equal(episode.action, np.array([0.1, 1.1, 0], np.float32))
    np.testing.assert_array_equal(episode.reward, np.array([1.2, 2.2, 0], np.float32))
    assert episode.discount.tolist() == [1, 1, 0]
    assert not episode.is_terminal.any()


def test_the_real_episode_is_read_whole(real):
    dataset = control.control_suite("cartpole_swingup")
    (episode,) = read(dataset, real)
    check_episode(episode, dataset.spec)
    assert episode.num_transitions == 1000
    assert episode.episode_return == pytest.approx(861.04, abs=0.005)
    assert not episode.is_terminal.any()
    assert episode.metadata["timestamp"] == 1582866796919


def test_the_real_rewards_are_those_of_the_task(real):
    """dm_control's own formula of cartpole's smooth swing-up: of o_{t+1} and a_t, to 4e-8."""
    (episode,) = read(control.control_suite("cartpole_swingup"), real)
    position, cosine, _ = episode.observation["position"][1:].astype(np.float64).T
    velocity = episode.observation["velocity"][1:, 1].astype(np.float64)
    action = episode.action[:-1, 0].astype(np.float64)
    upright = (cosine + 1) / 2
    centered = (1 + np.exp(np.log(0.1) * (position / 2) ** 2)) / 2
    small_control = (4 + np.maximum(0, 1 - action**2)) / 5
    small_velocity = (1 + np.exp(np.log(0.1) * (velocity / 5) ** 2)) / 2
    expected = upright * small_control * small_velocity * centered
    np.testing.assert_allclose(episode.reward[:-1], expected, atol=2e-7)
    assert np.abs(episode.reward[1:-1] - expected[:-1]).max() > 0.1


@pytest.mark.tensorflow
def test_tfds_aligns_the_real_episode_so(real, tmp_path):
    suite = pytest.importorskip("tensorflow_datasets.rl_unplugged.rlu_control_suite")
    builder = suite.rlu_control_suite.RluControlSuite(
        config="cartpole_swingup", data_dir=str(tmp_path)
    )
    ((key, theirs),) = builder.generate_examples_one_file(str(real))
    (ours,) = read(control.control_suite("cartpole_swingup"), real)
    assert key == str(ours.metadata["episode_id"])
    steps = theirs["steps"]
    for name, array in ours.observation.items():
        np.testing.assert_array_equal(array, steps["observation"][name])
    for name in ("action", "reward", "is_first", "is_last", "is_terminal"):
        np.testing.assert_array_equal(ours.steps()[name], steps[name])
    np.testing.assert_array_equal(ours.discount[:-1], steps["discount"][:-1])
    assert (ours.discount[-1], steps["discount"][-1]) == (0, 1)


CODECS = {
    wire.BYTES_LIST: (wire.bytes_values, wire.bytes_list),
    wire.FLOAT_LIST: (wire.float_values, wire.float_list),
    wire.INT64_LIST: (wire.int64_values, wire.int64_list),
}


def test_the_writer_gives_the_real_file_byte_for_byte(either):
    serialized = list(records.read_records(either, is_gzip=True))
    again = []
    for record in serialized:
        encoded = {}
        for name, feature in wire.decode_example(record).items():
            decode, encode = CODECS[feature[0]]
            encoded[name] = encode(decode(feature))
        again.append(example(encoded))
    assert again == serialized
    assert gzip.decompress(container(again)) == gzip.decompress(either.read_bytes())


@pytest.mark.tensorflow
def test_tensorflow_writes_the_real_container_byte_for_byte(either, tmp_path):
    tf = pytest.importorskip("tensorflow")
    with tf.io.TFRecordWriter(str(tmp_path / "shard"), "GZIP") as writer:
        for record in records.read_records(either, is_gzip=True):
            writer.write(record)
    assert (tmp_path / "shard").read_bytes() == either.read_bytes()


@pytest.mark.parametrize("name", control.CONTROL_SUITE)
def test_every_task_of_the_control_suite_is_read(tmp_path, name):
    task, dataset = control.CONTROL_SUITE[name], control.control_suite(name)
    examples = [features_of(task, seed) for seed in range(2)]
    for seed, episode in enumerate(read(dataset, write(tmp_path / "shard", shard(examples)))):
        check_episode(episode, dataset.spec)
        assert episode.metadata["episode_id"] == -(2**62) + seed
        for field, size in task.sizes.items():
            stored = np.frombuffer(examples[seed][f"observation/{field}"][-1001 * size * 4 :], "f4")
            np.testing.assert_array_equal(episode.observation[field].reshape(-1), stored)


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
def test_an_empty_shard_has_no_episode(tmp_path, empty):
    assert read(control.control_suite("fish_swim"), write(tmp_path / "shard", empty)) == []


SHORT = dataclasses.replace(CARTPOLE, full_length=4)


STEP_TYPE = np.array([0, 1, 1, 1, 2], np.float32)
FAULTS = [
    ({"reward": changed(5, 3, np.nan)}, "every number must be finite (field 'reward', step 2)"),
    ({"reward": changed(5, 0, 0)}, "row 0 has a reward or a discount"),
    ({"discount": changed(5, 0, 1)}, "row 0 has a reward or a discount"),
    ({"discount": changed(5, 2, 0)}, "the discount of row 2 is 0, not 1, or 0 in the last row"),
    ({"discount": changed(5, 2, np.nan)}, "the discount of row 2 is nan"),
    ({"discount": changed(5, 4, 0.5)}, "the discount of row 4 is 0.5"),
    ({"discount": changed(5, 4, 0)}, "it has 4 transitions and a last discount of 0, and every"),
    ({"reward": None}, "has no feature 'reward', so it is not an episode of RL Unplugged"),
    ({"velocity": None}, "has no feature 'observation/velocity'"),
    ({"velocity": wire.float_list(np.zeros(9, np.float32))}, "'observation/velocity' has 9 values"),
    ({"velocity": wire.int64_list(np.zeros(10, int))}, "'observation/velocity' is a list of int64"),
    ({"action": wire.float_list(np.ones(5, np.float32))}, "the last row has an action"),
    ({"action": wire.float_list(np.zeros(10, np.float32))}, "'action' has 10 values, and 5 x 1"),
    (
        {"action": wire.float_list(np.array([0, 1.5, 0, 0, 0], np.float32))},
        "every action must lie within the bounds of the action spec (field 'action', step 1)",
    ),
    ({"step_type": wire.float_list(STEP_TYPE[::-1])}, "its step types are not 0, then 1"),
    ({"step_type": wire.int64_list(STEP_TYPE)}, "'step_type' is a list of int64 values"),
    ({"episode_id": wire.int64_list(np.arange(2))}, "another number of values where one"),
]


@pytest.mark.parametrize(("changes", "fault"), FAULTS)
def test_a_record_that_is_no_episode_is_named(tmp_path, monkeypatch, changes, fault):
    monkeypatch.setitem(control.CONTROL_SUITE, "cartpole_swingup", SHORT)
    dataset = control.control_suite("cartpole_swingup")
    examples = [features_of(SHORT, 0, 5), features_of(SHORT, 1, 5, **changes)]
    good, bad = read(dataset, write(tmp_path / "train-3", shard(examples)))
    check_episode(good, dataset.spec)
    if isinstance(bad, EpisodeError):
        assert str(bad).startswith("record 1 of train-3 ")
        assert fault in str(bad)
        return
    with pytest.raises(EpisodeError) as caught:
        check_episode(bad, dataset.spec)
    assert str(caught.value) == fault


@pytest.mark.parametrize("rows", [0, 1, 4, 6])
def test_an_episode_of_another_length_is_refused(tmp_path, monkeypatch, rows):
    monkeypatch.setitem(control.CONTROL_SUITE, "cartpole_swingup", SHORT)
    one = features_of(SHORT, 0, max(rows, 2))
    if rows < 2:
        values = wire.float_list(np.full(rows, np.nan, np.float32))
        one |= dict.fromkeys(("reward", "discount", "step_type", "action"), values)
    path = write(tmp_path / "shard", shard([one]))
    (found,) = read(control.control_suite("cartpole_swingup"), path)
    assert f"it has {rows} rows" in str(found) or f"it has {rows - 1} transitions" in str(found)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda content: content[:-9], "train-0 is damaged: "),
        (gzip.decompress, "train-0 was decompressed, and RL Unplugged's shards are gzip"),
        (lambda _: b"<html>no such object</html>", "train-0 is damaged: "),
    ],
)
def test_a_shard_that_breaks_off_is_named_and_the_next_is_read(tmp_path, spoil, fault):
    dataset = control.control_suite("cartpole_swingup")
    content = shard([features_of(CARTPOLE, 0)])
    paths = [
        write(tmp_path / "train-0", spoil(content)),
        write(tmp_path / "train-1", content),
        tmp_path / "train-2",
    ]
    *_, bad, good, absent = dataset.layout.read_all(
        dataset.parse, [path.name for path in paths], *map(str, paths)
    )
    assert str(bad).startswith(fault)
    check_episode(good, dataset.spec)
    assert str(absent) == "train-2 cannot be read: No such file or directory; copy the file again"


SMALL = dataclasses.replace(CARTPOLE, full_length=3)
RECORD = example(features_of(SMALL, 0, 4))


@settings(max_examples=200)
@given(st.data())
def test_bytes_that_change_give_an_episode_or_an_error(data):
    """A record whose checksum is right and whose content is not must never end in another error."""
    spoilt = bytearray(RECORD)
    for place in data.draw(st.lists(st.integers(0, len(RECORD) - 1), min_size=1, max_size=4)):
        spoilt[place] ^= data.draw(st.integers(1, 255))
    try:
        features = wire.decode_example(bytes(spoilt))
        episode = control._episode(features, SMALL, "observation/")
        check_episode(episode, control.episode_spec(SMALL))
    except (ValueError, KeyError):
        return
    assert episode.num_transitions == 3


def test_shards_are_found_wherever_the_copy_begins(tmp_path):
    folder = tmp_path / "copy" / "dm_control_suite_episodes" / "fish_swim"
    names = [f"train-{index:05d}-of-00003" for index in range(3)]
    for name in (names[0], names[2], "train-00000-of-000099", "test-00000-of-00003"):
        write(folder / name, b"")
    shards = control.control_suite("fish_swim").shards
    for source in (folder, folder.parent, folder.parent.parent):
        assert shards.find(source) == [folder / name for name in names]
    other = control.control_suite("cheetah_run").shards
    with pytest.raises(
        DatasetError, match="has no shard of cheetah_run, such as cheetah_run/train"
    ):
        other.find(folder)
    write(folder / "train-00000-of-00100", b"")
    with pytest.raises(DatasetError, match="one split into 3 and the other into 100"):
        shards.find(folder)
