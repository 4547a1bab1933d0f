"""BRAC's rule for a partially trained policy, and the loop that applies it."""

import jax
import numpy as np
import pytest

from benchmarks import online
from benchmarks.online import Evaluation, Recipe, ReplayBuffer, has_reached
from learners import sac, types
from rl_datasets.collection import policies
from rl_datasets.errors import DatasetError


def evaluations(*means: float) -> list[Evaluation]:
    return [Evaluation(5_000 * (i + 1), mean) for i, mean in enumerate(means)]


@pytest.mark.parametrize(
    ("means", "reached"),
    [
        ([], False),
        ([4100], False),
        ([3900, 4100], False),
        ([4100, 3900, 4100], False),
        ([4100, 3900], False),
        ([4000, 4000], True),
        ([100, 4100, 4050], True),
    ],
)
def test_two_evaluations_in_a_row_must_reach_the_target(means, reached):
    assert has_reached(evaluations(*means), target=4000, patience=2) is reached


def test_the_replay_buffer_overwrites_the_oldest():
    replay = ReplayBuffer(capacity=3, observation_size=1, action_size=1)
    for i in range(5):
        replay.add(
            {
                "observation": [i],
                "action": [10 * i],
                "reward": i,
                "discount": 1,
                "next_observation": [i + 1],
            }
        )
    batch = replay.sample(np.random.default_rng(0), 200)
    assert len(replay) == 3
    assert batch.observation.shape == (1, 200, 1)
    assert set(batch.reward.ravel()) == {2, 3, 4}
    np.testing.assert_array_equal(batch.action[..., 0], 10 * batch.reward)
    np.testing.assert_array_equal(batch.next_observation, batch.observation + 1)


SMALL = {
    "environment": "Pendulum-v1",
    "exploration_steps": 30,
    "evaluation_interval": 20,
    "evaluation_episodes": 1,
    "max_steps": 60,
    "batch_size": 8,
}
TINY_SAC = sac.Config(policy_sizes=(8,), critic_sizes=(8,))


def test_training_stops_at_the_rule_and_repeats_bit_for_bit():
    recipe = Recipe(target=-1e6, **SMALL)
    state, first = online.train_until_partial(recipe, TINY_SAC, seed=3)
    again, second = online.train_until_partial(recipe, TINY_SAC, seed=3)
    assert [e.step for e in first] == [20, 40]
    assert int(state.steps) == 10
    assert first == second
    for leaf, other in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(leaf, other)


def test_a_target_that_is_never_reached_is_said():
    with pytest.raises(DatasetError, match="Pendulum-v1 twice in a row within 60 steps"):
        online.train_until_partial(Recipe(target=1e6, **SMALL), TINY_SAC, seed=3)


def test_a_saved_policy_acts_like_the_learner_that_it_came_from(tmp_path, monkeypatch):
    states = []
    train = online.train_until_partial

    def train_and_keep(recipe, config, seed, report):
        state, evaluations = train(Recipe(target=-1e6, **SMALL), config, seed, report)
        states.append(state)
        return state, evaluations

    monkeypatch.setattr(online, "train_until_partial", train_and_keep)
    path = tmp_path / "policy.npz"
    online.train_and_save("Pendulum-v1", path, target=-1e6, seed=3, max_steps=60)
    minimum, maximum = np.full(1, -2, np.float32), np.full(1, 2, np.float32)
    layers = policies.load_policy(path).layers
    policy = policies.TanhGaussian(layers, minimum, maximum, mode=True)
    observation = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    learner = sac.make(
        sac.Config(critic_sizes=online.BRAC_CRITIC_SIZES), types.Spec(3, 1, minimum, maximum)
    )
    np.testing.assert_allclose(
        policy(np.random.default_rng(0), observation),
        learner.act(states[0], observation),
        atol=1e-5,
    )
