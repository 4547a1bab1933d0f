"""DQN and QR-DQN: their losses by hand, their optimiser against others' code."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from learners import c51, dqn, ensemble_dqn, image_networks, networks, qr_dqn, rem, training
from learners.types import DiscreteSpec
from tests.learners import plain

SPEC = DiscreteSpec(3, (12, 12, 2))
CONFIGS = {
    dqn: dqn.Config(target_period=3),
    qr_dqn: qr_dqn.Config(num_quantiles=5, target_period=3),
    c51: c51.Config(num_atoms=5, target_period=3),
    ensemble_dqn: ensemble_dqn.Config(num_heads=4, target_period=3),
    rem: rem.Config(num_heads=2, are_networks=True, target_period=3),
}
every_algorithm = pytest.mark.parametrize(
    "algorithm", CONFIGS, ids=lambda module: module.__name__.rpartition(".")[2]
)


@functools.cache  # so that tests share what is compiled
def make(algorithm):
    return algorithm.make(CONFIGS[algorithm], SPEC)


def random_batches(steps, batch_size=4, seed=0):
    """Batches [K, B, ...] of noise; a quarter of the transitions are terminal."""
    rng = np.random.default_rng(seed)
    shape = (steps, batch_size)
    frames = rng.integers(0, 256, (2, *shape, *SPEC.observation_shape), dtype=np.uint8)
    return plain.Batch(
        observation=frames[0],
        action=rng.integers(0, SPEC.num_actions, shape),
        reward=rng.integers(-1, 2, shape).astype(np.float32),
        discount=(rng.random(shape) > 0.25).astype(np.float32),
        next_observation=frames[1],
    )


def test_td_error_by_hand():
    q_tm1, q_t = jnp.array([1.0, 2.0, 7.0]), jnp.array([4.0, -3.0, 3.0])
    # 1 + 0.5 * 4 - 2.
    assert dqn.td_error(q_tm1, 1, 1.0, 0.5, q_t, q_t) == 1.0
    # At the end of an episode only the reward counts: -1 - 7.
    assert dqn.td_error(q_tm1, 2, -1.0, 0.0, q_t, q_t) == -8.0


def test_double_dqn_takes_the_value_of_the_action_that_the_other_network_prefers():
    q_tm1, q_t = jnp.array([1.0, 2.0, 7.0]), jnp.array([4.0, -3.0, 3.0])
    # 1 + 0.5 * 3 - 2, not of the -3 or the 4.
    assert dqn.td_error(q_tm1, 1, 1.0, 0.5, q_t, jnp.array([0.0, 1.0, 2.0])) == 0.5


def test_gradient_of_the_td_error_reaches_the_taken_action_alone():
    q_tm1, q_t = jnp.array([1.0, 2.0, 7.0]), jnp.array([4.0, -3.0, 3.0])
    wanted = jax.grad(dqn.td_error, argnums=(0, 4))(q_tm1, 1, 1.0, 0.5, q_t, q_t)
    np.testing.assert_array_equal(wanted[0], [0, -1, 0])
    np.testing.assert_array_equal(wanted[1], [0, 0, 0])


def test_qr_dqn_target_is_of_the_action_with_the_highest_mean():
    # Means 1, 2 and 1.5: the second action's quantiles, halved, and one more.
    theta_t = jnp.array([[0.0, 2.0], [4.0, 0.0], [-5.0, 8.0]])
    np.testing.assert_array_equal(qr_dqn.target(1.0, 0.5, theta_t, theta_t), [3.0, 1.0])
    np.testing.assert_array_equal(qr_dqn.target(1.0, 0.0, theta_t, theta_t), [1.0, 1.0])
    # Another's means may say which action that is: here the first.
    judged_t = jnp.array([[9.0, 9.0], [0.0, 0.0], [0.0, 0.0]])
    np.testing.assert_array_equal(qr_dqn.target(1.0, 0.5, theta_t, judged_t), [1.0, 2.0])


def test_quantile_huber_loss_by_hand():
    # tau = 1/4, 3/4. u of theta_0 = 0: 2 and -0.5; of theta_1 = 1: 1 and -1.5.
    # Huber: 1.5 and 0.125; 0.5 and 1.
    # i = 0: (1/4 * 1.5 + 3/4 * 0.125) / 2 = 0.234375
    # i = 1: (3/4 * 0.5 + 1/4 * 1.0) / 2 = 0.3125
    loss = qr_dqn.quantile_huber_loss(jnp.array([0.0, 1.0]), jnp.array([2.0, -0.5]), 1.0)
    assert loss == 0.546875


@pytest.mark.parametrize("kappa", [0.5, 1.0, 2.0])
def test_quantile_huber_loss_is_the_papers_double_sum(kappa):
    rng = np.random.default_rng(0)
    theta, targets = rng.normal(size=(2, 7)) * 2
    expected = 0.0
    for i in range(7):
        for j in range(7):
            u = targets[j] - theta[i]
            tau = (2 * i + 1) / 14
            inside = abs(u) <= kappa
            huber = 0.5 * u**2 if inside else kappa * (abs(u) - 0.5 * kappa)
            expected += abs(tau - (u < 0)) * huber / kappa / 7
    loss = qr_dqn.quantile_huber_loss(jnp.float32(theta), jnp.float32(targets), kappa)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_quantile_huber_loss_ends_at_the_quantiles():
    """Of a distribution uniform on [0, 8]: its quantiles at 1/8, 3/8, 5/8 and 7/8."""
    targets = jnp.linspace(0, 8, 4001)
    theta = jnp.array([3.0, 3.0, 3.0, 3.0])
    gradient = jax.jit(jax.grad(qr_dqn.quantile_huber_loss))
    for _ in range(400):
        theta -= gradient(theta, targets, 1e-2)
    np.testing.assert_allclose(theta, [1, 3, 5, 7], atol=0.02)


def test_rmsprop_is_tensorflows_centred_one():
    """TensorFlow's own kernel, whose slots begin as TensorFlow 1's optimiser made them."""
    tf = pytest.importorskip("tensorflow")
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(6, 4)).astype(np.float32) * [1e-4, 1e-2, 1, 10]
    optimizer = dqn._optimizer(dqn.Config())
    ours = jnp.zeros(4)
    state = optimizer.init(ours)
    theirs, mg, ms, mom = (tf.Variable(tf.fill(4, x)) for x in (0.0, 0.0, 1.0, 0.0))
    for gradient in gradients.astype(np.float32):
        updates, state = optimizer.update(jnp.asarray(gradient), state)
        ours = ours + updates
        tf.raw_ops.ResourceApplyCenteredRMSProp(
            var=theirs.handle,
            mg=mg.handle,
            ms=ms.handle,
            mom=mom.handle,
            lr=2.5e-4,
            rho=0.95,
            momentum=0.0,
            epsilon=1e-5,
            grad=gradient,
        )
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=0)
    assert np.all(np.abs(ours) > 1e-9)


def test_a_step_is_what_it_says():
    """One update, put together from the network, the loss and the optimiser by hand."""
    learner, config = make(dqn), CONFIGS[dqn]
    network, optimizer = image_networks.nature_dqn(3), dqn._optimizer(config)
    batch = plain.at(random_batches(1), 0)
    state = learner.init(jax.random.PRNGKey(1))
    before = plain.copy(state)

    def loss(params):
        q_tm1 = network.apply(params, batch.observation)[np.arange(4), batch.action]
        q_t = network.apply(before.target_params, batch.next_observation).max(axis=-1)
        error = batch.reward + 0.99 * batch.discount * q_t - q_tm1
        inside = jnp.abs(error) < 1
        return jnp.mean(jnp.where(inside, 0.5 * error**2, jnp.abs(error) - 0.5))

    value, gradients = jax.jit(jax.value_and_grad(loss))(before.params)
    updates, _ = optimizer.update(gradients, before.optimizer_state)
    expected = jax.tree.map(lambda p, u: p + u, before.params, updates)
    after, metrics = learner.update(state, jax.tree.map(lambda x: x[None], batch))
    assert metrics["loss"] == pytest.approx(float(value), rel=1e-5)
    plain.assert_close(after.params, expected, rtol=1e-4, atol=1e-6)
    assert plain.moved(after.params, before.params) > 1e-5


@every_algorithm
def test_targets_are_copied_every_so_many_steps(algorithm):
    learner = make(algorithm)
    state = learner.init(jax.random.PRNGKey(0))
    batches = random_batches(7)
    copied = plain.copy(state.params)
    plain.assert_equal(state.target_params, copied)
    for step in range(1, 8):
        state, _ = learner.update(state, plain.at(batches, slice(step - 1, step)))
        if step % 3 == 0:
            copied = plain.copy(state.params)
        plain.assert_equal(state.target_params, copied)
        assert state.steps == step
    assert plain.moved(state.params, copied) > 1e-6


@every_algorithm
def test_a_restored_run_goes_on_bit_for_bit_however_steps_are_cut_into_calls(algorithm):
    learner, batches = make(algorithm), random_batches(8)
    state, _ = learner.update(learner.init(jax.random.PRNGKey(3)), plain.at(batches, slice(4)))
    restored = jax.tree.map(jnp.asarray, plain.copy(state))
    anew, _ = learner.update(restored, plain.at(batches, slice(4, 8)))
    at_once, metrics = learner.update(learner.init(jax.random.PRNGKey(3)), batches)
    plain.assert_equal(anew, at_once)
    assert set(metrics) == {"loss", "q"}


@every_algorithm
def test_metrics_are_means_over_the_steps(algorithm):
    learner, batches = make(algorithm), random_batches(4)
    _, metrics = learner.update(learner.init(jax.random.PRNGKey(0)), batches)
    state, alone = learner.init(jax.random.PRNGKey(0)), []
    for k in range(4):
        state, each = learner.update(state, plain.at(batches, slice(k, k + 1)))
        alone.append(each)
    for name, value in metrics.items():
        assert float(value) == pytest.approx(
            float(np.mean([each[name] for each in alone])), rel=1e-5
        )


def test_a_step_in_a_loop_is_the_step_called(monkeypatch):
    """What runs on an accelerator, where nothing is unrolled."""
    batches = random_batches(4)
    called, _ = make(dqn).update(make(dqn).init(jax.random.PRNGKey(0)), batches)
    monkeypatch.setattr(training, "steps_with_convolutions", training.scan)
    learner = dqn.make(CONFIGS[dqn], SPEC)
    looped, _ = learner.update(learner.init(jax.random.PRNGKey(0)), batches)
    plain.assert_close(looped, called, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("algorithm", "config"),
    [
        (dqn, dataclasses.replace(dqn.ADAM, learning_rate=1e-3)),
        (dqn, dqn.Config(learning_rate=1e-3)),
        (qr_dqn, qr_dqn.Config(num_quantiles=20, learning_rate=1e-3)),
        (c51, c51.Config(num_atoms=21, learning_rate=1e-3)),
        (ensemble_dqn, ensemble_dqn.Config(num_heads=10, learning_rate=1e-3)),
        (rem, rem.Config(num_heads=10, learning_rate=1e-3)),
    ],
)
def test_learns_to_take_the_rewarded_action(algorithm, config):
    """One-step episodes; which third of the frame is bright says which action is rewarded."""
    rng = np.random.default_rng(0)
    wanted, action = rng.integers(0, 3, (2, 100, 32))
    bright = np.arange(12) // 4 == wanted[..., None]
    frames = np.broadcast_to(200 * bright[..., None, None], (100, 32, 12, 12, 2)).astype(np.uint8)
    reward = (action == wanted).astype(np.float32)
    batches = plain.Batch(frames, action, reward, np.zeros_like(reward), frames)
    learner = algorithm.make(config, SPEC)
    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), batches)
    chosen = np.asarray(learner.act(state, frames[0]))
    assert chosen.dtype == np.int32
    assert np.mean(chosen == wanted[0]) > 0.9


@every_algorithm
def test_two_seeds_at_once_are_the_seeds_one_by_one(algorithm):
    learner = make(algorithm)
    together = training.over_seeds(learner)
    keys = jax.random.split(jax.random.PRNGKey(7), 2)
    batches = [random_batches(2, seed=seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
    states, _ = together.update(together.init(keys), stacked)
    values = together.values(states, stacked.observation[:, 0])
    for s in range(2):
        state, _ = learner.update(learner.init(keys[s]), batches[s])
        plain.assert_close(plain.at(states.params, s), state.params, rtol=1e-3, atol=1e-5)
        of_seed = learner.values(plain.at(states, s), batches[s].observation[0])
        np.testing.assert_allclose(values[s], of_seed, rtol=1e-4, atol=1e-6)


@every_algorithm
def test_the_action_taken_has_the_highest_value(algorithm):
    learner = make(algorithm)
    state = learner.init(jax.random.PRNGKey(0))
    frames = random_batches(1).observation[0]
    values = learner.values(state, frames)
    assert (values.shape, values.dtype) == ((len(frames), SPEC.num_actions), np.float32)
    np.testing.assert_array_equal(np.argmax(values, axis=-1), learner.act(state, frames))
    with pytest.raises(ValueError, match="observation"):
        learner.values(state, frames[0])


def test_a_dqn_has_the_network_that_its_config_names():
    def layers(network):
        learner = dqn.make(dqn.Config(network=network), DiscreteSpec(3, (84, 84, 4)))
        params = jax.eval_shape(learner.init, jax.random.PRNGKey(0)).params
        return {name: of["w"].shape for name, of in params.items()}

    nature, impala = layers("dopamine"), layers("impala")
    assert sum("conv" in name for name in nature) == 3
    assert nature["conv2_d"] == (8, 8, 4, 32)
    # Three stacks, each of a convolution and two blocks of two.
    assert sum("conv" in name for name in impala) == 15
    assert impala["conv2_d"] == (3, 3, 4, 16)
    assert {of["linear"] for of in (nature, impala)} == {(11 * 11 * 64, 512), (11 * 11 * 32, 512)}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DiscreteSpec(0), "num_actions must be positive"),
        (lambda: DiscreteSpec(4, (84, 84)), "an observation"),
        (lambda: c51.Config(num_atoms=1), "num_atoms must be 2 or more, got 1"),
        (lambda: dqn.Config(optimizer="sgd"), "'rmsprop' or 'adam', got 'sgd'"),
    ],
)
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def dqn_losses(outputs_tm1, batch, outputs_t, chosen):
    every = np.arange(4)
    bootstrapped = 0.99 * batch.discount * outputs_t[every, chosen]
    error = np.abs(batch.reward + bootstrapped - outputs_tm1[every, batch.action])
    return np.where(error < 1, 0.5 * error**2, error - 0.5)


def qr_dqn_losses(outputs_tm1, batch, outputs_t, chosen):
    return [
        qr_dqn.quantile_huber_loss(
            outputs_tm1[i, batch.action[i]],
            batch.reward[i] + 0.99 * batch.discount[i] * outputs_t[i, chosen[i]],
            1.0,
        )
        for i in range(4)
    ]


def c51_losses(outputs_tm1, batch, outputs_t, chosen):
    support = np.linspace(-10, 10, 5, dtype=np.float32)
    return [
        c51.cross_entropy(
            outputs_tm1[i, batch.action[i]],
            c51.project(
                batch.reward[i] + 0.99 * batch.discount[i] * support,
                jax.nn.softmax(outputs_t[i, chosen[i]]),
                support,
            ),
        )
        for i in range(4)
    ]


@pytest.mark.parametrize("is_double", [False, True])
@pytest.mark.parametrize(
    ("algorithm", "initializers", "shape", "mean", "losses"),
    [
        (dqn, networks.keras_initializers, (4, 3), lambda q: q, dqn_losses),
        (
            qr_dqn,
            networks.fan_in_initializers,
            (4, 3, 5),
            lambda theta: theta.mean(axis=-1),
            qr_dqn_losses,
        ),
        (
            c51,
            networks.fan_in_initializers,
            (4, 3, 5),
            lambda logits: jax.nn.softmax(logits) @ np.linspace(-10, 10, 5),
            c51_losses,
        ),
    ],
    ids=["dqn", "qr_dqn", "c51"],
)
def test_who_says_which_action_is_greedy_in_the_next_state(
    algorithm, initializers, shape, mean, losses, is_double
):
    """The target network, or the one being trained; the target network values it either way."""
    config = dataclasses.replace(CONFIGS[algorithm], is_double=is_double)
    learner, batch = algorithm.make(config, SPEC), plain.at(random_batches(1), 0)
    state = learner.init(jax.random.PRNGKey(2))
    # The target network prefers another action wherever the signs of both heads are opposite. The
    # weights are large, so that it matters which action that is.
    params = jax.tree.map(lambda p: 3 * p, state.params)
    target_params = jax.tree.map(jnp.negative, params)
    state = state._replace(params=params, target_params=target_params)
    network = image_networks.nature_dqn(int(np.prod(shape[1:])), initializers)

    def outputs(params, frames):
        return network.apply(params, frames).reshape(shape)

    online_t, outputs_t = (
        outputs(params, batch.next_observation) for params in (state.params, target_params)
    )
    preferred = [mean(x).argmax(axis=-1) for x in (outputs_t, online_t)]
    assert np.any(preferred[0] != preferred[1])
    expected = losses(
        outputs(state.params, batch.observation), batch, outputs_t, preferred[is_double]
    )
    _, metrics = learner.update(state, jax.tree.map(lambda x: x[None], batch))
    assert metrics["loss"] == pytest.approx(float(np.mean(np.asarray(expected))), rel=1e-5)


def test_tianshous_network_takes_frames_as_they_are_and_pads_none():
    frames = np.random.default_rng(0).integers(0, 256, (1, 84, 84, 4), dtype=np.uint8)
    network = image_networks.styled("tianshou", 6)
    params = network.init(jax.random.PRNGKey(0), frames)
    assert params["linear"]["w"].shape == (3136, 512)
    for name, fan_in in {"conv2_d": 256, "conv2_d_1": 512, "linear": 3136, "head": 512}.items():
        bound = fan_in**-0.5
        assert np.max(np.abs(params[name]["w"])) == pytest.approx(bound, rel=0.01)
        assert 0 < np.max(np.abs(params[name]["b"])) < 1.001 * bound
    weights = jax.tree.map(np.asarray, params)
    # The first output of the first layer is of the first eight rows and columns.
    seen = np.tensordot(frames[0, :8, :8].astype(float), weights["conv2_d"]["w"], 3)
    plainly = jax.lax.conv_general_dilated(
        frames.astype(np.float32),
        weights["conv2_d"]["w"],
        (4, 4),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(plainly[0, 0, 0], seen, rtol=1e-4)
    x = frames.astype(np.float32)
    for name, stride in (("conv2_d", 4), ("conv2_d_1", 2), ("conv2_d_2", 1)):
        x = jax.lax.conv_general_dilated(
            x,
            weights[name]["w"],
            (stride, stride),
            "VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        x = jax.nn.relu(x + weights[name]["b"])
    hidden = jax.nn.relu(x.reshape(1, -1) @ weights["linear"]["w"] + weights["linear"]["b"])
    expected = hidden @ weights["head"]["w"].T + weights["head"]["b"]
    np.testing.assert_allclose(network.apply(params, frames), expected, rtol=1e-4, atol=1e-5)
