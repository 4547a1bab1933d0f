"""Batches from a Reverb server, which several learners can share.

A transition is one row of bytes (`packing.row_dtype`), and an item of the table is a block of
rows that a seeded permutation brought together. Reverb's cost is by item, so blocks of 64 are
served forty times faster than single transitions. A feed draws blocks uniformly with replacement
and shuffles the rows of many before it cuts them into batches. Every transition is therefore
equally likely in every place of every batch, as with `ArrayFeed`, but draws are not independent:
the rows of one block appear in the same few batches, each as often as its block was drawn. Reverb
cannot seed its sampling; only `ArrayFeed` repeats a run.

The server holds images as single frames, once each. An item is then a segment: 16 rows with the
frames that they reach (`segments`). A feed shuffles the transitions of many segments and cuts their
stacks of frames out batch by batch. This is the same as with blocks, except that the transitions of
a segment follow one another in their episode.

Every item has a number that follows from the schema. A feed whose server was lost waits until one
serves the same data at its address. It stops if that server serves other data.

The server listens on every interface, without encryption or authentication: Reverb offers nothing
else. Serve on a trusted network, or behind a firewall.

A dataset may be split over several servers (`part`). A feed chooses the server of each item at
random, in proportion to their numbers of items, so every transition is equally likely again.
"""

from rl_datasets.serving.reverb.connection import schemas_of
from rl_datasets.serving.reverb.feed import ReverbFeed
from rl_datasets.serving.reverb.schema import Schema
from rl_datasets.serving.reverb.server import ReverbServer, serve

__all__ = ["ReverbFeed", "ReverbServer", "Schema", "schemas_of", "serve"]
