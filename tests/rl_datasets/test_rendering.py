"""Episodes of frames as pictures, opened again with Pillow."""

import numpy as np
import PIL.Image
import pytest

from rl_datasets import rendering
from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames, encode_png


def moving_dot(count, channels=1, height=12, width=10):
    """A dot that is somewhere else in each frame, so that a GIF can leave none out."""
    frames = np.zeros((count, height, width, channels), np.uint8)
    place = np.arange(count)
    frames[place, place // width % height, place % width] = 255
    return frames


def opened(path):
    """The frames of a GIF, as RGB, and how long each is shown."""
    with PIL.Image.open(path) as image:
        pages = []
        for index in range(image.n_frames):
            image.seek(index)
            pages.append((np.asarray(image.convert("RGB")), image.info["duration"]))
        return pages, image.info["loop"]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_gif_shows_every_frame_in_order(tmp_path, channels):
    frames = moving_dot(30, channels)
    assert rendering.write_gif(tmp_path / "episode.gif", frames, scale=3) == 1
    pages, loop = opened(tmp_path / "episode.gif")
    assert loop == 0
    assert len(pages) == 30
    for (page, duration), frame in zip(pages, frames, strict=True):
        assert duration == 70
        large = frame.repeat(3, axis=0).repeat(3, axis=1)
        np.testing.assert_array_equal(page, np.broadcast_to(large, page.shape))


def test_a_long_episode_is_thinned_evenly(tmp_path):
    frames = moving_dot(101)
    every = rendering.write_gif(tmp_path / "episode.gif", frames, scale=1, max_frames=40)
    pages, _ = opened(tmp_path / "episode.gif")
    assert every == 3
    np.testing.assert_array_equal([page[..., :1] for page, _ in pages], frames[::3])


def test_a_gif_keeps_greys(tmp_path):
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    rendering.write_gif(tmp_path / "greys.gif", frames, scale=1)
    ((page, _),), _ = opened_still(tmp_path / "greys.gif")
    np.testing.assert_array_equal(page[..., :1], frames[0])


def opened_still(path):
    with PIL.Image.open(path) as image:
        return [(np.asarray(image.convert("RGB")), None)], None


@pytest.mark.parametrize("write", [rendering.write_gif, rendering.write_contact_sheet])
def test_encoded_frames_give_the_same_bytes_as_arrays(tmp_path, write):
    frames = moving_dot(20)
    write(tmp_path / "one", frames)
    write(tmp_path / "two", EncodedFrames(encode_png(frames), frames.shape[1:]))
    write(tmp_path / "three", frames)
    contents = {(tmp_path / name).read_bytes() for name in ("one", "two", "three")}
    assert len(contents) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "three", "two"]


def test_a_contact_sheet_by_hand(tmp_path):
    """Five of nine frames, of 2 x 2, in rows of three, with grey between them."""
    frames = np.arange(9, dtype=np.uint8)[:, None, None, None] * np.ones((2, 2, 1), np.uint8)
    path = tmp_path / "sheet.png"
    assert rendering.write_contact_sheet(path, frames, count=5, columns=3) == [0, 2, 4, 6, 8]
    with PIL.Image.open(path) as image:
        sheet = np.asarray(image)
    a, b = [0, 0, 128, 128, 2, 2, 128, 128, 4, 4], [6, 6, 128, 128, 8, 8] + 4 * [128]
    np.testing.assert_array_equal(sheet, [a, a, 10 * [128], 10 * [128], b, b])


def test_a_contact_sheet_of_fewer_frames_and_in_colour(tmp_path):
    frames = moving_dot(3, channels=3)
    path = tmp_path / "sheet.png"
    assert rendering.write_contact_sheet(path, frames, scale=2) == [0, 1, 2]
    with PIL.Image.open(path) as image:
        assert (image.mode, image.size) == ("RGB", (3 * 22 - 2, 24))


@pytest.mark.parametrize("write", [rendering.write_gif, rendering.write_contact_sheet])
@pytest.mark.parametrize(
    "observation",
    [
        np.zeros((5, 17), np.float32),
        np.zeros((5, 84, 84, 1), np.float32),
        np.zeros((5, 84, 84, 4), np.uint8),
        np.zeros((0, 84, 84, 1), np.uint8),
    ],
)
def test_what_is_no_frames_is_refused(tmp_path, write, observation):
    with pytest.raises(DatasetError, match=r"observations are .*, and only frames"):
        write(tmp_path / "picture", observation)
    assert list(tmp_path.iterdir()) == []
