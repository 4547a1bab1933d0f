"""BRAC's own files, read by this project and by hand."""

import numpy as np
import pytest
import tensorflow as tf

from rl_datasets import episode
from rl_datasets.sources import brac

DATA = "brac_testdata/data/HalfCheetah-v2/example/0/data"


def test_real_file_holds_ten_episodes_with_their_returns(shared):
    reader = tf.train.load_checkpoint(str(shared / DATA))
    reward = reader.get_tensor("data/_reward/.ATTRIBUTES/VARIABLE_VALUE").astype(np.float64)
    episodes = list(brac.read_episodes(shared / DATA))
    assert [each.num_transitions for each in episodes] == [1000] * 10
    np.testing.assert_allclose(
        [each.episode_return for each in episodes], reward.reshape(10, 1000).sum(axis=1)
    )
    np.testing.assert_array_equal(
        np.round([each.episode_return for each in episodes]),
        [-190, -298, 4524, 4521, 4283, 4461, 2604, 2361, 2289, 2374],
    )
    for each in episodes:
        episode.check_episode(each, brac.episode_spec(17, 6))
        assert not each.is_terminal[-1]


@pytest.mark.parametrize(
    ("prefix", "sizes"),
    [
        ("brac/HalfCheetah-v2/agent_partial_target", [17, 200, 200, 12]),
        ("brac/Hopper-v2/agent_partial_target", [11, 200, 200, 6]),
        ("brac/Ant-v2/agent_partial_target", [111, 200, 200, 16]),
        ("brac/Hopper-v2/pure/n1000000/bc/0/0/agent", [11, 200, 200, 6]),
        ("brac/Hopper-v2/pure/n1000000/bc/0/0/agent_behavior", [11, 200, 200, 6]),
    ],
)
def test_real_policies(shared, prefix, sizes):
    layers = brac.read_policy(shared / prefix)
    assert [kernel.shape[0] for kernel, _ in layers] + [layers[-1][1].shape[0]] == sizes
