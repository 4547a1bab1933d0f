"""The schema of a Reverb server: what it serves, and the layout of its tables and items."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Sequence

import numpy as np

from rl_datasets.serving import segments
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.part import WHOLE, Part
from rl_datasets.serving.segments import Layout

TRANSITIONS = "transitions"
SCHEMA = "schema"
ROWS = "rows"
FRAMES = "frames"
BLOCK = 64
COUNTS = (
    1 << 7
)  # An item's priority is COUNTS * tag + count, the number of its real rows, BLOCK at most.
TAGS = 1 << 46  # A float64 holds whole numbers of 53 bits.
# What Reverb logs when nothing is wrong; no setting turns it off.
CHATTER = re.compile(
    rb"\[reverb/cc/(platform/tfrecord_checkpointer\.cc:|\S+\] +(Started replay server"
    rb"|Stored checkpoint|Shutting down replay server|Sampler and server are owned by the same))"
)


@dataclasses.dataclass(frozen=True)
class Schema:
    """The schema of a server; a feed needs only the server's address.

    Attributes:
      row: the structured dtype of a transition, see `packing.row_dtype`.
      num_transitions: N, the number of transitions in the part of the splits.
      block: number of rows in an item of the table; rows of the last item after N are padding.
      fingerprint: sha256 of the MANIFEST.json of the version. Without a version, the sha256 of
        the rows; for frame windows, which come one by one, 32 random digits.
      layout: the layout of the segments, if items are segments and not blocks.
      cut: how transitions were cut from a published version; None without a version.
      splits: the version's splits that are served.
      part: the part of them that this server holds.
    """

    row: np.dtype
    num_transitions: int
    block: int
    fingerprint: str
    layout: Layout | None = None
    cut: Cut | None = None
    splits: Sequence[str] = ()
    part: Part = WHOLE

    @property
    def tag(self) -> int:
        """A number that distinguishes this schema from others; every item has it."""
        return int.from_bytes(hashlib.sha256(self.to_json()).digest()[:8]) % TAGS

    @property
    def num_blocks(self) -> int:
        """The number of items in the table when it is full."""
        if self.layout is not None:
            return self.layout.num_segments
        return -(-self.num_transitions // self.block)

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the columns of an item, in bytes."""
        if self.layout is None:
            return {ROWS: (self.block * self.row.itemsize,)}
        return {
            ROWS: (segments.SEGMENT_BLOCKS, segments.BLOCK * self.row.itemsize),
            FRAMES: (self.layout.segment_blocks, segments.BLOCK * self.layout.frame.itemsize),
        }

    def to_json(self) -> bytes:
        """The schema as JSON text, the dtypes as NumPy describes them."""
        return json.dumps(dataclasses.asdict(self), default=lambda dtype: dtype.descr).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Schema:
        """The inverse of `to_json`."""
        fields = json.loads(text)
        row, layout, cut = (fields.pop(name) for name in ("row", "layout", "cut"))
        row = _dtype(row)
        if layout is not None:
            layout = Layout(**layout | {"row": row, "frame": _dtype(layout["frame"])})
        splits, part = tuple(fields.pop("splits")), Part(**fields.pop("part"))
        return cls(
            row,
            layout=layout,
            cut=None if cut is None else Cut(**cut),
            splits=splits,
            part=part,
            **fields,
        )


def _dtype(descr: list) -> np.dtype:
    return np.dtype([(name, kind, *map(tuple, shape)) for name, kind, *shape in descr])
