"""A version over several Reverb servers: whole episodes, each once, and all equally likely."""

import contextlib
import itertools

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_rows
from rl_datasets.serving.part import WHOLE, Part
from tests.optional import optional
from tests.rl_datasets.serving.conftest import LENGTHS

room = optional("rl_datasets.serving.reverb")
ReverbFeed, ReverbServer = room.ReverbFeed, room.ReverbServer

pytestmark = pytest.mark.timeout(180)
reverb = pytest.mark.reverb


@hypothesis.given(st.integers(1, 99), st.integers(1, 99))
def test_a_part_survives_its_text(number, of):
    if number <= of:
        assert Part.parse(f"{number}/{of}") == Part(number, of)
        assert Part.parse(str(Part(number, of))) == Part(number, of)
    else:
        with pytest.raises(ValueError, match=f"no part {number}/{of}: the first of three is 1/3"):
            Part(number, of)


@pytest.mark.parametrize("text", ["", "1", "0/3", "1/0", "-1/3", "1/3/5", "1 / 3"])
def test_what_is_no_part_is_refused(text):
    with pytest.raises(ValueError, match="there is no part"):
        Part.parse(text)


@pytest.mark.parametrize("of", [1, 2, 3, 8])
def test_parts_are_whole_episodes_and_together_the_version(published_frames, of):
    version = Version.open(published_frames)
    parts = [Part(number, of) for number in range(1, of + 1)]
    lengths = [[e.num_transitions for e in part.episodes(version, "train")] for part in parts]
    assert lengths == [LENGTHS[number::of] for number in range(of)]
    assert [part.counts(version, "train") for part in parts] == [
        (len(of_part), sum(of_part)) for of_part in lengths
    ]


@contextlib.contextmanager
def _servers(version, *parts, **options):
    """The addresses of servers of parts of a version."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(ReverbServer.from_published(version, part=part, **options)).address
            for part in parts
        ]


@reverb
@pytest.mark.parametrize("kind", ["published", "published_frames"])
@pytest.mark.parametrize("of", [2, 3])
def test_every_transition_of_all_parts_is_equally_likely(request, kind, of):
    """In the parts are unlike numbers of transitions: of frames, 186 and 83 of two."""
    version, cut = request.getfixturevalue(kind), Cut(2, 0.5, 2)
    rows = load_rows(version, cut=cut)
    number = {row["reward"].tobytes(): index for index, row in enumerate(rows)}
    assert len(number) == len(rows)
    parts = [Part(number, of) for number in range(1, of + 1)]
    with _servers(version, *reversed(parts), cut=cut) as addresses:
        feed = ReverbFeed(addresses, 100)
        batches = list(itertools.islice(feed, 2 * len(rows)))
    drawn = [number[reward.tobytes()] for batch in batches for reward in batch.reward]
    counts = np.bincount(drawn, minlength=len(rows))
    # Each is drawn 200 times, give or take 14 and what a batch has of the pools at the ends.
    assert 200 - 6 * 16 < counts.min() <= counts.max() < 200 + 6 * 16


@reverb
def test_servers_that_do_not_hold_each_part_once_are_refused(published, published_frames):
    one, two, other = Part(1, 3), Part(2, 3), Part(3, 4)
    with (
        _servers(published, one, two, Part(3, 3), WHOLE) as (first, second, third, whole),
        _servers(published, other) as (of_four,),
        _servers(published, Part(3, 3), cut=Cut(2)) as (cut_otherwise,),
        _servers(published_frames, Part(3, 3)) as (of_frames,),
    ):
        assert len(next(ReverbFeed([third, first, second], 7)).reward) == 7
        for addresses, said in [
            ([first, second], "part 3/3 is served 0 times by the Reverb servers at"),
            (first, "part 2/3 is served 0 times"),
            ([first, second, second], "part 2/3 is served 2 times"),
            ([first, second, third, first], "part 1/3 is served 2 times"),
            ([whole, whole], "part 1/1 is served 2 times"),
            ([first, second, of_four], "serve different datasets, cut them differently, or count"),
            ([first, second, cut_otherwise], "serve different datasets, cut them differently"),
            ([first, second, of_frames], "serve different datasets"),
            ([first, second, whole], "serve different datasets, cut them differently, or count"),
        ]:
            with pytest.raises(DatasetError, match=said):
                ReverbFeed(addresses, 7)


@reverb
def test_a_part_without_transitions_is_refused(published):
    with pytest.raises(
        DatasetError, match=r"part 13/13 of .* has no transitions: name fewer parts"
    ):
        ReverbServer.from_published(published, part=Part(13, 13))


@reverb
def test_a_part_has_a_checkpoint_of_its_own(published, tmp_path):
    parts = [Part(1, 2), Part(2, 2)]
    for _ in range(2):
        with _servers(published, *parts, checkpoints=tmp_path) as addresses:
            assert len(next(ReverbFeed(addresses, 7)).reward) == 7
    assert len(list(tmp_path.iterdir())) == 2
