"""`python -m benchmarks.speed`: measures every speed and its anchor in one run."""

from __future__ import annotations

import importlib
import json
import pathlib
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.training import results
from rl_datasets import files

ROOMS = (
    "collection",
    "online_atari",
    "publishing",
    "d4rl",
    "rl_unplugged",
    "dqn_replay",
    "replaying",
    "replay_memory",
    "exporting",
    "other_libraries",
    "serving",
    "atari_reading",
    "stacked_batches",
    "learners",
    "image_learners",
    "seeds",
    "students",
    "environments",
    "game_evaluation",
)
RESULTS = pathlib.Path(__file__).parents[1] / "results" / "speed"


def show(room: str, rows: list[dict]) -> None:
    """Prints one room's rows as a table."""
    table = Table("measured", "value", "unit", "anchor", "ratio", title=room, title_justify="left")
    for row in rows:
        ratio = row.get("ratio")
        table.add_row(
            row["name"],
            _figure(row["value"]),
            row["unit"],
            _figure(row.get("anchor")),
            "" if ratio is None else f"{ratio:.2f}",
        )
    Console(width=160).print(table)


def _figure(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, int | float) else str(value or "")


def main(
    rooms: Annotated[
        list[str] | None, typer.Argument(help=f"Any of {', '.join(ROOMS)}; all by default.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Use smaller inputs, to see that it runs.")] = False,
    save: Annotated[bool, typer.Option(help="Write the rows to benchmarks/results/speed.")] = False,
) -> None:
    """Measures this project's speeds and their anchors; use an otherwise idle machine."""
    for room in rooms or ROOMS:
        rows = importlib.import_module(f"benchmarks.speed.{room}").measure(quick=quick)
        show(room, rows)
        if save:
            RESULTS.mkdir(parents=True, exist_ok=True)
            measured = {
                "command": f"python -m benchmarks.speed {room}",
                "machine": results.machine(),
                "code_version": results.code_version(),
                "rows": rows,
            }
            files.write(RESULTS / f"{room}.json", json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
