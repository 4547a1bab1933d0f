"""A published version as transitions; n-step returns, discounting and frame stacking live here.

Where observations are large, such as images, a transition does not hold its two stacks of frames
but their numbers (`windows`); `from_episode` holds the stacks themselves. Both come from
`step_windows`.

Needs NumPy alone: a machine that only learns may have neither TensorFlow nor Reverb. Reading a
published version imports its reader when it is called.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rl_datasets.errors import DatasetError
from rl_datasets.terminal import progress

if TYPE_CHECKING:
    from rl_datasets.episode import Episode

EXTRAS = "extras/"
NEXT_ACTION = "next_action"
REWARD = "reward"
IS_KNOWN = "_is_known"  # after the name of a field: of the steps in which it is
FRAMES_AT_ONCE = 128  # Decoded into one piece of memory that stays in the processor's cache.


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


def check_cut(n_step: int = 1, gamma: float = 1.0, frame_stack: int = 1) -> None:
    """Raises `ValueError` where transitions cannot be cut so; see `step_windows`."""
    if n_step < 1 or frame_stack < 1:
        raise ValueError(f"n_step and frame_stack must be at least 1, got {n_step}, {frame_stack}")
    if not 0 <= gamma <= 1:  # nor nan
        raise ValueError(f"gamma must be from 0 to 1, got {gamma}")


def step_windows(
    episode: Episode,
    n_step: int = 1,
    gamma: float = 1.0,
    frame_stack: int = 1,
    next_action: bool = False,
    reward_field: str = REWARD,
) -> Transition:
    """The T transitions of an episode, one from every step but the last, with frames by number.

    With m = min(n_step, T - t), the window being cut short where the episode ends,

        reward_t   = r_{t+1} + gamma d_{t+1} r_{t+2} + ... + gamma^{m-1} d_{t+1}...d_{t+m-1} r_{t+m}
        discount_t = gamma^{m-1} d_{t+1}...d_{t+m}
        next_observation_t = o_{t+m}

    so that `reward + gamma * discount * value(next_observation)` is the n-step target (Sutton and
    Barto 2018, equation 7.1, with Acme's convention that the learner brings the last gamma). With
    n_step=1 the discount is the episode's own, whatever gamma. An episode that a time limit cut
    has discount 1 throughout: its last windows are shorter and bootstrap from its final
    observation.

    Frames are stacked oldest first, and frames from before the episode are zeros, as in Dopamine
    (Castro et al. 2018).

    The next action is a_{t+m}, the data's own at the next observation. None was taken at an
    episode's final observation: there a_{T-1} stands for it, the last that was. After a terminal
    that is of no account, because the discount is 0; after a time limit it comes nearer to the
    policy that acted than anything else an episode holds. (BRAC's files hold another sample of that
    policy there, which was never executed; readings of D4RL leave such transitions out, or take the
    first action of the next episode.)

    Args:
      episode: T + 1 steps.
      n_step: rewards in a window, at least 1.
      gamma: discount factor within a window.
      frame_stack: observations in a stack, at least 1.
      next_action: whether the extras are to have the next action, as `next_action`.
      reward_field: the field of the steps that r_{t+1} is from, at step t. `stored_reward` of
        `rl_unplugged_atari` gives the rewards where its files have them, and `raw_reward` of what
        was replayed the game's own.

    Returns:
      Transition of [T, ...] arrays whose observation and next_observation are numbers of frames
      [T, frame_stack] int32: 1 + t is the observation of step t, and 0 a frame of zeros.

    Raises:
      DatasetError: the steps have no such field, or in some of them it is not known.
      ValueError: n_step or frame_stack is below 1, or gamma not from 0 to 1.
    """
    check_cut(n_step, gamma, frame_stack)
    length, rewards = episode.num_transitions, _rewards(episode, reward_field)
    reward = np.zeros(length, np.float64)
    survival = np.ones(length, np.float64)  # d_{t+1} ... d_{t+k}
    for k in range(min(n_step, length)):
        reaching = slice(0, length - k)  # the steps whose window holds the reward k steps on
        reward[reaching] += gamma**k * survival[reaching] * rewards[k:length]
        survival[reaching] *= episode.discount[k:length]
    step = np.arange(length)
    window = np.minimum(n_step, length - step)
    age = np.arange(frame_stack)[::-1]
    numbers = np.maximum(1 + np.arange(length + 1)[:, None] - age, 0).astype(np.int32)
    extras = {name: np.asarray(field[:-1]) for name, field in episode.extras.items()}
    if next_action:
        extras[NEXT_ACTION] = episode.action[np.minimum(step + window, length - 1)]
    return Transition(
        observation=numbers[:-1],
        action=episode.action[:-1],
        reward=reward.astype(np.float32),
        discount=(gamma ** (window - 1.0) * survival).astype(np.float32),
        next_observation=numbers[step + window],
        extras=extras,
    )


def _rewards(episode: Episode, field: str) -> np.ndarray:
    if field == REWARD:
        return episode.reward
    rewards = episode.extras.get(field)
    if not isinstance(rewards, np.ndarray) or rewards.shape != episode.reward.shape:
        raise DatasetError(
            f"steps have no field {field!r} of rewards: name one that `rl-datasets show` tells, or "
            f"{REWARD!r}"
        )
    is_known = episode.extras.get(field + IS_KNOWN)
    if is_known is not None and not is_known[:-1].all():
        raise DatasetError(
            f"steps have no {field!r} where {field + IS_KNOWN!r} does not hold, as in what "
            f"was not replayed whole: name {REWARD!r}, or a split in which all were"
        )
    return rewards


def from_episode(
    episode: Episode,
    n_step: int = 1,
    gamma: float = 1.0,
    frame_stack: int = 1,
    next_action: bool = False,
    reward_field: str = REWARD,
) -> Transition:
    """The T transitions of an episode as `step_windows` defines them, with their frames.

    Frames are stacked along the last axis, [84, 84, 1] becoming [84, 84, 4].

    Returns:
      Transition of [T, ...] arrays.

    Raises:
      ValueError: n_step or frame_stack is below 1, or gamma not from 0 to 1.
    """
    windows = step_windows(episode, n_step, gamma, frame_stack, next_action, reward_field)
    return with_frames(windows, numbered(episode.observation))


def numbered(observation: Any) -> np.ndarray:
    """Observations [F, ...] as frames [1 + F, ...] by their numbers: the first is zeros.

    Args:
      observation: an array, or `EncodedFrames`, which are decoded.

    Raises:
      DatasetError: an encoded frame is damaged.
    """
    frames = np.empty((1 + len(observation), *observation.shape[1:]), observation.dtype)
    frames[0] = 0
    try:
        # In one thread: several would spend their time on handing Python's lock to each other.
        for start in range(0, len(observation), FRAMES_AT_ONCE):
            end = start + FRAMES_AT_ONCE
            frames[1 + start : 1 + end] = np.asarray(observation[start:end])
    except ValueError as error:
        raise DatasetError(f"{error}; mend its source and publish it anew") from error
    return frames


def stack(frames: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Frames [F, *shape, C] by numbers [..., stack] -> stacks [..., *shape, stack * C].

    Frames that are single numbers [F] make vectors, unless a stack is of one alone. Memory stays
    frame after frame where that can be (C = 1): writing frames out byte by byte in turn would cost
    five times as much, and JAX does it faster on the way to its device.
    """
    *leading, depth = numbers.shape
    if frames.ndim == 1 and depth > 1:
        frames = frames[:, None]
    taken = np.take(frames, numbers, axis=0, mode="clip")
    if depth == 1:
        return taken.reshape(*leading, *frames.shape[1:])
    *shape, channels = frames.shape[1:]
    return np.moveaxis(taken, len(leading), -2).reshape(*leading, *shape, depth * channels)


def with_frames(
    transitions: Transition, frames: Any, stack: Callable[[Any, Any], Any] = stack
) -> Transition:
    """Puts stacks of frames where transitions have numbers of frames.

    Args:
      transitions: as `step_windows` gives them, with any leading axes.
      frames: [F, ...], the first of them zeros.
      stack: puts frames in stacks by their numbers.
    """
    return transitions._replace(
        observation=stack(frames, transitions.observation),
        next_observation=stack(frames, transitions.next_observation),
    )


def across_time_limits(transitions: Transition, n_step: int, gamma: float) -> Transition:
    """n-step transitions as Tianshou's buffer cuts them: a defect, kept for what it was used in.

    Where a time limit cut an episode, a window runs on into the rewards and the observation of
    whichever episode is stored next, because `ReplayBuffer.from_data` was told of terminals alone
    (github.com/thu-ml/tianshou, examples/offline/utils.py; `BasePolicy.compute_nstep_return`). And
    it takes row 0 for the last that was written. So

        the windows of row 0 hold its own reward n_step times, unless it is a terminal
        a window that reaches the last row, if that is no terminal, ends there, as it should; but
            where it had reached for more it takes its next observation and discount from row 0

    Args:
      transitions: [N, ...] of one step each, in the order in which they are stored.
      n_step: rewards in a window, at least 1.
      gamma: discount factor within a window.

    Returns:
      Transition of [N, ...] arrays, as `step_windows` defines them but for the windows' ends.

    Raises:
      ValueError: n_step is below 1, or gamma not from 0 to 1.
    """
    check_cut(n_step, gamma)
    length = len(transitions.reward)
    is_terminal = np.asarray(transitions.discount) == 0
    row = np.arange(length)
    is_within, window = np.ones(length, np.bool_), np.zeros(length, np.int64)
    reward = np.zeros(length, np.float64)
    for k in range(n_step):
        if k:
            is_held = is_terminal[row] | (row == 0)
            row = np.where(is_held, row, (row + 1) % length)
        reward += gamma**k * is_within * transitions.reward[row]
        window += is_within
        is_within = is_within & ~is_terminal[row] & (row < length - 1)
    return transitions._replace(
        reward=reward.astype(np.float32),
        discount=(gamma ** (window - 1.0) * transitions.discount[row]).astype(np.float32),
        next_observation=transitions.next_observation[row],
    )


def load_transitions(
    version_dir: str | os.PathLike[str],
    split: str = "train",
    n_step: int = 1,
    gamma: float = 1.0,
    frame_stack: int = 1,
    next_action: bool = False,
    reward_field: str = REWARD,
) -> Transition:
    """A split of a published version in memory, whole.

    Args:
      version_dir: folder of one version, the one that holds MANIFEST.json.
      split: name of the split, several joined by `+`, or `all`.
      n_step, gamma, frame_stack, next_action, reward_field: see `step_windows`.

    Returns:
      Transition of [N, ...] arrays in the published order, views of one array of packed rows.

    Raises:
      DatasetError: the folder holds no published version, no such split, or not as many
        transitions as its manifest says.
    """
    rows = load_rows(version_dir, split, n_step, gamma, frame_stack, next_action, reward_field)
    return unpack(rows)


def load_rows(
    version_dir: str | os.PathLike[str],
    split: str = "train",
    n_step: int = 1,
    gamma: float = 1.0,
    frame_stack: int = 1,
    next_action: bool = False,
    reward_field: str = REWARD,
) -> np.ndarray:
    """As `load_transitions`, as the packed rows [N] that `unpack` takes apart."""
    check_cut(n_step, gamma, frame_stack)
    rows: np.ndarray | None = None
    filled = 0
    _, num_transitions = published_counts(version_dir, split)
    for episode in counted_episodes(version_dir, split):
        transitions = from_episode(episode, n_step, gamma, frame_stack, next_action, reward_field)
        if rows is None:
            rows = np.empty(num_transitions, row_dtype(transitions))
        following = filled + episode.num_transitions
        pack_into(rows[filled:following], transitions)
        filled = following
    assert rows is not None  # a published split has episodes
    return rows


def published_counts(version_dir: str | os.PathLike[str], split: str) -> tuple[int, int]:
    """Episodes and transitions of a split, or of several, by the manifest of the version.

    Raises:
      DatasetError: the folder holds no published version, no such split, or no episodes.
    """
    from rl_datasets.published import manifest

    published = manifest.read(pathlib.Path(version_dir))
    manifest.spec_from_json(published["plan"]["spec"])  # refuses a dataset without episodes
    splits = [published["splits"][name] for name in manifest.split_names(published, split)]
    return tuple(sum(split[count] for split in splits) for count in ("episodes", "transitions"))


def counted_episodes(version_dir: str | os.PathLike[str], split: str) -> Iterator[Episode]:
    """The episodes of a split in the published order, with a progress bar on a terminal.

    Raises:
      DatasetError: as `reader.read_episodes`, which counts them.
    """
    from rl_datasets.published.reader import read_episodes

    _, num_transitions = published_counts(version_dir, split)
    with progress(f"loading {os.fspath(version_dir)}", num_transitions) as advance:
        for episode in read_episodes(version_dir, split):
            yield episode
            advance(episode.num_transitions)


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
