"""Frames as PNG files, held to Pillow and TensorFlow, which no one here wrote, and real files."""

import gzip
import io
import struct
import zlib

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rl_datasets.frames import EncodedFrames, decode_png, encode_png, reversed_channels

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))


@st.composite
def some_frames(draw) -> np.ndarray:
    return draw(hnp.arrays(np.uint8, (draw(st.integers(1, 3)), *draw(SHAPES))))


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """[150, 84, 84, 1]: a moving box over a gradient, more than are decoded at once."""
    rows, columns = np.mgrid[:84, :84]
    box = [(abs(rows - i % 84) < 6) & (abs(columns - 2 * i % 84) < 6) for i in range(150)]
    return np.where(box, 200, rows + columns // 4).astype(np.uint8)[..., None]


def written_by_pillow(frame: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame).save(file, "PNG", **options)
    return file.getvalue()


def with_filter(frame: np.ndarray, number: int) -> bytes:
    """A PNG of a greyscale frame whose rows all went through the filter Sub or Up, by hand."""
    rows = frame[..., 0]
    before = np.roll(rows, 1, axis=2 - number)
    before[(slice(None), 0) if number == 1 else 0] = 0
    filtered = np.insert(rows - before, 0, number, axis=1)
    (plain,) = encode_png(frame[None])
    data = b"IDAT" + zlib.compress(filtered.tobytes())
    idat = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return plain[:33] + idat + plain[-12:]


@given(some_frames())
def test_pillow_reads_what_was_written(frames):
    for png, frame in zip(encode_png(frames), frames, strict=True):
        with Image.open(io.BytesIO(png)) as image:
            image.load()
            assert np.array_equal(np.asarray(image).reshape(frame.shape), frame)


@given(some_frames())
def test_what_was_written_is_read_back(frames):
    pngs = encode_png(frames)
    np.testing.assert_array_equal(decode_png(pngs, frames.shape[1:]), frames)
    EncodedFrames(pngs, frames.shape[1:]).check()


@given(some_frames(), st.sampled_from([{}, {"compress_level": 1}, {"optimize": True}]))
def test_what_pillow_wrote_is_read(frames, options):
    pngs = [written_by_pillow(frame, **options) for frame in frames]
    np.testing.assert_array_equal(decode_png(pngs, frames.shape[1:]), frames)


@pytest.mark.parametrize("number", [1, 2])
def test_filters_are_undone(frames, number):
    pngs = [with_filter(frame, number) for frame in frames]
    np.testing.assert_array_equal(decode_png(pngs, (84, 84, 1)), frames)
    mixed = [with_filter(frames[0], 1), *encode_png(frames[1:2]), with_filter(frames[2], 2)]
    np.testing.assert_array_equal(decode_png(mixed, (84, 84, 1)), frames[:3])


def test_tensorflow_reads_what_was_written_and_is_read(frames):
    tf = pytest.importorskip("tensorflow")
    for frame, png in zip(frames[:3], encode_png(frames[:3]), strict=True):
        np.testing.assert_array_equal(tf.io.decode_png(png).numpy(), frame)
        theirs = tf.io.encode_png(frame).numpy()
        np.testing.assert_array_equal(decode_png([theirs], frame.shape)[0], frame)


def test_real_frames_of_rl_unplugged_are_read_as_pillow_reads_them(shared):
    folder = shared / "rl_unplugged" / "atari_episodes_ordered" / "Asterix"
    raw = gzip.decompress((folder / "run_1-00000-of-00001").read_bytes())
    starts = [i for i in range(len(raw)) if raw.startswith(b"\x89PNG", i)][::10]
    pngs = [raw[i : raw.index(b"IEND", i) + 8] for i in starts]
    assert len(pngs) == 170
    EncodedFrames(pngs, (84, 84, 1)).check()
    theirs = [np.asarray(Image.open(io.BytesIO(png))) for png in pngs]
    np.testing.assert_array_equal(decode_png(pngs, (84, 84, 1))[..., 0], theirs)


def test_data_may_be_spread_over_chunks(frames):
    (png,) = encode_png(frames[:1])
    data, end = png[41:-16], png[-12:]
    pieces = [b"tEXtComment\0hello", b"IDAT" + data[:7], b"IDAT" + data[7:]]
    chunks = [
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each))
        for each in pieces
    ]
    png = png[:33] + b"".join(chunks) + end
    EncodedFrames([png], (84, 84, 1)).check()
    np.testing.assert_array_equal(decode_png([png], (84, 84, 1)), frames[:1])


def test_encoded_frames_stand_where_an_array_would(frames):
    encoded = EncodedFrames(encode_png(frames), (84, 84, 1))
    assert (len(encoded), encoded.shape, encoded.dtype, encoded.ndim) == (
        len(frames),
        frames.shape,
        frames.dtype,
        frames.ndim,
    )
    np.testing.assert_array_equal(np.asarray(encoded), frames)
    np.testing.assert_array_equal(encoded[-1], frames[-1])
    assert isinstance(encoded[3:9:2], EncodedFrames)
    assert encoded[3:9:2].pngs == encoded.pngs[3:9:2]
    np.testing.assert_array_equal(encoded[3:9:2], frames[3:9:2])
    assert np.asarray(encoded[:0]).shape == (0, 84, 84, 1)
    np.testing.assert_array_equal(np.stack(list(encoded[:2])), frames[:2])


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda png: b"", "frame 1 is not a PNG file"),
        (lambda png: b"GIF89a" + png[6:], "frame 1 is not a PNG file"),
        (lambda png: png[:-1], "frame 1 is truncated"),
        (lambda png: png[:20], "header says height 0, width 84, depth 0"),
        (lambda png: png[:29] + b"\0\0\0\0" + png[33:], "or is damaged"),
        (lambda png: encode_png(np.zeros((1, 84, 80, 1), np.uint8))[0], "height 84, width 80"),
        (lambda png: encode_png(np.zeros((1, 84, 84, 3), np.uint8))[0], "colour type 2"),
        (lambda png: encode_png(np.zeros((1, 42, 84, 1), np.uint8))[0], "height 42, width 84"),
    ],
)
def test_a_file_that_is_no_such_frame_is_told_by_its_ends(frames, spoil, fault):
    good, bad = encode_png(frames[:2])
    with pytest.raises(ValueError, match=fault):
        EncodedFrames([good, spoil(bad)], (84, 84, 1)).check()


def test_a_file_that_would_inflate_to_more_than_a_frame_is_refused(frames):
    (png,) = encode_png(frames[:1])
    bomb = b"IDAT" + zlib.compress(bytes(1 << 26))
    idat = struct.pack(">I", len(bomb) - 4) + bomb + struct.pack(">I", zlib.crc32(bomb))
    with pytest.raises(ValueError, match="truncated or too long"):
        decode_png([png[:33] + idat + png[-12:]], (84, 84, 1))


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_file_is_refused(frames, data):
    (png,) = encode_png(frames[:1])
    spoilt = bytearray(png)
    if data.draw(st.booleans()):
        spoilt[data.draw(st.integers(0, len(png) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del spoilt[data.draw(st.integers(0, len(png) - 1)) :]
    with pytest.raises(ValueError, match="frame 0"):
        decode_png([bytes(spoilt)], (84, 84, 1))


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((1, 84, 84), np.uint8),
        np.zeros((1, 84, 84, 2), np.uint8),
        np.zeros((1, 84, 84, 1), np.float32),
    ],
)
def test_what_is_no_frame_is_not_written(frames):
    with pytest.raises(ValueError, match=r"uint8 \[N, H, W, 1 or 3\]"):
        encode_png(frames)


@settings(max_examples=50)
@given(some_frames(), st.integers(0, 4))
def test_channels_are_reversed_under_every_filter(frames, number):
    """Pillow decodes what was reversed; rows are filtered by hand, by the standard's formulas."""
    pngs = [filtered(frame, number) for frame in frames]
    found = reversed_channels(EncodedFrames(pngs, frames.shape[1:]))
    for png, source, frame in zip(found.pngs, pngs, frames, strict=True):
        for file, expected in ((source, frame), (png, frame[..., ::-1])):
            with Image.open(io.BytesIO(file)) as image:
                np.testing.assert_array_equal(np.asarray(image).reshape(frame.shape), expected)


def filtered(frame: np.ndarray, number: int) -> bytes:
    """A PNG of a frame whose rows all went through a filter, byte by byte."""
    height, width, channels = frame.shape
    rows = frame.reshape(height, width * channels).astype(int)
    data = bytearray()
    for y, row in enumerate(rows):
        data.append(number)
        for x, value in enumerate(row):
            left = rows[y, x - channels] if x >= channels else 0
            above = rows[y - 1, x] if y else 0
            corner = rows[y - 1, x - channels] if y and x >= channels else 0
            near = min((left, above, corner), key=lambda each: abs(left + above - corner - each))
            data.append(int(value - (0, left, above, (left + above) // 2, near)[number]) & 0xFF)
    (whole,) = encode_png(frame[None])
    at = whole.index(b"IDAT") - 4
    body = b"IDAT" + zlib.compress(bytes(data))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return whole[:at] + chunk + whole[-12:]


def test_a_frame_that_cannot_be_reversed_is_told():
    (png,) = encode_png(np.zeros((1, 4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="frame 1 is a damaged PNG"):
        reversed_channels(EncodedFrames([png, png[:45] + b"x" + png[46:]], (4, 5, 3)))
    unknown = filtered(np.zeros((4, 5, 3), np.uint8), 0)
    at = unknown.index(b"IDAT")
    rows = bytearray(zlib.decompress(unknown[at + 4 : -16]))
    rows[0] = 5
    body = b"IDAT" + zlib.compress(bytes(rows))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    spoilt = unknown[: at - 4] + chunk + unknown[-12:]
    with pytest.raises(ValueError, match=r"frame 0 is a damaged PNG \(a row has no"):
        reversed_channels(EncodedFrames([spoilt], (4, 5, 3)))
