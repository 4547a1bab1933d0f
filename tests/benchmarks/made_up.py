"""A line of results that nobody measured."""

from typing import Any

LINE = {
    "row": "row",
    "dataset": "brac/row-recollected:1.0.0",
    "fingerprint": "f",
    "environment": "Pendulum-v1",
    "learner": "bc",
    "config": {},
    "batch_size": 4,
    "feed": "arrays",
    "seed": 0,
    "budget": 1.0,
    "steps": 100,
    "evaluate_every": 50,
    "episodes": 2,
    "step": 50,
    "returns": [-1.0, 1.0],
    "metrics": {},
    "code_version": "0.1.0+abc",
    "seconds": {"train": 2.0, "evaluate": 1.0},
}


def line(**fields: Any) -> dict[str, Any]:
    """The line with other values of some fields."""
    return {**LINE, **fields}
