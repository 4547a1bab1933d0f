"""The check that an episode obeys the alignment rule and its spec; `episode` states both."""

from __future__ import annotations

from typing import Any

import dm_env.specs
import numpy as np

from rl_datasets.episode import (
    ACTION,
    DISCOUNT,
    IS_FIRST,
    IS_LAST,
    IS_TERMINAL,
    LENGTHS_DIFFER,
    TOO_SHORT,
    Episode,
    EpisodeError,
    EpisodeSpec,
    by_name,
)
from rl_datasets.frames import EncodedFrames

FIRST_IS_FIRST = "is_first must be True at step 0 and nowhere else"
LAST_IS_LAST = "is_last must be True at the last step and nowhere else"
TERMINAL_IS_LAST = "is_terminal may be True at the last step only"
TERMINAL_DISCOUNT = "the discount of the last transition must be 0 if and only if it is terminal"
INNER_DISCOUNT = "the discount of a transition that does not end the episode must be in (0, 1]"
LAST_IS_EMPTY = "the action, reward and discount of the last step must be zero"
MUST_BE_FINITE = "every number must be finite"
OUT_OF_BOUNDS = "every action must lie within the bounds of the action spec"


def check_episode(episode: Episode, spec: EpisodeSpec) -> None:
    """Raises `EpisodeError` unless the episode obeys the alignment rule and its spec.

    Encoded frames are checked by the two ends of their files; none is decoded.
    """
    steps, specs = episode.steps(), spec.step_specs()
    # Extras are compared first, because one with the name of another field would replace it.
    if episode.extras.keys() != spec.extras.keys():
        raise EpisodeError(f"an episode must have exactly the fields {sorted(specs)}")
    if by_name(episode.observation).keys() != by_name(spec.observation).keys():
        raise EpisodeError(f"an observation must be {sorted(by_name(spec.observation))}")
    if episode.metadata.keys() != spec.metadata.keys():
        raise EpisodeError(f"an episode must have exactly the metadata {sorted(spec.metadata)}")
    if any(len(field) != episode.num_steps for field in steps.values()):
        raise EpisodeError(LENGTHS_DIFFER)
    if episode.num_transitions < 1:
        raise EpisodeError(TOO_SHORT)
    for name, field in steps.items():
        _check_dtype(name, field.shape[1:], field.dtype, specs[name])
        if np.issubdtype(field.dtype, np.inexact):
            _require_of_steps(np.isfinite(field), MUST_BE_FINITE, name)
        if isinstance(field, EncodedFrames):
            _check_frames(name, field)
    for name, value in episode.metadata.items():
        _check_metadata(name, value, spec.metadata[name])
    _check_alignment(episode)
    if isinstance(spec.action, dm_env.specs.BoundedArray):
        taken = episode.action[:-1]
        within = (taken >= spec.action.minimum) & (taken <= spec.action.maximum)
        _require_of_steps(within, OUT_OF_BOUNDS, ACTION)


def _check_alignment(episode: Episode) -> None:
    step = np.arange(episode.num_steps)
    is_last_step = step == step[-1]
    terminal = bool(episode.is_terminal[-1])
    empty = (episode.action[-1], episode.reward[-1], episode.discount[-1])
    inner = episode.discount[:-2]
    _require(np.array_equal(episode.is_first, step == 0), FIRST_IS_FIRST, IS_FIRST)
    _require(np.array_equal(episode.is_last, is_last_step), LAST_IS_LAST, IS_LAST)
    _require(not np.any(episode.is_terminal[:-1]), TERMINAL_IS_LAST, IS_TERMINAL)
    _require(not any(np.any(field) for field in empty), LAST_IS_EMPTY, IS_LAST)
    _require((episode.discount[-2] == 0) == terminal, TERMINAL_DISCOUNT, DISCOUNT)
    _require(bool(np.all((inner > 0) & (inner <= 1))), INNER_DISCOUNT, DISCOUNT)
    _require(0 <= episode.discount[-2] <= 1, INNER_DISCOUNT, DISCOUNT)


def _check_frames(name: str, frames: EncodedFrames) -> None:
    try:
        frames.check()
    except ValueError as error:
        raise EpisodeError(f"{error} (field {name!r})") from error


def _check_dtype(
    name: str, shape: tuple[int, ...], dtype: np.dtype, spec: dm_env.specs.Array
) -> None:
    if shape != spec.shape or dtype != spec.dtype:
        raise EpisodeError(
            f"{name} must be {spec.dtype} of shape {spec.shape}, got {dtype} of shape {shape}"
        )


def _check_metadata(name: str, value: Any, spec: dm_env.specs.Array) -> None:
    if isinstance(spec, dm_env.specs.StringArray):
        if not isinstance(value, str):
            raise EpisodeError(f"{name} must be a str, got {type(value).__name__}")
        return
    _check_dtype(name, np.shape(value), np.asarray(value).dtype, spec)
    if np.issubdtype(np.asarray(value).dtype, np.inexact):
        _require(bool(np.all(np.isfinite(value))), MUST_BE_FINITE, name)


def _require(holds: bool, rule: str, field: str) -> None:
    if not holds:
        raise EpisodeError(f"{rule} (field {field!r})")


def _require_of_steps(holds: np.ndarray, rule: str, field: str) -> None:
    """As `_require` for each step, [T, ...]; the error names the first bad step."""
    if not np.all(holds):
        step = int(np.argmin(holds.reshape(len(holds), -1).all(axis=1)))
        raise EpisodeError(f"{rule} (field {field!r}, step {step})")
