"""Observations that are several named arrays, from an episode to a learner's vector."""

import dataclasses
import functools
import itertools

import dm_env.specs
import numpy as np
import pytest
import tensorflow_datasets as tfds

import rl_datasets
from rl_datasets.episode import Episode, EpisodeError, EpisodeSpec
from rl_datasets.episode_check import check_episode
from rl_datasets.errors import DatasetError
from rl_datasets.exporting.d4rl import to_d4rl
from rl_datasets.published import verification
from rl_datasets.publishing.publish import publish
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.d4rl import load_qlearning_dataset
from rl_datasets.serving.frame_windows import cut_out
from rl_datasets.serving.loading import load_frame_windows, load_transitions
from rl_datasets.serving.streaming import StreamFeed
from rl_datasets.showing import card, console
from tests.optional import optional
from tests.rl_datasets.publishing.synthetic import Synthetic

reverb = optional("rl_datasets.serving.reverb")

LENGTHS = (3, 1, 70)
SPEC = EpisodeSpec(
    observation={
        "position": dm_env.specs.Array((3,), np.float64),
        "height": dm_env.specs.Array((), np.float32),
        "goal": dm_env.specs.Array((2, 2), np.float32),
    },
    action=dm_env.specs.BoundedArray((1,), np.float32, -1.0, 1.0),
)


def episode(number: int) -> Episode:
    """Its observation t is `t` and what follows from it, 100 for each episode."""
    step = 100.0 * number + np.arange(LENGTHS[number] + 1)
    return Episode.from_transitions(
        {
            "position": np.stack([step, step + 0.25, step + 0.5], axis=1),
            "height": (step + 0.75).astype(np.float32),
            "goal": np.stack([-step] * 4, axis=1).reshape(-1, 2, 2).astype(np.float32),
        },
        np.zeros((LENGTHS[number], 1), np.float32),
        np.ones(LENGTHS[number]),
        is_terminal=False,
    )


class Several(Synthetic, skip_registration=True):
    def episode_spec(self):
        return SPEC


def read() -> itertools.chain:
    return map(episode, range(len(LENGTHS)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("several")
    unit = SourceUnit("all", "train", len(LENGTHS), sum(LENGTHS), (), functools.partial(read))
    return publish(Several(units=[unit], data_dir=data_dir)).path


@pytest.fixture
def version(folder):
    return rl_datasets.load(folder)


@pytest.mark.tensorflow
def test_tfds_reads_them_as_nested_features(folder):
    loaded = tfds.builder_from_directory(folder).as_dataset(split="train")
    (first, *_) = tfds.as_numpy(loaded)
    steps = list(first["steps"])
    assert steps[2]["observation"].keys() == {"position", "height", "goal"}
    np.testing.assert_array_equal(steps[2]["observation"]["position"], [2.0, 2.25, 2.5])
    assert steps[2]["observation"]["position"].dtype == np.float64
    np.testing.assert_array_equal(steps[2]["observation"]["goal"], np.full((2, 2), -2))


def test_a_version_gives_them_back_by_name(version):
    verification.verify(version)
    assert version.episode_spec.observation.keys() == SPEC.observation.keys()
    for ours, theirs in zip(version.episodes(), read(), strict=True):
        assert ours.observation.keys() == theirs.observation.keys()
        for name, array in theirs.observation.items():
            assert ours.observation[name].dtype == array.dtype
            np.testing.assert_array_equal(ours.observation[name], array)
        assert ours.extras == {}


def test_a_vector_is_made_of_all_in_the_order_of_their_names(version):
    loaded = load_transitions(version)
    # goal (4), height (1), position (3), of step 2 of the last episode and of the one after.
    row = LENGTHS[0] + LENGTHS[1] + 2
    np.testing.assert_array_equal(
        loaded.observation[row], [-202, -202, -202, -202, 202.75, 202, 202.25, 202.5]
    )
    np.testing.assert_array_equal(
        loaded.next_observation[row], [-203, -203, -203, -203, 203.75, 203, 203.25, 203.5]
    )
    assert loaded.observation.dtype == np.float64


def test_a_cut_names_some_in_its_own_order(version):
    cut = Cut(observed=("position", "height"))
    loaded = load_transitions(version, cut=cut)
    np.testing.assert_array_equal(loaded.observation[1], [1, 1.25, 1.5, 1.75])
    only = load_transitions(version, cut=Cut(observed=["height"]))
    np.testing.assert_array_equal(only.next_observation[:3], [[1.75], [2.75], [3.75]])
    assert only.observation.dtype == np.float32


def test_feeds_in_this_process_give_the_same_vectors(version):
    cut = Cut(2, 0.5, frame_stack=2, observed=("height", "position"))
    loaded = load_transitions(version, cut=cut)
    expected = {row.tobytes() for row in loaded.observation}
    windows = load_frame_windows(version, cut=cut)
    np.testing.assert_array_equal(
        cut_out(windows.frames, windows.rows).observation, loaded.observation
    )
    assert drawn(StreamFeed(version, 50, 0, cut=cut)) == expected


@pytest.mark.reverb
def test_reverb_gives_the_same_vectors(version):
    cut = Cut(2, 0.5, frame_stack=2, observed=("height", "position"))
    expected = {row.tobytes() for row in load_transitions(version, cut=cut).observation}
    with reverb.ReverbServer.from_published(version, cut=cut) as server:
        feed = reverb.ReverbFeed(server.address, 50)
        assert feed.schema.cut == cut
        assert drawn(feed) == expected


def drawn(feed) -> set[bytes]:
    """Every observation of many batches."""
    return {row.tobytes() for batch in itertools.islice(feed, 100) for row in batch.observation}


@pytest.mark.parametrize("load", [load_transitions, load_frame_windows])
def test_an_array_that_is_not_there_is_named(version, load):
    with pytest.raises(DatasetError, match=r"has no array 'velocity': name some of .*position"):
        load(version, cut=Cut(observed=("velocity",)))


def test_what_takes_one_array_says_so(version, tmp_path):
    for read_one in (load_qlearning_dataset, lambda version: to_d4rl(version, tmp_path / "a.hdf5")):
        with pytest.raises(DatasetError, match=r"several arrays, .*position, .* one is needed"):
            read_one(version)
    assert not list(tmp_path.iterdir())


def test_the_card_tells_each(version):
    *_, tail = console.drawn(card.of(version)).renderables
    assert "observation position float64 [3], height float32 [], goal float32 [2, 2]" in str(tail)


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        (
            lambda observation: observation | {"height": observation["height"][:-1]},
            "one row for each step",
        ),
        (lambda observation: observation["position"], "an observation must be .'observation/goal"),
        (lambda observation: {"position": observation["position"]}, "an observation must be"),
        (
            lambda observation: observation | {"height": observation["height"].astype(np.float64)},
            "observation/height must be float32",
        ),
        (
            lambda observation: observation | {"height": observation["height"] * np.nan},
            "must be finite .*observation/height",
        ),
    ],
    ids=["shorter", "one array", "one missing", "another dtype", "not finite"],
)
def test_an_episode_that_breaks_its_spec_is_refused(wrong, rule):
    whole = episode(0)
    check_episode(whole, SPEC)
    with pytest.raises(EpisodeError, match=rule):
        check_episode(dataclasses.replace(whole, observation=wrong(whole.observation)), SPEC)


@pytest.mark.parametrize("names", [[], [""], ["a/b"], ["a b"]])
def test_names_that_are_none_are_refused(names):
    array = dm_env.specs.Array((1,), np.float32)
    with pytest.raises(DatasetError, match="give each a name of letters"):
        EpisodeSpec(dict.fromkeys(names, array), array)


def test_an_extra_cannot_replace_one():
    with pytest.raises(DatasetError, match="'observation/position' would replace"):
        EpisodeSpec(SPEC.observation, SPEC.action, {"observation/position": SPEC.action})
