"""Options and arguments that several commands share, and the refusal of useless options."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from rl_datasets import files
from rl_datasets.errors import DatasetError
from rl_datasets.stores.store import is_address, open_store


def data_dir(place: str) -> str:
    """A folder of published datasets, or its address; refuses what is neither."""
    if is_address(place):
        open_store(place)
        return place
    return os.fspath(files.local_path(place))


# The settings of all options and arguments that are paths.
PATH: dict[str, Any] = {"parser": files.local_path, "metavar": "PATH"}
DATA_DIR: dict[str, Any] = {"parser": data_dir, "metavar": "PATH"}
DataDir = Annotated[
    str,
    typer.Option(
        "--data-dir",
        help="Where published datasets are, as in TFDS's data_dir: a folder, gs://bucket/folder or "
        "s3://bucket/folder.",
        **DATA_DIR,
    ),
]
Version = Annotated[
    str,
    typer.Argument(
        help="A published version: brac/halfcheetah-eps1-recollected:1.0.0, or without the number "
        "for the newest; or its folder."
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is random.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes on this machine.")]
BeamOption = Annotated[
    list[str] | None,
    typer.Option(help="One of Beam's pipeline options, such as --runner=FlinkRunner; repeat."),
]
KeepGoing = Annotated[
    bool,
    typer.Option(
        "--keep-going",
        help="Skip what is damaged or missing, and list it with the reasons in MANIFEST.json.",
    ),
]


def refuse(context: typer.Context, why: str, *parameters: str) -> None:
    """Raises `DatasetError` if an option was given that would have no effect.

    Args:
      context: the command's context.
      why: the part of the sentence after the option's name.
      parameters: names of the command's parameters to check.
    """
    for parameter in context.command.params:
        assert parameter.name is not None
        source = context.get_parameter_source(parameter.name)
        if parameter.name in parameters and source is not None and source.name != "DEFAULT":
            raise DatasetError(f"{parameter.opts[0]} {why}: leave it out")
