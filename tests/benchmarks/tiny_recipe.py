"""A recipe of one row that is as short as can be."""

from typing import Any

from benchmarks.training.recipe import Recipe
from benchmarks.training.row import Row


def of(row: Row, **changes: Any) -> Recipe:
    fields = {"title": "Tiny", "table": "tiny", "learner": "dqn", "seeds": (0,), "rows": (row,)}
    sizes = {"steps": 4, "batch_size": 2, "evaluate_every": 2, "episodes": 1}
    return Recipe(**{**fields, **sizes, **changes})
