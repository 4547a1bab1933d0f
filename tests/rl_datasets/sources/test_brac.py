"""BRAC's own files, read by this project and by hand."""

import numpy as np
import pytest

from rl_datasets import episode_check, errors
from rl_datasets.sources import brac
from tests.optional import optional

tf = optional("tensorflow")
pytestmark = pytest.mark.tensorflow

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
        episode_check.check_episode(each, brac.episode_spec(17, 6))
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


def write_policy(prefix, layers, key="policy"):
    root = tf.Module()
    root._layers = [tf.Module() for _ in layers]
    for module, (kernel, bias) in zip(root._layers, layers, strict=True):
        module.kernel, module.bias = tf.Variable(kernel), tf.Variable(bias)
    tf.train.Checkpoint(**{key: root}).write(str(prefix))
    return prefix


def write_data(prefix, **changes):
    """Saves transitions as BRAC does: three episodes, of 3, 2 and 2 transitions."""
    state = np.array([[0, 1, 2, 3], [10, 11, 12, -1], [20, 21, 22, -1]], np.float32)
    starts = np.array([0, 1, 2, 10, 11, 20, 21, 99], np.float32)  # The last row is unused room.
    ends = np.array([1, 2, 3, 11, 12, 21, 22, 0], np.float32)
    assert {*starts[:-1], *ends[:-1]} <= set(state.ravel())
    fields = {
        "s1": np.stack([starts, -starts], axis=1),
        "s2": np.stack([ends, -ends], axis=1),
        "a1": np.linspace(-1, 1, 8, dtype=np.float32)[:, None],
        "a2": np.zeros((8, 1), np.float32),
        "reward": np.arange(8, dtype=np.float32),
        "discount": np.array([1, 1, 0, 1, 1, 1, 1, 1], np.float32),
        "current_size": np.int32(7),
        "current_idx": np.int32(7),
        "capacity": np.int32(8),
        **changes,
    }
    data = tf.Module()
    for name, value in fields.items():
        if value is not None:
            setattr(data, f"_{name}", tf.Variable(value))
    tf.train.Checkpoint(data=data).write(str(prefix))
    return prefix


def test_episodes_by_hand(tmp_path):
    first, second, third = brac.read_episodes(write_data(tmp_path / "data"))
    np.testing.assert_array_equal(first.observation, [[0, 0], [1, -1], [2, -2], [3, -3]])
    np.testing.assert_array_equal(first.reward, [0, 1, 2, 0])
    np.testing.assert_array_equal(first.discount, [1, 1, 0, 0])
    assert first.is_terminal[-1]
    np.testing.assert_array_equal(second.observation[:, 0], [10, 11, 12])
    np.testing.assert_array_equal(second.discount, [1, 1, 0])
    assert not second.is_terminal[-1]
    np.testing.assert_array_equal(third.reward, [5, 6, 0])  # Cut at the end of the file.
    assert not third.is_terminal[-1]
    for number, each in enumerate([first, second, third]):
        assert each.metadata == {"episode_id": number}
        np.testing.assert_array_equal(each.extras["policy_id"], brac.UNKNOWN_POLICY)
        episode_check.check_episode(each, brac.episode_spec(2, 1))


def test_a_terminal_ends_the_episode_even_where_the_states_meet(tmp_path):
    discount = np.array([1, 0, 1, 1, 1, 1, 1, 1], np.float32)
    episodes = list(brac.read_episodes(write_data(tmp_path / "data", discount=discount)))
    assert [each.num_transitions for each in episodes] == [2, 1, 2, 2]


def with_value(array, row, value):
    array = np.array(array, np.float32)
    array[row] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"s2": np.zeros((8, 3), np.float32)}, "data/_s2 must be float32 with 2 axes"),
        ({"s2": np.zeros((7, 2), np.float32)}, "data/_s2 must be float32 with 2 axes"),
        ({"s1": np.zeros((7, 2), np.float32)}, "data/_s1 must be float32 with 2 axes and 8 rows"),
        ({"s1": np.float32(0)}, "data/_s1 must be float32 with 2 axes and 8 rows"),
        ({"current_size": np.array([8, 8], np.int32)}, "holds .8 8. transitions"),
        ({"s2": np.ones((8, 2), np.float32)}, "after 5 of 5 rows whose discount is 1"),
        ({"a1": np.zeros(8, np.float32)}, "data/_a1 must be float32 with 2 axes"),
        ({"reward": np.zeros((8, 1), np.float32)}, "data/_reward must be float32 with 1 axes"),
        ({"reward": np.zeros(8)}, "got float64"),
        ({"reward": with_value(np.zeros(8), 4, np.nan)}, "data/_reward .* not finite in row 4"),
        ({"s1": with_value(np.zeros((8, 2)), 2, np.inf)}, "data/_s1 .* not finite in row 2"),
        ({"discount": np.full(8, 0.99, np.float32)}, "data/_discount must be 0 or 1"),
        ({"current_size": np.int32(0)}, "holds 0 transitions and has room for 8"),
        ({"current_size": np.int32(9)}, "holds 9 transitions and has room for 8"),
        ({"a1": None}, "has no variable 'data/_a1'"),
    ],
)
def test_bad_data_is_named(tmp_path, changes, message):
    prefix = write_data(tmp_path / "data", **changes)
    with pytest.raises(errors.DatasetError, match=f"{prefix}.*{message}"):
        list(brac.read_episodes(prefix))


def test_nan_in_unused_room_is_no_fault(tmp_path):
    reward = with_value(np.zeros(8), 7, np.nan)
    assert len(list(brac.read_episodes(write_data(tmp_path / "data", reward=reward)))) == 3


def layer(inputs, outputs, value=0.5, dtype=np.float32):
    return np.full((inputs, outputs), value, dtype), np.zeros(outputs, dtype)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([layer(3, 5), layer(4, 2)], "layer 1 .* do not match"),
        ([(np.zeros((3, 5), np.float32), np.zeros(4, np.float32))], "layer 0 .* do not match"),
        ([layer(3, 5), layer(5, 2, np.nan)], "layer 1 .* not finite"),
        ([layer(3, 5, dtype=np.float64)], "layer 0 .* must be float32"),
    ],
)
def test_bad_policy_is_named(tmp_path, layers, message):
    prefix = write_policy(tmp_path / "agent", layers)
    with pytest.raises(errors.DatasetError, match=f"{prefix}.*{message}"):
        brac.read_policy(prefix)


def test_policy_round_trip(tmp_path):
    layers = [layer(3, 5), layer(5, 4, 0.25)]
    read = brac.read_policy(write_policy(tmp_path / "agent", layers))
    for (kernel, bias), (read_kernel, read_bias) in zip(layers, read, strict=True):
        np.testing.assert_array_equal(kernel, read_kernel)
        np.testing.assert_array_equal(bias, read_bias)


def test_a_checkpoint_of_something_else(tmp_path):
    prefix = write_policy(tmp_path / "agent", [layer(3, 5)], key="critic")
    with pytest.raises(errors.DatasetError, match="no variable policy/_layers/0/kernel"):
        brac.read_policy(prefix)
    with pytest.raises(errors.DatasetError, match="no variable 'data/_current_size'"):
        list(brac.read_episodes(prefix))
