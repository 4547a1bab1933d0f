"""N-step returns, discounting and frame stacking, by hand and against a plain loop."""

import json
import shutil
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_transitions
from rl_datasets.serving.packing import pack, pack_into, row_dtype, unpack
from rl_datasets.serving.time_limits import across_time_limits
from rl_datasets.serving.transitions import Transition, from_episode
from tests.rl_datasets.publishing import synthetic


def _episode(rewards, *, is_terminal, discounts=None, observations=None):
    length = len(rewards)
    if observations is None:
        observations = np.arange(length + 1, dtype=np.float32)[:, None]
    episode = Episode.from_transitions(
        observations,
        np.arange(length, dtype=np.float32)[:, None] * 10,
        np.asarray(rewards),
        is_terminal=is_terminal,
        extras={"policy_id": np.arange(length, dtype=np.int32)},
    )
    if discounts is not None:
        episode.discount[: length - 1] = discounts[: length - 1]
    return episode


def test_one_step_transitions_are_the_steps_of_the_episode():
    transitions = from_episode(_episode([1, 2, 4], is_terminal=True), Cut(gamma=0.9))
    np.testing.assert_array_equal(transitions.observation[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(transitions.action[:, 0], [0, 10, 20])
    np.testing.assert_array_equal(transitions.reward, np.float32([1, 2, 4]))
    np.testing.assert_array_equal(transitions.discount, np.float32([1, 1, 0]))
    np.testing.assert_array_equal(transitions.next_observation[:, 0], [1, 2, 3])
    np.testing.assert_array_equal(transitions.extras["policy_id"], [0, 1, 2])
    assert transitions.reward.dtype == transitions.discount.dtype == np.float32


def test_n_step_windows_are_shortened_at_a_time_limit_and_bootstrap_from_its_observation():
    transitions = from_episode(_episode([1, 2, 4], is_terminal=False), Cut(n_step=2, gamma=0.5))
    # 1 + 2/2, 2 + 4/2, and 4 alone; the learner brings the last factor of gamma.
    np.testing.assert_array_equal(transitions.reward, np.float32([2, 4, 4]))
    np.testing.assert_array_equal(transitions.discount, np.float32([0.5, 0.5, 1]))
    np.testing.assert_array_equal(transitions.next_observation[:, 0], [2, 3, 3])


def test_n_step_windows_that_reach_a_terminal_do_not_bootstrap():
    transitions = from_episode(_episode([1, 2, 4], is_terminal=True), Cut(n_step=2, gamma=0.5))
    np.testing.assert_array_equal(transitions.reward, np.float32([2, 4, 4]))
    np.testing.assert_array_equal(transitions.discount, np.float32([0.5, 0, 0]))


def test_inner_discounts_weigh_the_rewards_that_follow_them():
    episode = _episode([1, 2, 4, 8], is_terminal=False, discounts=[0.5, 0.25, 1.0])
    transitions = from_episode(episode, Cut(n_step=3))
    # 1 + .5*2 + .5*.25*4; 2 + .25*4 + .25*1*8; 4 + 8; 8.
    np.testing.assert_array_equal(transitions.reward, np.float32([2.5, 5, 12, 8]))
    np.testing.assert_array_equal(transitions.discount, np.float32([0.125, 0.25, 1, 1]))


@pytest.mark.parametrize("is_terminal", [False, True])
def test_next_actions_follow_their_windows_and_the_last_stands_for_the_one_never_taken(is_terminal):
    episode = _episode([1, 2, 4], is_terminal=is_terminal)
    for n_step, expected in ((1, [10, 20, 20]), (2, [20, 20, 20])):
        transitions = from_episode(episode, Cut(n_step=n_step, next_action=True))
        np.testing.assert_array_equal(transitions.extras["next_action"][:, 0], expected)
        assert transitions.extras["next_action"].dtype == episode.action.dtype
    assert set(from_episode(episode).extras) == {"policy_id"}


def test_frames_are_stacked_oldest_first_after_zeros():
    observations = np.arange(1, 5, dtype=np.uint8).reshape(4, 1, 1, 1) * np.ones(
        (1, 2, 2, 1), np.uint8
    )
    episode = _episode([0, 0, 0], is_terminal=False, observations=observations)
    transitions = from_episode(episode, Cut(frame_stack=3))
    assert transitions.observation.shape == (3, 2, 2, 3)
    assert transitions.observation.dtype == np.uint8
    np.testing.assert_array_equal(
        transitions.observation[:, 0, 1], [[0, 0, 1], [0, 1, 2], [1, 2, 3]]
    )
    np.testing.assert_array_equal(
        transitions.next_observation[:, 1, 0], [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    )


def test_scalar_observations_are_stacked_into_vectors():
    observations = np.arange(1, 4, dtype=np.int32)
    episode = _episode([0, 0], is_terminal=False, observations=observations)
    np.testing.assert_array_equal(
        from_episode(episode, Cut(frame_stack=2)).observation, [[0, 1], [1, 2]]
    )


@pytest.mark.parametrize("option", ["n_step", "frame_stack"])
def test_windows_below_one_are_refused(option):
    with pytest.raises(ValueError, match=option):
        from_episode(_episode([1], is_terminal=True), Cut(**{option: 0}))


def _one_transition(episode, t, n_step, gamma, frame_stack):
    """The definition, one step at a time."""
    total, weight, steps = 0.0, 1.0, 0
    while steps < n_step and t + steps < episode.num_transitions:
        if steps:
            weight *= gamma
        total += weight * float(episode.reward[t + steps])
        weight *= float(episode.discount[t + steps])
        steps += 1

    def stack(index):
        return np.concatenate(
            [
                episode.observation[i] if i >= 0 else np.zeros_like(episode.observation[0])
                for i in range(index - frame_stack + 1, index + 1)
            ],
            axis=-1,
        )

    return stack(t), total, weight, stack(t + steps)


@hypothesis.given(
    rewards=st.lists(st.floats(-10, 10, width=32), min_size=1, max_size=12),
    discounts=st.lists(st.floats(0.125, 1, width=32), min_size=12, max_size=12),
    is_terminal=st.booleans(),
    n_step=st.integers(1, 15),
    gamma=st.floats(0, 1),
    frame_stack=st.integers(1, 5),
)
@hypothesis.settings(max_examples=100, deadline=None)
def test_every_transition_obeys_the_definition(
    rewards, discounts, is_terminal, n_step, gamma, frame_stack
):
    episode = _episode(
        rewards,
        is_terminal=is_terminal,
        discounts=discounts,
        observations=np.arange(1, 2 * len(rewards) + 3, dtype=np.float32).reshape(-1, 2),
    )
    transitions = from_episode(episode, Cut(n_step=n_step, gamma=gamma, frame_stack=frame_stack))
    for t in range(episode.num_transitions):
        observation, reward, discount, following = _one_transition(
            episode, t, n_step, gamma, frame_stack
        )
        np.testing.assert_array_equal(transitions.observation[t], observation)
        np.testing.assert_allclose(transitions.reward[t], reward, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(transitions.discount[t], discount, rtol=1e-6, atol=1e-30)
        np.testing.assert_array_equal(transitions.next_observation[t], following)


def _stored(rewards, terminals):
    rows = np.arange(len(rewards), dtype=np.float32)[:, None]
    discount = 1 - np.asarray(terminals, np.float32)
    return Transition(rows, -rows, np.asarray(rewards, np.float32), discount, 10 + rows, {})


def test_windows_across_time_limits_are_those_that_tianshou_gives():
    """The numbers are what release 2.0.1 makes of these rows, `from_data` and the n-step return."""
    stored = _stored([1, 2, 4, 8, 16, 32], [0, 0, 1, 0, 0, 0])
    windows = across_time_limits(stored, n_step=3, gamma=0.5)
    np.testing.assert_array_equal(windows.reward, [1.75, 4, 4, 24, 32, 32])
    np.testing.assert_array_equal(windows.discount, [0.25, 0, 0, 0.25, 0.5, 1])
    np.testing.assert_array_equal(windows.next_observation[[0, 3, 4, 5], 0], [10, 15, 10, 10])
    np.testing.assert_array_equal(windows.observation, stored.observation)
    np.testing.assert_array_equal(windows.action, stored.action)


def _by_pointer(stored, start, n_step, gamma):
    """Tianshou's window from one row: it is collected first, and cut afterwards."""
    visited = [start]
    while len(visited) < n_step:
        row = visited[-1]
        stays = stored.discount[row] == 0 or row == 0
        visited.append(row if stays else (row + 1) % len(stored.reward))
    kept = []
    for row in visited:
        kept.append(row)
        if stored.discount[row] == 0 or row == len(stored.reward) - 1:
            break
    reward = sum(gamma**k * float(stored.reward[row]) for k, row in enumerate(kept))
    last = visited[-1]
    discount = gamma ** (len(kept) - 1) * stored.discount[last]
    return reward, discount, stored.next_observation[last]


@hypothesis.given(
    terminals=st.lists(st.booleans(), min_size=1, max_size=12),
    n_step=st.integers(1, 5),
    gamma=st.sampled_from([0.5, 0.99]),
)
@hypothesis.settings(max_examples=100, deadline=None)
def test_every_window_across_time_limits_is_cut_row_by_row(terminals, n_step, gamma):
    stored = _stored(np.random.default_rng(0).normal(size=len(terminals)), terminals)
    windows = across_time_limits(stored, n_step, gamma)
    rows = [_by_pointer(stored, start, n_step, gamma) for start in range(len(terminals))]
    reward, discount, following = map(np.array, zip(*rows, strict=True))
    np.testing.assert_allclose(windows.reward, reward, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(windows.discount, discount, rtol=1e-6)
    np.testing.assert_array_equal(windows.next_observation, following)


def test_windows_across_time_limits_of_one_step_are_what_is_stored():
    stored = _stored([1, 2, 4], [0, 1, 0])
    for ours, theirs in zip(across_time_limits(stored, 1, 0.5)[:5], stored[:5], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match="n_step and frame_stack must be at least 1, got 0"):
        across_time_limits(stored, 0, 0.5)


def test_rows_hold_every_field_bit_for_bit():
    transitions = from_episode(_episode([1, 2, np.float32(0.1)], is_terminal=True))
    rows = pack(transitions)
    assert rows.shape == (3,)
    assert rows.dtype == row_dtype(transitions)
    assert rows.dtype.itemsize == 4 * (1 + 1 + 1 + 1 + 1 + 1)
    unpacked = unpack(rows.reshape(3, 1))
    np.testing.assert_array_equal(unpacked.reward[:, 0], transitions.reward)
    np.testing.assert_array_equal(unpacked.observation[:, 0], transitions.observation)
    np.testing.assert_array_equal(unpacked.extras["policy_id"][:, 0], [0, 1, 2])


def test_rows_refuse_an_episode_of_other_fields():
    rows = pack(from_episode(_episode([1, 2], is_terminal=True)))
    wider = _episode([1, 2], is_terminal=True, observations=np.zeros((3, 2), np.float32))
    with pytest.raises(DatasetError, match="same fields"):
        pack_into(rows, from_episode(wider))


def test_packing_views_of_rows_gives_the_rows_themselves():
    rows = pack(from_episode(_episode([1, 2, 4], is_terminal=True)))
    assert pack(unpack(rows)) is rows
    reversed_views = unpack(rows[::-1])
    assert pack(reversed_views) is not rows
    np.testing.assert_array_equal(pack(reversed_views), rows[::-1])


def test_a_published_version_is_loaded_whole_in_its_order(published):
    loaded = load_transitions(published, cut=Cut(n_step=3, gamma=0.9, frame_stack=2))
    expected = [
        from_episode(episode, Cut(n_step=3, gamma=0.9, frame_stack=2))
        for episode in map(synthetic.episode, range(12))
    ]
    for name in ("observation", "action", "reward", "discount", "next_observation"):
        np.testing.assert_array_equal(
            getattr(loaded, name), np.concatenate([getattr(e, name) for e in expected]), name
        )
    for name in ("policy_id", "goal", "frame"):
        extra = np.concatenate([e.extras[name] for e in expected])
        np.testing.assert_array_equal(loaded.extras[name], extra)
        assert loaded.extras[name].dtype == extra.dtype
    assert loaded.observation.shape[1] == 2 * 3


def test_a_published_version_is_loaded_with_its_next_actions(published):
    loaded = load_transitions(published, cut=Cut(next_action=True))
    expected = [from_episode(synthetic.episode(i), Cut(next_action=True)) for i in range(12)]
    following = np.concatenate([e.extras["next_action"] for e in expected])
    np.testing.assert_array_equal(loaded.extras["next_action"], following)
    assert np.any(following != loaded.action)
    assert "next_action" not in load_transitions(published).extras


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_version_that_does_not_hold_what_its_manifest_says_is_refused(
    published, tmp_path, difference
):
    copy = shutil.copytree(published, tmp_path / "copy")
    manifest = json.loads((copy / "MANIFEST.json").read_text())
    manifest["splits"]["train"]["transitions"] += difference
    (copy / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match="holds 12 episodes with 57 transitions, not 12 "):
        load_transitions(copy)


def test_a_split_that_is_not_there_is_refused(published):
    with pytest.raises(DatasetError, match=r"no split 'test'; it has \['train'\]"):
        load_transitions(published, split="test")


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"no MANIFEST\.json"):
        load_transitions(tmp_path)


def test_a_learner_needs_neither_tensorflow_nor_reverb():
    code = (
        "import sys; import rl_datasets.serving.arrays\n"
        "print([m for m in ('tensorflow', 'reverb', 'rich', 'dm_env') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
