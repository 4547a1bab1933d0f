"""RL Unplugged's real-world RL: shards made by hand, and every way in which one can be bad."""

import gzip

import numpy as np
import pytest

from rl_datasets import wire
from rl_datasets.episode import EpisodeError
from rl_datasets.episode_check import check_episode
from rl_datasets.errors import DatasetError
from rl_datasets.sources import rl_unplugged_rwrl
from rl_datasets.sources.rl_unplugged_control import CONTROL_SUITE
from tests.rl_datasets.sources.rl_unplugged_suite_files import (
    control,
    read,
    rwrl,
    shard,
    values_of,
    write,
)

NONE = "cartpole_swingup_combined_challenge_none_1_percent"
EASY = "cartpole_swingup_combined_challenge_easy_1_percent"


def test_rows_become_transitions_by_the_layout():
    """Three rows, whose numbers say what they are: o_2 is 20, a_1 is 0.1, r_2 is 2.2."""
    episode = rl_unplugged_rwrl.episode_from_rows(
        np.array([0, 10, 20], np.float32),
        np.array([-1, 0.5, 0.1], np.float32),
        np.array([0, 1.2, 2.2], np.float32),
    )
    assert episode.observation.tolist() == [0, 10, 20]
    np.testing.assert_array_equal(episode.action, np.array([0.5, 0.1, 0], np.float32))
    np.testing.assert_array_equal(episode.reward, np.array([1.2, 2.2, 0], np.float32))
    assert episode.discount.tolist() == [1, 1, 0]
    assert not episode.is_terminal.any()
    assert episode.metadata["episode_return"] == np.float32(3.4)


@pytest.mark.parametrize("domain", rl_unplugged_rwrl.DOMAINS)
@pytest.mark.parametrize("challenge", rl_unplugged_rwrl.CHALLENGES)
def test_every_task_is_read(tmp_path, domain, challenge):
    choice = rl_unplugged_rwrl.Choice(domain, challenge, "5_percent")
    dataset = rl_unplugged_rwrl.dataset(choice.name)
    one = rwrl(choice.name, 0)
    (episode,) = read(dataset, write(tmp_path / "shard", shard([one], is_gzip=False)))
    check_episode(episode, dataset.spec)
    assert episode.num_transitions == 1000
    assert not episode.is_terminal.any()
    for field, size in choice.fields.items():
        stored = values_of(one[f"observation:{field}"]).reshape(1001, size)
        np.testing.assert_array_equal(episode.observation[field.replace("-", "_")], stored)
    np.testing.assert_array_equal(episode.reward[:-1], values_of(one["reward"])[1:])


def test_a_challenges_rows_stay_as_the_agent_saw_them(tmp_path):
    first = rwrl(EASY, 0)
    second = rwrl(EASY, 1, before=first)
    dataset = rl_unplugged_rwrl.dataset(EASY)
    episodes = read(dataset, write(tmp_path / "shard", shard([first, second], is_gzip=False)))
    position = [each.observation["position"] for each in episodes]
    np.testing.assert_array_equal(position[1][:3], position[0][-3:])
    np.testing.assert_array_equal(episodes[1].reward[:10], episodes[0].reward[-11:-1])
    assert {f"dummy_{index}" for index in range(10)} < episodes[0].observation.keys()


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", [NONE, "quadruped_walk_combined_challenge_easy_100_percent"])
def test_tfds_aligns_them_so_and_calls_every_end_terminal(tmp_path, name):
    suite = pytest.importorskip("tensorflow_datasets.rl_unplugged.rlu_rwrl").rlu_rwrl
    tf = pytest.importorskip("tensorflow")
    path = write(tmp_path / "shard", shard([rwrl(name, seed) for seed in range(2)], is_gzip=False))
    described = suite.tf_example_to_feature_description(
        next(iter(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()))
    )
    dataset = rl_unplugged_rwrl.dataset(name)
    parse = suite.RluRwrl.tf_example_to_step_ds
    records = tf.data.TFRecordDataset(str(path))
    for ours, record in zip(read(dataset, path), records, strict=True):
        theirs = parse(None, record, described)
        steps = theirs["steps"]
        assert {
            field.replace("-", "_") for field in steps["observation"]
        } == ours.observation.keys()
        for field, array in steps["observation"].items():
            np.testing.assert_array_equal(ours.observation[field.replace("-", "_")], array)
        np.testing.assert_array_equal(ours.action[:-1], steps["action"][:-1])
        np.testing.assert_array_equal(ours.reward, np.squeeze(steps["reward"], -1))
        np.testing.assert_array_equal(ours.discount, np.squeeze(steps["discount"], -1))
        assert ours.metadata["episode_return"] == pytest.approx(float(theirs["episode_return"]))
        assert bool(steps["is_terminal"][-1])
        assert not ours.is_terminal.any()


def test_names_are_those_of_tfds():
    suite = pytest.importorskip("tensorflow_datasets.rl_unplugged.rlu_rwrl").rlu_rwrl
    assert rl_unplugged_rwrl.CHOICES.keys() == suite.RluRwrl.builder_configs.keys()
    assert len(rl_unplugged_rwrl.CHOICES) == 40
    for (challenge, domain, size), count in suite.SHARDS_MAPPING.items():
        choice = rl_unplugged_rwrl.Choice(domain, (challenge or "none").lower(), size)
        assert rl_unplugged_rwrl.dataset(choice.name).shards.count == count


def ones(row, value) -> bytes:
    """Discounts as they are, but for one row."""
    values = np.append(0, np.ones(1000)).astype(np.float32)
    values[row] = value
    return wire.float_list(values)


NUMBERS = np.linspace(0, 1, 1001, dtype=np.float32)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"reward": wire.float_list(NUMBERS + 1)}, "row 0 has a reward or a discount"),
        ({"reward": wire.float_list(np.append(0, NUMBERS))}, "'reward' has 1002 values, and 1001"),
        ({"reward": ones(7, np.nan)}, "every number must be finite (field 'reward', step 6)"),
        ({"discount": ones(0, 1)}, "row 0 has a reward or a discount"),
        ({"discount": ones(0, np.nan)}, "row 0 has a reward or a discount"),
        ({"discount": ones(1000, 0)}, "the discount of row 1000 is 0, and no task of this suite"),
        ({"discount": ones(7, np.nan)}, "the discount of row 7 is nan"),
        ({"discount": None}, "has no feature 'discount'"),
        ({"velocity": None}, "has no feature 'observation:velocity'"),
        ({"dummy-0": wire.float_list(NUMBERS)}, "it has 3 observations, and 2 are known"),
        ({"position": wire.int64_list(np.zeros(3003))}, "'observation:position' is a list of int"),
        ({"step_type": wire.float_list(NUMBERS)}, "its step types are not 0, then 1"),
        ({"action": wire.float_list(NUMBERS * 2)}, "every action must lie within the bounds"),
    ],
)
def test_a_record_that_is_no_episode_is_named(tmp_path, changes, fault):
    dataset = rl_unplugged_rwrl.dataset(NONE)
    examples = [rwrl(NONE, 0), rwrl(NONE, 1, **changes)]
    good, bad = read(dataset, write(tmp_path / "tfrecord-3", shard(examples, is_gzip=False)))
    check_episode(good, dataset.spec)
    if isinstance(bad, EpisodeError):
        assert str(bad).startswith("record 1 of tfrecord-3 ")
        assert fault in str(bad)
        return
    with pytest.raises(EpisodeError) as caught:
        check_episode(bad, dataset.spec)
    assert str(caught.value).startswith(fault)


def test_bounds_of_a_quadruped_are_those_of_each_joint(tmp_path):
    name = "quadruped_walk_combined_challenge_none_1_percent"
    dataset = rl_unplugged_rwrl.dataset(name)
    lowest, highest = dataset.spec.action.minimum, dataset.spec.action.maximum
    for joint, beyond in [(1, False), (0, True), (2, True), (11, True)]:
        action = np.tile(lowest, (1001, 1))
        action[5] = highest
        action[5, joint] = np.float32(1.1)
        one = rwrl(name, 0, action=wire.float_list(action.reshape(-1)))
        (episode,) = read(dataset, write(tmp_path / "shard", shard([one], is_gzip=False)))
        if beyond:
            with pytest.raises(EpisodeError, match=r"within the bounds.*step 4"):
                check_episode(episode, dataset.spec)
        else:
            check_episode(episode, dataset.spec)


def test_a_shard_of_another_suite_or_compressed_is_told(tmp_path):
    dataset = rl_unplugged_rwrl.dataset(NONE)
    other = shard([control(CONTROL_SUITE["cartpole_swingup"], 0)], is_gzip=False)
    (bad,) = read(dataset, write(tmp_path / "shard-0", other))
    assert "record 0 of shard-0 has no feature 'observation:position'" in str(bad)
    compressed = gzip.compress(shard([rwrl(NONE, 0)], is_gzip=False))
    (bad,) = read(dataset, write(tmp_path / "shard-1", compressed))
    assert str(bad).startswith("shard-1 was compressed, and shards of rwrl are not: decompress it")
    assert read(dataset, write(tmp_path / "shard-2", b"")) == []


def test_folders_decide_which_dataset_it_is(tmp_path):
    shards = rl_unplugged_rwrl.dataset(NONE).shards
    folder = tmp_path / "rwrl/combined_challenge_none/cartpole/swingup/1_percent"
    path = write(folder / "episodes.tfrecord-00000-of-00001", b"")
    for source in [folder, *list(folder.parents)[:5]]:
        assert shards.find(source) == [path]
    with pytest.raises(
        DatasetError, match=f"has no shard of {EASY}, such as combined_challenge_ea"
    ):
        rl_unplugged_rwrl.dataset(EASY).shards.find(folder)
