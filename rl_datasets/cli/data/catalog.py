"""The command `catalog`."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

from rl_datasets.cli.options import DATA_DIR, PATH


def catalog(
    data_dir: Annotated[
        str,
        typer.Argument(help="Where published datasets are, a folder or an address.", **DATA_DIR),
    ],
    site: Annotated[
        pathlib.Path,
        typer.Argument(
            help="The folder to write; an earlier catalog is brought up to date.",
            **PATH,
        ),
    ],
) -> None:
    """Writes a site of all published versions, to be opened from the disk: SITE/index.html.

    An index that can be searched and sorted, and a page for each version: counts, fields and their
    ranges, histograms, an episode in pictures, where it comes from, what was repaired, the scores
    that were reported and measured on it, and the lines that load it. Every record is read once; a
    second run reads only what is new. A damaged version is listed with what is wrong, and the
    command ends with status 1.

    Example: `rl-datasets catalog .data catalog`
    """
    from benchmarks.tables import dataset_scores
    from rl_datasets.showing import site as sites

    written = sites.write(data_dir, site, dataset_scores.scores_on)
    typer.echo(f"{site / 'index.html'}: {written.versions} versions, {written.reused} read before")
    for sentence in written.damaged:
        typer.echo(f"error: {sentence}", err=True)
    if written.damaged:
        raise typer.Exit(1)
