"""One update on a peer's weights and batch; `python -m tests.parity` writes what it gives."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.recipes import tianshou
from learners import bc, bcq, cql, iql, rebrac, td3, td3_bc
from learners.types import Spec
from tests.learners import plain

VALUES = pathlib.Path(__file__).parents[1] / "parity" / "values"
SPEC = Spec(3, 2)


def values(name):
    with np.load(VALUES / f"{name}.npz") as file:
        return dict(file)


def network(arrays, prefix):
    """PyTorch's layers below a name, in their order, as the params of our network."""
    layers = [
        k.removesuffix("weight") for k in arrays if k.startswith((f"{prefix}/", f"{prefix}."))
    ]
    layers = [layer for layer in layers if layer.endswith(".")]
    params = [(arrays[f"{layer}weight"], arrays[f"{layer}bias"]) for layer in layers]
    *hidden, head = [{"w": w.T, "b": b} for w, b in params if w.ndim == 2]
    norms = [{"scale": w, "offset": b} for w, b in params if w.ndim == 1]
    return {
        **{f"hidden_{i}": layer for i, layer in enumerate(hidden)},
        **{f"norm_{i}": layer for i, layer in enumerate(norms)},
        "head": {"w": head["w"].T, "b": head["b"]},
    }


def gaussian(arrays, prefix):
    """As `network`, where PyTorch has a head for means and another for deviations."""
    heads = [f"{prefix}/_{name}" for name in ("mu", "logstd")]
    both = {
        f"{heads[0]}.{kind}": np.concatenate([arrays[f"{head}.{kind}"] for head in heads])
        for kind in ("weight", "bias")
    }
    return network({k: v for k, v in arrays.items() if heads[1] not in k} | both, prefix)


def bottleneck(arrays, prefix):
    """As `network`, or `gaussian`, where the layer before the last is a bottleneck."""
    heads = [f"{prefix}/{name}.model.0." for name in ("mu", "sigma")]
    if f"{heads[0]}weight" in arrays:
        both = {
            f"{prefix}/heads.{kind}": np.concatenate([arrays[head + kind] for head in heads])
            for kind in ("weight", "bias")
        }
        arrays = {k: v for k, v in arrays.items() if not k.startswith(tuple(heads))} | both
    params = network(arrays, prefix)
    narrow = params.pop("hidden_2")
    return params | {"bottleneck": {"w": narrow["w"].T, "b": narrow["b"]}}


def twin(arrays, prefix):
    both = [network(arrays, f"{prefix}/{i}") for i in (0, 1)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *both)


def batches(arrays):
    """The batch, as an update of one step takes it: [1, B, ...]."""
    fields = {name: arrays[f"batch/{name}"][None] for name in plain.Batch._fields[:-1]}
    return plain.Batch(**fields, extras={"next_action": arrays["batch/next_action"][None]})


def with_params(state, params, target_params):
    """The state of a run that begins with other weights; those that `init` drew are of no use."""
    as_jax = jax.tree.map(jnp.asarray, (params, target_params))
    assert jax.tree.map(np.shape, as_jax) == jax.tree.map(
        np.shape, (state.params, state.target_params)
    )
    return state._replace(params=as_jax[0], target_params=as_jax[1])


def gradient(optimizer_state):
    """The first gradient that Adam met, from the moment that it kept of it."""
    return jax.tree.map(lambda m: m / 0.1, optimizer_state[0].mu)


def test_iql():
    arrays = values("iql")

    def policy(stage):
        return iql.PolicyParams(
            network(arrays, f"{stage}/policy"), arrays[f"{stage}/policy/_logstd"][0]
        )

    learner = iql.make(iql.Config(hidden_sizes=(8, 8), policy_decay_steps=None), SPEC)
    start = iql.IQLParams(
        policy("start"), twin(arrays, "start/critics"), network(arrays, "start/value")
    )
    state = with_params(learner.init(jax.random.PRNGKey(0)), start, twin(arrays, "start/targets"))
    state, metrics = learner.update(state, batches(arrays))
    for name in ("value", "policy", "critic"):
        np.testing.assert_allclose(metrics[f"{name}_loss"], arrays[f"loss/{name}"], rtol=1e-5)
    plain.assert_close(gradient(state.optimizer_state.value), network(arrays, "gradient/value"))
    plain.assert_close(gradient(state.optimizer_state.policy), policy("gradient"))
    plain.assert_close(gradient(state.optimizer_state.critics), twin(arrays, "gradient/critics"))
    plain.assert_close(state.params.value, network(arrays, "after/value"))
    plain.assert_close(state.params.policy.mean, network(arrays, "after/policy"))
    plain.assert_close(state.params.critics, twin(arrays, "after/critics"))
    plain.assert_close(state.target_params, twin(arrays, "after/targets"))


TIANSHOUS_LOSSES = ("autoencoder", "critic", "perturbation")


@pytest.mark.parametrize(
    ("name", "losses", "options"),
    [
        ("bcq", ("vae_loss", "critic_loss", "actor_loss"), {}),
        ("tianshou_bcq", TIANSHOUS_LOSSES, {"perturb_target": False}),
        ("tianshou_bcq_alike", TIANSHOUS_LOSSES, {"perturb_target": False, "perturb_alike": True}),
    ],
)
def test_bcq(name, losses, options, monkeypatch):
    arrays = values(name)

    def params(stage):
        return bcq.BCQParams(
            encoder=gaussian(arrays, f"{stage}/encoder"),
            decoder=network(arrays, f"{stage}/decoder"),
            critics=twin(arrays, f"{stage}/critics"),
            perturbation=network(arrays, f"{stage}/perturbation"),
        )

    def targets(stage):
        return bcq.Targets(
            twin(arrays, f"{stage}/target_critics"),
            network(arrays, f"{stage}/target_perturbation"),
        )

    sizes = {f"{of}_sizes": (8, 8) for of in ("critic", "perturbation", "autoencoder")}
    config = tianshou.BCQ(**sizes, target_samples=3, **options)
    learner = bcq.make(config, SPEC)
    initial = learner.init(jax.random.PRNGKey(0))
    state = with_params(initial, params("start"), targets("start"))
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: jnp.asarray(arrays["noise"]))
    state, metrics = learner.update(state, batches(arrays))
    for ours, theirs in zip(("autoencoder", "critic", "perturbation"), losses, strict=True):
        np.testing.assert_allclose(metrics[f"{ours}_loss"], arrays[f"loss/{theirs}"], 1e-5)
    of_the_step, states = params("gradient"), state.optimizer_state
    plain.assert_close(gradient(states.autoencoder), of_the_step[:2])
    plain.assert_close(gradient(states.critics), of_the_step.critics)
    plain.assert_close(gradient(states.perturbation), of_the_step.perturbation)
    plain.assert_close(state.params, params("after"))
    plain.assert_close(state.target_params, targets("after"))


def test_cql(monkeypatch):
    arrays = values("cql")
    noise = {k.removeprefix("noise/"): v for k, v in arrays.items() if k.startswith("noise/")}
    samples, batch_size, action_size = noise["policy"].shape
    normal = np.zeros((2, batch_size, samples + 1, action_size), np.float32)
    normal[:, :, :samples] = np.moveaxis(np.stack([noise["policy"], noise["next_policy"]]), 1, 2)
    normal[1, :, samples] = noise["target"]
    uniform = noise["uniform"].reshape(batch_size, samples, action_size)

    def params(stage):
        scalars = [
            next(v for k, v in arrays.items() if k.startswith(f"{stage}/{name}/")).reshape(())
            for name in ("log_alpha", "log_multiplier")
        ]
        return cql.CQLParams(
            gaussian(arrays, f"{stage}/policy"), twin(arrays, f"{stage}/critics"), *scalars
        )

    config = cql.Config(
        hidden_sizes=(8, 8),
        num_actions=samples,
        weight=5.0,
        lagrange_threshold=5.0 * 0.4,
        entropy_backup=True,
        cloning_steps=0,
    )
    learner = cql.make(config, SPEC)
    state = with_params(
        learner.init(jax.random.PRNGKey(0)), params("start"), twin(arrays, "start/targets")
    )
    draws = {x.shape: jnp.asarray(x) for x in (normal, uniform, noise["actor"])}
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: draws[shape])
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, **bounds: draws[shape])
    state, metrics = learner.update(state, batches(arrays))
    for name in ("critic", "policy"):
        np.testing.assert_allclose(metrics[f"{name}_loss"], arrays[f"loss/{name}"], rtol=1e-5)
    plain.assert_close(gradient(state.optimizer_state.critics), twin(arrays, "gradient/critics"))
    plain.assert_close(
        gradient(state.optimizer_state.policy)[0], gaussian(arrays, "gradient/policy")
    )
    plain.assert_close(state.params, params("after"))
    plain.assert_close(state.target_params, twin(arrays, "after/targets"))


def check_td3(learner, arrays, monkeypatch):
    """One round of a learner of TD3's family, whose policy moves with every step."""

    def params(stage, of=""):
        return td3.TD3Params(
            network(arrays, f"{stage}/{of}policy"), twin(arrays, f"{stage}/{of}critics")
        )

    start, targets = params("start"), params("start", "target_")
    state = with_params(learner.init(jax.random.PRNGKey(0)), start, targets)
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: jnp.asarray(arrays["noise"]))
    state, metrics = learner.update(state, batches(arrays))
    for name in ("critic", "policy"):
        np.testing.assert_allclose(metrics[f"{name}_loss"], arrays[f"loss/{name}"], rtol=1e-5)
    for name, of in (("critics", twin), ("policy", network)):
        optimizer_state = getattr(state.optimizer_state, name)
        plain.assert_close(gradient(optimizer_state), of(arrays, f"gradient/{name}"))
    plain.assert_close(state.params, params("after"))
    plain.assert_close(state.target_params, params("after", "target_"))


def test_rebrac(monkeypatch):
    config = rebrac.Config(
        hidden_sizes=(8, 8), policy_penalty=0.3, critic_penalty=0.7, policy_delay=1
    )
    check_td3(rebrac.make(config, SPEC), values("rebrac"), monkeypatch)


def test_td3_bc(monkeypatch):
    config = tianshou.TD3BC(
        hidden_sizes=(8, 8),
        policy_noise=1.0,
        noise_clip=1.5,
        policy_delay=1,
        normalize_observations=False,
        clip_target=False,
    )
    check_td3(td3_bc.make(config, SPEC), values("tianshou_td3_bc"), monkeypatch)


def test_tianshous_il():
    arrays = values("tianshou_il")
    config = tianshou.BC(hidden_sizes=(8, 8), learning_rate=1e-4, bottleneck=True)
    learner = bc.make(config, SPEC)
    state = with_params(learner.init(jax.random.PRNGKey(0)), bottleneck(arrays, "start/policy"), ())
    state, metrics = learner.update(state, batches(arrays))
    np.testing.assert_allclose(metrics["policy_loss"], arrays["loss/policy"], rtol=1e-5)
    plain.assert_close(gradient(state.optimizer_state), bottleneck(arrays, "gradient/policy"))
    plain.assert_close(state.params, bottleneck(arrays, "after/policy"))


def test_tianshous_cql(monkeypatch):
    """With all that its example does; its multiplier moves, because it ran on a CPU."""
    arrays = values("tianshou_cql")
    noise = {
        name: arrays[f"noise/{name}"].reshape(16, 4, 2)
        for name in ("uniform", "policy", "next_policy")
    }
    normal = np.zeros((2, 16, 5, 2), np.float32)
    normal[:, :, :4] = noise["policy"], noise["next_policy"]
    normal[1, :, 4] = arrays["noise/target"]
    config = tianshou.CQL(
        hidden_sizes=(8, 8),
        policy_learning_rate=0.0,
        critic_learning_rate=0.0,
        entropy_backup=True,
        num_actions=1,
        num_estimates=4,
        weight=1.0,
        lagrange_threshold=10.0,
        cloning_steps=0,
        log_std_minimum=-20.0,
        gradient_bound=1.0,
        torch_weights=True,
        bottleneck=True,
    )
    learner = cql.make(config, SPEC)
    zero = np.zeros((), np.float32)
    params = cql.CQLParams(
        bottleneck(arrays, "start/policy"), twin(arrays, "start/critics"), zero, zero
    )
    targets = twin(arrays, "start/target_critics")
    state = with_params(learner.init(jax.random.PRNGKey(0)), params, targets)
    draws = {x.shape: jnp.asarray(x) for x in (normal, noise["uniform"], arrays["noise/actor"])}
    monkeypatch.setattr(jax.random, "normal", lambda key, shape: draws[shape])
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, **bounds: draws[shape])
    state, metrics = learner.update(state, batches(arrays))
    loss = {name: arrays[f"loss/{name}"] for name in ("critic", "policy")}
    np.testing.assert_allclose(metrics["critic_loss"], loss["critic"], rtol=1e-5)
    np.testing.assert_allclose(metrics["policy_loss"], loss["policy"], rtol=1e-5)
    states = state.optimizer_state
    plain.assert_close(gradient(states.critics), twin(arrays, "gradient/critics"))
    plain.assert_close(gradient(states.policy)[0], bottleneck(arrays, "gradient/policy"))
    plain.assert_close(gradient(states.multiplier), arrays["gradient/log_multiplier"][0])
