"""Measures how fast the feeds deliver batches, and whether a learner waits for them.

The data are 1,000,000 transitions of 17 observations and 6 actions, all float32, in batches of 256.
The anchors are a plain NumPy loop that gathers batches field by field, and Reverb with one
transition per item, as in its own examples. Rates that are compared are measured in turns.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import reverb
import tensorflow as tf

from learners import td3_bc
from learners.types import Spec
from rl_datasets.serving.arrays import ArrayFeed
from rl_datasets.serving.reverb import ReverbFeed, ReverbServer
from rl_datasets.serving.transitions import Transition

BATCH = 256
STEPS_A_CALL = 100
SINGLE_ITEMS = 20_000


def synthetic_transitions(size: int) -> Transition:
    """A Transition of random arrays [size, ...], the same with each call."""
    rng = np.random.default_rng(0)
    return Transition(
        observation=rng.standard_normal((size, 17), np.float32),
        action=2 * rng.random((size, 6), np.float32) - 1,
        reward=rng.random(size, np.float32),
        discount=np.ones(size, np.float32),
        next_observation=rng.standard_normal((size, 17), np.float32),
        extras={},
    )


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Transitions/s of every feed, and TD3+BC steps/s on each; `ratio` is relative to `anchor`."""
    size, seconds, rounds = (100_000, 0.3, 1) if quick else (1_000_000, 2.0, 5)
    transitions = synthetic_transitions(size)
    with (
        ReverbServer(transitions) as server,
        _served_elsewhere(size) as address,
        _single_items(transitions) as single_items,
    ):
        gather, single = "NumPy gather of each field", "Reverb, one transition an item"
        array, served = "ArrayFeed", "ReverbFeed, server in this process"
        elsewhere = "ReverbFeed, server in another process"
        feeds: dict[str, Iterator[Any]] = {
            gather: _gather(transitions),
            array: ArrayFeed(transitions, BATCH, seed=0),
            single: single_items,
            served: ReverbFeed(server.address, BATCH),
            elsewhere: ReverbFeed(address, BATCH),
        }
        rates = _in_turns(
            {name: _transitions_a_second(feed, seconds) for name, feed in feeds.items()},
            rounds,
        )
        steps = _in_turns(
            {
                "TD3+BC on one batch, over and over": _steps_a_second(
                    itertools.repeat(next(ArrayFeed(transitions, BATCH, 0, STEPS_A_CALL))), seconds
                ),
                f"TD3+BC fed by {array}": _steps_a_second(
                    ArrayFeed(transitions, BATCH, 0, STEPS_A_CALL), seconds
                ),
                f"TD3+BC fed by {served}": _steps_a_second(
                    ReverbFeed(server.address, BATCH, STEPS_A_CALL), seconds
                ),
                f"TD3+BC fed by {elsewhere}": _steps_a_second(
                    ReverbFeed(address, BATCH, STEPS_A_CALL), seconds
                ),
            },
            rounds,
        )
    anchors = {gather: gather, array: gather, single: single, served: single, elsewhere: single}
    return [
        _row(name, rate, "transitions/s", anchors[name], rates) for name, rate in rates.items()
    ] + [
        _row(name, rate, "steps/s", f"TD3+BC fed by {array}", steps) for name, rate in steps.items()
    ]


def _row(
    name: str, rate: float, unit: str, anchor: str, rates: Mapping[str, float]
) -> dict[str, Any]:
    return {
        "name": name,
        "value": rate,
        "unit": unit,
        "anchor": anchor,
        "ratio": rate / rates[anchor],
    }


def _in_turns(measurements: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of several measurements of each, after one to warm up."""
    measured = [{name: one() for name, one in measurements.items()} for _ in range(rounds + 1)]
    return {name: statistics.median(turn[name] for turn in measured[1:]) for name in measurements}


def _transitions_a_second(feed: Iterator[Any], seconds: float) -> Callable[[], float]:
    def measured() -> float:
        batches, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            next(feed)
            batches += 1
        return batches * BATCH / elapsed

    return measured


def _steps_a_second(feed: Iterator[Transition], seconds: float) -> Callable[[], float]:
    learner = td3_bc.make(td3_bc.Config(), Spec(observation_size=17, action_size=6))
    state = learner.init(jax.random.PRNGKey(0))

    def measured() -> float:
        nonlocal state
        calls, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            state, metrics = learner.update(state, next(feed))
            jax.block_until_ready(metrics)
            calls += 1
        return calls * STEPS_A_CALL / elapsed

    return measured


def _gather(transitions: Transition) -> Iterator[Transition]:
    rng = np.random.default_rng(0)
    size = len(transitions.reward)
    while True:
        indices = rng.integers(size, size=BATCH)
        yield jax.tree.map(lambda field, indices=indices: field[indices], transitions)


@contextlib.contextmanager
def _served_elsewhere(size: int) -> Iterator[str]:
    """The address of a server in another process."""
    script = (
        "import sys; from benchmarks.speed import serving;"
        "server = serving.ReverbServer(serving.synthetic_transitions(int(sys.argv[1])));"
        "print(server.address, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextlib.contextmanager
def _single_items(transitions: Transition) -> Iterator[Iterator[Any]]:
    """Batches from a table whose items are single transitions, with one column for each field."""
    names = [name for name in Transition._fields if name != "extras"]
    fields = {name: getattr(transitions, name)[:SINGLE_ITEMS] for name in names}
    table = reverb.Table(
        "single",
        sampler=reverb.selectors.Uniform(),
        remover=reverb.selectors.Fifo(),
        max_size=SINGLE_ITEMS,
        rate_limiter=reverb.rate_limiters.MinSize(SINGLE_ITEMS),
        signature={
            name: tf.TensorSpec(field.shape[1:], field.dtype) for name, field in fields.items()
        },
    )
    server = reverb.Server([table])
    try:
        address = f"localhost:{server.port}"
        with reverb.Client(address).trajectory_writer(num_keep_alive_refs=1) as writer:
            for i in range(SINGLE_ITEMS):
                writer.append({name: field[i] for name, field in fields.items()})
                item = {name: column[-1] for name, column in writer.history.items()}
                writer.create_item("single", 1.0, item)
                if i % 32 == 0:
                    writer.flush(8)
            writer.flush()
        samples = reverb.TrajectoryDataset.from_table_signature(
            address, "single", max_in_flight_samples_per_worker=2 * BATCH
        )
        yield samples.batch(BATCH).prefetch(2).as_numpy_iterator()
    finally:
        server.stop()
