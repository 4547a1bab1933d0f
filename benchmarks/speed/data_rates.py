"""Transitions a second of collecting and of publishing by one process, in a process of its own."""

from __future__ import annotations

import itertools
import pathlib
import tempfile
from collections.abc import Callable

from benchmarks.speed import collection, publishing
from benchmarks.speed.learner_steps import serve

ENVIRONMENT = "HalfCheetah-v4"
COLLECTED, PUBLISHED = 20_000, 100_000


def load() -> dict[str, tuple[Callable[[], object], float]]:
    """What each name runs once, and how many transitions that is."""
    observations, actions = collection.SIZES[ENVIRONMENT]
    layers = collection.random_layers((observations, 200, 200, 2 * actions))
    seeds = itertools.count()

    def collect() -> None:
        collection.collect(ENVIRONMENT, layers, COLLECTED, next(seeds), processes=1)

    def publish() -> None:
        with tempfile.TemporaryDirectory() as folder:
            publishing.publish_ours(pathlib.Path(folder), PUBLISHED)

    publish()  # Beam's first pipeline takes longer.
    return {"collect": (collect, COLLECTED), "publish": (publish, PUBLISHED)}


if __name__ == "__main__":
    serve(load)
