"""Two updates of the agents of google-research/reincarnating_rl, by its authors' own functions.

`tests/learners/test_students_parity.py` reads them; run by `-m tests.parity`. The code is cloned at
the commit that its functions are cited from. Their networks may be of any kind, here small ones.
Between the updates the weights are copied to the target network, and lambda falls.
"""

import inspect
import pathlib
import subprocess
import sys
import tempfile
import types
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from dopamine_agents import ACTIONS, ATOMS, BATCH_SIZE, SUPPORT, flat, random_batch
from flax import linen as nn

SOURCE = "https://github.com/google-research/reincarnating_rl"
COMMIT = "3eb419c"
WEIGHTS = (0.6, 0.25)  # lambda
DISCOUNT, TEMPERATURE, HIGH, LOW, EPSILON = 0.97, 0.1, 1e-3, 1e-4, 1.5e-4


class Output(NamedTuple):
    """What the authors' functions read of a network."""

    q_values: Any
    logits: Any = None
    probabilities: Any = None
    representation: Any = None


class Small(nn.Module):
    """One hidden layer; its head has values, or logits where there is a support.

    A dueling head has the state's value first, and then advantages.
    """

    num_outputs: int
    is_dueling: bool = False

    @nn.compact
    def __call__(self, x, support=None, key=None):
        x = x.astype(jnp.float32).reshape(-1) / 255.0
        x = nn.relu(nn.Dense(8)(x))
        if self.is_dueling:
            outputs = nn.Dense(1 + ACTIONS)(x)
            return Output(outputs[0] + outputs[1:] - jnp.mean(outputs[1:]))
        outputs = nn.Dense(ACTIONS * self.num_outputs)(x)
        if support is None:
            return Output(q_values=outputs, representation=x)
        logits = outputs.reshape(ACTIONS, -1)
        probabilities = nn.softmax(logits)
        return Output(probabilities @ support, logits, probabilities)


def students_batch(step):
    """A batch of noise as Dopamine's, with a teacher's values and weights besides."""
    rng = np.random.default_rng(10 + step)
    batch = random_batch()
    shuffled = rng.permutation(BATCH_SIZE)
    return {
        **{name: array[shuffled] for name, array in batch.items()},
        "teacher_values": rng.normal(scale=0.3, size=(BATCH_SIZE, ACTIONS)).astype(np.float32),
        "importance": rng.uniform(0.2, 1.0, BATCH_SIZE).astype(np.float32),
    }


def jit(function, static_argnames=(), jit=jax.jit, **options):
    """`jax.jit`, which JAX of that time let name arguments that a function does not have."""
    taken = [name for name in static_argnames if name in inspect.signature(function).parameters]
    return jit(function, static_argnames=taken, **options)


def authors_modules(folder):
    """The modules whose functions update; what they inherit to play games is left out."""
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", SOURCE, folder], check=True)
    subprocess.run(["git", "-C", folder, "checkout", "--quiet", COMMIT], check=True)
    sys.path.insert(0, folder)
    playing = types.SimpleNamespace(PersistentDQNAgent=object, PersistentRainbowAgent=object)
    names = ("persistent_dqn_agent", "persistent_rainbow_agent", "persistence_networks")
    with (
        mock.patch.dict(sys.modules, {f"reincarnating_rl.{name}": playing for name in names}),
        mock.patch.object(jax, "jit", jit),
    ):
        import reincarnating_rl

        for name in names:
            setattr(reincarnating_rl, name, playing)
        from reincarnating_rl import (
            distillation_dqn_agent,
            distillation_rainbow_agent,
            loss_helpers,
            margin_dqn_agent,
            pretrained_dqn_agent,
        )
    return types.SimpleNamespace(
        qdagger=distillation_dqn_agent.train_and_distill,
        rainbow=distillation_rainbow_agent.train_and_distill,
        margin=margin_dqn_agent.train_fn,
        pretrain=pretrained_dqn_agent.offline_pretrain,
        helpers=loss_helpers,
    )


def transitions(batch):
    return (
        batch["observation"],
        batch["action"],
        batch["next_observation"],
        batch["reward"],
        1 - batch["discount"],
    )


def two_updates(name, helpers, update, batches, network, decays=True, support=None):
    """What `update` gives for both batches: losses, gradients, weights after all, priorities.

    Args:
      name: of the arrays that are returned.
      helpers: the authors' module of optimisers.
      update: (network, online, target, optimizer, its state, batch, lambda) -> their tuple.
      batches: both.
      network: which learns.
      decays: whether the learning rate follows lambda.
      support: of a network of logits.
    """
    example = (batches[0]["observation"][0], support)
    online, target = (network.init(jax.random.PRNGKey(seed), *example) for seed in range(2))
    optimizer = helpers.create_persistence_optimizer("adam", eps=EPSILON, inject_hparams=True)
    state = optimizer.init(online)
    rate = helpers.create_linear_schedule(HIGH, LOW)
    arrays = {**flat(f"{name}/start", online), **flat(f"{name}/target", target)}
    for step, (batch, weight) in enumerate(zip(batches, WEIGHTS, strict=True)):
        state.hyperparams["learning_rate"] = jnp.float32(rate(weight if decays else 1.0))
        given = (network, online, target, optimizer, state, batch, weight)
        state, online, loss, details, *_ = update(*given)
        target = online
        arrays[f"{name}/loss/{step}"] = np.asarray(loss)
        if support is not None:
            arrays[f"{name}/priority/{step}"] = np.sqrt(np.asarray(details[0]) + 1e-10)
        if step == 0:
            gradient = jax.tree.map(lambda m: m / 0.1, state.inner_state[0].mu)
            arrays |= flat(f"{name}/gradient", gradient)
    return arrays | flat(f"{name}/after", online)


def main():
    batches = [students_batch(step) for step in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        authors = authors_modules(folder)

    def qdagger(clones_best):
        return lambda *given: authors.qdagger(
            *given[:5],
            given[5]["teacher_values"],
            *transitions(given[5]),
            given[6],
            DISCOUNT,
            distill_loss_coefficient=3.0,
            distill_temperature=TEMPERATURE,
            distill_best_action_only=clones_best,
        )

    def dqfd(is_maximum, factor):
        return lambda *given: authors.margin(
            *given[:3],
            given[5]["teacher_values"],
            *given[3:5],
            *transitions(given[5]),
            given[6],
            DISCOUNT,
            margin_coefficient=factor(given[6]),
            margin=1.0,
            dqfd_margin=is_maximum,
            use_teacher_actions=True,
        )

    def rainbow(coefficient, support=SUPPORT, is_double=False):
        return lambda *given: authors.rainbow(
            *given[:5],
            given[5]["teacher_values"],
            *transitions(given[5]),
            jnp.ones(BATCH_SIZE) if support is None else given[5]["importance"],
            support,
            DISCOUNT,
            is_double,
            support is not None,
            jax.random.PRNGKey(0),
            given[6],
            TEMPERATURE,
            distill_loss_coefficient=coefficient,
        )

    def pretraining(*given):
        return authors.pretrain(
            *given[:5], *transitions(given[5]), DISCOUNT, distill_temperature=TEMPERATURE
        )

    values, logits = Small(1), Small(ATOMS)
    cases = {
        "qdagger_dqn": {"update": qdagger(False), "network": values},
        "qdagger_dqn_clones_best": {"update": qdagger(True), "network": values},
        "qdagger_drq": {
            "update": rainbow(3.0, support=None, is_double=True),
            "network": Small(1, is_dueling=True),
        },
        "dqfd": {"update": dqfd(False, lambda weight: 1.0), "network": values, "decays": False},
        "dqfd_maximum": {
            "update": dqfd(True, lambda weight: 1.0),
            "network": values,
            "decays": False,
        },
        # As its agent calls the function while it plays.
        "dqfd_squared": {
            "update": dqfd(False, lambda weight: weight),
            "network": values,
            "decays": False,
        },
        "qdagger_rainbow": {"update": rainbow(2.0), "network": logits, "support": SUPPORT},
        "rainbow": {"update": rainbow(0.0), "network": logits, "support": SUPPORT},
        "pretraining": {"update": pretraining, "network": values, "decays": False},
    }
    arrays = {f"batch/{name}": np.stack([batch[name] for batch in batches]) for name in batches[0]}
    for name, case in cases.items():
        arrays |= two_updates(name, authors.helpers, batches=batches, **case)
    np.savez_compressed(pathlib.Path(sys.argv[1]), **arrays)


if __name__ == "__main__":
    main()
