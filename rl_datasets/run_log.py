"""`log.json`: the description of a run that an agent logged, beside its checkpoints.

<Game>/<run>/replay_logs/   the checkpoints
<Game>/<run>/log.json       game, run, time limit, agent, schedule, and the result of each iteration
<Game>/<run>/agent.npz      the agent at the end of the run, if it learned
<Game>/<run>/training/      the state from which the run continues; removed when it is finished
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from rl_datasets import files
from rl_datasets.errors import DatasetError, in_words

FILE, AGENT, TRAINING = "log.json", "agent.npz", "training"
_FIELDS = {"game": str, "run": int, "time_limit": int}


def is_finished(home: pathlib.Path) -> bool:
    """Whether the run in this folder was logged to its end."""
    return (home / FILE).exists() and not (home / TRAINING).exists()


def write(home: pathlib.Path, description: Mapping[str, Any]) -> None:
    """Writes the description of a run.

    Args:
      home: folder of the run.
      description: plain data with at least `game`, `run` and `time_limit`.

    Raises:
      DatasetError: the file cannot be written.
    """
    files.write(home / FILE, json.dumps(description, indent=2) + "\n")


def read(home: pathlib.Path) -> Mapping[str, Any] | None:
    """Reads the description of a run; None if it has none, as DQN Replay's own runs.

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
            raise ValueError("game, run or time_limit has the wrong type")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DatasetError(
            f"{path} cannot be read ({in_words(error)}): restore it, because it says what was "
            "logged"
        ) from error
    return log
