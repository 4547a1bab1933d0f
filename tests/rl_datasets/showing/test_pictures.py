"""What is shown of an episode, by what its observations are."""

import dataclasses

import dm_env.specs
import numpy as np
import PIL.Image
import pytest

from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames, encode_png
from rl_datasets.published.version import Version
from rl_datasets.showing import mujoco_frames, pictures
from rl_datasets.transition import StackedTransition, TransitionSpec
from tests.rl_datasets.publishing import synthetic

ACTION = dm_env.specs.BoundedArray((), np.int64, 0, 3)


def frames(count, channels):
    rng = np.random.default_rng(count)
    pixels = rng.integers(0, 256, (count, 6, 5, channels), np.uint8)
    return EncodedFrames(encode_png(pixels), pixels.shape[1:])


@pytest.fixture
def version(data_dir):
    return Version.open("synthetic/few", data_dir)


def test_full_colour_is_preferred_to_grey(version, monkeypatch, tmp_path):
    episode = Episode.from_transitions(
        frames(4, 1), np.array([0, 3, 2]), np.array([1, 0, -1]), is_terminal=True
    )
    screen = frames(4, 3)
    episode = dataclasses.replace(episode, extras={"screen": screen})
    monkeypatch.setattr(Version, "episodes", lambda self, split: iter([episode]))
    shown = pictures.make(version, tmp_path / "sheet.png")
    assert shown.drawn_by == "frames of 'screen', in full colour, as published"
    assert shown.frame == (6, 5)
    assert shown.captions == (
        "step 0 of 3, return so far 0.0, action 0, reward 1",
        "step 1 of 3, return so far 1.0, action 3, reward 0",
        "step 2 of 3, return so far 1.0, action 2, reward -1",
        "step 3 of 3, return so far 0.0, the end",
    )
    with PIL.Image.open(tmp_path / "sheet.png") as sheet:
        np.testing.assert_array_equal(np.asarray(sheet)[:6, :5], screen[0])
    monkeypatch.setattr(pictures, "MOST_BYTES", 2 * 6 * 5 * 3)
    assert len(pictures.make(version, tmp_path / "sheet.png").captions) == 2


def test_numbers_are_plotted_where_nothing_can_be_drawn(version, monkeypatch, tmp_path):
    def refuse(*_):
        raise DatasetError("this machine cannot")

    episode = dataclasses.replace(synthetic.episode(4), extras={})
    monkeypatch.setattr(Version, "episodes", lambda self, split: iter([episode]))
    monkeypatch.setattr(mujoco_frames, "render", refuse)
    shown = pictures.make(version, tmp_path / "sheet.png")
    assert shown.drawn_by.startswith("no picture, because this machine cannot; ")
    assert list(shown.traces) == [
        "reward", "observation 0", "observation 1", "observation 2", "action 0", "action 1",
    ]  # fmt: skip
    np.testing.assert_array_equal(shown.traces["observation 1"], episode.observation[:, 1])
    np.testing.assert_array_equal(shown.traces["action 0"], episode.action[:-1, 0])
    assert not list(tmp_path.iterdir())
    pictures.write(tmp_path / "kept.json", shown)
    assert pictures.read(tmp_path / "kept.json", tmp_path / "sheet.png") == shown


def test_transitions_are_shown_by_their_last_frames(version, monkeypatch, tmp_path):
    stacks = [frames(4 + number, 1)[:4] for number in range(3)]
    some = [
        StackedTransition(stack, number, 0.5, 1.0, stack, 0, number, 2.0)
        for number, stack in enumerate(stacks)
    ]
    spec = TransitionSpec(dm_env.specs.Array((6, 5, 1), np.uint8), 4, ACTION)
    monkeypatch.setattr(Version, "transitions", lambda self, split: iter(some))
    shown = pictures.make(dataclasses.replace(version, spec=spec), tmp_path / "sheet.png")
    assert not shown.is_in_order
    assert shown.captions[1] == "action 1, reward 0.5"
    with PIL.Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet)
    np.testing.assert_array_equal(pixels[:, 7:12], stacks[1][3][..., 0])


def test_a_sheet_that_is_gone_is_made_again(version, tmp_path):
    shown = pictures.make(version, tmp_path / "sheet.png")
    pictures.write(tmp_path / "kept.json", shown)
    assert pictures.read(tmp_path / "kept.json", tmp_path / "sheet.png") == shown
    (tmp_path / "sheet.png").unlink()
    assert pictures.read(tmp_path / "kept.json", tmp_path / "sheet.png") is None
