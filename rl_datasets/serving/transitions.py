"""Episodes as transitions, with n-step returns, discounting and frame stacking.

If observations are large, such as images, a transition holds the numbers of its frames instead of
its two stacks (`frame_windows`). `from_episode` gives the stacks themselves. Both come from
`step_windows`.

The module needs only NumPy, because a machine that only learns may have neither TensorFlow nor
Reverb.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rl_datasets.errors import DatasetError
from rl_datasets.serving.cut import ONE_STEP, REWARD, Cut, flattened

if TYPE_CHECKING:
    from rl_datasets.episode import Episode

NEXT_ACTION = "next_action"
IS_KNOWN = "_is_known"  # A field with this suffix says in which steps the other field is known.
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


def step_windows(episode: Episode, cut: Cut = ONE_STEP) -> Transition:
    """The T transitions of an episode, one from each step except the last, with frame numbers.

    With m = min(n_step, T - t), because the end of the episode cuts the window short,

        reward_t   = r_{t+1} + gamma d_{t+1} r_{t+2} + ... + gamma^{m-1} d_{t+1}...d_{t+m-1} r_{t+m}
        discount_t = gamma^{m-1} d_{t+1}...d_{t+m}
        next_observation_t = o_{t+m}

    so that `reward + gamma * discount * value(next_observation)` is the n-step target (Sutton and
    Barto 2018, equation 7.1, with Acme's convention that the learner applies the last gamma). With
    n_step=1 the discount is the episode's own, whatever gamma is. An episode that a time limit
    truncated has discount 1 throughout: its last windows are shorter and bootstrap from its final
    observation.

    Frames are stacked oldest first, and frames from before the episode are zeros, as in Dopamine
    (Castro et al. 2018).

    The next action is a_{t+m}, the data's own action at the next observation. No action was taken
    at an episode's final observation, so the last action, a_{T-1}, takes its place. After a
    terminal this does not matter, because the discount is 0. After a time limit nothing else in the
    episode is closer to the policy that acted. (BRAC's files hold another sample of that policy
    there, which was never executed. Readings of D4RL leave such transitions out, or take the first
    action of the next episode.)

    Args:
      episode: T + 1 steps.
      cut: how it is cut. Its reward field holds r_{t+1} at step t.

    Returns:
      Transition of [T, ...] arrays whose observation and next_observation are frame numbers
      [T, frame_stack] int32: 1 + t is the observation of step t, and 0 is a frame of zeros.

    Raises:
      DatasetError: the steps have no such field, or some of its values are not known.
    """
    n_step, gamma = cut.n_step, cut.gamma
    length, rewards = episode.num_transitions, _rewards(episode, cut.reward_field)
    reward = np.zeros(length, np.float64)
    survival = np.ones(length, np.float64)  # d_{t+1} ... d_{t+k}
    for k in range(min(n_step, length)):
        reaching = slice(0, length - k)  # the steps whose window holds the reward k steps on
        reward[reaching] += gamma**k * survival[reaching] * rewards[k:length]
        survival[reaching] *= episode.discount[k:length]
    step = np.arange(length)
    window = np.minimum(n_step, length - step)
    age = np.arange(cut.frame_stack)[::-1]
    numbers = np.maximum(1 + np.arange(length + 1)[:, None] - age, 0).astype(np.int32)
    extras = {name: np.asarray(field[:-1]) for name, field in episode.extras.items()}
    if cut.next_action:
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
            f"steps have no field {field!r} of rewards: name one that `rl-datasets show` lists, or "
            f"{REWARD!r}"
        )
    is_known = episode.extras.get(field + IS_KNOWN)
    if is_known is not None and not is_known[:-1].all():
        raise DatasetError(
            f"{field!r} is not known in steps where {field + IS_KNOWN!r} is False, as in episodes "
            f"that were not replayed whole: name {REWARD!r}, or a split in which all were"
        )
    return rewards


def from_episode(episode: Episode, cut: Cut = ONE_STEP) -> Transition:
    """The T transitions of an episode as `step_windows` defines them, with their frames.

    Frames are stacked along the last axis, [84, 84, 1] becoming [84, 84, 4].

    Returns:
      Transition of [T, ...] arrays.

    Raises:
      DatasetError: as `step_windows`, or an encoded frame is damaged.
    """
    return with_frames(step_windows(episode, cut), numbered(flattened(episode.observation, cut)))


def numbered(observation: Any) -> np.ndarray:
    """Numbers observations [F, ...]: frames [1 + F, ...], of which frame 0 is zeros.

    Args:
      observation: an array, or `EncodedFrames`, which are decoded.

    Raises:
      DatasetError: an encoded frame is damaged.
    """
    frames = np.empty((1 + len(observation), *observation.shape[1:]), observation.dtype)
    frames[0] = 0
    try:
        # In one thread: several would spend their time passing Python's lock to each other.
        for start in range(0, len(observation), FRAMES_AT_ONCE):
            end = start + FRAMES_AT_ONCE
            frames[1 + start : 1 + end] = np.asarray(observation[start:end])
    except ValueError as error:
        raise DatasetError(f"{error}; repair its source and publish it again") from error
    return frames


def stack(frames: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Makes stacks [..., *shape, stack * C] of frames [F, *shape, C] by numbers [..., stack].

    Frames that are scalars [F] make vectors, unless a stack holds only one. Where possible
    (C = 1), memory keeps frame after frame: interleaving the frames byte by byte would cost five
    times as much, and JAX does it faster on the way to its device.
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
    """Replaces the frame numbers of transitions by stacks of frames.

    Args:
      transitions: as `step_windows` returns them, with any leading axes.
      frames: [F, ...], of which frame 0 is zeros.
      stack: makes stacks of frames by their numbers.
    """
    return transitions._replace(
        observation=stack(frames, transitions.observation),
        next_observation=stack(frames, transitions.next_observation),
    )
