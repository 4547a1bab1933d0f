"""The learners' update steps a second, and the peak of a matrix product, in a process of their own.

Run with the number of threads; `rates` says what it is asked, and answers: steps, or GFLOP, a
second. Batches are sampled from an `ArrayFeed`; the learner alone takes some that lie in memory.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.speed.rates import BATCH_SIZE, SAMPLED, answer

OBSERVATION_SIZE, ACTION_SIZE = 17, 6
STEPS_PER_CALL = 20
TRANSITIONS = 100_000
MATRIX = 256


def load() -> dict[str, tuple[Callable[[], Any], float]]:
    """What each name runs once, and how many steps or GFLOP that is."""
    import jax
    import numpy as np

    from benchmarks.recipes import tianshou
    from learners import bc, bcq, brac_bc, cql, iql, rebrac, sac, td3_bc
    from learners.types import Learner, Spec
    from rl_datasets.serving.arrays import ArrayFeed
    from rl_datasets.serving.transitions import Transition

    rng = np.random.default_rng(0)
    observation, next_observation = rng.normal(size=(2, TRANSITIONS, OBSERVATION_SIZE))
    transitions = Transition(
        observation=observation.astype(np.float32),
        action=np.tanh(rng.normal(size=(TRANSITIONS, ACTION_SIZE))).astype(np.float32),
        reward=rng.normal(size=TRANSITIONS).astype(np.float32),
        discount=np.ones(TRANSITIONS, np.float32),
        next_observation=next_observation.astype(np.float32),
        extras={},
    )
    extended = transitions._replace(extras={"next_action": transitions.action})
    feeds: dict[tuple[str, ...], ArrayFeed] = {
        extras: ArrayFeed(data, BATCH_SIZE, seed=0, steps=STEPS_PER_CALL)
        for extras, data in (((), transitions), (("next_action",), extended))
    }
    in_memory = {
        extras: itertools.repeat(jax.device_put(next(feed))) for extras, feed in feeds.items()
    }

    def updates(learner: Learner, batches: Iterator[Transition]) -> Callable[[], Any]:
        states = [learner.init(jax.random.PRNGKey(0))]

        def run() -> None:
            states[0] = jax.block_until_ready(learner.update(states[0], next(batches))[0])

        return run

    spec = Spec(OBSERVATION_SIZE, ACTION_SIZE)
    bcq_sizes: dict[str, Any] = {
        f"{of}_sizes": (256, 256) for of in ("critic", "perturbation", "autoencoder")
    }
    unperturbed = tianshou.BCQ(**bcq_sizes, target_samples=100, perturb_target=False)
    learners = {
        "bc": bc.make(bc.Config(), spec),
        "td3_bc": td3_bc.make(td3_bc.Config(), spec),
        "iql": iql.make(iql.Config(), spec),
        "cql": cql.make(cql.Config(hidden_sizes=(256, 256), lagrange_threshold=10.0), spec),
        "rebrac": rebrac.make(rebrac.Config(hidden_sizes=(256, 256)), spec),
        "bcq": bcq.make(bcq.Config(**bcq_sizes, target_samples=100), spec),
        "bcq_unperturbed": bcq.make(unperturbed, spec),
        "sac": sac.make(sac.Config(policy_sizes=(256, 256), critic_sizes=(256, 256)), spec),
        "brac_bc": brac_bc.make(brac_bc.Config(), spec),
    }
    extras_of = {"rebrac": ("next_action",)}
    work: dict[str, tuple[Callable[[], Any], float]] = {
        prefix + name: (updates(learner, batches[extras_of.get(name, ())]), STEPS_PER_CALL)
        for name, learner in learners.items()
        for prefix, batches in (("", in_memory), (SAMPLED, feeds))
    }

    work |= matrix_products()
    for run, _ in work.values():
        run()
    return work


def matrix_products() -> dict[str, tuple[Callable[[], Any], float]]:
    """Products of NumPy and of JAX, many in a row, and their GFLOP."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    products = 50
    matrix = np.random.default_rng(0).normal(size=(MATRIX, MATRIX)).astype(np.float32)
    matrix /= MATRIX**0.5
    out = np.empty_like(matrix)
    chain = jax.jit(lambda x: jax.lax.fori_loop(0, products, lambda _, y: y @ x, x))

    def in_numpy() -> None:
        for _ in range(products):
            np.matmul(matrix, matrix, out=out)

    def in_jax() -> None:
        jax.block_until_ready(chain(jnp.asarray(matrix)))

    gflop = products * 2 * MATRIX**3 / 1e9
    return {"peak_numpy": (in_numpy, gflop), "peak_jax": (in_jax, gflop)}


def main() -> None:
    serve(load)


def serve(load: Callable[[], dict[str, tuple[Callable[[], Any], float]]]) -> None:
    """Answers with what `load` gives, on as many cores as the argument says."""
    threads = int(sys.argv[1])
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    os.environ["OPENBLAS_NUM_THREADS"] = str(threads)
    work = load()

    def work_of(name: str) -> tuple[Callable[[int], Any], float]:
        run, amount = work[name]
        return lambda _: run(), amount

    answer(work_of)


if __name__ == "__main__":
    main()
