"""Commands on published versions: `list`, `show`, `verify`, `which-body`, `export`, `serve`."""

from __future__ import annotations

import functools
import pathlib
from typing import TYPE_CHECKING, Annotated

import typer

from rl_datasets import files, load
from rl_datasets.cli.options import PATH, DataDir, Version
from rl_datasets.errors import DatasetError
from rl_datasets.files import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from rl_datasets.published import version as published


def verify(
    version: Version,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    shallow: Annotated[
        bool, typer.Option(help="Check only files and counts, not episodes.")
    ] = False,
) -> None:
    """Proves that a published version is whole: every sha256, every count and every episode."""
    from rl_datasets.published import verification

    opened = load(version, data_dir)
    verification.verify(opened, deep=not shallow)
    typer.echo(f"{opened.location}: whole, {len(opened.manifest['files'])} files")


def which_body(
    source: Annotated[
        str,
        typer.Argument(
            help="A file in D4RL's layout (.hdf5), a published version (brac/mine:1.0.0, or its "
            "folder), a collected folder, or the prefix of BRAC's saved data."
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(
            help="Ant, HalfCheetah, Hopper or Walker2d; by default all whose shapes the rows have."
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, help="Largest number of states to step from, evenly spread.")
    ] = 5_000,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Says which body made the rows of a file: gym's v2, or gymnasium's v4 or v5.

    The command takes one step from each state in every body of the task, and compares the result
    with the row's next observation. The body that made the rows reproduces them up to the rounding
    of their storage.

    Example: `rl-datasets which-body hopper_medium-v2.hdf5`
    """
    import rich.table

    from rl_datasets import terminal
    from rl_datasets.collection import which_body as bodies
    from rl_datasets.published import manifest

    path = files.local_path(source)
    read = functools.partial(bodies.read_episodes, path)
    if ":" in source or (path / manifest.FILE_NAME).is_file():
        read = functools.partial(load(source, data_dir).episodes, "all")
    comparisons = bodies.investigate(source, read, task, rows)
    table = rich.table.Table(
        "body", "steps", "median error", "90%", "largest", "of rewards", "terminals that differ"
    )
    for compared in comparisons:
        errors = [f"{error:.1e}" for error in (*compared.percentiles, compared.reward_error.max())]
        differ = f"{compared.terminals_differ.sum():,}"
        table.add_row(compared.environment, f"{len(compared.error):,}", *errors, differ)
    terminal.show(table)
    typer.echo(bodies.verdict(comparisons))


def list_versions(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Lists the published versions."""
    import rich.table

    from rl_datasets import terminal
    from rl_datasets.published import catalog

    versions, errors = catalog.list_published(data_dir)
    if not versions:
        typer.echo(f"nothing is published in {data_dir}")
    table = rich.table.Table(box=None, pad_edge=False)
    table.add_column("version", overflow="fold")
    for number in ("episodes", "transitions", "MB"):
        table.add_column(number, justify="right", no_wrap=True)
    for version in versions:
        table.add_row(
            version.name,
            *(f"{count:,}" for count in version.counts()),
            f"{version.size / 1e6:,.1f}",
        )
    if versions:
        terminal.show(table)
    for error in errors.values():
        typer.echo(f"error: {error}", err=True)
    if errors:
        raise typer.Exit(1)


def show(
    version: Version,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    gif: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write an episode as a GIF of at most 1,000 frames.", **PATH),
    ] = None,
    sheet: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write 32 of its frames side by side, as a PNG.", **PATH),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The split of the episode; by default the first.")
    ] = None,
    episode: Annotated[
        int | None,
        typer.Option(min=0, help="The number of the episode in the split; by default the first."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of MANIFEST.json, not a summary.")
    ] = False,
) -> None:
    """Shows what a published version holds and what it was made from, or draws an episode.

    Example: `rl-datasets show dqn_replay/Pong_run_1:1.1.0 --split checkpoint_49 --gif pong.gif`
    """
    import json

    from rl_datasets import terminal
    from rl_datasets.showing import card, console

    is_drawn = gif is not None or sheet is not None
    if not is_drawn and (split is not None or episode is not None):
        raise DatasetError("--split and --episode need --gif or --sheet: give one of these too")
    opened = load(version, data_dir)
    if as_json:
        typer.echo(json.dumps(opened.manifest, indent=2))
    elif not is_drawn:
        terminal.show(console.drawn(card.of(opened)))
    if is_drawn:
        _draw(opened, split or next(iter(opened.splits)), episode or 0, gif, sheet)


def _draw(
    version: published.Version,
    split: str,
    episode: int,
    gif: pathlib.Path | None,
    sheet: pathlib.Path | None,
) -> None:
    from rl_datasets import rendering

    frames = version.episode(split, episode).observation
    if gif is not None:
        every = rendering.write_gif(gif, frames)
        shown = "every frame" if every == 1 else f"one frame in {every}"
        typer.echo(f"{gif}: episode {episode} of {split}, {shown} of {len(frames):,}")
    if sheet is not None:
        shown_frames = rendering.write_contact_sheet(sheet, frames)
        typer.echo(f"{sheet}: episode {episode} of {split}, {len(shown_frames)} frames")


def export(
    version: Version,
    kind: Annotated[str, typer.Argument(help="arrays, d4rl, minari, parquet or replay-logs.")],
    target: Annotated[
        pathlib.Path,
        typer.Argument(
            help="The folder to create, or the file for d4rl; it must not exist.", **PATH
        ),
    ],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    split: Annotated[
        str, typer.Option(help="Split of the version; several joined by +, or all.")
    ] = "all",
) -> None:
    """Exports a version to the formats of other libraries.

    arrays are NumPy files, d4rl is an HDF5 file as D4RL's, minari a dataset of Minari, parquet a
    folder that Hugging Face's `datasets` opens, and replay-logs are Dopamine's.

    The export is a stream, so memory does not grow with the data. It is read back, and the command
    says what the format cannot hold. With images, d4rl has final observations in place of next
    observations.

    Examples: `rl-datasets export brac/halfcheetah-eps1-recollected:1.0.0 d4rl halfcheetah.hdf5`,
    `rl-datasets export dqn_replay/Pong_run_1 parquet pong --split checkpoint_49`
    """
    from rl_datasets.exporting import export as exporting

    written = exporting.export(load(version, data_dir), kind, target, split)
    typer.echo(f"{target}: {written.episodes:,} episodes, {written.transitions:,} transitions")
    for difference in written.differences:
        typer.echo(f"note: {difference}")


def serve(
    version: Version,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    split: Annotated[
        str, typer.Option(help="Split of the version; several joined by +, or all.")
    ] = "train",
    port: Annotated[
        int,
        typer.Option(min=1, max=65535, help="The port that Reverb listens on, on every interface."),
    ] = 8000,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the order in which transitions are packed.")
    ] = 0,
    n_step: Annotated[int, typer.Option(min=1, help="Rewards in a transition.")] = 1,
    gamma: Annotated[
        float, typer.Option(min=0, max=1, help="Discount factor within those n steps.")
    ] = 1.0,
    frame_stack: Annotated[
        int, typer.Option(min=1, help="Observations in a stack; frames are stored once.")
    ] = 1,
    next_action: Annotated[
        bool, typer.Option("--next-action", help="Also serve the next action, which ReBRAC reads.")
    ] = False,
    reward_field: Annotated[
        str,
        typer.Option(help="The field of the steps to take rewards from, such as stored_reward."),
    ] = "reward",
    checkpoint: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="A folder for Reverb's checkpoints: start from the one of exactly these data, or "
            "make it.",
            **PATH,
        ),
    ] = None,
    part: Annotated[
        str,
        typer.Option(help="The part to serve, in whole episodes: of three servers, 1/3 to 3/3."),
    ] = "1/1",
) -> None:
    """Fills a Reverb server from a published version and serves it until Ctrl-C.

    Reverb has no authentication: whoever reaches the port can read, write and stop it.
    """
    from rl_datasets.serving import reverb
    from rl_datasets.serving.cut import Cut
    from rl_datasets.serving.part import Part

    try:
        cut = Cut(n_step, gamma, frame_stack, next_action, reward_field)
        of_parts = Part.parse(part)
    except ValueError as error:
        raise DatasetError(f"{error}: correct that option") from error
    reverb.serve(load(version, data_dir), split, cut, port, seed, checkpoint, of_parts)
