"""The command line, `rl-datasets`: the roof over every room, opened lazily."""

from __future__ import annotations

import functools
import io
import logging
import math
import os
import pathlib
import sys
import warnings
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from rl_datasets import __version__, files, load
from rl_datasets.errors import DatasetError

if TYPE_CHECKING:
    from rl_datasets.published import version as published

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

# How every option and argument that is a path is read.
PATH: dict[str, Any] = {"parser": files.local_path, "metavar": "PATH"}
DataDir = Annotated[
    pathlib.Path,
    typer.Option("--data-dir", help="Where published datasets lie; TFDS calls it so too.", **PATH),
]
DEFAULT_DATA_DIR = pathlib.Path(".data")
OPTIONS = {
    "rom_set": "roms",
    "seeds": "seed",
    "num_seeds": "seeds",
}  # Of parameters, otherwise named.
INTERRUPTED = 130  # What a shell gives a command that Ctrl-C ended.
Version = Annotated[
    str,
    typer.Argument(
        help="A published version: brac/halfcheetah-eps1-recollected:1.0.0, or without the number "
        "for the newest; or its folder."
    ),
]

Workers = Annotated[int, typer.Option(min=1, help="Processes on this machine.")]
BeamOption = Annotated[
    list[str] | None,
    typer.Option(help="One of Beam's pipeline options, such as --runner=FlinkRunner; repeat."),
]
KeepGoing = Annotated[
    bool,
    typer.Option(
        "--keep-going",
        help="Skip what is bad or missing, and list it with the reasons in MANIFEST.json.",
    ),
]


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


@app.command()
def quickstart(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """From a policy to a score in five minutes: the whole path on HalfCheetah.

    Collects 200,000 transitions of each of two mixtures, publishes them, loads them with
    `tfds.load`, serves them with Reverb, trains BC and TD3+BC from there, evaluates both in MuJoCo,
    and writes a report to `quickstart` below the data. A second run reuses what the first one made.
    """
    from benchmarks import quickstart as job

    job.run(data_dir)


OF_MIXTURES, OF_ATARI = "Mixtures of policies", "Atari"
ONLY_FOR = {  # Parameters of `collect` that the other kind of collection does not take.
    OF_MIXTURES: ("transitions", "policy", "processes", "name"),
    OF_ATARI: (
        "run",
        "iterations",
        "steps_per_iteration",
        "checkpoint_rows",
        "min_replay",
        "epsilon_decay_steps",
        "rom_set",
    ),
}


@app.command()
def collect(
    context: typer.Context,
    environment: Annotated[
        str,
        typer.Argument(
            help="Such as HalfCheetah-v2, in the body of the tables, or -v4 and -v5, as gymnasium "
            "has them; or a game, such as Pong."
        ),
    ],
    mixture: Annotated[
        str,
        typer.Argument(
            help="pure, eps1, eps3, gaussian1, gaussian3 of BRAC; random-v2, medium-v2, expert-v2 "
            "of D4RL; or your own .toml file; for a game the agent that learns it: dqn, dqn_adam, "
            "qr_dqn, random."
        ),
    ],
    folder: Annotated[pathlib.Path, typer.Argument(help="Where to write the collection.", **PATH)],
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 0,
    transitions: Annotated[
        int, typer.Option(min=1, help="How many in all.", rich_help_panel=OF_MIXTURES)
    ] = 1_000_000,
    policy: Annotated[
        str | None,
        typer.Option(
            help="A .npz of `train-policy`, the prefix of a BRAC checkpoint, or a file of D4RL "
            "that holds its policy; by default the partially trained policy shipped for this "
            "environment.",
            rich_help_panel=OF_MIXTURES,
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            min=1, help="Share the work; every byte stays the same.", rich_help_panel=OF_MIXTURES
        ),
    ] = os.cpu_count() or 1,
    name: Annotated[
        str | None,
        typer.Option(
            help="Of the dataset, such as halfcheetah-eps1-recollected.",
            rich_help_panel=OF_MIXTURES,
        ),
    ] = None,
    run: Annotated[
        int, typer.Option(min=1, help="Number of the run.", rich_help_panel=OF_ATARI)
    ] = 1,
    iterations: Annotated[
        int, typer.Option(min=1, help="How many; the log holds each.", rich_help_panel=OF_ATARI)
    ] = 200,
    steps_per_iteration: Annotated[
        int, typer.Option(min=1, help="Agent steps, at least.", rich_help_panel=OF_ATARI)
    ] = 250_000,
    checkpoint_rows: Annotated[
        int, typer.Option(min=1, help="Of the replay buffer.", rich_help_panel=OF_ATARI)
    ] = 1_000_000,
    min_replay: Annotated[
        int, typer.Option(min=1, help="Rows before it learns.", rich_help_panel=OF_ATARI)
    ] = 20_000,
    epsilon_decay_steps: Annotated[
        int, typer.Option(min=1, help="In which epsilon falls.", rich_help_panel=OF_ATARI)
    ] = 250_000,
    rom_set: Annotated[
        str,
        typer.Option(
            "--roms",
            help="'ale-py 0.12.1', or DQN Replay's 'atari-py 0.2.5': see `roms`.",
            rich_help_panel=OF_ATARI,
        ),
    ] = "ale-py 0.12.1",
) -> None:
    """Collects with a mixture of behaviour policies, as BRAC and D4RL did; or logs how an agent
    learns an Atari game, as DQN Replay was made.

    Interrupt it at any time: the same command goes on from what is whole.

    Examples: `rl-datasets collect HalfCheetah-v2 eps1 collected --transitions 200000`,
    `rl-datasets collect Hopper-v2 medium-v2 hopper --policy hopper_medium-v2.hdf5`,
    `rl-datasets collect Pong dqn logs --iterations 1`
    """
    from rl_datasets.sources.atari import ATARI_GAMES

    is_game = environment in ATARI_GAMES
    _refuse(
        context, f"does not go with {environment}", *ONLY_FOR[OF_MIXTURES if is_game else OF_ATARI]
    )
    if is_game:
        from benchmarks.training import online_atari
        from rl_datasets.roms import RomSet

        if rom_set not in list(RomSet):
            raise DatasetError(f"there are no ROMs {rom_set!r}: choose {' or '.join(RomSet)}")
        schedule = online_atari.Schedule(
            iterations=iterations,
            steps_per_iteration=steps_per_iteration,
            checkpoint_rows=checkpoint_rows,
            min_replay=min_replay,
            epsilon_decay_steps=epsilon_decay_steps,
        )
        logged = online_atari.log_run(
            environment,
            folder,
            agent=mixture,
            run=run,
            seed=seed,
            rom_set=RomSet(rom_set),
            schedule=schedule,
        )
        typer.echo(f"{logged}: logged; publish it with `rl-datasets publish dqn_replay {logged}`")
        return
    _collect_mixture(environment, mixture, folder, transitions, policy, seed, processes, name)


def _collect_mixture(
    environment: str,
    mixture: str,
    folder: pathlib.Path,
    transitions: int,
    policy: str | None,
    seed: int,
    processes: int,
    name: str | None,
) -> None:
    import time

    from rl_datasets.collection import collector

    start = time.time()
    collection = collector.collect(
        environment,
        mixture,
        transitions,
        folder,
        policy_path=policy,
        seed=seed,
        processes=processes,
        name=name,
    )
    seconds = time.time() - start
    # Units that an earlier run left whole cost no time now.
    new = sum(
        unit.transitions
        for unit in collection.units
        if (folder / unit.file).stat().st_mtime > start
    )
    speed = f"{new:,} of them now at {new / seconds:,.0f} steps/s" if new else "none of them new"
    typer.echo(
        f"{folder}: {collection.dataset}, {transitions:,} transitions in "
        f"{len(collection.units)} units, {speed}"
    )


@app.command()
def roms(
    context: typer.Context,
    install: Annotated[
        bool, typer.Option("--install", help="Install DQN Replay's set, of atari-py 0.2.5.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Say that you have the right to use these ROMs.")
    ] = False,
    archive: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="atari-py-0.2.5.tar.gz; by default pip downloads it from your index.", **PATH
        ),
    ] = None,
    folder: Annotated[
        pathlib.Path | None, typer.Option(help="Of that set; by default in your cache.", **PATH)
    ] = None,
) -> None:
    """Shows the two sets of Atari ROMs, and installs the one that DQN Replay was recorded on.

    They differ in 31 games, whose scores do not compare.
    """
    import rich.table

    from rl_datasets import roms as rom_sets
    from rl_datasets import terminal

    if install:
        typer.echo(f"{rom_sets.install(accept, folder, archive)}: installed, every md5 checked")
        return
    _refuse(context, "goes with --install", "accept", "archive")
    table = rich.table.Table("game", *rom_sets.RomSet, "")
    for rom in rom_sets.show(folder):
        cells = [
            f"{rom.md5[rom_set]}{'' if rom_set in rom.path else ' (not here)'}"
            for rom_set in rom_sets.RomSet
        ]
        table.add_row(rom.game, *cells, "differs" if rom.differs else "")
    terminal.show(table)


@app.command()
def train_policy(
    environment: Annotated[
        str, typer.Argument(help="Such as HalfCheetah-v2, in the body of the tables.")
    ],
    file: Annotated[
        pathlib.Path, typer.Argument(help="The .npz to write; lineage beside it.", **PATH)
    ],
    kind: Annotated[
        str,
        typer.Option(
            help="partial: by BRAC's recipe and rule. medium, expert: by D4RL's recipe, until it "
            "returns what D4RL's medium policy does, or hardly improves any more."
        ),
    ] = "partial",
    target: Annotated[
        float | None,
        typer.Option(help="Mean return to reach twice in a row; the kind's own by default."),
    ] = None,
    replay: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="A folder for the replay buffer of a medium policy, to be published as "
            "d4rl/...-medium-replay-v2-recollected-sac.",
            **PATH,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is random.")] = 0,
    max_steps: Annotated[
        int, typer.Option(min=1, help="Environment steps before it gives up.")
    ] = 1_000_000,
) -> None:
    """Trains SAC online until its policy is what the kind asks for, and keeps it.

    Interrupt it at any time: the same command goes on from the last evaluation, and with a greater
    --max-steps where it gave up.
    """
    from benchmarks.training import online_control

    if file.suffix != ".npz":
        raise DatasetError(f"{file} cannot be the policy's file: its name must end in .npz")
    if target is not None and not math.isfinite(target):
        raise DatasetError(f"--target {target} can never be reached: give a number")
    online_control.train_and_save(environment, file, kind, target, seed, max_steps, replay=replay)


@app.command()
def publish(
    dataset: Annotated[
        str,
        typer.Argument(
            help="The builder, brac, for the name that the source says it has; or with a name, "
            "d4rl/halfcheetah-medium-v2, which for a collection may be one of your own, brac/mine."
        ),
    ],
    source: Annotated[
        str,
        typer.Argument(help="What to publish, such as a collected folder, or gs://rl_unplugged."),
    ],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    version: Annotated[
        str | None,
        typer.Option(help="Of what is published, such as 2.0.1; the builder's own by default."),
    ] = None,
    workers: Workers = 1,
    beam_option: BeamOption = None,
    keep_going: KeepGoing = False,
) -> None:
    """Publishes a source as an immutable version that `tfds.load` opens anywhere.

    Staged beside the target, every episode checked, counts read back, committed by one rename.
    A version that exists is never changed. Interrupt it at any time: the same command goes on.

    Examples: `rl-datasets publish dqn_replay /mnt/dqn/Pong/1 --workers 2`,
    `rl-datasets publish rl_unplugged_atari/Pong_run_1 gs://rl_unplugged`
    """
    from rl_datasets.publishing import publish as publishing
    from rl_datasets.publishing import runners

    runners.check(workers, beam_option or [])  # Before the source is opened or downloaded.
    name, _, config = dataset.partition("/")
    builder_class = _builder_class(name)
    builder = builder_class(
        source=source,
        config=config or builder_class.config_of(source),
        data_dir=str(data_dir),
        version=version,
    )
    publication = publishing.publish(
        builder, num_workers=workers, beam_flags=beam_option or [], keep_going=keep_going
    )
    _show_publication(publication)


def _show_publication(publication: Any) -> None:
    typer.echo(f"{publication.path}: {'published' if publication.is_new else 'was published'}")
    for unit, reason in publication.manifest.get("skipped", {}).items():
        typer.echo(f"skipped {unit}: {reason}", err=True)
    for unit, reasons in publication.manifest.get("left_out", {}).items():
        for reason in reasons:
            typer.echo(f"left out of {unit}: {reason}", err=True)


PUBLISHES = ("version", "prove", "ram", "screens", "workers", "beam_option", "keep_going")


@app.command()
def replay(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            help="A published version, dqn_replay/Pong_run_1:1.1.0, or its folder; a folder with a "
            "log in Dopamine's layout; or, with --dataset, RL Unplugged's shards."
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="What a source is that does not say it itself: rl_unplugged_atari/Pong_run_1."
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    version: Annotated[
        str | None, typer.Option(help="Of what is published, such as 2.0.1; 1.0.0 by default.")
    ] = None,
    rom_set: Annotated[
        str | None,
        typer.Option(
            "--roms",
            help="The set to name, and to try first: 'ale-py 0.12.1' or 'atari-py 0.2.5'; by "
            "default the one that the source names.",
        ),
    ] = None,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="Follow all ways through the game, to tell whether the raw return is the only "
            "possible one. Takes many times as long.",
        ),
    ] = False,
    ram: Annotated[bool, typer.Option("--ram", help="Give the console's 128 bytes too.")] = False,
    screens: Annotated[
        bool,
        typer.Option(
            "--screens",
            help="Give full-size colour frames too, all of one size: a ROM of another one is not "
            "tried.",
        ),
    ] = False,
    patience: Annotated[
        int,
        typer.Option(
            min=1,
            help="Steps to try without coming a row further, before an episode counts as lost; a "
            "thousand take about half a second.",
        ),
    ] = 20_000,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Try a few episodes of each file, say what replays, and stop."
        ),
    ] = False,
    episodes: Annotated[
        int | None, typer.Option(min=1, help="Of each file that --check tries; 2 by default.")
    ] = None,
    workers: Workers = 1,
    beam_option: BeamOption = None,
    keep_going: KeepGoing = False,
) -> None:
    """Replays logged Atari episodes in the emulator, and publishes what the logs have lost.

    DQN Replay and RL Unplugged hold clipped rewards and no final observation. An episode that is
    played again, frame by frame, until every stored frame was shown, gives back the game's own
    rewards, the final observation, the lives, and which actions sticky actions kept. One that does
    not replay keeps what was stored, and is marked.

    Published as a dataset of its own, such as dqn_replay/Pong_run_1-replayed. Needs the ROMs that
    the source was recorded on: see `rl-datasets roms`. Interrupt it at any time: the same command
    goes on from the files that are whole.

    Examples: `rl-datasets replay dqn_replay/Pong_run_1:1.1.0 --workers 2`,
    `rl-datasets replay /mnt/dqn/Pong/1 --check`,
    `rl-datasets replay gs://rl_unplugged --dataset rl_unplugged_atari/Pong_run_1`
    """
    from rl_datasets.publishing import runners
    from rl_datasets.replaying import command
    from rl_datasets.replaying.episodes import Replayer

    runners.check(workers, beam_option or [])  # Before the source is opened or downloaded.
    opened = command.open_source(source, dataset, data_dir, _builder_class)
    paths = opened.roms(command.rom_set_of(rom_set))
    replayer = Replayer(paths, prove=prove, ram=ram, screens=screens, patience=patience)
    if check:
        _refuse(context, "does not go with --check", *PUBLISHES)
        command.show_check(opened, replayer, episodes or 2)
        return
    _refuse(context, "goes with --check", "episodes")
    publication = command.replay(
        opened,
        replayer,
        data_dir,
        version,
        num_workers=workers,
        beam_flags=beam_option or [],
        keep_going=keep_going,
    )
    _show_publication(publication)
    for sentence in command.told(publication.manifest):
        typer.echo(sentence)


@app.command()
def verify(
    version: Version,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    shallow: Annotated[bool, typer.Option(help="Files and counts alone, not episodes.")] = False,
) -> None:
    """Proves a published version whole: every file's sha256, every count, every episode."""
    from rl_datasets.published import verification

    opened = load(version, data_dir)
    verification.verify(opened, deep=not shallow)
    typer.echo(f"{opened.folder}: whole, {len(opened.manifest['files'])} files")


@app.command()
def which_body(
    source: Annotated[
        str,
        typer.Argument(
            help="A file of D4RL's layout (.hdf5), a published version (brac/mine:1.0.0, or its "
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
        int, typer.Option(min=1, help="States to step from at most, evenly spread.")
    ] = 5_000,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Says which body made the rows of a file: gym's v2, or gymnasium's v4 or v5.

    Takes one step from each state in every body that the task has, and compares what comes with the
    row's next observation. The body that made the rows gives them back to the rounding of their
    storage.

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
    replays = bodies.investigate(source, read, task, rows)
    table = rich.table.Table(
        "body", "steps", "median error", "90%", "largest", "of rewards", "terminals that differ"
    )
    for replay in replays:
        errors = [f"{error:.1e}" for error in (*replay.percentiles, replay.reward_error.max())]
        differ = f"{replay.terminals_differ.sum():,}"
        table.add_row(replay.environment, f"{len(replay.error):,}", *errors, differ)
    terminal.show(table)
    typer.echo(bodies.verdict(replays))


@app.command("list")
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
    for error in errors:
        typer.echo(f"error: {error}", err=True)
    if errors:
        raise typer.Exit(1)


@app.command()
def show(
    version: Version,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    gif: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write an episode's frames as a GIF, of 1,000 at most.", **PATH),
    ] = None,
    sheet: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write 32 of its frames side by side, as a PNG.", **PATH),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Of the episode; by default the first split.")
    ] = None,
    episode: Annotated[
        int | None, typer.Option(min=0, help="Its place in the split; by default the first.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of MANIFEST.json, not a summary.")
    ] = False,
) -> None:
    """Shows what a published version holds and what it was made from, or how an episode looks.

    Example: `rl-datasets show dqn_replay/Pong_run_1:1.1.0 --split checkpoint_49 --gif pong.gif`
    """
    import json

    from rl_datasets import terminal
    from rl_datasets.published import summary

    is_drawn = gif is not None or sheet is not None
    if not is_drawn and (split is not None or episode is not None):
        raise DatasetError("--split and --episode say what --gif or --sheet draws: give one too")
    opened = load(version, data_dir)
    if as_json:
        typer.echo(json.dumps(opened.manifest, indent=2))
    elif not is_drawn:
        terminal.show(summary.of(opened))
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


@app.command()
def export(
    version: Version,
    kind: Annotated[str, typer.Argument(help="arrays, d4rl or replay-logs.")],
    target: Annotated[
        pathlib.Path,
        typer.Argument(
            help="The folder, or for d4rl the file, to make; refused if it is there.", **PATH
        ),
    ],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    split: Annotated[
        str, typer.Option(help="Of the version; several joined by +, or all.")
    ] = "all",
) -> None:
    """Exports a version to NumPy arrays, a D4RL-style HDF5 file, or Dopamine's replay logs.

    Streams, so that memory does not grow with the data, and reads back what it wrote. Says what the
    format cannot hold. Images in d4rl have final observations in the place of next ones.

    Example: `rl-datasets export brac/halfcheetah-eps1-recollected:1.0.0 d4rl halfcheetah.hdf5`
    """
    from rl_datasets.exporting import export as exporting

    written = exporting.export(load(version, data_dir), kind, target, split)
    typer.echo(f"{target}: {written.episodes:,} episodes, {written.transitions:,} transitions")
    for difference in written.differences:
        typer.echo(f"note: {difference}")


@app.command()
def serve(
    version: Version,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    split: Annotated[
        str, typer.Option(help="Of the version; several joined by +, or all.")
    ] = "train",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Reverb listens on it, on every interface.")
    ] = 8000,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the order in which transitions are packed.")
    ] = 0,
    n_step: Annotated[int, typer.Option(min=1, help="Rewards in a transition.")] = 1,
    gamma: Annotated[
        float, typer.Option(min=0, max=1, help="Discount factor within those n steps.")
    ] = 1.0,
    frame_stack: Annotated[
        int, typer.Option(min=1, help="Observations in a stack; frames are kept once.")
    ] = 1,
    next_action: Annotated[
        bool, typer.Option("--next-action", help="Give the action after each, as ReBRAC reads it.")
    ] = False,
    reward_field: Annotated[
        str, typer.Option(help="Of the steps, that rewards are from, such as stored_reward.")
    ] = "reward",
) -> None:
    """Fills a Reverb server from a published version and serves it until Ctrl-C.

    Reverb has no authentication: whoever reaches the port can read, write and stop it.
    """
    from rl_datasets.serving import reverb
    from rl_datasets.serving.cut import Cut

    try:
        cut = Cut(n_step, gamma, frame_stack, next_action, reward_field)
    except ValueError as error:
        raise DatasetError(f"{error}: mend that option") from error
    reverb.serve(load(version, data_dir), split, cut, port, seed)


@app.command()
def reproduce(
    context: typer.Context,
    table: Annotated[
        str | None,
        typer.Argument(
            help="The table's name, such as brac_bc, or a recipe of your own, a .toml file; left "
            "out, lists the tables."
        ),
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--rows",
            "--row",
            help="Rows of it: a name or a pattern such as 'CQL/*'; repeat for more. By default all "
            "whose datasets are published.",
        ),
    ] = None,
    seeds: Annotated[
        list[int] | None, typer.Option("--seed", help="A seed of it; repeat for more.")
    ] = None,
    num_seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="So many of its seeds, the first ones.")
    ] = None,
    budget: Annotated[
        float,
        typer.Option(
            help="Fraction of the full training budget, such as 0.1; a larger one goes on from "
            "there. Behaviour policies that a row starts from are trained in full."
        ),
    ] = 1.0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    runs_dir: Annotated[pathlib.Path, typer.Option(help="Where runs lie.", **PATH)] = pathlib.Path(
        ".runs"
    ),
    processes: Annotated[int, typer.Option(min=1, help="Runs side by side, a core each.")] = 1,
    seeds_at_once: Annotated[
        int, typer.Option(min=1, help="Seeds in one vmap, for accelerators.")
    ] = 1,
    feed: Annotated[
        str, typer.Option(help="arrays, stream, reverb, or the host:port of a server.")
    ] = "arrays",
    results_dir: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Write the report here, and do not run what it has whole, such as a folder of "
            "benchmarks/results. By default beside the runs.",
            **PATH,
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
    """Reproduces a reported table: trains, evaluates, reports it beside what was measured.

    Says first what it runs and how long that takes, as far as the runs so far tell. Interrupt it at
    any time: the same command goes on from the last evaluation. A row is compared with what was
    reported once all of its seeds have run at the full budget, on the published data or on data
    that their publisher's own policies collected again; data of this project's own policies stand
    in a column of their own. Without TABLE it lists the tables.

    Examples: `rl-datasets reproduce`, `rl-datasets reproduce brac_bc --dry-run`,
    `rl-datasets reproduce brac_bc --rows 'Hopper*' --seeds 2 --budget 0.1 --processes 2`
    """
    from benchmarks.tables import console
    from benchmarks.tables import reproduce as job
    from benchmarks.tables.reported import table_names
    from benchmarks.training.recipe import recipe_names

    if table is None:
        _refuse(context, "needs a TABLE", *context.params.keys() - {"dry_run"})
        console.show_tables()
        return
    if table in table_names() and table not in recipe_names():
        why = f"is of no use with {table}, which has no recipe to run"
        _refuse(context, why, *context.params.keys() - {"table", "dry_run"})
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
        processes=processes,
        seeds_at_once=seeds_at_once,
        feed=feed,
        results_dir=results_dir,
        dry_run=dry_run,
    )


@app.command()
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
) -> None:
    """Shows a table's measured scores beside the reported ones; needs no data and trains nothing.

    Example: `rl-datasets scores brac_bc`
    """
    from benchmarks.tables import report as report_lib

    report_lib.show_folder(table, folder)


@app.command()
def report(
    table: Annotated[str, typer.Argument(help="The table's name, such as brac_bc.")],
    folder: Annotated[
        pathlib.Path,
        typer.Argument(
            help="Its results, such as benchmarks/results/brac_bc in the repository.", **PATH
        ),
    ],
) -> None:
    """Writes a table's report again from its results, reported beside measured."""
    from benchmarks.tables import report as report_lib

    typer.echo(report_lib.write_report(table, folder))


def _refuse(context: typer.Context, why: str, *parameters: str) -> None:
    """Raises `DatasetError` where one of the options was given, which would change nothing."""
    for parameter in sorted(parameters):
        source = context.get_parameter_source(parameter)
        if source is not None and source.name != "DEFAULT":
            option = OPTIONS.get(parameter, parameter.replace("_", "-"))
            raise DatasetError(f"--{option} {why}: leave it out")


def _builder_class(name: str) -> Any:
    import importlib
    import pkgutil

    import builders

    known = [module.name for module in pkgutil.iter_modules(builders.__path__) if module.ispkg]
    if name not in known:
        raise DatasetError(f"there is no builder {name!r}: choose one of {', '.join(known)}")
    return importlib.import_module(f"builders.{name}.{name}_dataset_builder").Builder


def main() -> None:
    """Runs the command line; prints what a user can mend as one sentence, not a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=FutureWarning, module="google")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # What a terminal has no character for, such as ±.
    logging.basicConfig(level=logging.ERROR)  # Beam warns of packages that it does not need here.
    try:
        app(prog_name="rl-datasets")
    except BaseException as error:
        if _comes_of_ctrl_c(error):
            _fail("interrupted; run the same command again to go on", INTERRUPTED)
        if isinstance(error, DatasetError):
            _fail(str(error), 1)
        if isinstance(error, OSError) and error.strerror:
            where = f"{error.filename}: " if error.filename else ""
            _fail(f"{where}{error.strerror}; mend that and run the same command again", 1)
        raise


def _comes_of_ctrl_c(error: BaseException) -> bool:
    """Whether it began as a KeyboardInterrupt, which Typer and C extensions turn into others."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _fail(sentence: str, status: int) -> NoReturn:
    print(f"error: {' '.join(sentence.splitlines())}", file=sys.stderr)
    sys.exit(status)
