"""The command line, `rl-datasets`; its commands import the other packages when they run."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, NoReturn

import typer

from rl_datasets import __version__, extras
from rl_datasets.cli import scores, training
from rl_datasets.cli.data import catalog, collecting, publishing, versions
from rl_datasets.errors import DatasetError

INTERRUPTED = 130  # The exit status that a shell gives a command that Ctrl-C ended.
# The commands by the headings of the help, in its order.
COMMANDS: Mapping[str, Mapping[str, Callable[..., None]]] = {
    "The whole path": {"quickstart": training.quickstart},
    "Data": {
        "collect": collecting.collect,
        "log-game": collecting.log_game,
        "log-agent": collecting.log_agent,
        "roms": collecting.roms,
        "publish": publishing.publish,
        "replay": publishing.replay,
        "list": versions.list_versions,
        "show": versions.show,
        "catalog": catalog.catalog,
        "verify": versions.verify,
        "which-body": versions.which_body,
        "export": versions.export,
        "serve": versions.serve,
    },
    "Training": {"train-policy": training.train_policy, "train-agent": training.train_agent},
    "Scores": {
        "reproduce": scores.reproduce,
        "scores": scores.scores,
        "report": scores.report,
    },
}

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for heading, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=heading)(command)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"rl-datasets {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and stop."
        ),
    ] = False,
) -> None:
    """Logged reinforcement-learning data: collect, publish, serve, train on it, score it."""


def main() -> None:
    """Runs the command line; prints what a user can fix as one sentence, not a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # A terminal may lack a character, such as ±.
    logging.basicConfig(level=logging.ERROR)  # Beam warns about packages that are not needed here.
    try:
        app(prog_name="rl-datasets")
    except BaseException as error:
        if _comes_of_ctrl_c(error):
            _fail("interrupted; run the same command again to continue", INTERRUPTED)
        if isinstance(error, DatasetError):
            _fail(str(error), 1)
        if isinstance(error, ModuleNotFoundError) and (sentence := extras.what_brings(error)):
            _fail(sentence, 1)
        if isinstance(error, OSError) and error.strerror:
            where = f"{error.filename}: " if error.filename else ""
            _fail(f"{where}{error.strerror}; fix that and run the same command again", 1)
        raise


def _comes_of_ctrl_c(error: BaseException) -> bool:
    """Whether Ctrl-C caused the error; Typer and C extensions replace its KeyboardInterrupt."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _fail(sentence: str, status: int) -> NoReturn:
    print(f"error: {' '.join(sentence.splitlines())}", file=sys.stderr)
    sys.exit(status)
