"""How fast batches of stacked frames come from memory and from Reverb, beside slimCQL's sampling.

The data: 10,000 transitions of frames that compress as a game's do. The batches: 32 transitions of
4 stacked frames, `CHUNK` batches at a time, on JAX's device.

slimCQL's sampling is re-enacted, as it is at 5e506ff of slimRL/slimCQL: a transition is kept with
both stacks as float64, compressed by Snappy. For a chunk, it takes a thread for each batch, which
draws indices by JAX and unpacks the stacks; then it joins all on the device, as float32. Its chunks
are of up to 500 batches; that the ones here are smaller spares it memory and costs it no time.
"""

from __future__ import annotations

import concurrent.futures
import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow

from benchmarks.speed.dqn_replay import synthetic_frames
from rl_datasets.episode import Episode
from rl_datasets.serving import frame_windows, segments
from rl_datasets.serving.arrays import ArrayFeed
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.frame_windows import FrameWindows
from rl_datasets.serving.transitions import Transition

BATCH, CHUNK = 32, 20
EPISODE_LENGTH = 1_000
CUT = Cut(frame_stack=4)
SLIM_CQL = "slimCQL's sampling, re-enacted"


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Milliseconds of a batch, the best of several turns; `ratio` is how many times faster."""
    from rl_datasets.serving.reverb import ReverbFeed, ReverbServer

    episodes, turns = (1, 2) if quick else (10, 4)
    windows = synthetic_windows(episodes)
    size = len(windows.rows)
    layout = segments.layout_of(windows, size + episodes, CUT.n_step)
    with ReverbServer.of_frame_windows([windows], layout, size) as server:
        feeds: dict[str, Iterator[Transition]] = {
            SLIM_CQL: slim_cql_batches(windows),
            "ArrayFeed": on_device(ArrayFeed(windows, BATCH, 0, CHUNK)),
            "ReverbFeed": on_device(ReverbFeed(server.address, BATCH, CHUNK)),
        }
        best = dict.fromkeys(feeds, float("inf"))
        for _ in range(turns):
            for name, feed in feeds.items():
                best[name] = min(best[name], milliseconds_a_batch(feed))
    return [
        {
            "name": name,
            "value": milliseconds,
            "unit": "ms a batch of 32",
            "anchor": f"{SLIM_CQL}: {best[SLIM_CQL]:.1f}",
            "ratio": best[SLIM_CQL] / milliseconds,
        }
        for name, milliseconds in best.items()
    ]


def synthetic_windows(episodes: int) -> FrameWindows:
    """Episodes of noise that moves, of 1,000 transitions each."""
    rng = np.random.default_rng(0)
    pieces = []
    for number in range(episodes):
        episode = Episode.from_transitions(
            synthetic_frames(EPISODE_LENGTH + 1, seed=number)[..., None],
            rng.integers(0, 18, EPISODE_LENGTH),
            rng.integers(-1, 2, EPISODE_LENGTH),
            is_terminal=True,
        )
        pieces.append(frame_windows.of_episode(episode, CUT))
    size = episodes * EPISODE_LENGTH
    return frame_windows.joined(pieces, size + episodes, size)


def on_device(batches: Iterator[Transition]) -> Iterator[Transition]:
    return (jax.block_until_ready(jax.device_put(batch)) for batch in batches)


def milliseconds_a_batch(feed: Iterator[Transition], chunks: int = 5) -> float:
    """Over a few chunks, with what the feed prepared before."""
    start = time.perf_counter()
    for _ in range(chunks):
        next(feed)
    return 1_000 * (time.perf_counter() - start) / (chunks * CHUNK)


def slim_cql_batches(windows: FrameWindows) -> Iterator[Transition]:
    """Transitions [CHUNK, B, ...] on the device, by slimCQL's way of sampling."""
    codec = pyarrow.Codec("snappy")
    transitions = frame_windows.cut_out(windows.frames, windows.rows)
    shape = transitions.observation.shape[1:]
    bytes_of_stack = 8 * int(np.prod(shape))

    def packed(stack: np.ndarray) -> bytes:
        return codec.compress(np.ascontiguousarray(stack, np.float64), asbytes=True)

    def unpacked(data: bytes) -> np.ndarray:
        return np.frombuffer(codec.decompress(data, bytes_of_stack), np.float64).reshape(shape)

    memory = [
        (packed(before), action, reward, discount, packed(after))
        for before, action, reward, discount, after in zip(
            transitions.observation,
            transitions.action,
            transitions.reward,
            transitions.discount,
            transitions.next_observation,
            strict=True,
        )
    ]
    draw = jax.jit(functools.partial(jax.random.randint, shape=(BATCH,), minval=0))

    def batch(key: jax.Array) -> tuple[np.ndarray, ...]:
        elements = [memory[index] for index in np.asarray(draw(key, maxval=len(memory)))]
        return tuple(
            np.stack([unpacked(x) if isinstance(x, bytes) else x for x in of_field])
            for of_field in zip(*elements, strict=True)
        )

    key = jax.random.PRNGKey(0)
    while True:
        key, of_chunk = jax.random.split(key)
        with concurrent.futures.ThreadPoolExecutor(CHUNK) as pool:
            batches = list(pool.map(batch, jax.random.split(of_chunk, CHUNK)))
        before, action, reward, discount, after = map(jnp.stack, zip(*batches, strict=True))
        transitions = Transition(before, action, reward, discount, after, {})
        yield jax.block_until_ready(transitions)
