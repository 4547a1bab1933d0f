"""Commands that make data or install ROMs: `collect`, `log-game`, `log-agent`, `roms`."""

from __future__ import annotations

import os
import pathlib
import time
from typing import Annotated

import typer

from rl_datasets.cli.options import PATH, Seed, refuse
from rl_datasets.errors import DatasetError


def collect(
    environment: Annotated[
        str,
        typer.Argument(
            help="The environment: HalfCheetah-v2 has the body of the published tables; -v4 and "
            "-v5 have gymnasium's."
        ),
    ],
    mixture: Annotated[
        str,
        typer.Argument(
            help="pure, eps1, eps3, gaussian1, gaussian3 of BRAC; random-v2, medium-v2, expert-v2 "
            "of D4RL; or your own .toml file."
        ),
    ],
    folder: Annotated[pathlib.Path, typer.Argument(help="Where to write the collection.", **PATH)],
    seed: Seed = 0,
    transitions: Annotated[
        int, typer.Option(min=1, help="Total number of transitions.")
    ] = 1_000_000,
    policy: Annotated[
        str | None,
        typer.Option(
            help="A .npz that `train-policy` wrote, the prefix of a BRAC checkpoint, or a file of "
            "D4RL that holds its policy; by default the partially trained policy that is shipped "
            "for this environment."
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(min=1, help="Processes that share the work; the bytes do not depend on it."),
    ] = os.cpu_count() or 1,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the dataset, such as halfcheetah-eps1-recollected."),
    ] = None,
) -> None:
    """Collects with a mixture of behaviour policies, as BRAC and D4RL did.

    You can interrupt it at any time: the same command continues from the whole units.

    Examples: `rl-datasets collect HalfCheetah-v2 eps1 collected --transitions 200000`,
    `rl-datasets collect Hopper-v2 medium-v2 hopper --policy hopper_medium-v2.hdf5`
    """
    from rl_datasets.sources.atari import ATARI_GAMES

    if environment in ATARI_GAMES:
        raise DatasetError(
            f"{environment} is a game, which is logged while an agent learns it: run "
            f"`rl-datasets log-game {environment} dqn {folder}`"
        )
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
    # Units that an earlier run completed take no time.
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


def log_game(
    game: Annotated[str, typer.Argument(help="The game, as DQN Replay spells it, such as Pong.")],
    agent: Annotated[
        str,
        typer.Argument(
            help="The agent: dqn, dqn_adam or qr_dqn, which learn; or random, which does not."
        ),
    ],
    folder: Annotated[
        pathlib.Path, typer.Argument(help="Where to write the log, as GAME/RUN.", **PATH)
    ],
    run: Annotated[
        int,
        typer.Option(min=1, help="Number of the run; two runs differ in everything random."),
    ] = 1,
    seed: Seed = 0,
    iterations: Annotated[
        int, typer.Option(min=1, help="Number of iterations; the log holds all of them.")
    ] = 200,
    steps_per_iteration: Annotated[
        int,
        typer.Option(
            min=1, help="Least number of agent steps; the last episode is played to its end."
        ),
    ] = 250_000,
    checkpoint_rows: Annotated[
        int, typer.Option(min=1, help="Rows of the replay buffer, and so of a checkpoint.")
    ] = 1_000_000,
    min_replay: Annotated[
        int, typer.Option(min=1, help="Rows in the replay buffer before the agent learns.")
    ] = 20_000,
    epsilon_decay_steps: Annotated[
        int, typer.Option(min=1, help="Steps over which epsilon decays.")
    ] = 250_000,
    rom_set: Annotated[
        str,
        typer.Option(
            "--roms", help="'ale-py 0.12.1', or DQN Replay's 'atari-py 0.2.5': see `roms`."
        ),
    ] = "ale-py 0.12.1",
) -> None:
    """Logs how an agent learns an Atari game, as DQN Replay was made.

    The log has Dopamine's layout: `publish dqn_replay` reads it. An agent that learned is kept in
    agent.npz, as a teacher. You can interrupt the command at any time: it continues from the last
    whole iteration.

    Example: `rl-datasets log-game Pong dqn logs --iterations 1`
    """
    from benchmarks.training.online import atari as online_atari
    from benchmarks.training.online.atari_schedule import AtariSchedule
    from rl_datasets import roms

    schedule = AtariSchedule(
        iterations=iterations,
        steps_per_iteration=steps_per_iteration,
        checkpoint_rows=checkpoint_rows,
        min_replay=min_replay,
        epsilon_decay_steps=epsilon_decay_steps,
    )
    logged = online_atari.log_run(
        game,
        folder,
        agent=agent,
        run=run,
        seed=seed,
        rom_set=roms.named(rom_set),
        schedule=schedule,
    )
    typer.echo(f"{logged}: logged; publish it with `rl-datasets publish dqn_replay {logged}`")


def log_agent(
    agent: Annotated[
        pathlib.Path, typer.Argument(help="The agent: a .npz that `train-agent` wrote.", **PATH)
    ],
    folder: Annotated[
        pathlib.Path, typer.Argument(help="Where to write the log, as GAME/RUN.", **PATH)
    ],
    transitions: Annotated[
        int,
        typer.Option(
            min=1, help="Least number of transitions; the last episode is played to its end."
        ),
    ] = 1_000_000,
    epsilon: Annotated[
        float, typer.Option(min=0, max=1, help="Probability of a random action.")
    ] = 0.2,
    run: Annotated[
        int,
        typer.Option(min=1, help="Number of the run; two runs differ in everything random."),
    ] = 1,
    seed: Seed = 0,
    actions: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="The actions.npz of a run: plays its episodes again, with the same bytes on every "
            "machine. Give the options that it was logged with.",
            **PATH,
        ),
    ] = None,
) -> None:
    """Logs how a trained agent plays its game, as Tianshou made the data of its Atari examples.

    The agent no longer learns. Games have no sticky actions, and begin with up to 30 no-ops and
    FIRE. The log has Dopamine's layout: `publish dqn_replay` reads it. An interrupted log starts
    again.

    Example: `rl-datasets log-agent pong.npz logs --transitions 1000000`
    """
    from benchmarks.training.online import played_log

    logged = played_log.log_played(
        agent, folder, rows=transitions, epsilon=epsilon, run=run, seed=seed, actions_path=actions
    )
    typer.echo(f"{logged}: logged; publish it with `rl-datasets publish dqn_replay {logged}`")


def roms(
    context: typer.Context,
    install: Annotated[
        bool, typer.Option("--install", help="Install DQN Replay's set, that of atari-py 0.2.5.")
    ] = False,
    accept: Annotated[
        bool, typer.Option("--accept", help="Confirm that you have the right to use these ROMs.")
    ] = False,
    archive: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="atari-py-0.2.5.tar.gz; by default pip downloads it from your index.", **PATH
        ),
    ] = None,
    folder: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of that set; by default in your cache.", **PATH),
    ] = None,
) -> None:
    """Shows the two sets of Atari ROMs, and installs the one that DQN Replay was recorded on.

    They differ in 31 games, whose scores cannot be compared.
    """
    import rich.table

    from rl_datasets import roms as rom_sets
    from rl_datasets import terminal

    if install:
        typer.echo(f"{rom_sets.install(accept, folder, archive)}: installed, every md5 checked")
        return
    refuse(context, "goes with --install", "accept", "archive")
    table = rich.table.Table("game", *rom_sets.RomSet, "")
    for rom in rom_sets.show(folder):
        cells = [
            f"{rom.md5[rom_set]}{'' if rom_set in rom.path else ' (not installed)'}"
            for rom_set in rom_sets.RomSet
        ]
        table.add_row(rom.game, *cells, "differs" if rom.differs else "")
    terminal.show(table)
