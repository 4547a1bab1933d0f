"""Commands on tables of scores: `reproduce`, `scores`, `report`."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

from rl_datasets.cli.options import PATH, DataDir, refuse
from rl_datasets.errors import DatasetError
from rl_datasets.files import DEFAULT_DATA_DIR


def reproduce(
    context: typer.Context,
    table: Annotated[
        str | None,
        typer.Argument(
            help="The table's name, such as brac_bc, or your own recipe, a .toml file; without it, "
            "the tables are listed."
        ),
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--rows",
            "--row",
            help="Rows of the table: a name or a pattern such as 'CQL/*'; repeat for more. By "
            "default all rows whose datasets are published.",
        ),
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="A seed to run; repeat for more.")
    ] = None,
    num_seeds: Annotated[
        int | None,
        typer.Option("--seeds", min=1, help="Number of its seeds to run, from the first on."),
    ] = None,
    budget: Annotated[
        float,
        typer.Option(
            help="Fraction of the full training budget, such as 0.1; a larger one continues from "
            "there. Behaviour policies that a row starts from are trained in full."
        ),
    ] = 1.0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: Annotated[
        pathlib.Path, typer.Option(help="The folder of the runs.", **PATH)
    ] = pathlib.Path(".runs"),
    teachers_dir: Annotated[
        pathlib.Path,
        typer.Option(help="The folder below which the teachers of `reincarnating` are.", **PATH),
    ] = pathlib.Path(".teachers"),
    processes: Annotated[
        int, typer.Option(min=1, help="Runs at the same time, one core each.")
    ] = 1,
    seeds_at_once: Annotated[
        int, typer.Option(min=1, help="Seeds in one vmap, for accelerators.")
    ] = 1,
    feed: Annotated[
        str,
        typer.Option(
            help="arrays, stream, reverb, or the host:port of a server (of all parts: a,b,c)."
        ),
    ] = "arrays",
    results_dir: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Folder for the report, such as a folder of benchmarks/results; what it has whole "
            "is not run. By default beside the runs.",
            **PATH,
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            help="The share of the table to run on this machine, such as 3/8 for the third of "
            "eight; which runs it has is fixed by the table."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            help="Say what would run and for how long, show the table, refuse what could not run, "
            "and stop."
        ),
    ] = False,
) -> None:
    """Reproduces a reported table: trains, evaluates, and reports the scores beside the table's.

    The command first says what it runs and how long that takes, as far as earlier runs show. You
    can interrupt it at any time: the same command continues from the last evaluation. A row is
    compared with the reported scores once all of its seeds have run at the full budget, on the
    published data or on data that their publisher's own policies collected again. Results on data
    of this project's own policies have their own column. Without TABLE it lists the tables.

    Several machines share a table by --part; copy their folders of runs together, and the same
    command without --part writes the report and runs what is missing.

    Examples: `rl-datasets reproduce`, `rl-datasets reproduce brac_bc --dry-run`,
    `rl-datasets reproduce brac_bc --rows 'Hopper*' --seeds 2 --budget 0.1 --processes 2`
    """
    from benchmarks.tables import console
    from benchmarks.tables import reproduce as job
    from benchmarks.tables.reported import table_names
    from benchmarks.training.parts import Part
    from benchmarks.training.recipe import recipe_names

    if table is None:
        refuse(context, "needs a TABLE", *context.params.keys() - {"dry_run"})
        console.show_tables()
        return
    if table in table_names() and table not in recipe_names():
        why = f"is of no use with {table}, which has no recipe to run"
        refuse(context, why, *context.params.keys() - {"table", "dry_run"})
    if num_seeds is not None:
        if seeds:
            raise DatasetError("--seeds counts seeds and --seed names them: give one of the two")
        seeds = job.first_seeds(table, num_seeds)
    job.reproduce(
        table,
        rows=rows,
        seeds=seeds,
        budget=budget,
        data_dir=data_dir,
        runs_dir=runs_dir,
        teachers_dir=teachers_dir,
        processes=processes,
        seeds_at_once=seeds_at_once,
        feed=feed,
        results_dir=results_dir,
        dry_run=dry_run,
        part=None if part is None else Part.parse(part),
    )


Normalize = Annotated[
    str | None,
    typer.Option(
        help="Normalise the measured scores of games: batch_rl, dqn_last, rl_unplugged, human or "
        "gamer, by scores that were published; logged, by the best iteration of the agent that "
        "logged the row's own data with `log-game`; or teacher, by the teacher of its student."
    ),
]
Random = Annotated[
    str | None,
    typer.Option(
        help="Where logged and teacher have the scores of a random policy from: random (dqn_zoo's, "
        "the default), gamer_random, or a folder of runs of `log-game GAME random FOLDER`."
    ),
]


def scores(
    table: Annotated[str, typer.Argument(help="The table's name, such as brac_bc.")],
    folder: Annotated[
        pathlib.Path | None,
        typer.Argument(
            help="Its results, as `reproduce` wrote them; by default those that were measured for "
            "this package and ship with it.",
            **PATH,
        ),
    ] = None,
    normalize: Normalize = None,
    random: Random = None,
) -> None:
    """Shows a table's measured scores beside the reported ones; needs no data and trains nothing.

    For a table of which nothing was measured, it shows what was reported.

    Examples: `rl-datasets scores brac_bc`, `rl-datasets scores rl_unplugged_atari`,
    `rl-datasets scores pong.toml .runs/pong/results --normalize logged`
    """
    from benchmarks.tables import report as report_lib

    report_lib.show_folder(table, folder, normalize, random)


def report(
    table: Annotated[str, typer.Argument(help="The table's name, such as brac_bc.")],
    folder: Annotated[
        pathlib.Path,
        typer.Argument(
            help="Its results, such as benchmarks/results/brac_bc in the repository.", **PATH
        ),
    ],
    normalize: Normalize = None,
    random: Random = None,
    parts: Annotated[
        int | None,
        typer.Option(min=1, help="Say which of so many parts of `reproduce --part` are missing."),
    ] = None,
) -> None:
    """Writes a table's report again from its results, with reported and measured scores.

    For a table of games, if the folder holds no results of it, it writes a page of what was
    reported, with the scores over games and their pictures, as `<table>.html`.

    Example: `rl-datasets report rl_unplugged_atari pages`
    """
    from benchmarks.tables import report as report_lib

    typer.echo(report_lib.write_report(table, folder, normalize, random))
    for sentence in report_lib.missing(table, folder, parts) if parts else ():
        typer.echo(sentence)
