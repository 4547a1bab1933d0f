"""RL Unplugged's DeepMind Lab: shards made by hand, and every way in which one can be bad."""

from typing import ClassVar

import numpy as np
import pytest

from rl_datasets import wire
from rl_datasets.episode import EpisodeError
from rl_datasets.episode_check import check_episode
from rl_datasets.frames import encode_png
from rl_datasets.sources import rl_unplugged_dmlab
from tests.rl_datasets.sources.rl_unplugged_suite_files import (
    EMPTY,
    changed,
    dmlab,
    dmlab_frames,
    read,
    rwrl,
    shard,
    write,
)

NAME = "rooms_select_nonmatching_object_training_0"
ROWS = 181


def test_rows_become_transitions_by_the_layout():
    """Three rows, whose numbers say what they are: o_2 is 20, a_1 is 4, r_2 is 2.2."""
    episode = rl_unplugged_dmlab.episode_from_rows(
        np.array([0, 10, 20], np.float32),
        np.array([3, 4, 0]),
        np.array([1.2, 2.2, 0], np.float32),
        is_terminal=True,
        metadata={},
    )
    assert episode.observation.tolist() == [0, 10, 20]
    assert episode.action.tolist() == [3, 4, 0]
    np.testing.assert_array_equal(episode.reward, np.array([1.2, 2.2, 0], np.float32))
    assert episode.discount.tolist() == [1, 0, 0]
    assert episode.is_terminal.tolist() == [False, False, True]


@pytest.mark.parametrize("suffix", ["", rl_unplugged_dmlab.AS_STORED])
def test_frames_are_turned_the_right_way_round_or_stay_as_they_are(tmp_path, suffix):
    dataset = rl_unplugged_dmlab.dataset(NAME + suffix)
    one = dmlab(1, ROWS)
    (episode,) = read(dataset, write(tmp_path / "shard", shard([one])))
    check_episode(episode, dataset.spec)
    assert episode.num_transitions == 180
    assert not episode.is_terminal.any()
    pixels = episode.observation["pixels"]
    np.testing.assert_array_equal(
        np.asarray(pixels)[0, 0, 0], (200, 60, 20) if suffix else (20, 60, 200)
    )
    if suffix:
        assert wire.bytes_list(pixels.pngs) == one["observations_pixels"]
    else:
        np.testing.assert_array_equal(np.asarray(pixels), dmlab_frames(1, ROWS))


@pytest.mark.tensorflow
@pytest.mark.parametrize("task", rl_unplugged_dmlab.ROWS)
def test_tfds_reads_the_same(tmp_path, task):
    suite = pytest.importorskip("tensorflow_datasets.rl_unplugged.dmlab_dataset")
    rows = rl_unplugged_dmlab.ROWS[task]

    class Theirs(suite.DMLabDatasetBuilder, skip_registration=True):
        VERSION = "1.2.0"
        BUILDER_CONFIGS: ClassVar = [
            suite.BuilderConfig(name="training_0", task=task, episode_length=rows)
        ]

    path = write(tmp_path / "shard", shard([dmlab(2, rows)]))
    dataset = rl_unplugged_dmlab.dataset(f"{task}_training_0")
    (ours,) = read(dataset, path)
    builder = Theirs(config="training_0", data_dir=str(tmp_path))
    ((key, theirs),) = builder.generate_examples_one_file(str(path))
    assert key == str(ours.metadata["episode_id"])
    assert ours.metadata["episode_return"] == theirs["episode_return"]
    for name, array in theirs["steps"]["observation"].items():
        np.testing.assert_array_equal(np.asarray(ours.observation[name]), array)
    for name in ("action", "reward", "discount", "is_first", "is_last", "is_terminal"):
        np.testing.assert_array_equal(ours.steps()[name], theirs["steps"][name])


def test_a_discount_of_0_before_the_last_row_is_terminal(tmp_path):
    discount = np.append(np.ones(ROWS - 2), [0, 0]).astype(np.float32)
    path = write(tmp_path / "shard", shard([dmlab(0, ROWS, discounts=wire.float_list(discount))]))
    dataset = rl_unplugged_dmlab.dataset(NAME)
    (episode,) = read(dataset, path)
    check_episode(episode, dataset.spec)
    assert episode.is_terminal[-1]


OTHER_PNG = encode_png(np.zeros((1, 72, 72, 3), np.uint8))
OF_ROWS = wire.float_list(np.ones(ROWS, np.float32))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"actions": None}, "has no feature 'actions', so it is not an episode"),
        ({"actions": wire.int64_list(np.zeros(9, int))}, "'actions' has 9 values, and 181"),
        ({"actions": wire.int64_list(np.full(ROWS, 3))}, "the last row has an action"),
        ({"actions": wire.int64_list(np.arange(ROWS)[::-1])}, "an action that is none of 15"),
        ({"actions": wire.int64_list(np.zeros(ROWS, int))}, "observes another action or reward"),
        ({"rewards": changed(ROWS, ROWS - 1, 0)}, "row 1 observes another action or reward"),
        ({"rewards": OF_ROWS}, "the last row has an action, a reward"),
        ({"discounts": OF_ROWS}, "the last row has an action, a reward"),
        ({"discounts": wire.float_list(np.zeros(ROWS, np.float32))}, "the discount of row 0 is 0"),
        ({"discounts": changed(ROWS, ROWS - 1, 0)}, "the discount of row 0 is nan"),
        ({"observations_reward": OF_ROWS}, "row 0 observes another action or reward"),
        ({"observations_pixels": wire.bytes_list(OTHER_PNG * ROWS)}, "is not an 8-bit 72x96x3 PNG"),
        ({"observations_pixels": wire.bytes_list(OTHER_PNG)}, "'observations_pixels' has 1 values"),
        ({"episode_return": wire.int64_scalar(1)}, "a list of int64 values where one of float"),
    ],
)
def test_a_record_that_is_no_episode_is_named(tmp_path, changes, fault):
    dataset = rl_unplugged_dmlab.dataset(NAME)
    path = write(tmp_path / "tfrecord-3", shard([dmlab(0, ROWS), dmlab(1, ROWS, **changes)]))
    good, bad = read(dataset, path)
    check_episode(good, dataset.spec)
    assert isinstance(bad, EpisodeError)
    assert str(bad).startswith("record 1 of tfrecord-3 ")
    assert fault in str(bad)


def test_another_tasks_or_suites_shard_is_told_and_an_empty_one_is_read(tmp_path):
    dataset = rl_unplugged_dmlab.dataset(NAME)
    (bad,) = read(dataset, write(tmp_path / "shard", shard([dmlab(0, 301)])))
    assert "record 0 of shard " in str(bad)
    assert "has 301 values, and 181 are needed" in str(bad)
    other = rwrl("cartpole_swingup_combined_challenge_none_1_percent", 0)
    (bad,) = read(dataset, write(tmp_path / "shard", shard([other])))
    assert "record 0 of shard has no feature 'actions'" in str(bad)
    for content in EMPTY.values():
        assert read(dataset, write(tmp_path / "shard", content)) == []


def test_names_are_tasks_and_tfdss_names_of_runs():
    pytest.importorskip("tensorflow_datasets.rl_unplugged.rlu_dmlab_seekavoid_arena01")
    from tensorflow_datasets.rl_unplugged.rlu_dmlab_seekavoid_arena01 import (
        rlu_dmlab_seekavoid_arena01 as theirs,
    )

    runs = {c.run for c in rl_unplugged_dmlab.CHOICES.values() if c.task == "seekavoid_arena_01"}
    assert runs == set(theirs._CONFIG_NAMES)
    assert len(rl_unplugged_dmlab.CHOICES) == 2 * (5 * 3 + 6)
