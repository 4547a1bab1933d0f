"""The command line, `rl-datasets`: the roof over every room, opened lazily."""

from __future__ import annotations

import sys

import typer

from rl_datasets.errors import DatasetError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def root() -> None:
    """Logged reinforcement-learning data: collect, publish, serve, train on it, score it."""


def main() -> None:
    """Runs the command line; prints what a user can mend as one sentence, not a traceback."""
    try:
        app()
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
