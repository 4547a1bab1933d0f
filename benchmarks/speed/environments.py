"""Measures Python 3.13 with current JAX and NumPy beside Python 3.11 with what Reverb allows.

Both are environments of this project, which `make setup` and `make setup-modern` make. The same
code runs in each, in turns: updates of learners with sampling from arrays, collection of a policy's
episodes, and publishing. Collection and publishing are of one process each.
"""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

from benchmarks.speed.workers import ROOT, Worker, label, row, sampled
from rl_datasets.errors import DatasetError

LOCKED, MODERN = ".venv", ".venv-modern"
UPDATES = sampled(("bc", "td3_bc", "iql", "cql"))
IMAGE_UPDATES = sampled(("discrete_bc", "discrete_cql"))
SCRIPTS = {  # What each script is asked, and the unit of its answers.
    "learner_steps": (UPDATES, "steps/s"),
    "image_learner_steps": (IMAGE_UPDATES, "steps/s"),
    "data_rates": (("collect", "publish"), "transitions/s"),
}


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """The best of several turns on Python 3.13; the anchor and `ratio` are beside Python 3.11."""
    turns, seconds = (1, 1.0) if quick else (3, 4.0)
    rows = []
    for script, (names, unit) in SCRIPTS.items():
        best: dict[tuple[str, str], float] = {}
        with contextlib.ExitStack() as stack:
            workers = {
                each: stack.enter_context(Worker.start(_command(each, script)))
                for each in (LOCKED, MODERN)
            }
            for _ in range(turns):
                for name in names:
                    for each, worker in workers.items():
                        rate = worker.rate(name, seconds)
                        best[each, name] = max(rate, best.get((each, name), 0.0))
        for name in names:
            old, new = best[LOCKED, name], best[MODERN, name]
            what = label(name) if name in UPDATES + IMAGE_UPDATES else name
            rows.append(row(what, new, unit, f"Python 3.11: {old:,.0f}", new / old))
    return rows


def _command(environment: str, script: str) -> list[str]:
    python = ROOT / environment / "bin/python"
    if not pathlib.Path(python).exists():
        raise DatasetError(f"{python} does not exist: run `make setup setup-modern` first")
    return [str(python), "-m", f"benchmarks.speed.{script}", "1"]
