"""Dopamine's replay logs, as DQN Replay published them: their layout and their reader."""

from rl_datasets.sources.dqn_replay.episode_index import Span, Unit
from rl_datasets.sources.dqn_replay.final_buffer import read_final_buffer
from rl_datasets.sources.dqn_replay.layout import (
    CAPACITY,
    FOLDER_NAME,
    STACK_SIZE,
    TIME_LIMIT,
    files_of,
)
from rl_datasets.sources.dqn_replay.reader import LoggedRun, read_episodes, read_run

__all__ = [
    "CAPACITY",
    "FOLDER_NAME",
    "STACK_SIZE",
    "TIME_LIMIT",
    "LoggedRun",
    "Span",
    "Unit",
    "files_of",
    "read_episodes",
    "read_final_buffer",
    "read_run",
]
