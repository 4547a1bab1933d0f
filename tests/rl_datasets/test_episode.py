"""The alignment rule, on literal numbers, and every way to break it."""

import dataclasses

import dm_env.specs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_datasets import episode as episode_lib
from rl_datasets import episode_check
from rl_datasets.episode import Episode, EpisodeError, EpisodeSpec
from rl_datasets.episode_check import check_episode
from rl_datasets.errors import DatasetError

SPEC = EpisodeSpec(
    observation=dm_env.specs.Array((2,), np.float32),
    action=dm_env.specs.BoundedArray((1,), np.float32, minimum=-1, maximum=1),
    extras={"policy_id": dm_env.specs.Array((), np.int32)},
    metadata={
        "episode_id": dm_env.specs.Array((), np.int64),
        "policy_name": dm_env.specs.StringArray(()),
    },
)


def make_episode(is_terminal: bool = True) -> Episode:
    return Episode.from_transitions(
        observation=np.array([[0, 10], [1, 11], [2, 12]], np.float32),
        action=np.array([[0.5], [-0.25]], np.float32),
        reward=np.array([1.5, 2.0]),
        is_terminal=is_terminal,
        extras={"policy_id": np.array([3, 3], np.int32)},
        metadata={"episode_id": np.int64(7), "policy_name": "random"},
    )


def test_two_transitions_are_three_steps_laid_out_by_the_rule():
    episode = make_episode(is_terminal=True)
    check_episode(episode, SPEC)
    np.testing.assert_array_equal(episode.action, [[0.5], [-0.25], [0]])
    np.testing.assert_array_equal(episode.reward, [1.5, 2.0, 0])
    np.testing.assert_array_equal(episode.discount, [1, 0, 0])
    np.testing.assert_array_equal(episode.is_first, [True, False, False])
    np.testing.assert_array_equal(episode.is_last, [False, False, True])
    np.testing.assert_array_equal(episode.is_terminal, [False, False, True])
    np.testing.assert_array_equal(episode.extras["policy_id"], [3, 3, 3])
    assert episode.num_transitions == 2
    assert episode.episode_return == 3.5


def test_a_time_limit_keeps_its_discount():
    episode = make_episode(is_terminal=False)
    check_episode(episode, SPEC)
    np.testing.assert_array_equal(episode.discount, [1, 1, 0])
    assert not episode.is_terminal.any()
    assert episode.is_last[-1]


def with_value(name: str, index: int, value) -> Episode:
    episode = make_episode()
    field = episode.steps()[name].copy()
    field[index] = value
    if name in episode.extras:
        return dataclasses.replace(episode, extras={**episode.extras, name: field})
    return dataclasses.replace(episode, **{name: field})


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (with_value("is_first", 0, False), episode_check.FIRST_IS_FIRST),
        (with_value("is_first", 1, True), episode_check.FIRST_IS_FIRST),
        (with_value("is_last", 2, False), episode_check.LAST_IS_LAST),
        (with_value("is_last", 1, True), episode_check.LAST_IS_LAST),
        (with_value("is_terminal", 1, True), episode_check.TERMINAL_IS_LAST),
        (with_value("is_terminal", 2, False), episode_check.TERMINAL_DISCOUNT),
        (with_value("discount", 1, 1), episode_check.TERMINAL_DISCOUNT),
        (with_value("discount", 0, 0), episode_check.INNER_DISCOUNT),
        (with_value("discount", 0, 1.5), episode_check.INNER_DISCOUNT),
        (with_value("discount", 2, 1), episode_check.LAST_IS_EMPTY),
        (with_value("reward", 2, 1), episode_check.LAST_IS_EMPTY),
        (with_value("action", 2, 1), episode_check.LAST_IS_EMPTY),
        (with_value("action", 0, 1.5), episode_check.OUT_OF_BOUNDS),
        (with_value("reward", 0, np.nan), episode_check.MUST_BE_FINITE),
        (with_value("observation", 2, np.inf), episode_check.MUST_BE_FINITE),
    ],
)
def test_each_rule_is_checked(broken, rule):
    with pytest.raises(EpisodeError, match=rule[:40]):
        check_episode(broken, SPEC)


def test_shapes_dtypes_and_fields_are_checked():
    episode = make_episode()
    for wrong, message in [
        ({"observation": episode.observation.astype(np.float64)}, "observation must be float32"),
        ({"observation": episode.observation[:, :1]}, "observation must be float32 of shape"),
        ({"reward": episode.reward[:2]}, episode_lib.LENGTHS_DIFFER),
        ({"extras": {}}, "exactly the fields"),
        ({"metadata": {}}, "exactly the metadata"),
        ({"metadata": {**episode.metadata, "policy_name": 3}}, "policy_name must be a str"),
        ({"metadata": {**episode.metadata, "episode_id": np.int32(1)}}, "episode_id must be int64"),
    ]:
        with pytest.raises(EpisodeError, match=message):
            check_episode(dataclasses.replace(episode, **wrong), SPEC)


@pytest.mark.parametrize("name", episode_lib.STEP_FIELDS)
def test_no_extra_stands_in_the_place_of_a_field_that_every_step_has(name):
    with pytest.raises(DatasetError, match=f"a field named '{name}' would replace"):
        dataclasses.replace(SPEC, extras={name: dm_env.specs.Array((), np.float32)})
    episode = make_episode()
    replaced = dataclasses.replace(episode, extras={**episode.extras, name: episode.steps()[name]})
    with pytest.raises(EpisodeError, match="exactly the fields"):
        check_episode(replaced, SPEC)


@pytest.mark.parametrize("name", ["steps", "steps/observation"])
def test_no_metadata_stand_in_the_place_of_the_steps(name):
    with pytest.raises(DatasetError, match=f"a field named '{name}' would replace"):
        dataclasses.replace(SPEC, metadata={name: dm_env.specs.Array((), np.float32)})


def test_an_episode_needs_a_transition_and_its_final_observation():
    for observations, actions, rule in [
        (1, 0, episode_lib.TOO_SHORT),
        (2, 2, episode_lib.LENGTHS_DIFFER),
    ]:
        with pytest.raises(EpisodeError, match=rule):
            Episode.from_transitions(
                np.zeros((observations, 2), np.float32),
                np.zeros((actions, 1), np.float32),
                np.zeros(actions),
                is_terminal=False,
            )


@given(length=st.integers(1, 20), is_terminal=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_every_laid_out_episode_obeys_the_rule_and_comes_back(length, is_terminal, seed):
    rng = np.random.default_rng(seed)
    episode = Episode.from_transitions(
        rng.normal(size=(length + 1, 2)).astype(np.float32),
        rng.uniform(-1, 1, (length, 1)).astype(np.float32),
        rng.normal(size=length),
        is_terminal=is_terminal,
        extras={"policy_id": np.full(length, 1, np.int32)},
        metadata={"episode_id": np.int64(seed), "policy_name": "random"},
    )
    check_episode(episode, SPEC)
    again = Episode.from_steps(episode.steps(), episode.metadata)
    for name, field in episode.steps().items():
        np.testing.assert_array_equal(again.steps()[name], field)
    assert again.extras.keys() == episode.extras.keys()
