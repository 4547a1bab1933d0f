"""Batches from a Reverb server, which several learners can share.

A transition is one row of bytes (`packing.row_dtype`), and an item of the table is a block of
rows that a seeded permutation brought together: Reverb's cost is by item, so that blocks of 64 are
served forty times faster than single transitions. A feed draws blocks uniformly with replacement
and shuffles the rows of many before it cuts them into batches. Every transition is therefore
equally likely in every place of every batch, as with `ArrayFeed`, but draws are not independent:
the rows of one block appear in the same few batches, each as often as its block was drawn. Reverb
cannot seed its sampling; only `ArrayFeed` repeats a run.

Images lie in the server as single frames, once each, and an item is a segment: 16 rows with the
frames that they reach (`segments`). A feed shuffles the transitions of many segments and cuts their
stacks of frames out batch by batch. It is as with blocks, but that those of a segment follow one
another in their episode.

Every item bears a number that follows from the schema, so that a feed whose server was replaced
goes on if the new one serves the same, and stops if not.

The server listens on every interface, without encryption and without asking who calls: Reverb
offers nothing else. Serve on a trusted network, or behind a firewall.
"""

from rl_datasets.serving.reverb.feed import ReverbFeed, wait_until_full
from rl_datasets.serving.reverb.schema import Schema
from rl_datasets.serving.reverb.server import ReverbServer, serve

__all__ = ["ReverbFeed", "ReverbServer", "Schema", "serve", "wait_until_full"]
