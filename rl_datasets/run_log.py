"""`log.json`: what a run that an agent logged says of itself, beside its checkpoints.

<Game>/<run>/replay_logs/   the checkpoints
<Game>/<run>/log.json       game, run, time limit, agent, schedule, and how each iteration went
<Game>/<run>/training/      what the run goes on from; gone when it is finished
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from rl_datasets import files
from rl_datasets.errors import DatasetError

FILE, TRAINING = "log.json", "training"
_FIELDS = {"game": str, "run": int, "time_limit": int}


def is_finished(home: pathlib.Path) -> bool:
    """Whether the folder of a run holds one that was logged to its end."""
    return (home / FILE).exists() and not (home / TRAINING).exists()


def write(home: pathlib.Path, description: Mapping[str, Any]) -> None:
    """Writes what a run says of itself.

    Args:
      home: folder of the run.
      description: plain data; `game`, `run` and `time_limit` must be in it.

    Raises:
      DatasetError: it cannot be written.
    """
    files.write(home / FILE, json.dumps(description, indent=2) + "\n")


def read(home: pathlib.Path) -> Mapping[str, Any] | None:
    """What a run says of itself; None for one that says nothing, as DQN Replay's own.

    Raises:
      DatasetError: the run is not finished, or the file cannot be read.
    """
    path = home / FILE
    if (home / TRAINING).exists():
        raise DatasetError(
            f"{home} holds a run that is not finished: run the same `rl-datasets log-game` again"
        )
    try:
        log = json.loads(path.read_text(encoding="utf-8"))
        if any(type(log[name]) is not kind for name, kind in _FIELDS.items()):
            raise ValueError("game, run or time_limit is of a wrong type")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"{path} cannot be read ({error!r}): restore it, it says what was logged"
        ) from error
    return log
