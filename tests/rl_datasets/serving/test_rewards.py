"""Rewards rescaled: the trajectories that returns are of, and the range by hand."""

import h5py
import jax.numpy as jnp
import numpy as np
import pytest

from rl_datasets.errors import DatasetError
from rl_datasets.serving.rewards import rescaled, return_range
from rl_datasets.serving.transitions import Transition


def transitions(*trajectories: tuple[list[float], list[float], float]) -> Transition:
    """Of trajectories, each its observations (one number), its rewards and its last discount."""
    rows = [
        (observations[t], reward, last if t == len(rewards) - 1 else 1.0, observations[t + 1])
        for observations, rewards, last in trajectories
        for t, reward in enumerate(rewards)
    ]
    observation, reward, discount, following = np.array(rows, np.float32).T
    return Transition(
        observation[:, None], np.zeros((len(rows), 1)), reward, discount, following[:, None], {}
    )


TERMINAL = ([0, 1, 2], [1.0, 2.0], 0.0)  # returns 3, and the next begins where it ended
TIMED_OUT = ([2, 3, 4, 5], [5.0, 5.0, -1.0], 1.0)  # returns 9
LAST = ([7, 8], [-2.0], 1.0)  # returns -2


def test_the_range_is_of_whole_trajectories():
    assert return_range([transitions(TERMINAL, TIMED_OUT, LAST)]) == 9 - -2
    assert return_range([transitions(TIMED_OUT, TERMINAL)]) == 9 - 3
    assert return_range([transitions(LAST, TERMINAL)]) == 3 - -2


def test_a_trajectory_goes_on_where_observations_do():
    # Without a terminal between them, and no jump, two trajectories are one: 3 + 9 less -2.
    joined = (TERMINAL[0], TERMINAL[1], 1.0)
    assert return_range([transitions(joined, TIMED_OUT, LAST)]) == 12 - -2


def test_trajectories_may_come_in_pieces():
    whole = transitions(TERMINAL, TIMED_OUT, LAST)
    for cut in range(1, 6):  # between trajectories, and within each that is longer than one step
        parts = slice(None, cut), slice(cut, None)
        pieces = [Transition(*(f[part] for f in whole[:-1]), {}) for part in parts]
        assert return_range(pieces) == 9 - -2
    single = [Transition(*(f[t : t + 1] for f in whole[:-1]), {}) for t in range(6)]
    assert return_range(iter(single)) == 9 - -2


def test_returns_add_up_in_double_precision():
    # 2^24 + 1 is no float32: added up in single precision, the ones would be lost.
    long = ([0, 1, 2, 3], [2.0**24, 1.0, 1.0], 0.0)
    assert return_range([transitions(long, LAST)]) == 2**24 + 2 - -2


@pytest.mark.parametrize("data", [[LAST], [TERMINAL, TERMINAL]])
def test_returns_without_a_range_are_refused(data):
    with pytest.raises(DatasetError, match=r"return -?\d, .* give reward_scale a number"):
        return_range([transitions(*data)])


def test_the_range_of_d4rl_s_own_file(shared):
    """The first two episodes of hopper-medium-v2, whose rewards are added up from the file."""
    with h5py.File(shared / "d4rl" / "hopper_medium-v2.hdf5") as file:
        file = {name: file[name][:] for name in file if name != "metadata" and name != "infos"}
    is_last = file["terminals"] | file["timeouts"]
    first, second = np.flatnonzero(is_last)[:2]
    returns = [
        float(file["rewards"][: first + 1].sum(dtype=np.float64)),
        float(file["rewards"][first + 1 : second + 1].sum(dtype=np.float64)),
    ]
    rows = slice(None, second + 1)
    data = Transition(
        file["observations"][rows], file["actions"][rows], file["rewards"][rows],
        1.0 - file["terminals"][rows], file["next_observations"][rows], {},
    )  # fmt: skip
    assert return_range([data]) == pytest.approx(abs(returns[0] - returns[1]), rel=1e-6)


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_rewards_are_rescaled_and_nothing_else(array):
    data = transitions(TERMINAL, LAST)
    data = data._replace(reward=array(data.reward))
    result = rescaled(data, scale=10.0, bias=-5.0)
    np.testing.assert_array_equal(result.reward, np.array([5.0, 15.0, -25.0], np.float32))
    assert result.reward.dtype == np.float32
    assert result._replace(reward=None) == data._replace(reward=None)
    np.testing.assert_array_equal(data.reward, [1.0, 2.0, -2.0])


def test_rewards_as_they_are_stay_the_same_array():
    data = transitions(TERMINAL)
    assert rescaled(data, 1.0, 0.0) is data
