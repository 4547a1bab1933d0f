"""Segments: every transition once, every frame once, whatever the lengths of the episodes."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from rl_datasets.serving import frame_windows, segments
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.packing import pack
from rl_datasets.serving.segments import BLOCK, SEGMENT, SEGMENT_BLOCKS
from rl_datasets.serving.transitions import from_episode
from tests.rl_datasets.serving.conftest import make_episode


def _segments(pieces, layout):
    """Frames [P, frames, ...] and rows [P, SEGMENT] of every segment of a stream."""
    blocks = list(segments.blocks(pieces, layout))
    starts = range(0, layout.num_segments * SEGMENT_BLOCKS, SEGMENT_BLOCKS)
    assert len(blocks) == starts[-1] + layout.segment_blocks
    return tuple(
        np.stack([np.concatenate([b[part] for b in blocks[s : s + count]]) for s in starts])
        for part, count in ((0, layout.segment_blocks), (1, SEGMENT_BLOCKS))
    )


@hypothesis.given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    shape=st.sampled_from([(), (3,), (4, 3, 1), (2, 2, 3)]),
    n_step=st.integers(1, 20),
    frame_stack=st.integers(1, 5),
    in_one=st.booleans(),
)
@hypothesis.settings(max_examples=100, deadline=None)
def test_segments_hold_every_transition_once_in_order(lengths, shape, n_step, frame_stack, in_one):
    cut = Cut(n_step, 0.9, frame_stack)
    episodes = [make_episode(n, length, shape) for n, length in enumerate(lengths)]
    pieces = [frame_windows.of_episode(episode, cut) for episode in episodes]
    expected = [pack(from_episode(episode, cut)) for episode in episodes]
    layout = segments.layout_of(pieces[0], sum(lengths) + len(lengths), n_step)
    if in_one:
        pieces = [frame_windows.joined(pieces, layout.num_frames, sum(lengths))]
    pool = segments.pool(*_segments(pieces, layout))
    np.testing.assert_array_equal(pack(frame_windows.cut_out(*pool)), np.concatenate(expected))


def test_the_stream_holds_every_frame_once():
    episodes = [make_episode(n, length) for n, length in enumerate([700, 3])]
    pieces = [frame_windows.of_episode(episode, Cut(3, 0.9, 4)) for episode in episodes]
    layout = segments.layout_of(pieces[0], 705, 3)
    frames = np.concatenate([frames for frames, _ in segments.blocks(pieces, layout)])
    expected = np.concatenate([episode.observation for episode in episodes])
    np.testing.assert_array_equal(frames[3 : 3 + 705], expected)
    assert not frames[:3].any()
    assert not frames[708:].any()
    assert len(frames) - 705 <= SEGMENT + 3 * BLOCK


def test_a_segment_is_as_long_as_its_stacks_and_returns_reach():
    piece = frame_windows.of_episode(make_episode(0, 30), Cut(n_step=3, frame_stack=4))
    assert segments.layout_of(piece, 31, 3).segment_blocks == SEGMENT_BLOCKS + 1
    assert segments.layout_of(piece, 31, 5).segment_blocks == SEGMENT_BLOCKS + 1  # 3 + 5 frames
    assert segments.layout_of(piece, 31, 6).segment_blocks == SEGMENT_BLOCKS + 2


def test_a_stream_of_another_length_is_refused():
    piece = frame_windows.of_episode(make_episode(0, 30))
    with pytest.raises(ValueError, match="have 62 frames, not 61"):
        list(segments.blocks([piece, piece], segments.layout_of(piece, 61, 1)))
