"""A uniform share of a split: which transitions are in it, each as in the whole data."""

import itertools
import subprocess
import sys

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from rl_datasets.episode import Episode
from rl_datasets.frames import EncodedFrames, encode_png
from rl_datasets.published.version import Counts, Version
from rl_datasets.serving import frame_windows, streaming
from rl_datasets.serving.arrays import ArrayFeed
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_frame_windows, load_rows
from rl_datasets.serving.packing import pack
from rl_datasets.serving.share import Share
from rl_datasets.serving.streaming import StreamFeed
from tests.rl_datasets.exporting import versions
from tests.rl_datasets.serving.conftest import LENGTHS, make_episode

CUT = Cut(3, 0.9, 4)
SIZE = sum(LENGTHS)  # 269
QUARTER = Share(0.25, seed=7)  # 67 of them


def sorted_rows(rows):
    return sorted(row.tobytes() for row in rows)


def loaded(version, cut=CUT, share=QUARTER):
    """The rows of the share by frame windows, with their stacks."""
    return pack(frame_windows.cut_out(*load_frame_windows(version, "train", cut, share)))


@pytest.mark.parametrize(
    ("part", "transitions", "size"),
    [(0.25, 269, 67), (0.01, 10, 1), (1, 5, 5), (0.1, 10**7, 10**6)],
)
def test_a_share_has_the_nearest_number_of_transitions_and_at_least_one(part, transitions, size):
    share = Share(part, seed=3)
    assert share.size(transitions) == size
    assert share.drawn(transitions).sum() == size


@pytest.mark.parametrize("part", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(part):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        Share(part)


def test_the_same_seed_draws_the_same_share_and_another_seed_another():
    np.testing.assert_array_equal(Share(0.3, 1).drawn(1000), Share(0.3, 1).drawn(1000))
    both = Share(0.3, 1).drawn(1000) & Share(0.3, 2).drawn(1000)
    assert 50 < both.sum() < 130  # 90 of 300 are expected in both, with a deviation of 6.6


def test_every_transition_is_as_likely_and_so_is_every_pair():
    """Chi-square over seeds: of 6 transitions, 15 pairs may be the share."""
    drawn = np.array([Share(1 / 3, seed).drawn(6) for seed in range(3000)])
    pairs = np.array([drawn[:, a] & drawn[:, b] for a, b in itertools.combinations(range(6), 2)])
    # 14 degrees of freedom: above 36.1 once in a thousand times.
    assert np.sum((pairs.sum(axis=1) - 200) ** 2 / 200) < 36.1
    # Without replacement they vary less than with 5 degrees of freedom, so the bound is safe.
    assert np.sum((drawn.sum(axis=0) - 1000) ** 2 / 1000) < 20.5


def test_what_is_loaded_is_as_in_the_whole_data(published_frames):
    whole = load_rows(published_frames, cut=CUT)
    np.testing.assert_array_equal(loaded(published_frames), whole[QUARTER.drawn(SIZE)])
    np.testing.assert_array_equal(
        load_rows(published_frames, "train", CUT, QUARTER), whole[QUARTER.drawn(SIZE)]
    )


def test_vectors_have_shares_too(published):
    cut, share = Cut(2, 0.5, next_action=True), Share(0.1, seed=2)
    whole = load_rows(published, cut=cut)
    is_in = share.drawn(len(whole))
    np.testing.assert_array_equal(load_rows(published, "train", cut, share), whole[is_in])
    streamed = next(StreamFeed(published, is_in.sum(), 0, cut=Cut(2, 0.5), share=share))
    expected = load_rows(published, "train", Cut(2, 0.5))[is_in]
    assert sorted_rows(pack(streamed)) == sorted_rows(expected)


@hypothesis.given(
    length=st.integers(1, 120),
    n_step=st.integers(1, 9),
    frame_stack=st.integers(1, 5),
    part=st.floats(0.001, 1),
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_the_transitions_of_a_share_keep_the_frames_that_they_reach(
    length, n_step, frame_stack, part
):
    episode, cut, share = make_episode(5, length), Cut(n_step, 0.9, frame_stack), Share(part, 1)
    is_in = share.drawn(length)
    whole = frame_windows.of_episode(episode, cut)
    rows = whole.rows[is_in]
    expected = pack(frame_windows.cut_out(whole.frames, rows)).tobytes()
    some = frame_windows.of_episode(episode, cut, is_in)
    assert pack(frame_windows.cut_out(*some)).tobytes() == expected
    numbers = {*rows["observation"].ravel(), *rows["next_observation"].ravel()} - {0}
    assert len(some.frames) == 1 + len(numbers)
    assert len(numbers) <= frame_windows.most_frames(Counts(1, length), cut, share)
    segments = list(streaming.segments_of(episode, cut, is_in))
    assert [len(segment.rows) for segment in segments[:-1]] == [streaming.SEGMENT] * (
        len(segments) - 1
    )
    assert pack(frame_windows.cut_out(*streaming.decoded(segments))).tobytes() == expected


def test_frames_that_are_not_reached_are_not_decoded():
    frames = EncodedFrames([*encode_png(np.ones((3, 5, 6, 1), np.uint8)), *[b"damaged"] * 18],
                           (5, 6, 1))  # fmt: skip
    episode = Episode.from_transitions(frames, np.zeros(20, int), np.zeros(20), is_terminal=True)
    windows = frame_windows.of_episode(episode, Cut(frame_stack=2), np.arange(20) == 1)
    np.testing.assert_array_equal(windows.frames[1:], np.ones((3, 5, 6, 1)))


@pytest.mark.parametrize("shuffle", [1, 100_000])
def test_an_epoch_of_a_stream_is_the_share_once(published_frames, shuffle):
    expected = sorted_rows(load_rows(published_frames, cut=CUT)[QUARTER.drawn(SIZE)])
    feed = StreamFeed(published_frames, 67, 0, cut=CUT, shuffle=shuffle, share=QUARTER)
    epochs = list(itertools.islice(feed, 3))
    for epoch in epochs:
        assert sorted_rows(pack(epoch)) == expected
    assert not np.array_equal(epochs[0].reward, epochs[1].reward)


def test_a_stream_of_a_share_continues_bit_for_bit_after_seek(published_frames):
    whole = list(itertools.islice(StreamFeed(published_frames, 8, 5, cut=CUT, share=QUARTER), 40))
    feed = StreamFeed(published_frames, 8, 5, cut=CUT, share=QUARTER)
    for start in (20, 0, 9):  # in the third epoch, in the first, and from the first to the second
        feed.seek(start)
        for number in range(start, start + 4):
            assert pack(next(feed)).tobytes() == pack(whole[number]).tobytes()


class Watched(list):
    """Episodes that remember which of them were read."""

    def __init__(self, episodes):
        super().__init__(episodes)
        self.read = []

    def __getitem__(self, number):
        self.read.append(number)
        return super().__getitem__(number)


def test_a_stream_reads_no_episode_of_which_nothing_is_in_the_share(published_frames):
    starts = np.cumsum([0, *LENGTHS])
    one = Share(1e-6, seed=0)
    (chosen,) = np.flatnonzero(one.drawn(SIZE))
    choice = streaming._choice(Version.open(published_frames).episode_files(), one, SIZE)
    episodes = Watched(make_episode(number, length) for number, length in enumerate(LENGTHS))
    (segment,) = streaming._epoch(episodes, np.random.default_rng(0), 1, CUT, choice)
    assert episodes.read == [np.searchsorted(starts, chosen, "right") - 1]
    assert len(segment.rows) == 1


def test_the_array_feed_draws_from_the_share_alone(published_frames):
    feed = ArrayFeed(load_frame_windows(published_frames, "train", CUT, QUARTER), 50, seed=0)
    drawn = np.concatenate([pack(batch).copy() for batch in itertools.islice(feed, 30)])
    expected = load_rows(published_frames, cut=CUT)[QUARTER.drawn(SIZE)]
    assert {row.tobytes() for row in drawn} == set(sorted_rows(expected))


LOAD = """
import sys
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_frame_windows
from rl_datasets.serving.share import Share

def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024

before = peak()
share = Share(float(sys.argv[2])) if sys.argv[2] != "1" else None
load_frame_windows(sys.argv[1], "train", Cut(frame_stack=4), share)
print(peak() - before)
"""


def test_memory_is_bounded_by_the_share(tmp_path):
    """10,000 frames of 84 x 84 are 71 MB, and the 1% of 50 x 5 frames reached are 3.5 MB."""
    pngs = encode_png(np.arange(1, 65, dtype=np.uint8).repeat(84 * 84).reshape(64, 84, 84, 1))

    def episode(number: int) -> Episode:
        return Episode.from_transitions(
            EncodedFrames((pngs * 16)[:1001], (84, 84, 1)),
            np.zeros(1000, int),
            np.zeros(1000),
            is_terminal=True,
            metadata={"episode_id": np.int64(number)},
        )

    folder = versions.write(
        tmp_path / "1.0.0", versions.FRAMES, {"train": list(map(episode, range(10)))}
    )
    peaks = {}
    for share in ("1", "0.01"):
        command = [sys.executable, "-c", LOAD, str(folder), share]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        peaks[share] = int(done.stdout)
    assert peaks["1"] - peaks["0.01"] > 0.7 * 10_000 * 84 * 84
