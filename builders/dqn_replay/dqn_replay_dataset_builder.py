"""`dqn_replay`: the experience of a DQN that learned one of 60 Atari games.

A configuration is a run of a game, and a split is one of its checkpoints, as in TFDS's
`rlu_atari_checkpoints`:

    dqn_replay/Pong_run_1                the first of DQN Replay's five runs of Pong
    dqn_replay/Pong_run_1-recollected    a run that `rl-datasets log-game` logged
    dqn_replay/Pong_run_1-teacher        the replay buffer beside a checkpoint of Dopamine's agent,
                                         as Reincarnating RL learns from a teacher's
"""

from __future__ import annotations

import functools
import itertools
import os
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import tensorflow_datasets as tfds

from rl_datasets import run_log
from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.sources import atari, dopamine_checkpoint, dqn_replay

RUNS = range(1, 6)
TEACHER = "-teacher"
ORIGINS = {
    "": "a run of DQN Replay",
    "-recollected": "a run that this project logged",
    TEACHER: "the replay buffer of an agent of Dopamine",
}
_CONFIG = re.compile(r"(?P<game>\w+)_run_(?P<run>\d+)(?P<origin>-recollected|-teacher)?")
_ALTERNATIVES = (
    "name a local copy of DQN Replay's <Game>/<run>, a bucket that is mounted as a folder, or a "
    "run that `rl-datasets log-game` logged"
)


class Run(NamedTuple):
    """A run.

    Attributes:
      game: the game, as DQN Replay spells it.
      run: the run's number.
      folder: the folder of its checkpoints.
      log: the run's description; None for DQN Replay's own runs, which have none.
      checkpoint: the agent's checkpoint whose replay buffer it is; None for a log of a whole run.
    """

    game: str
    run: int
    folder: pathlib.Path
    log: Mapping[str, Any] | None
    checkpoint: dopamine_checkpoint.Checkpoint | None = None

    @property
    def origin(self) -> str:
        if self.checkpoint is not None:
            return TEACHER
        return "" if self.log is None else "-recollected"

    @property
    def config(self) -> str:
        return f"{self.game}_run_{self.run}{self.origin}"


class Builder(PublishedDatasetBuilder):
    """Publishes a run in Dopamine's layout.

    The `source` is the folder `<Game>/<run>` that holds `replay_logs` or, for a teacher,
    `checkpoints`; or one of these checkpoints, or the root of many runs.
    """

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.1.0": "An episode that begins with the first row after a skipped checkpoint is kept "
        "where that row is certainly no padding; the lineage no longer says that scores are lost.",
        "1.0.0": "First release.",
    }
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(
            name=f"{game}_run_{run}{origin}",
            description=f"{description[:1].upper()}{description[1:]}: game {game}, run {run}.",
        )
        for (origin, description), game, run in itertools.product(
            ORIGINS.items(), atari.ATARI_GAMES, RUNS
        )
    ]

    @classmethod
    def config_of(cls, source: str) -> str:
        """The configuration that the folder `<Game>/<run>` is.

        Raises:
          DatasetError: the folder holds no checkpoints or many runs, or its name is not a run's.
        """
        if _is_of_teacher(source):
            return _teacher(source).config
        folder = _checkpoint_folder(source, "replay_logs", "")
        run = _run_in(folder)
        if run is None:
            raise DatasetError(
                f"{folder} is not in a folder <Game>/<run> such as Pong/1, so it does not say "
                "which configuration it is: name one, such as dqn_replay/Pong_run_1"
            )
        return run.config

    def episode_spec(self) -> EpisodeSpec:
        game = atari.ATARI_GAMES.get(self._run.game)
        return atari.atari_episode_spec(game.num_actions) if game else atari.atari_episode_spec()

    def source_units(self) -> Sequence[SourceUnit]:
        """The units; checkpoints that cannot be read come first, so that they fail at once."""
        faults = [
            SourceUnit(
                name=(name := f"checkpoint_{number:02d}"),
                split=name,
                num_episodes=None,
                num_transitions=None,
                files=dqn_replay.files_of(self._run.folder, number),
                read=functools.partial(_fail, fault),
            )
            for number, fault in self._logged.faults.items()
        ]
        return faults + [
            SourceUnit(
                name=(name := f"checkpoint_{unit.number:02d}"),
                split=name,
                num_episodes=len(unit.spans),
                num_transitions=unit.num_transitions,
                files=unit.files,
                read=functools.partial(dqn_replay.read_episodes, unit),
            )
            for unit in self._logged.units
        ]

    def lineage(self) -> Mapping[str, Any]:
        run = self._run
        published = {"agent": "dqn", "rom_set": "atari-py 0.2.5", "sticky_probability": 0.25}
        of_teacher = {}
        if run.checkpoint is not None:
            of_teacher = {
                "checkpoint": run.checkpoint.number,
                "agent_sha256": run.checkpoint.sha256,
            }
            if run.log is None:
                of_teacher["assumed"] = ["rom_set", "sticky_probability"]
        return {
            "source": f"{ORIGINS[run.origin]}, in Dopamine's layout",
            "game": run.game,
            "run": run.run,
            **(published if run.log is None else run.log),
            **of_teacher,
            "rewards": "clipped to [-1, 1] when they were logged",
            "final_observation": "never stored: a frame of zeros after a terminal transition, the "
            "last row's own observation after a truncated one",
            "repaired": list(self._logged.repaired),
        }

    @functools.cached_property
    def _logged(self) -> dqn_replay.LoggedRun:
        log = self._run.log
        time_limit = dqn_replay.TIME_LIMIT if log is None else log["time_limit"]
        folder, checkpoint = self._run.folder, self._run.checkpoint
        if checkpoint is not None:
            return dqn_replay.read_final_buffer(folder, checkpoint.number, time_limit)
        return dqn_replay.read_run(folder, time_limit)

    @functools.cached_property
    def _run(self) -> Run:
        config = self.builder_config.name
        named = _CONFIG.fullmatch(config)
        if named is None:
            raise DatasetError(
                f"dqn_replay/{config} names no run: name one, such as dqn_replay/Pong_run_1"
            )
        if self.source is None:
            raise DatasetError(f"dqn_replay/{config} needs a source: {_ALTERNATIVES}")
        if named["origin"] == TEACHER:
            run = _teacher(self.source, f"{named['game']}/{named['run']}")
        else:
            folder = _checkpoint_folder(
                self.source, f"{named['game']}/{named['run']}/replay_logs", "replay_logs", ""
            )
            run = _run_in(folder) or Run(named["game"], int(named["run"]), folder, None)
        if run.config != config:
            raise DatasetError(
                f"{run.folder} holds dqn_replay/{run.config}: publish it as that, not as "
                f"dqn_replay/{config}"
            )
        return run


def _fail(reason: str) -> Iterator[Episode]:
    raise DatasetError(reason)


def _is_of_teacher(source: str) -> bool:
    """Whether a source is a checkpoint of an agent, or holds some and no log of its run."""
    path = pathlib.Path(source)
    return dopamine_checkpoint.is_at(path) and not _holds_checkpoints(path / "replay_logs")


def _teacher(source: str, run: str = ".") -> Run:
    """The agent whose checkpoint is in the source, or in this run within it."""
    within = pathlib.Path(source) / run
    checkpoint = dopamine_checkpoint.find(within if within.is_dir() else source)
    folder = checkpoint.path.parent
    log = run_log.read(folder.parent)
    return Run(checkpoint.game, checkpoint.run, folder, log, checkpoint)


def _checkpoint_folder(source: str, *candidates: str) -> pathlib.Path:
    """The first of the candidates in the source that holds checkpoints."""
    if "://" in source:
        raise DatasetError(
            f"{source} is not a folder, and DQN Replay's public bucket has refused access since "
            f"2025: {_ALTERNATIVES}"
        )
    root = pathlib.Path(source)
    for candidate in candidates:
        if _holds_checkpoints(root / candidate):
            return (root / candidate).absolute()
    raise DatasetError(f"{root / candidates[0]} does not hold checkpoints: {_ALTERNATIVES}")


def _holds_checkpoints(folder: pathlib.Path) -> bool:
    try:
        return any("_ckpt." in name for name in os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DatasetError(
            f"{folder} cannot be read ({error.strerror}): {_ALTERNATIVES}"
        ) from error


def _run_in(folder: pathlib.Path) -> Run | None:
    """The run of these checkpoints, by its own description or by <Game>/<run>."""
    log = run_log.read(folder.parent)
    if log is not None:
        return Run(log["game"], log["run"], folder, log)
    game, run = folder.parts[-3:-1] if len(folder.parts) > 2 else ("", "")
    is_named = game in atari.ATARI_GAMES and run.isdecimal() and folder.name == "replay_logs"
    return Run(game, int(run), folder, None) if is_named else None
