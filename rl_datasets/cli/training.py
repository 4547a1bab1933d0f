"""Commands that train: `quickstart`, `train-policy`, `train-agent`."""

from __future__ import annotations

import math
import pathlib
from typing import Annotated

import typer

from rl_datasets.cli.options import PATH, DataDir, Seed
from rl_datasets.errors import DatasetError
from rl_datasets.files import DEFAULT_DATA_DIR


def quickstart(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """From a policy to a score in about five minutes: the whole path on HalfCheetah.

    Collects 200,000 transitions of each of two mixtures, publishes them, loads them with
    `tfds.load`, serves them with Reverb, trains BC and TD3+BC from there, evaluates both in MuJoCo,
    and writes a report to `quickstart` below the data. A second run reuses what the first one made.
    """
    from benchmarks import quickstart as job

    job.run(data_dir)


def train_policy(
    environment: Annotated[
        str,
        typer.Argument(help="The environment, such as HalfCheetah-v2, which decides the body."),
    ],
    file: Annotated[
        pathlib.Path,
        typer.Argument(help="The .npz to write; the lineage is written beside it.", **PATH),
    ],
    kind: Annotated[
        str,
        typer.Option(
            help="partial: by BRAC's recipe and rule. medium, expert: by D4RL's recipe, until the "
            "policy returns as much as D4RL's medium policy, or hardly improves any more."
        ),
    ] = "partial",
    target: Annotated[
        float | None,
        typer.Option(help="Mean return to reach twice in a row; by default the kind's own."),
    ] = None,
    replay: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Folder for the replay buffer of a medium policy, which can be published as "
            "d4rl/...-medium-replay-v2-recollected-sac.",
            **PATH,
        ),
    ] = None,
    seed: Seed = 0,
    max_steps: Annotated[
        int, typer.Option(min=1, help="Give up after this many environment steps.")
    ] = 1_000_000,
) -> None:
    """Trains SAC online until its policy is of the requested kind, and saves the policy.

    You can interrupt it at any time: the same command continues from the last evaluation. With a
    larger --max-steps, it continues from where it gave up.
    """

    from benchmarks.training.online import policy_file

    if file.suffix != ".npz":
        raise DatasetError(f"{file} cannot be the policy's file: its name must end in .npz")
    if target is not None and not math.isfinite(target):
        raise DatasetError(f"--target {target} can never be reached: give a finite number")
    policy_file.train_and_save(environment, file, kind, target, seed, max_steps, replay=replay)


def train_agent(
    game: Annotated[str, typer.Argument(help="The game, as DQN Replay spells it, such as Pong.")],
    file: Annotated[pathlib.Path, typer.Argument(help="The .npz to write.", **PATH)],
    seed: Seed = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Give up after this many epochs.")] = 100,
    steps_per_epoch: Annotated[
        int, typer.Option(min=10, help="Steps between two tests: a multiple of ten.")
    ] = 100_000,
    stop_at: Annotated[
        float | None,
        typer.Option(help="Mean return of a test that ends the training; 20 by default in Pong."),
    ] = None,
    rom_set: Annotated[
        str, typer.Option("--roms", help="'ale-py 0.12.1' or 'atari-py 0.2.5': see `roms`.")
    ] = "ale-py 0.12.1",
) -> None:
    """Trains QR-DQN online on an Atari game by Tianshou's recipe, and saves the best agent.

    Ten games are played at once, and after each epoch the agent plays ten test episodes. You can
    interrupt it at any time: the same command continues from the last epoch.

    Example: `rl-datasets train-agent Pong pong.npz`, then `rl-datasets log-agent pong.npz logs`
    """
    from benchmarks.training.online.several_games import GamesSchedule, train_agent
    from rl_datasets import roms

    agent = train_agent(
        game,
        file,
        seed=seed,
        rom_set=roms.named(rom_set),
        schedule=GamesSchedule(epochs=epochs, steps_per_epoch=steps_per_epoch),
        stop_at=stop_at,
    )
    best = max(agent.facts["tests"])
    typer.echo(f"{file}: returns {best:,.1f} after {agent.facts['steps']:,} steps")
