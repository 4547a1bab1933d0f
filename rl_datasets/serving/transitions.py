"""A published version as transitions; n-step returns, discounting and frame stacking live here.

Needs NumPy alone: a machine that only learns may have neither TensorFlow nor Reverb. Reading a
published version imports its reader when it is called.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rl_datasets.errors import DatasetError

if TYPE_CHECKING:
    from rl_datasets.episode import Episode

EXTRAS = "extras/"


class Transition(NamedTuple):
    """Transitions as a struct of arrays with the same leading axes: [N], [B] or [K, B].

    Attributes:
      observation: [..., *observation], stacked frames oldest first along the last axis.
      action: [..., *action].
      reward: [...] float32, the n-step return.
      discount: [...] float32; a learner bootstraps with `gamma * discount * value(next)`.
      next_observation: [..., *observation], n steps on.
      extras: the further fields of the step in which the action was taken, by name.
    """

    observation: Any
    action: Any
    reward: Any
    discount: Any
    next_observation: Any
    extras: Mapping[str, Any]


def from_episode(
    episode: Episode, n_step: int = 1, gamma: float = 1.0, frame_stack: int = 1
) -> Transition:
    """The T transitions of an episode, one from every step but the last.

    With m = min(n_step, T - t), the window being cut short where the episode ends,

        reward_t   = r_{t+1} + gamma d_{t+1} r_{t+2} + ... + gamma^{m-1} d_{t+1}...d_{t+m-1} r_{t+m}
        discount_t = gamma^{m-1} d_{t+1}...d_{t+m}
        next_observation_t = o_{t+m}

    so that `reward + gamma * discount * value(next_observation)` is the n-step target (Sutton and
    Barto 2018, equation 7.1, with Acme's convention that the learner brings the last gamma). With
    n_step=1 the discount is the episode's own, whatever gamma. An episode that a time limit cut
    has discount 1 throughout: its last windows are shorter and bootstrap from its final
    observation.

    Frames are stacked oldest first along the last axis, [84, 84, 1] becoming [84, 84, 4], and
    frames from before the episode are zeros, as in Dopamine (Castro et al. 2018).

    Args:
      episode: T + 1 steps.
      n_step: rewards in a window, at least 1.
      gamma: discount factor within a window.
      frame_stack: observations in a stack, at least 1.

    Returns:
      Transition of [T, ...] arrays; those of a single step may be views of the episode's.

    Raises:
      ValueError: n_step or frame_stack is below 1.
    """
    if n_step < 1 or frame_stack < 1:
        raise ValueError(f"n_step and frame_stack must be at least 1, got {n_step}, {frame_stack}")
    length = episode.num_transitions
    reward = np.zeros(length, np.float64)
    survival = np.ones(length, np.float64)  # d_{t+1} ... d_{t+k}
    for k in range(min(n_step, length)):
        reaching = slice(0, length - k)  # the steps whose window holds the reward k steps on
        reward[reaching] += gamma**k * survival[reaching] * episode.reward[k:length]
        survival[reaching] *= episode.discount[k:length]
    step = np.arange(length)
    window = np.minimum(n_step, length - step)
    observation = _stack_frames(episode.observation, frame_stack)
    return Transition(
        observation=observation[:-1],
        action=episode.action[:-1],
        reward=reward.astype(np.float32),
        discount=(gamma ** (window - 1.0) * survival).astype(np.float32),
        next_observation=observation[step + window],
        extras={name: field[:-1] for name, field in episode.extras.items()},
    )


def _stack_frames(observation: np.ndarray, frame_stack: int) -> np.ndarray:
    if frame_stack == 1:
        return observation
    frames = observation[:, None] if observation.ndim == 1 else observation
    padded = np.concatenate([np.zeros_like(frames[:1])] * (frame_stack - 1) + [frames])
    return np.concatenate([padded[k : k + len(frames)] for k in range(frame_stack)], axis=-1)


def load_transitions(
    version_dir: str | os.PathLike[str],
    split: str = "train",
    n_step: int = 1,
    gamma: float = 1.0,
    frame_stack: int = 1,
) -> Transition:
    """A split of a published version in memory, whole.

    Args:
      version_dir: folder of one version, the one that holds MANIFEST.json.
      split: name of the split.
      n_step, gamma, frame_stack: see `from_episode`.

    Returns:
      Transition of [N, ...] arrays in the published order, views of one array of packed rows.

    Raises:
      DatasetError: the folder holds no published version, no such split, or not as many
        transitions as its manifest says.
    """
    return unpack(load_rows(version_dir, split, n_step, gamma, frame_stack))


def load_rows(
    version_dir: str | os.PathLike[str],
    split: str = "train",
    n_step: int = 1,
    gamma: float = 1.0,
    frame_stack: int = 1,
) -> np.ndarray:
    """As `load_transitions`, as the packed rows [N] that `unpack` takes apart."""
    from rl_datasets.publishing import manifest
    from rl_datasets.publishing.reader import read_episodes

    splits = manifest.read(pathlib.Path(version_dir))["splits"]
    if split not in splits:
        raise DatasetError(f"{version_dir} has no split {split!r}; it has {sorted(splits)}")
    expected = splits[split]["transitions"]
    rows, filled = None, 0
    with progress(f"loading {os.fspath(version_dir)}", expected) as advance:
        for episode in read_episodes(version_dir, split):
            transitions = from_episode(episode, n_step, gamma, frame_stack)
            length = len(transitions.reward)
            if rows is None:
                rows = np.empty(expected, row_dtype(transitions))
            if filled + length <= expected:
                pack_into(rows[filled : filled + length], transitions)
            filled += length
            advance(length)
    if rows is None or filled != expected:
        raise DatasetError(
            f"{os.fspath(version_dir)} holds {filled} transitions in split {split!r} but its "
            f"MANIFEST.json says {expected}; run `rl-datasets verify` on it and publish it again"
        )
    return rows


def row_dtype(transitions: Transition) -> np.dtype:
    """The structured dtype of one transition as one row of bytes, so that a copy is one memcpy."""
    return np.dtype(
        [(name, field.dtype, field.shape[1:]) for name, field in _fields(transitions).items()]
    )


def pack(transitions: Transition) -> np.ndarray:
    """Transition of [N, ...] arrays -> [N] rows of `row_dtype`; no copy if `unpack` made them."""
    rows = transitions.reward.base
    if isinstance(rows, np.ndarray) and _are_views(transitions, rows):
        return rows
    rows = np.empty(len(transitions.reward), row_dtype(transitions))
    pack_into(rows, transitions)
    return rows


def pack_into(rows: np.ndarray, transitions: Transition) -> None:
    """Writes Transition of [N, ...] arrays into [N] rows.

    Raises:
      DatasetError: the transitions' fields, shapes or dtypes are not those of the rows.
    """
    if row_dtype(transitions) != rows.dtype:
        raise DatasetError(
            f"every episode must have the same fields: {rows.dtype} and {row_dtype(transitions)}"
        )
    for name, field in _fields(transitions).items():
        rows[name] = field


def unpack(rows: np.ndarray) -> Transition:
    """Rows [...] -> Transition of [..., ...] views, none of them copied."""
    fields = {name: rows[name] for name in rows.dtype.names or ()}
    extras = {name: fields.pop(name) for name in list(fields) if name.startswith(EXTRAS)}
    return Transition(
        **fields, extras={name.removeprefix(EXTRAS): field for name, field in extras.items()}
    )


def _are_views(transitions: Transition, rows: np.ndarray) -> bool:
    return rows.dtype == row_dtype(transitions) and all(
        field.__array_interface__ == rows[name].__array_interface__
        for name, field in _fields(transitions).items()
    )


def _fields(transitions: Transition) -> dict[str, np.ndarray]:
    *core, extras = transitions
    named = dict(zip(Transition._fields[:-1], core, strict=True))
    return named | {EXTRAS + name: extras[name] for name in sorted(extras)}


@contextlib.contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal's standard error; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield lambda advance: None
        return
    import rich.console
    import rich.progress

    with rich.progress.Progress(console=rich.console.Console(stderr=True)) as bar:
        task = bar.add_task(description, total=total)
        yield lambda advance: bar.advance(task, advance)
