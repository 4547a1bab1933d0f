"""The evaluation, against a loop over one episode after another."""

import dm_env
import numpy as np
import pytest

from benchmarks.training.evaluation import evaluate, play
from rl_datasets.collection.environments import make_environment


def push(observation):
    """Keeps the pole up for a while, from some starts longer than from others."""
    return np.clip(3 * observation[:, 1:2] + observation[:, 3:4], -3, 3)


def plain_returns(episodes, seed):
    returns = []
    for episode_seed in np.random.SeedSequence(seed).generate_state(episodes):
        environment = make_environment("InvertedPendulum-v4", int(episode_seed))
        timestep, total, length = environment.reset(), 0.0, 0
        while not timestep.last():
            timestep = environment.step(push(timestep.observation[None])[0])
            total, length = total + timestep.reward, length + 1
        returns.append(total)
    return returns


@pytest.mark.parametrize("seed", [0, (3, 5000)])
def test_together_they_return_what_each_returns_alone(seed):
    returns = evaluate("InvertedPendulum-v4", push, 7, seed)
    assert returns.dtype == np.float64
    assert returns.tolist() == plain_returns(7, seed)
    assert len(set(returns)) > 3  # Episodes of many lengths, so that some end before others.


def test_the_batch_keeps_its_shape_while_episodes_end():
    shapes = set()

    def act(observation):
        shapes.add((observation.shape, observation.dtype))
        return push(observation)

    evaluate("InvertedPendulum-v4", act, 5, 1)
    assert shapes == {((5, 4), np.dtype(np.float32))}


def test_another_seed_starts_elsewhere():
    first, second = (evaluate("InvertedPendulum-v4", push, 4, seed) for seed in (0, 1))
    assert first.tolist() != second.tolist()


class _Counted:
    """An environment that ends at once, and counts those that are open."""

    opened = 0

    def __init__(self, seed):
        self.environment = make_environment("Pendulum-v1", seed)
        type(self).opened += 1

    def __getattr__(self, name):
        return getattr(self.environment, name)

    def step(self, action):
        return self.environment.step(action)._replace(step_type=dm_env.StepType.LAST)

    def close(self):
        type(self).opened -= 1


def test_every_environment_is_closed_even_where_the_policy_fails():
    play(_Counted, lambda observation: np.zeros((len(observation), 1)), 3, 0)
    assert _Counted.opened == 0

    def fail(observation):
        assert _Counted.opened == 3
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        play(_Counted, fail, 3, 0)
    assert _Counted.opened == 0
