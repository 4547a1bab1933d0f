"""Fills the tables of a server: with its schema, then with blocks of rows or with segments."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import reverb

from rl_datasets.serving import segments
from rl_datasets.serving.frame_windows import FrameWindows
from rl_datasets.serving.reverb.schema import COUNTS, FRAMES, ROWS, SCHEMA, TRANSITIONS, Schema
from rl_datasets.terminal import progress

BLOCKS_A_FLUSH = 32


def fill(address: str, schema: Schema, rows: np.ndarray, seed: int) -> None:
    client = reverb.Client(address)
    client.insert(np.frombuffer(schema.to_json(), np.uint8), {SCHEMA: 1.0})
    order = np.random.default_rng(seed).permutation(len(rows))
    with (
        client.trajectory_writer(num_keep_alive_refs=1) as writer,
        progress(f"filling {address}", len(rows)) as advance,
    ):
        for number, start in enumerate(range(0, len(rows), schema.block), start=1):
            chosen = order[start : start + schema.block]
            block = np.zeros(schema.block, schema.row)
            block[: len(chosen)] = rows[chosen]
            writer.append({ROWS: block.view(np.uint8)})
            # A Uniform sampler ignores the priority.
            priority = COUNTS * schema.tag + len(chosen)
            writer.create_item(TRANSITIONS, priority, {ROWS: writer.history[ROWS][-1]})
            if number % BLOCKS_A_FLUSH == 0:
                writer.flush(BLOCKS_A_FLUSH // 4)  # This bounds the writer's memory.
            advance(len(chosen))
        writer.flush()


def fill_segments(address: str, schema: Schema, pieces: Iterable[FrameWindows]) -> None:
    """Appends one block at a time, each one chunk, so Reverb compresses its frames together."""
    client = reverb.Client(address)
    client.insert(np.frombuffer(schema.to_json(), np.uint8), {SCHEMA: 1.0})
    layout = schema.layout
    assert layout is not None
    held = layout.segment_blocks
    with client.trajectory_writer(num_keep_alive_refs=held) as writer:
        for column in (ROWS, FRAMES):
            writer.configure((column,), num_keep_alive_refs=held, max_chunk_length=1)
        items = 0
        for number, (frames, rows) in enumerate(segments.blocks(pieces, layout), start=1):
            writer.append({ROWS: _bytes_of(rows), FRAMES: _bytes_of(frames)})
            if number < segments.SEGMENT_BLOCKS * items + held:
                continue
            columns = {
                ROWS: writer.history[ROWS][-held:][: segments.SEGMENT_BLOCKS],
                FRAMES: writer.history[FRAMES][-held:],
            }
            writer.create_item(TRANSITIONS, COUNTS * schema.tag, columns)
            items += 1
            if items % BLOCKS_A_FLUSH == 0:
                writer.flush(BLOCKS_A_FLUSH // 4)
        writer.flush()


def _bytes_of(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(array.tobytes(), np.uint8)
