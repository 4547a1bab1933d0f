"""A checkpoint gives back every bit of what it was given, and refuses what it is not."""

import jax
import numpy as np
import pytest

from benchmarks.training import checkpoint
from learners import bc, qr_dqn
from learners.types import DiscreteSpec, Spec
from rl_datasets.errors import DatasetError

ANEW = "remove it"


def state_of(hidden_size: int = 8, seed: int = 0):
    config = bc.Config(hidden_sizes=(hidden_size,))
    return bc.make(config, Spec(3, 1)).init(jax.random.PRNGKey(seed))


@pytest.mark.parametrize(
    "make",
    [
        state_of,
        lambda seed: qr_dqn.make(qr_dqn.Config(), DiscreteSpec(6)).init(jax.random.PRNGKey(seed)),
        lambda seed: {
            "bits": np.array([np.nan, -0.0, np.inf], np.float32),
            "wide": np.array([0.1 + seed]),
            "count": np.int32(2**31 - 1 - seed),
            "key": jax.random.PRNGKey(seed),
            "none": None,
        },
    ],
)
def test_every_bit_comes_back(tmp_path, make):
    kept, other = make(seed=0), make(seed=1)
    arrays = {"actions": np.zeros((0, 2), np.float32)}
    checkpoint.save(tmp_path / "c.npz", kept, {"step": 3, "rng": {"state": 2**100}}, arrays)
    state, facts, others = checkpoint.restore(tmp_path / "c.npz", other, ANEW)
    assert jax.tree.structure(state) == jax.tree.structure(kept)
    for ours, theirs in zip(jax.tree.leaves(state), jax.tree.leaves(kept), strict=True):
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()
    assert facts == {"step": 3, "rng": {"state": 2**100}}
    assert {name: each.shape for name, each in others.items()} == {"actions": (0, 2)}
    assert checkpoint.facts_of(tmp_path / "c.npz", ANEW) == facts


@pytest.mark.parametrize(
    ("kept", "initial"),
    [
        ({"a": np.zeros(3)}, {"a": np.zeros(4)}),
        ({"a": np.zeros(3)}, {"a": np.zeros(3, np.float32)}),
        ({"a": np.zeros(3)}, {"b": np.zeros(3)}),
        ({"a": np.zeros(3), "b": np.zeros(3)}, {"a": np.zeros(3)}),
    ],
)
def test_the_state_of_another_learner_is_refused(tmp_path, kept, initial):
    checkpoint.save(tmp_path / "c.npz", kept, {})
    with pytest.raises(DatasetError, match=r"c\.npz holds the state of another learner: remove it"):
        checkpoint.restore(tmp_path / "c.npz", initial, ANEW)


def test_a_damaged_file_is_named(tmp_path):
    checkpoint.save(tmp_path / "c.npz", state_of(), {})
    content = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match=r"c\.npz is truncated, damaged .*: remove it"):
        checkpoint.restore(tmp_path / "c.npz", state_of(), ANEW)
    with pytest.raises(DatasetError, match=r"d\.npz does not exist: remove it"):
        checkpoint.restore(tmp_path / "d.npz", state_of(), ANEW)
