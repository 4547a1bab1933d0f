"""Commands that publish: `publish`, `replay`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rl_datasets.cli.data.lookup import builder_class
from rl_datasets.cli.options import (
    BeamOption,
    DataDir,
    KeepGoing,
    Workers,
    refuse,
)
from rl_datasets.errors import DatasetError
from rl_datasets.files import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from rl_datasets.publishing.publish import Publication


def publish(
    context: typer.Context,
    dataset: Annotated[
        str,
        typer.Argument(
            help="The builder, such as brac, if the source says its name; or the builder and a "
            "name, such as d4rl/halfcheetah-medium-v2. A collection may have a name of your own, "
            "such as brac/mine; your own data are custom/mine. An installed package may have more "
            "builders."
        ),
    ],
    source: Annotated[
        str | None,
        typer.Argument(
            help="What to publish, such as a collected folder, gs://rl_unplugged, or for custom a "
            "folder of npz files, an HDF5 file in D4RL's layout, or a folder of Minari's."
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    version: Annotated[
        str | None,
        typer.Option(help="Number of the version, such as 2.0.1; by default the builder's own."),
    ] = None,
    workers: Workers = 1,
    beam_option: BeamOption = None,
    keep_going: KeepGoing = False,
    file_format: Annotated[
        str,
        typer.Option(
            help="tfrecord, which `tfds.load` reads; or array_record, which `tfds.data_source` "
            "reads in any order and without TensorFlow."
        ),
    ] = "tfrecord",
    finish: Annotated[
        bool,
        typer.Option(
            "--finish",
            help="Complete a publication whose workers are done and whose launcher died; takes no "
            "source and runs no workers.",
        ),
    ] = False,
) -> None:
    """Publishes a source as an immutable version that TFDS opens anywhere.

    The version is staged beside the target, every episode is checked, the counts are read back, and
    then it is committed at once. An existing version is never changed. You can interrupt the
    command at any time: the same command continues.

    The data directory may be in a store, such as gs://bucket/datasets. The workers then need to
    share nothing else.

    Examples: `rl-datasets publish dqn_replay /mnt/dqn/Pong/1 --workers 2`,
    `rl-datasets publish rl_unplugged_atari/Pong_run_1 gs://rl_unplugged`,
    `rl-datasets publish custom/mine my_episodes`,
    `rl-datasets publish brac collected --file-format array_record`
    """
    from rl_datasets.publishing import publish as publishing
    from rl_datasets.publishing import runners

    name, _, config = dataset.partition("/")
    builder_of = builder_class(name)
    if finish:
        refuse(context, "does not go with --finish", *NOT_TO_FINISH)
        _show_publication(
            publishing.finish(builder_of, config=config, data_dir=data_dir, version=version)
        )
        return
    if source is None:
        raise DatasetError(f"name the source that {dataset} is published from, or give --finish")
    runners.check(workers, beam_option or [])  # Before the source is opened or downloaded.
    builder = builder_of(
        source=source,
        config=config or builder_of.config_of(source),
        data_dir=data_dir,
        version=version,
        file_format=file_format,
    )
    publication = publishing.publish(
        builder, num_workers=workers, beam_flags=beam_option or [], keep_going=keep_going
    )
    _show_publication(publication)


# Parameters of `publish` that say how the workers work, and on what.
NOT_TO_FINISH = ("source", "workers", "beam_option", "keep_going", "file_format")

# Parameters of `replay` that say how to publish.
PUBLISHES = ("version", "prove", "ram", "screens", "workers", "beam_option", "keep_going")


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
            help="The dataset, if the source does not say it: rl_unplugged_atari/Pong_run_1."
        ),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    version: Annotated[
        str | None, typer.Option(help="Number of the version, such as 2.0.1; by default 1.0.0.")
    ] = None,
    rom_set: Annotated[
        str | None,
        typer.Option(
            "--roms",
            help="The ROM set to name and to try first: 'ale-py 0.12.1' or 'atari-py 0.2.5'; by "
            "default the one that the source names.",
        ),
    ] = None,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="Follow all ways through the game, to find out whether the raw return is the only "
            "possible one. This takes many times as long.",
        ),
    ] = False,
    ram: Annotated[
        bool, typer.Option("--ram", help="Also publish the console's 128 bytes of RAM.")
    ] = False,
    screens: Annotated[
        bool,
        typer.Option(
            "--screens",
            help="Also publish full-size colour frames, all of one size; a ROM with another size "
            "is not tried.",
        ),
    ] = False,
    patience: Annotated[
        int,
        typer.Option(
            min=1,
            help="Steps to try without reaching a new row before an episode counts as lost; a "
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
        int | None,
        typer.Option(min=1, help="Episodes of each file that --check tries; 2 by default."),
    ] = None,
    workers: Workers = 1,
    beam_option: BeamOption = None,
    keep_going: KeepGoing = False,
) -> None:
    """Replays logged Atari episodes in the emulator, and publishes what the logs have lost.

    DQN Replay and RL Unplugged hold clipped rewards and no final observations. Replaying an episode
    frame by frame, until every stored frame was shown, recovers the game's own rewards, the lives,
    which actions sticky actions kept, and with `--prove` the final observation. An episode that
    does not replay keeps what was stored, and is marked.

    The result is a dataset of its own, such as dqn_replay/Pong_run_1-replayed. The command needs
    the ROMs that the source was recorded on: see `rl-datasets roms`. You can interrupt it at any
    time: the same command continues from the whole files.

    Examples: `rl-datasets replay dqn_replay/Pong_run_1:1.1.0 --workers 2`,
    `rl-datasets replay /mnt/dqn/Pong/1 --check`,
    `rl-datasets replay gs://rl_unplugged --dataset rl_unplugged_atari/Pong_run_1`
    """
    from rl_datasets import roms
    from rl_datasets.publishing import runners
    from rl_datasets.replaying import command
    from rl_datasets.replaying.episodes import Replayer

    runners.check(workers, beam_option or [])  # Before the source is opened or downloaded.
    opened = command.open_source(source, dataset, data_dir, builder_class)
    paths = opened.roms(None if rom_set is None else roms.named(rom_set))
    replayer = Replayer(paths, prove=prove, ram=ram, screens=screens, patience=patience)
    if check:
        refuse(context, "does not go with --check", *PUBLISHES)
        command.show_check(opened, replayer, episodes or 2)
        return
    refuse(context, "goes with --check", "episodes")
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


def _show_publication(publication: Publication) -> None:
    typer.echo(
        f"{publication.target}: {'published' if publication.is_new else 'already published'}"
    )
    for unit, reason in publication.manifest.get("skipped", {}).items():
        typer.echo(f"skipped {unit}: {reason}", err=True)
    for unit, reasons in publication.manifest.get("left_out", {}).items():
        for reason in reasons:
            typer.echo(f"left out of {unit}: {reason}", err=True)
