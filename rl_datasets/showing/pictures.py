"""An episode of a version in pictures: its frames, its drawn bodies, or its numbers over time."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rl_datasets import files, rendering
from rl_datasets.episode import ACTION, Episode
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames
from rl_datasets.published.version import Version
from rl_datasets.showing import mujoco_frames
from rl_datasets.showing.card import is_of_observation
from rl_datasets.transition import TransitionSpec

FORMAT = 1
FIRST = 10  # Episodes, of which the longest is shown.
MOST_FRAMES = 120
MOST_BYTES = 40_000_000  # Of the frames of an episode, decoded.
COLUMNS = 10
GAP = rendering.GAP
DRAWN_COLOURS = 128  # Of bodies, whose shades would make a sheet four times as large.
MOST_TRACES = 24  # Numbers of an episode that are plotted over time.


@dataclasses.dataclass(frozen=True)
class Episodes:
    """What is shown of one episode, or of some transitions that belong to none.

    Attributes:
      what: which episode it is, in words.
      drawn_by: where the frames come from, or why there are none.
      frame: height and width of a frame in the sheet; None where there is no sheet.
      captions: of every frame of the sheet, in order.
      is_in_order: whether the frames follow each other.
      traces: by name, a number of every step; empty where there is a sheet.
    """

    what: str
    drawn_by: str
    frame: tuple[int, int] | None = None
    captions: tuple[str, ...] = ()
    is_in_order: bool = True
    traces: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)


def make(version: Version, sheet: pathlib.Path) -> Episodes:
    """Shows the longest of a split's first episodes, and writes its frames, if any, side by side.

    The split is the last: an agent that learned while it logged plays best there.

    Args:
      version: the version.
      sheet: where to write the PNG of the frames.

    Raises:
      DatasetError: the split's files are missing or damaged.
    """
    split = list(version.splits)[-1]
    if isinstance(version.spec, TransitionSpec):
        return _transitions(version, split, sheet)
    first = enumerate(itertools.islice(version.episodes(split), FIRST))
    number, episode = max(first, key=lambda each: each[1].num_transitions)
    what = (
        f"episode {number} of {split}: {episode.num_transitions:,} transitions, return "
        f"{episode.episode_return:,.1f}"
    )
    steps, frames, drawn_by = _frames(version, episode)
    if frames is None:
        return Episodes(what, drawn_by, traces=_traces(episode))
    colours = None if isinstance(frames, EncodedFrames) else DRAWN_COLOURS
    _write_sheet(sheet, frames, colours)
    captions = tuple(_caption(episode, step) for step in steps)
    return Episodes(what, drawn_by, frames.shape[1:3], captions)


def write(path: pathlib.Path, shown: Episodes) -> None:
    """Keeps what is shown beside its sheet in a JSON file."""
    files.write(path, json.dumps({"format": FORMAT, **dataclasses.asdict(shown)}, indent=1) + "\n")


def read(path: pathlib.Path, sheet: pathlib.Path) -> Episodes | None:
    """What `write` kept; None where it or its sheet is missing, or of another release."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept.pop("format") != FORMAT or (kept["frame"] and not sheet.is_file()):
            return None
        kept["captions"] = tuple(kept["captions"])
        kept["frame"] = tuple(kept["frame"]) if kept["frame"] else None
        return Episodes(**kept)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # It is made again.


def _transitions(version: Version, split: str, sheet: pathlib.Path) -> Episodes:
    some = list(itertools.islice(version.transitions(split), MOST_FRAMES))
    last = [each.observation.pngs[-1] for each in some]
    frames = EncodedFrames(last, some[0].observation.shape[1:])
    _write_sheet(sheet, frames)
    captions = tuple(f"action {t.action}, reward {t.reward:g}" for t in some)
    what = f"the first {len(some)} transitions of {split}, which belong to different episodes"
    drawn_by = "the last frame of each stack, as published"
    return Episodes(what, drawn_by, frames.shape[1:3], captions, is_in_order=False)


def _frames(version: Version, episode: Episode) -> tuple[Sequence[int], Any, str]:
    """Numbers of the steps, their frames or None, and where those come from."""
    images = {
        name: field
        for name, field in episode.steps().items()
        if isinstance(field, EncodedFrames)
        if is_of_observation(name) or name in episode.extras
    }
    if images:
        name = max(images, key=lambda name: (images[name].shape[3], is_of_observation(name)))
        told = "in full colour" if images[name].shape[3] == 3 else "grey"
        room = max(MOST_BYTES // math.prod(images[name].shape[1:]), 1)
        count = min(MOST_FRAMES, room, episode.num_steps)
        steps = np.linspace(0, episode.num_steps - 1, count).astype(int)
        return steps.tolist(), images[name][steps], f"frames of {name!r}, {told}, as published"
    try:
        environment = version.lineage.environment
        frames, shown = mujoco_frames.render(episode, environment, MOST_FRAMES)
        drawn_by = f"drawn by MuJoCo from the observations, in the body of {environment}"
        return shown, frames, drawn_by
    except DatasetError as error:
        return [], None, f"no picture, because {error}; in its place, its numbers over time"


def _write_sheet(sheet: pathlib.Path, frames: Any, colours: int | None = None) -> None:
    rendering.write_contact_sheet(
        sheet, frames, count=len(frames), columns=COLUMNS, colours=colours
    )


def _caption(episode: Episode, step: int) -> str:
    so_far = float(np.sum(episode.reward[:step], dtype=np.float64))
    told = f"step {step:,} of {episode.num_transitions:,}, return so far {so_far:,.1f}"
    if step == episode.num_transitions:
        return f"{told}, the end"
    action = np.atleast_1d(episode.action[step]).ravel()
    numbers = " ".join(f"{number:.2g}" for number in action[:8].tolist())
    more = " ..." if action.size > 8 else ""
    return f"{told}, action {numbers}{more}, reward {episode.reward[step]:g}"


def _traces(episode: Episode) -> dict[str, list[float]]:
    """The reward, the actions and the observations, as many as there is room for."""
    traces = {"reward": episode.reward[:-1]}
    for name, field in episode.steps().items():
        if name != ACTION and not is_of_observation(name):
            continue
        whole = np.asarray(field[:-1] if name == ACTION else field)
        columns = whole.reshape(len(whole), -1).T[: MOST_TRACES // 2]
        for place, column in enumerate(columns):
            traces[name if math.prod(whole.shape[1:]) == 1 else f"{name} {place}"] = column
    few = itertools.islice(traces.items(), MOST_TRACES)
    return {name: np.asarray(trace, np.float64).tolist() for name, trace in few}
