"""Batches from arrays in memory: the reference feed, bit for bit the same from the same seed."""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rl_datasets.serving import frame_windows
from rl_datasets.serving.frame_windows import FrameWindows
from rl_datasets.serving.packing import pack, unpack
from rl_datasets.serving.transitions import Transition, with_frames

CHUNK_BYTES = 4 << 20  # Gathered at a time where batches are smaller: hides the cost of a call.
CHUNKS_AHEAD = 2


class ArrayFeed(Iterator[Transition]):
    """Batches drawn uniformly with replacement from transitions in memory.

    The indices of batch n come from the seed's key folded with n. So a feed continues bit for bit
    after `seek(n)`, and K batches given at once are the same as K single ones. (The draws are those
    of `jax.random.randint`, which another release of JAX may change.)

    On a CPU a transition is one row of bytes, which is one copy, and threads work ahead. On an
    accelerator the data are kept in its memory and gathered there. From `FrameWindows`, stacks of
    frames are cut out batch by batch; the draws are the same as those of transitions that hold
    their stacks.

    Args:
      transitions: Transition of [N, ...] arrays, or FrameWindows of N transitions.
      batch_size: B.
      seed: seeds the draws.
      steps: K, to give [K, B, ...] at a time for a `lax.scan`; None gives [B, ...].
      on_device: where to gather; None means on the device unless that is the CPU.

    Raises:
      ValueError: there are no transitions, or batch_size or steps is below 1.
    """

    def __init__(
        self,
        transitions: Transition | FrameWindows,
        batch_size: int,
        seed: int,
        steps: int | None = None,
        on_device: bool | None = None,
    ):
        frames, rows = _frames_and_rows(transitions)
        size = len(rows)
        if size < 1 or batch_size < 1 or (steps is not None and steps < 1):
            raise ValueError(
                f"an ArrayFeed needs transitions and a positive batch_size and steps, got "
                f"{size} transitions, batch_size={batch_size}, steps={steps}"
            )
        if on_device is None:
            on_device = jax.default_backend() != "cpu"
        gather = _DeviceGather if on_device else _HostGather
        self._gather = gather(frames, rows, batch_size, seed, steps)
        self._size = size
        self._steps = steps or 1
        self._workers = concurrent.futures.ThreadPoolExecutor(CHUNKS_AHEAD, "ArrayFeed")
        self.seek(0)

    def __len__(self) -> int:
        """N, the number of transitions that batches are drawn from."""
        return self._size

    @property
    def position(self) -> int:
        """The number of the next batch, counted in batches of [B, ...]; `seek` returns to it."""
        return self._position

    def seek(self, batch: int) -> None:
        """Continues from the given batch, counted in batches of [B, ...] whatever `steps` is."""
        self._position = self._next_chunk = batch
        self._chunks: collections.deque[concurrent.futures.Future] = collections.deque()
        self._ready: Iterator[Transition] = iter(())

    def __next__(self) -> Transition:
        transitions = next(self._ready, None)
        if transitions is None:
            self._ready = iter(self._next_ready_chunk())
            transitions = next(self._ready)
        self._position += self._steps
        return transitions

    def _next_ready_chunk(self) -> list[Transition]:
        while len(self._chunks) <= CHUNKS_AHEAD:
            self._chunks.append(self._workers.submit(self._gather, self._next_chunk))
            self._next_chunk += self._gather.batches
        return self._chunks.popleft().result()


def _frames_and_rows(
    transitions: Transition | FrameWindows,
) -> FrameWindows | tuple[None, np.ndarray]:
    return transitions if isinstance(transitions, FrameWindows) else (None, pack(transitions))


class _HostGather:
    """Gathers rows on the CPU, as many batches at a time as make the overhead small."""

    def __init__(
        self,
        frames: np.ndarray | None,
        rows: np.ndarray,
        batch_size: int,
        seed: int,
        steps: int | None,
    ):
        self._frames, self._rows = frames, rows
        self._split = steps is None
        batch_bytes = frame_windows.transition_bytes(frames, rows) * batch_size
        self.batches = steps or max(1, CHUNK_BYTES // batch_bytes)
        self._draw = _index_drawer(len(rows), batch_size, self.batches)
        self._key = jax.device_put(_key(seed), jax.local_devices(backend="cpu")[0])

    def __call__(self, first_batch: int) -> list[Transition]:
        indices = np.asarray(self._draw(self._key, first_batch))
        chunk = np.take(self._rows, indices, mode="clip")  # the mode that does not check each index
        return [
            frame_windows.cut_out(self._frames, rows)
            for rows in (chunk if self._split else [chunk])
        ]


class _DeviceGather:
    """Gathers on the accelerator, which holds the data: an argument, never a constant."""

    def __init__(
        self,
        frames: np.ndarray | None,
        rows: np.ndarray,
        batch_size: int,
        seed: int,
        steps: int | None,
    ):
        self.batches = steps or 1
        self._data = jax.device_put((frames, unpack(rows)))
        self._key = _key(seed)
        draw = _index_drawer(len(rows), batch_size, self.batches)

        @jax.jit
        def gather(
            data: tuple[jax.Array | None, Transition], key: jax.Array, first_batch: jax.Array
        ) -> Transition:
            indices = draw(key, first_batch)
            indices = indices if steps else indices[0]
            frames, transitions = data
            transitions = jax.tree.map(lambda field: field[indices], transitions)
            return transitions if frames is None else with_frames(transitions, frames, _stack)

        self._gather = gather

    def __call__(self, first_batch: int) -> list[Transition]:
        return [self._gather(self._data, self._key, first_batch)]


def _stack(frames: jax.Array, numbers: jax.Array) -> jax.Array:
    """`transitions.stack` on the accelerator."""
    depth = numbers.shape[-1]
    if depth == 1:
        return frames[numbers[..., 0]]
    if frames.ndim == 1:
        return frames[numbers]
    return jnp.concatenate([frames[numbers[..., place]] for place in range(depth)], axis=-1)


def _key(seed: int) -> jax.Array:
    return jax.random.key(seed, impl="threefry2x32")


def _index_drawer(
    size: int, batch_size: int, batches: int
) -> Callable[[jax.Array, int | jax.Array], jax.Array]:
    """(key, first batch) -> indices [batches, batch_size] of the batches from the first on."""

    def draw(key: jax.Array, batch: jax.Array) -> jax.Array:
        return jax.random.randint(jax.random.fold_in(key, batch), (batch_size,), 0, size)

    return jax.jit(
        lambda key, first: jax.vmap(draw, in_axes=(None, 0))(key, first + jnp.arange(batches))
    )
