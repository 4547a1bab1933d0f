"""Checkpoints of Dopamine's agent, and the replay buffer beside them, as its own code saved them.

`tests/parity/dopamine_teacher.py` ran that code; the other files here are made by hand.
"""

import functools
import gzip
import pathlib
import pickle

import numpy as np

from tests.rl_datasets.sources.dqn_replay_logs import action_of, frame_of, reward_of, save

NUMBER = 399
_VALUES = pathlib.Path(__file__).parents[2] / "parity" / "values" / "dopamine_teacher.npz"


@functools.cache
def saved():
    """The files by their names, as bytes, and `values` [3, 6] of the agent."""
    with np.load(_VALUES) as file:
        return {name: file[name] if name == "values" else file[name].tobytes() for name in file}


def write_saved(run, only=""):
    """Writes Dopamine's files into the folder of a run; `only` those with this in their names."""
    folder = run / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in saved().items():
        if name != "values" and only in name:
            (folder / name).write_bytes(content)
    return folder


@functools.cache
def _noise(num_actions):
    rng = np.random.default_rng(0)
    shapes = {
        "Conv_0": (8, 8, 4, 32),
        "Conv_1": (4, 4, 32, 64),
        "Conv_2": (3, 3, 64, 64),
        "Dense_0": (7744, 512),
        "Dense_1": (512, num_actions),
    }
    return {
        layer: {
            "kernel": rng.normal(0, np.prod(shape[:-1]) ** -0.5, shape),
            "bias": rng.normal(0, 0.1, shape[-1]),
        }
        for layer, shape in shapes.items()
    }


def network(num_actions=6, dtype=np.float32):
    """Weights of noise, by layer."""
    return {
        layer: {name: array.astype(dtype) for name, array in arrays.items()}
        for layer, arrays in _noise(num_actions).items()
    }


def write_checkpoint(run, params, number=NUMBER, **others):
    """Writes ckpt.N of these `online_params`, without a replay buffer."""
    folder = run / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"ckpt.{number}"
    path.write_bytes(pickle.dumps({"online_params": params, **others}))
    return path


def write_buffer(folder, lengths, capacity, number=NUMBER, ends=(), has_ends=False):
    """Writes a circular buffer row by row, as a plain list of what it holds.

    Args:
      folder: of the checkpoints.
      lengths: of the episodes; steps are numbered from 1.
      capacity: of the buffer.
      number: of the checkpoint.
      ends: how each episode ends: "terminal", "limit" or, at most the last, "cut".
      has_ends: whether the buffer saves the indices of the rows that ended an episode, as newer
        versions do; else a limit is recorded as terminal.
    """
    rows, step = [], 0
    for length, end in zip(lengths, ends or ["terminal"] * len(lengths), strict=True):
        rows += [(0, 0, 0, False)] * 3
        for row in range(length):
            step += 1
            is_last = row == length - 1 and end != "cut"
            is_terminal = is_last and (end == "terminal" or not has_ends)
            rows.append((step, int(is_terminal), is_last, True))
    held = {}
    for count, row in enumerate(rows):
        held[count % capacity] = row
    frames = np.full((capacity, 84, 84), 7, np.uint8)  # What was never written is anything.
    action, reward = np.full(capacity, 5, np.int32), np.full(capacity, 9, np.float32)
    terminal = np.full(capacity, 1, np.uint8)
    for index, (step, is_terminal, _, is_step) in held.items():
        frames[index] = frame_of(step) if is_step else 0
        action[index] = action_of(step) if is_step else 0
        reward[index] = reward_of(step) if is_step else 0
        terminal[index] = is_terminal
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "$store$_observation": frames,
        "$store$_action": action,
        "$store$_reward": reward,
        "$store$_terminal": terminal,
        "add_count": np.array(len(rows)),
        "invalid_range": (len(rows) - 1 + np.arange(5)) % capacity,
    }
    for name, array in arrays.items():
        save(folder / f"{name}_ckpt.{number}.gz", array)
    if has_ends:
        indices = {np.int64(index) for index, row in held.items() if row[2]}
        content = gzip.compress(pickle.dumps(indices))
        (folder / f"episode_end_indices_ckpt.{number}.gz").write_bytes(content)


def episodes_left(lengths, capacity, ends=()):
    """What a right reader gives: steps that are kept with their actions, and whether terminal."""
    total = sum(lengths) + 3 * len(lengths)
    first = max(0, total - capacity)
    row, step, kept, is_begun = 0, 0, [], first == 0
    for length, end in zip(lengths, ends or ["terminal"] * len(lengths), strict=True):
        steps = list(range(step + 1, step + 1 + length))
        last_row = row + 3 + length - 1
        steps = steps if end == "terminal" else steps[:-1]
        if is_begun and steps:
            kept.append((steps, end == "terminal"))
        is_begun |= last_row >= first and end != "cut"
        row, step = last_row + 1, step + length
    return kept
