"""The update steps a second of the learners for games, in a process of their own.

As `learner_steps`, with batches of stacks that an `ArrayFeed` cuts out of single frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.speed.learner_steps import matrix_products, serve
from benchmarks.speed.rates import IMAGE_BATCH_SIZE, SAMPLED

NUM_ACTIONS = 6
STEPS_PER_CALL = 5
EPISODES, EPISODE_LENGTH = 10, 1_000


def load() -> dict[str, tuple[Callable[[], Any], float]]:
    """What each name runs once, and how many steps, passes or GFLOP that is."""
    import jax

    from learners import crr, discrete_bc, discrete_bcq, discrete_cql
    from learners.types import DiscreteSpec, Learner
    from rl_datasets.serving.arrays import ArrayFeed
    from rl_datasets.serving.transitions import Transition

    feed = ArrayFeed(frame_windows(), IMAGE_BATCH_SIZE, seed=0, steps=STEPS_PER_CALL)
    in_memory = jax.device_put(next(feed))

    def updates(learner: Learner, batches: Iterator[Transition]) -> Callable[[], Any]:
        states = [learner.init(jax.random.PRNGKey(0))]

        def run() -> None:
            states[0] = jax.block_until_ready(learner.update(states[0], next(batches))[0])

        return run

    spec = DiscreteSpec(NUM_ACTIONS)
    learners = {
        "discrete_bc": discrete_bc.make(discrete_bc.TIANSHOU, spec),
        "discrete_bcq": discrete_bcq.make(discrete_bcq.TIANSHOU, spec),
        "discrete_bcq_quantiles": discrete_bcq.make(discrete_bcq.D3RLPY, spec),
        "discrete_cql": discrete_cql.make(discrete_cql.TIANSHOU, spec),
        "crr": crr.make(crr.Config(cql_weight=10.0), spec),
    }
    work: dict[str, tuple[Callable[[], Any], float]] = {
        prefix + name: (updates(learner, batches), STEPS_PER_CALL)
        for name, learner in learners.items()
        for prefix, batches in (("", itertools.repeat(in_memory)), (SAMPLED, feed))
    }
    frames = jax.tree.map(lambda x: x[0], in_memory).observation
    work["convolutions"] = (convolutions(frames), 1)
    work |= matrix_products()
    for run, _ in work.values():
        run()
    return work


def frame_windows() -> Any:
    """Transitions of noise, as `load_frame_windows` gives them."""
    import numpy as np

    from rl_datasets.episode import Episode
    from rl_datasets.serving import frame_windows
    from rl_datasets.serving.cut import Cut

    rng = np.random.default_rng(0)
    episodes = [
        Episode.from_transitions(
            rng.integers(0, 256, (EPISODE_LENGTH + 1, 84, 84, 1), np.uint8),
            rng.integers(0, NUM_ACTIONS, EPISODE_LENGTH),
            rng.integers(-1, 2, EPISODE_LENGTH),
            is_terminal=True,
        )
        for _ in range(EPISODES)
    ]
    cut = Cut(frame_stack=4)
    pieces = (frame_windows.of_episode(each, cut) for each in episodes)
    size = EPISODES * EPISODE_LENGTH
    return frame_windows.joined(pieces, size + EPISODES, size)


def convolutions(frames: Any) -> Callable[[], Any]:
    """The convolutions of the network and their gradients, without the gradient of the frames."""
    import haiku as hk
    import jax
    import jax.numpy as jnp

    from learners.image_networks import STYLES
    from learners.networks import Network

    torso = Network(*hk.without_apply_rng(hk.transform(STYLES["tianshou"].torso)))
    params = torso.init(jax.random.PRNGKey(0), frames)
    gradient = jax.jit(jax.grad(lambda p, x: jnp.sum(torso.apply(p, x) ** 2)))
    return lambda: jax.block_until_ready(gradient(params, frames))


if __name__ == "__main__":
    serve(load)
