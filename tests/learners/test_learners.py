"""What every learner promises, whatever its algorithm."""

import functools
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import (
    bc,
    bcq,
    bear,
    brac_bc,
    brac_dual,
    brac_primal,
    cql,
    iql,
    rebrac,
    sac,
    td3_bc,
    training,
)
from learners.types import Spec
from tests.learners import plain

SPEC = Spec(3, 2, np.array([-1.0, -2.0]), 2.0)
CONFIGS = {
    bc: bc.Config(hidden_sizes=(16, 16)),
    bcq: bcq.Config((24, 24), (16, 16), (16, 16)),
    bear: bear.Config(policy_sizes=(16, 16), critic_sizes=(24, 24), warm_start=2),
    brac_bc: brac_bc.Config(hidden_sizes=(16, 16)),
    brac_dual: brac_dual.Config(
        policy_sizes=(16, 16),
        critic_sizes=(24, 24),
        policy_learning_rate=3e-4,
        value_penalty=True,
        discriminator_sizes=(16, 16),
        discriminator_steps=2,
        warm_start=2,
    ),
    brac_primal: brac_primal.Config(policy_sizes=(16, 16), critic_sizes=(24, 24), warm_start=2),
    cql: cql.Config(hidden_sizes=(16, 16), lagrange_threshold=1.0, cloning_steps=2),
    iql: iql.Config(hidden_sizes=(16, 16)),
    rebrac: rebrac.Config(hidden_sizes=(16, 16)),
    sac: sac.Config(policy_sizes=(16, 16), critic_sizes=(24, 24)),
    td3_bc: td3_bc.Config(hidden_sizes=(16, 16)),
}
every_algorithm = pytest.mark.parametrize(
    "algorithm", CONFIGS, ids=lambda module: module.__name__.rpartition(".")[2]
)


@functools.cache  # so that tests share what is compiled
def make(algorithm):
    learner = algorithm.make(CONFIGS[algorithm], SPEC)
    if not hasattr(algorithm, "with_behavior"):
        return learner
    behavior = learner.init(jax.random.PRNGKey(99)).params.policy
    return learner._replace(init=lambda key: algorithm.with_behavior(learner.init(key), behavior))


@every_algorithm
def test_state_is_a_pytree_of_arrays(algorithm):
    state = make(algorithm).init(jax.random.PRNGKey(0))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert all(np.asarray(leaf).dtype.kind in "fiu" for leaf in jax.tree.leaves(state))
    assert state.key.dtype == np.uint32


@every_algorithm
@pytest.mark.parametrize("wrapped", ["as it is", "over seeds", "on normalized observations"])
def test_one_batch_in_the_place_of_several_is_refused(algorithm, wrapped):
    """Of axes [B], or over seeds [S, B]: what an `ArrayFeed` without `steps` gives."""
    learner = make(algorithm)
    batch = plain.at(plain.random_batches(2, 16, 3, 2), 0)
    state = learner.init(jax.random.PRNGKey(0))
    if wrapped == "over seeds":
        learner = training.over_seeds(learner)
        state, batch = jax.tree.map(lambda x: jnp.stack([x, x]), (state, batch))
    elif wrapped == "on normalized observations":
        learner = training.on_normalized_observations(learner, SPEC)
    with pytest.raises(ValueError, match=r"takes K batches at once, \[K, B, ...\].*shape \[16\]"):
        learner.update(state, batch)


@every_algorithm
def test_restored_run_goes_on_bit_for_bit(algorithm):
    batches = plain.random_batches(8, 16, 3, 2)
    first, second = plain.at(batches, slice(4)), plain.at(batches, slice(4, 8))
    learner = make(algorithm)
    state, _ = learner.update(learner.init(jax.random.PRNGKey(3)), first)
    saved = plain.copy(state)
    through, _ = learner.update(state, second)

    restored = jax.tree.map(jnp.asarray, saved)
    anew, _ = learner.update(restored, second)
    plain.assert_equal(anew, through)

    # Nothing that a step needs is outside the state: how steps are cut into calls is all the same.
    at_once, _ = learner.update(learner.init(jax.random.PRNGKey(3)), batches)
    plain.assert_equal(at_once, through)
    assert at_once.steps == 8


@every_algorithm
def test_same_key_same_run_and_another_key_another(algorithm):
    batches = plain.random_batches(4, 16, 3, 2)
    learner = make(algorithm)
    runs = [learner.update(learner.init(jax.random.PRNGKey(s)), batches)[0] for s in (0, 0, 1)]
    plain.assert_equal(runs[0], runs[1])
    assert plain.moved(runs[2].params, plain.copy(runs[0].params)) > 1e-2


@every_algorithm
def test_many_seeds_at_once_are_the_seeds_one_by_one(algorithm):
    learner = make(algorithm)
    together = training.over_seeds(learner)
    keys = jax.random.split(jax.random.PRNGKey(7), 3)
    batches = [plain.random_batches(4, 16, 3, 2, seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
    states, metrics = together.update(together.init(keys), stacked)
    observations = stacked.observation[:, 0]
    for s in range(3):
        state, alone = learner.update(learner.init(keys[s]), batches[s])
        plain.assert_close(plain.at(states, s), state, rtol=1e-3, atol=1e-5)
        plain.assert_close(plain.at(metrics, s), alone, rtol=1e-3, atol=1e-5)
        plain.assert_close(
            together.act(states, observations)[s],
            learner.act(state, observations[s]),
            rtol=1e-3,
            atol=1e-4,
        )


@every_algorithm
def test_metrics_are_means_over_the_steps_of_an_update(algorithm):
    batches = plain.random_batches(8, 16, 3, 2)
    learner = make(algorithm)
    state, all_metrics = learner.update(learner.init(jax.random.PRNGKey(0)), batches)
    state, halves = learner.init(jax.random.PRNGKey(0)), []
    for half in (slice(4), slice(4, 8)):
        state, metrics = learner.update(state, plain.at(batches, half))
        halves.append(metrics)
    assert all_metrics
    for name, value in all_metrics.items():
        expected = (halves[0][name] + halves[1][name]) / 2
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)


@every_algorithm
def test_actions_keep_to_the_bounds(algorithm):
    learner = make(algorithm)
    state = learner.init(jax.random.PRNGKey(0))
    observation = 100 * plain.random_batches(1, 64, 3, 2).observation[0]
    actions = [policy(state, observation) for policy in learner.policies.values()]
    # Functions of the state and of the observation, whatever else is in the batch.
    one = slice(7, 8)
    for policy, action in zip(learner.policies.values(), actions, strict=True):
        plain.assert_close(policy(state, observation[one]), action[one], rtol=1e-4, atol=1e-5)
    if learner.sample:
        samples = [learner.sample(state, jax.random.PRNGKey(k), observation) for k in (0, 0, 1)]
        np.testing.assert_array_equal(samples[0], samples[1])
        assert np.any(np.asarray(samples[0]) != np.asarray(samples[2]))
        actions += samples
    for action in map(np.asarray, actions):
        assert action.shape == (64, 2)
        assert action.dtype == np.float32
        assert np.all(action >= [-1, -2])
        assert np.all(action <= 2)
    assert np.std(actions[0]) > 0.1


@pytest.mark.parametrize("algorithm", [bc, brac_bc])
def test_cloning_learns_the_policy_that_acted(algorithm):
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 2))

    def policy(observation):
        return 0.5 + np.array([1.5, 2.0]) * np.tanh(observation @ weights) - [0, 0.5]

    learner = algorithm.make(
        type(CONFIGS[algorithm])(hidden_sizes=(32, 32), learning_rate=3e-3), SPEC
    )
    state = learner.init(jax.random.PRNGKey(0))
    batches = plain.random_batches(800, 64, 3, 2)
    batches = batches._replace(action=policy(batches.observation).astype(np.float32))
    test = rng.normal(size=(256, 3)).astype(np.float32)
    before = np.mean(np.abs(learner.act(state, test) - policy(test)))
    state, _ = learner.update(state, batches)
    after = np.mean(np.abs(learner.act(state, test) - policy(test)))
    assert before > 0.4
    assert after < 0.1


@pytest.mark.parametrize("algorithm", [cql, iql, rebrac, sac, td3_bc])
def test_control_learns_to_take_the_rewarded_action(algorithm):
    """One-step episodes; the reward is highest at half the first observation, data are uniform."""
    rng = np.random.default_rng(0)
    observation = rng.uniform(-1, 1, size=(1200, 64, 2)).astype(np.float32)
    action = rng.uniform(-1, 1, size=(1200, 64, 1)).astype(np.float32)
    reward = -20 * np.square(action[..., 0] - 0.5 * observation[..., 0])
    extras = {"next_action": action}
    batches = plain.Batch(observation, action, reward, 0 * reward, observation, extras)
    config = {
        cql: cql.Config(
            hidden_sizes=(32, 32),
            policy_learning_rate=3e-3,
            critic_learning_rate=3e-3,
            weight=0.1,  # data of all actions need no caution
            cloning_steps=0,
        ),
        iql: iql.Config(hidden_sizes=(32, 32), learning_rate=3e-3),
        rebrac: rebrac.Config(
            hidden_sizes=(32, 32), policy_learning_rate=3e-3, critic_learning_rate=3e-3
        ),
        sac: sac.Config(policy_sizes=(32, 32), critic_sizes=(32, 32), learning_rate=3e-3),
        # A weight of Q far above the paper's: uniform data are not worth cloning.
        td3_bc: td3_bc.Config(hidden_sizes=(32, 32), learning_rate=3e-3, alpha=100.0),
    }[algorithm]
    learner = algorithm.make(config, Spec(2, 1))
    state = learner.init(jax.random.PRNGKey(0))
    error = []
    for _ in range(2):
        mode = learner.act(state, observation[0])[:, 0]
        error.append(np.mean(np.abs(mode - 0.5 * observation[0, :, 0])))
        if len(error) == 1:
            state, _ = learner.update(state, batches)
    assert error[0] > 0.1
    assert error[1] < 0.06


def test_brac_bc_drives_the_entropy_to_its_target():
    learner = brac_bc.make(brac_bc.Config(hidden_sizes=(16, 16), learning_rate=3e-3), SPEC)
    batches = plain.random_batches(500, 64, 3, 2)
    batches = batches._replace(action=np.zeros_like(batches.action))  # one action: no entropy
    state = learner.init(jax.random.PRNGKey(0))
    for _ in range(5):
        state, metrics = learner.update(state, batches)
    assert metrics["alpha"] > 0.5
    assert metrics["entropy"] == pytest.approx(-2.0, abs=0.3)


@pytest.mark.tensorflow
def test_brac_bc_evaluates_a_published_agent_as_numpy_does(shared):
    """BRAC's own weights in our actor, against the network written out in float64."""
    brac = pytest.importorskip("rl_datasets.sources.brac")
    spec = Spec(17, 6)
    learner = brac_bc.make(brac_bc.Config(), spec)
    state = learner.init(jax.random.PRNGKey(0))
    observation = np.random.default_rng(0).normal(size=(100, 17)).astype(np.float32)
    folder = shared / "brac" / "HalfCheetah-v2"
    for dataset, seed in (("pure", 0), ("eps3", 4)):
        layers = brac.read_policy(folder / dataset / "n1000000" / "bc" / "0" / str(seed) / "agent")
        (w0, b0), (w1, b1), (w2, b2) = layers
        weights = {
            "hidden_0": {"w": w0, "b": b0},
            "hidden_1": {"w": w1, "b": b1},
            "head": {"w": w2.T, "b": b2},
        }
        assert jax.tree.map(np.shape, weights) == jax.tree.map(np.shape, state.params.policy)
        loaded = state._replace(params=state.params._replace(policy=weights))

        hidden = np.maximum(observation.astype(np.float64) @ w0 + b0, 0)
        hidden = np.maximum(hidden @ w1 + b1, 0)
        expected = np.tanh((hidden @ w2 + b2)[:, :6])
        assert np.std(expected) > 0.3
        np.testing.assert_allclose(learner.act(loaded, observation), expected, atol=2e-5)


def test_learners_need_jax_alone():
    """No TensorFlow, no Reverb, no environment, nothing of the rest of the project."""
    code = (
        f"import sys, {', '.join(module.__name__ for module in CONFIGS)}\n"
        "heavy = {'tensorflow', 'reverb', 'gymnasium', 'apache_beam', 'rl_datasets', 'torch'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    root = pathlib.Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
