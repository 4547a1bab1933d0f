"""Students of a teacher: their losses by hand, and what their weight does."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchmarks.training import checkpoint
from learners import (
    c51,
    distillation,
    dqfd,
    dqn,
    qdagger_dqn,
    qdagger_drq,
    qdagger_rainbow,
    training,
)
from learners.types import DiscreteSpec
from tests.learners import plain
from tests.learners.test_dqn import random_batches

SPEC = DiscreteSpec(3, (12, 12, 2))
DQN_STUDENTS = {dqfd: dqfd.Config(decays=True), qdagger_dqn: qdagger_dqn.Config()}
STUDENTS = {
    **DQN_STUDENTS,
    qdagger_drq: qdagger_drq.Config(max_shift=1),
    qdagger_rainbow: qdagger_rainbow.Config(num_atoms=5),
}


def name_of(module):
    return module.__name__.rpartition(".")[2]


every_student = pytest.mark.parametrize("student", STUDENTS, ids=name_of)


@functools.cache  # so that tests share what is compiled
def make(student):
    return student.make(STUDENTS[student], SPEC)


def batches_of(steps, config, seed=0):
    """Batches [K, 4, ...] of noise with the extras that an update reads."""
    rng = np.random.default_rng(100 + seed)
    extras = {
        "teacher_values": rng.normal(size=(steps, 4, 3)).astype(np.float32),
        "importance": rng.uniform(0.2, 1, (steps, 4)).astype(np.float32),
    }
    given = {name: extras[name] for name in config.extras()}
    return random_batches(steps, seed=seed)._replace(extras=given)


def test_the_divergence_by_hand():
    # Of (3/4, 1/4) from (1/2, 1/2): 3/4 log 3/2 + 1/4 log 1/2; the other way it is 0.1438.
    expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    q, teacher_q = jnp.array([5.0, 5.0]), jnp.log(jnp.array([3.0, 1.0]))
    assert distillation.divergence(q, teacher_q, 1.0) == pytest.approx(expected, abs=1e-6)
    found = distillation.divergence(0.1 * q, 0.1 * teacher_q, 0.1)
    assert found == pytest.approx(expected, abs=1e-6)


VALUES = hnp.arrays(np.float32, 4, elements=st.floats(-20, 20, width=32))


@settings(max_examples=50, deadline=None)
@given(VALUES, VALUES, st.floats(-5, 5, width=32))
def test_the_divergence_is_0_from_the_same_policy_alone(q, teacher_q, shift):
    assert distillation.divergence(q, q, 0.1) == 0
    assert distillation.divergence(q + shift, q, 1.0) == pytest.approx(0, abs=1e-4)
    gradient = jax.grad(distillation.divergence)(q, q, 0.1)
    np.testing.assert_allclose(gradient, 0, atol=1e-4)
    # Pinsker's inequality.
    pi, teacher = jax.nn.softmax(q), jax.nn.softmax(teacher_q)
    least = np.sum(np.abs(pi - teacher)) ** 2 / 2
    assert distillation.divergence(q, teacher_q, 1.0) >= least - 1e-5


def test_the_cloning_loss_by_hand():
    q, teacher_q = 0.1 * jnp.log(jnp.array([1.0, 2.0, 5.0])), jnp.array([0.0, 7.0, 6.9])
    assert distillation.cloning_loss(q, teacher_q, 0.1) == pytest.approx(np.log(4), rel=1e-5)


def test_violations_of_the_margin_by_hand():
    q = jnp.array([1.0, 2.5, 0.5, -1.0])
    # Others should be at least 1 below the first, whose value is 1.
    np.testing.assert_array_equal(dqfd.violations(q, 0, 1.0), [0, 2.5, 0.5, 0])
    np.testing.assert_array_equal(dqfd.violations(q, 1, 1.0), [0, 0, 0, 0])
    np.testing.assert_array_equal(dqfd.violations(q, 1, 2.0), [0.5, 0, 0, 0])


@pytest.mark.parametrize("is_maximum", [False, True])
def test_the_margin_counts_by_its_mean_or_its_maximum(is_maximum):
    """Of an update whose temporal differences are 0, so that the loss is the margin's alone."""
    config = dqfd.Config(coefficient=2.0, margin=1.0, is_maximum=is_maximum)
    learner, batches = dqfd.make(config, SPEC), batches_of(1, config)
    zero = np.zeros_like(batches.reward)
    state = learner.init(jax.random.PRNGKey(0))
    state = state._replace(params=jax.tree.map(jnp.zeros_like, state.params))
    state = distillation.with_weight(state, 0.25)
    _, metrics = learner.update(state, batches._replace(reward=zero, discount=zero))
    # All values are 0, so two of three actions violate a margin of 1: c lambda is a half.
    assert metrics["loss"] == pytest.approx(0.5 * (1 if is_maximum else 2 / 3))


@pytest.mark.parametrize(
    ("decays", "weight", "rate"),
    [(True, 1.0, 1e-2), (True, 0.25, 3.25e-3), (True, 0.0, 1e-3), (False, 0.25, 1e-2)],
)
def test_the_learning_rate_follows_the_weight(decays, weight, rate):
    config = distillation.Config(learning_rate=1e-2, final_learning_rate=1e-3, decays=decays)
    optimizer = distillation.adam(config)
    rng = np.random.default_rng(0)
    ours = theirs = {"w": rng.normal(size=5).astype(np.float32)}
    state, by_hand = optimizer.init(ours), plain.Adam(theirs, rate, 1.5e-4)
    assert state.weight == 1
    state = state._replace(weight=jnp.float32(weight))
    for _ in range(3):
        gradients = {"w": rng.normal(size=5).astype(np.float32) * [1e-5, 1e-3, 0.1, 1, 10]}
        updates, state = optimizer.update(gradients, state)
        ours = jax.tree.map(lambda p, u: p + u, ours, updates)
        theirs = by_hand.step(theirs, gradients)
    plain.assert_close(ours, theirs, rtol=1e-5)
    assert state.weight == weight


@pytest.mark.parametrize("student", DQN_STUDENTS, ids=name_of)
def test_a_weight_of_0_leaves_dqn_bit_for_bit(student):
    config = DQN_STUDENTS[student]
    batches = batches_of(3, config)
    adam = {"learning_rate": config.final_learning_rate, "epsilon": config.epsilon}
    alone = dqn.make(dqn.Config(optimizer="adam", **adam), SPEC)
    expected, expected_metrics = alone.update(alone.init(jax.random.PRNGKey(0)), batches)
    state = distillation.with_weight(make(student).init(jax.random.PRNGKey(0)), 0.0)
    state, metrics = make(student).update(state, batches)
    plain.assert_equal(state.params, expected.params)
    assert metrics == expected_metrics
    taught, _ = make(student).update(make(student).init(jax.random.PRNGKey(0)), batches)
    assert plain.moved(taught.params, plain.copy(expected.params)) > 1e-5


@every_student
def test_a_coefficient_of_0_needs_no_teacher(student):
    config = type(STUDENTS[student])(coefficient=0.0)
    assert "teacher_values" not in config.extras()
    learner, batches = student.make(config, SPEC), batches_of(1, config)
    state = jax.eval_shape(learner.init, jax.random.PRNGKey(0))
    assert jax.eval_shape(learner.update, state, batches)[1].keys() >= {"loss", "q"}


def test_rainbow_without_a_teacher_is_c51_whose_transitions_count_by_importance():
    """With weights of 1 the loss is C51's; twice the weights are twice the loss."""
    config = qdagger_rainbow.Config(coefficient=0.0, num_atoms=5)
    learner = qdagger_rainbow.make(config, SPEC)
    alone = c51.make(c51.Config(num_atoms=5), SPEC)
    target_params = plain.copy(learner.init(jax.random.PRNGKey(0)).params)
    params = jax.tree.map(lambda p: 3 * p, target_params)

    def update(learner, batches):
        state = learner.init(jax.random.PRNGKey(0))
        state = state._replace(params=params, target_params=target_params)
        return learner.update(jax.tree.map(jnp.array, state), batches)[1]

    batches = batches_of(1, config)
    ones = batches._replace(extras={"importance": np.ones((1, 4), np.float32)})
    twice = batches._replace(extras={"importance": np.full((1, 4), 2, np.float32)})
    untaught = batches._replace(extras={})
    expected = update(alone, untaught)["loss"]
    assert update(learner, ones)["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert update(learner, twice)["loss"] == pytest.approx(2 * float(expected), rel=1e-5)
    of_each = [
        float(update(alone, plain.at(untaught, slice(None), slice(i, i + 1)))["loss"])
        for i in range(4)
    ]
    weights = batches.extras["importance"][0]
    found = update(learner, batches)
    assert found["loss"] == pytest.approx(np.mean(weights * of_each), rel=1e-5)
    np.testing.assert_allclose(found["priority"], np.sqrt(of_each), rtol=1e-5)


def test_priorities_are_not_of_the_teachers_loss_and_are_averaged_over_steps(monkeypatch):
    config = STUDENTS[qdagger_rainbow]
    batches = batches_of(2, config)
    states = [make(qdagger_rainbow).init(jax.random.PRNGKey(0)) for _ in range(2)]
    one = plain.at(batches, slice(1))
    taught, first = make(qdagger_rainbow).update(states[0], one)
    _, untaught = make(qdagger_rainbow).update(distillation.with_weight(states[1], 0.0), one)
    assert first["priority"].shape == (4,)
    plain.assert_equal(first["priority"], untaught["priority"])
    assert first["loss"] > untaught["loss"]
    _, second = make(qdagger_rainbow).update(taught, plain.at(batches, slice(1, 2)))
    means = (first["priority"] + second["priority"]) / 2
    start = make(qdagger_rainbow).init(jax.random.PRNGKey(0))
    plain.assert_close(make(qdagger_rainbow).update(start, batches)[1]["priority"], means)
    # And so on an accelerator, where steps are a loop.
    monkeypatch.setattr(training, "steps_with_convolutions", training.scan)
    learner = qdagger_rainbow.make(config, SPEC)
    looped = learner.update(learner.init(jax.random.PRNGKey(0)), batches)[1]
    plain.assert_close(looped["priority"], means, rtol=1e-3)


@every_student
def test_seeds_at_once_are_the_seeds_one_by_one_each_with_its_weight(student):
    learner = make(student)
    together = training.over_seeds(learner)
    keys, weights = jax.random.split(jax.random.PRNGKey(7), 2), np.array([0.25, 1.5])
    batches = [batches_of(2, STUDENTS[student], seed) for seed in range(2)]
    stacked = jax.tree.map(lambda *x: np.stack(x), *batches)
    states, _ = together.update(distillation.with_weight(together.init(keys), weights), stacked)
    np.testing.assert_array_equal(states.optimizer_state.weight, weights)
    for s in range(2):
        state = distillation.with_weight(learner.init(keys[s]), weights[s])
        state, _ = learner.update(state, batches[s])
        plain.assert_close(plain.at(states.params, s), state.params, rtol=1e-3, atol=1e-5)


def test_of_many_seeds_all_may_have_one_weight():
    together = training.over_seeds(make(qdagger_dqn))
    states = together.init(jax.random.split(jax.random.PRNGKey(7), 2))
    weights = distillation.with_weight(states, 0.5).optimizer_state.weight
    np.testing.assert_array_equal(weights, [0.5, 0.5])
    assert weights.dtype == np.float32


@pytest.mark.parametrize("weight", [-0.1, np.nan, np.inf, np.array([0.5, -1.0])])
def test_a_weight_that_cannot_be_is_refused(weight):
    state = make(qdagger_dqn).init(jax.random.PRNGKey(0))
    said = f"must be 0 or more, and finite, got {re.escape(str(weight))}$"
    with pytest.raises(ValueError, match=said):
        distillation.with_weight(state, weight)


def test_a_checkpoint_has_the_weight(tmp_path):
    learner, batches = make(qdagger_dqn), batches_of(4, STUDENTS[qdagger_dqn])
    start = distillation.with_weight(learner.init(jax.random.PRNGKey(0)), 0.3)
    state, _ = learner.update(start, plain.at(batches, slice(2)))
    checkpoint.save(tmp_path / "checkpoint.npz", state, {})
    fresh = learner.init(jax.random.PRNGKey(1))
    restored = checkpoint.restore(tmp_path / "checkpoint.npz", fresh, "").state
    restored = jax.tree.map(jnp.asarray, restored)
    ended, _ = learner.update(restored, plain.at(batches, slice(2, 4)))
    whole, _ = learner.update(
        distillation.with_weight(learner.init(jax.random.PRNGKey(0)), 0.3), batches
    )
    plain.assert_equal(ended, whole)


@every_student
def test_a_student_comes_to_act_as_its_teacher(student):
    """Nothing is rewarded; which third of the frame is bright says what the teacher does."""
    rng = np.random.default_rng(0)
    wanted = rng.integers(0, 3, (100, 32))
    bright = np.arange(12) // 4 == wanted[..., None]
    frames = np.broadcast_to(200 * bright[..., None, None], (100, 32, 12, 12, 2)).astype(np.uint8)
    extras = {
        "teacher_values": np.eye(3, dtype=np.float32)[wanted],
        "importance": np.ones((100, 32), np.float32),
    }
    config = dataclasses.replace(STUDENTS[student], learning_rate=1e-3)
    zero = np.zeros((100, 32), np.float32)
    batches = plain.Batch(
        frames,
        rng.integers(0, 3, (100, 32)),
        zero,
        zero,
        frames,
        {name: extras[name] for name in config.extras()},
    )
    learner = student.make(config, SPEC)
    state, _ = learner.update(learner.init(jax.random.PRNGKey(0)), batches)
    assert np.mean(learner.act(state, frames[0]) == wanted[0]) > 0.9


def test_rainbows_larger_network_is_impalas():
    config = qdagger_rainbow.Config(network="impala")
    learner = qdagger_rainbow.make(config, DiscreteSpec(6))
    params = jax.eval_shape(learner.init, jax.random.PRNGKey(0)).params
    assert sum("conv" in layer for layer in params) == 15
    assert params["head"]["w"].shape == (6 * 51, 512)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: qdagger_dqn.Config(network="resnet"), "network must be one of .*, got 'resnet'"),
        (lambda: qdagger_rainbow.Config(num_atoms=1), "num_atoms must be 2 or more, got 1"),
        (lambda: qdagger_rainbow.Config(network=""), "network must be one of"),
    ],
)
def test_a_config_that_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
