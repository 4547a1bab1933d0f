"""Draws as sources drew them: which transitions are eligible, and how likely each is."""

import collections
import gc
import itertools
import shutil
import weakref

import dm_env.specs
import jax
import numpy as np
import pytest

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.serving import source_samplings
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_rows
from rl_datasets.serving.packing import pack
from rl_datasets.serving.source_samplings import SAMPLINGS, Files, Shards, SourceFeed
from tests.rl_datasets.exporting import versions

SPEC = EpisodeSpec(
    observation=dm_env.specs.Array((5, 6, 1), np.uint8),
    action=dm_env.specs.BoundedArray((), np.int64, 0, 17),
)
CUT = Cut(n_step=2, gamma=0.5, frame_stack=4)
# The lengths of the episodes of four checkpoints, and the actions of their first transitions, which
# number all 28: checkpoint_00 has 0 to 7, checkpoint_01 8 to 11, and so on.
LENGTHS = {"checkpoint_00": [5, 3], "checkpoint_01": [4], "checkpoint_02": [6], "rest": [1, 9]}
FIRST = {"checkpoint_00": 0, "checkpoint_01": 8, "checkpoint_02": 12, "rest": 18}


def write(folder):
    numbers = itertools.count()

    def episode(length: int) -> Episode:
        first = np.array([next(numbers) for _ in range(length)])
        rng = np.random.default_rng(first[0])
        frames = rng.integers(1, 255, (length + 1, 5, 6, 1), dtype=np.uint8)
        return Episode.from_transitions(frames, first % 18, first, is_terminal=length % 2 == 0)

    return versions.write(
        folder, SPEC, {split: list(map(episode, lengths)) for split, lengths in LENGTHS.items()}
    )


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return write(tmp_path_factory.mktemp("versions") / "1.0.0")


@pytest.fixture(scope="module")
def number_of(version):
    """The number of a transition, by its bytes."""
    return {row.tobytes(): number for number, row in enumerate(load_rows(version, "all", CUT))}


def drawn(feed, number_of, count):
    """The numbers of the transitions of so many batches; each is as it was loaded otherwise."""
    batches = list(itertools.islice(feed, count))
    return [[number_of[row.tobytes()] for row in pack(batch).copy()] for batch in batches]


def file_of(number):
    return [name for name, first in FIRST.items() if first <= number][-1]


def test_a_batch_is_of_the_first_rows_of_one_of_the_files_held(version, number_of):
    """By hand: of the first 5 rows of each, those of `checkpoint_01` are all 4."""
    feed = SourceFeed(version, Files(files=2, rows=5, redraw=10), 6, 0, cut=CUT)
    eligible = [{0, 1, 2, 3, 4}, {8, 9, 10, 11}, {12, 13, 14, 15, 16}, {18, 19, 20, 21, 22}]
    held = []
    for _ in range(40):
        batches = drawn(feed, number_of, 10)
        for batch in batches:
            assert any(set(batch) <= of_file for of_file in eligible)
        held.append(frozenset(file_of(batch[0]) for batch in batches))
        assert len(held[-1]) <= 2
    assert {name for names in held for name in names} == FIRST.keys()
    assert len(set(held)) > 4  # other files after every 10 batches


def test_files_that_are_drawn_once_stay(version, number_of):
    feed = SourceFeed(version, Files(files=2, rows=3), 6, 1, cut=CUT)
    numbers = {number for batch in drawn(feed, number_of, 300) for number in batch}
    assert len({file_of(number) for number in numbers}) == 2
    assert len(numbers) == 6


def test_files_are_as_likely_as_each_other_and_so_are_the_rows_of_one(version, number_of):
    """Both chi-square; one row of each batch, because the rows of a batch share their file."""
    split = "checkpoint_00+checkpoint_01"
    feed = SourceFeed(version, Files(files=2, rows=5), 3, 0, split=split, cut=CUT)
    counts = np.bincount([batch[1] for batch in drawn(feed, number_of, 4000)], minlength=12)
    expected = 4000 / 2 * np.array([1 / 5] * 5 + [0] * 3 + [1 / 4] * 4)
    eligible = expected > 0
    assert not counts[~eligible].any()
    # 9 rows: 8 degrees of freedom, whose statistic is above 26.1 once in a thousand times.
    assert np.sum((counts - expected)[eligible] ** 2 / expected[eligible]) < 26.1


def test_every_choice_of_files_is_as_likely():
    held = collections.Counter(
        frozenset(Files(files=2, redraw=1).held(4, 0, draw)) for draw in range(1200)
    )
    assert len(held) == 6
    # 5 degrees of freedom: above 20.5 once in a thousand times.
    assert sum((count - 200) ** 2 / 200 for count in held.values()) < 20.5


@pytest.mark.parametrize("sampling", [Files(2, 5, redraw=6), Files(3), Shards(3, 7)])
@pytest.mark.parametrize("steps", [None, 3])
def test_batches_continue_bit_for_bit_after_seek(version, sampling, steps):
    whole = list(itertools.islice(SourceFeed(version, sampling, 4, 9, cut=CUT), 40))
    feed = SourceFeed(version, sampling, 4, 9, steps, cut=CUT)
    for start in (0, 3, 18, 6):
        feed.seek(start)
        for number in range(start, start + 12, steps or 1):
            expected = whole[number]
            if steps is not None:
                stacked = whole[number : number + steps]
                expected = jax.tree.map(lambda *fields: np.stack(fields), *stacked)
            jax.tree.map(np.testing.assert_array_equal, next(feed), expected)
    other = next(SourceFeed(version, sampling, 4, 8, cut=CUT))
    assert not np.array_equal(other.observation, whole[0].observation)


def test_a_draw_leaves_the_memory_before_the_next_is_loaded(version, monkeypatch):
    loaded, original = [], source_samplings._load

    def load(*arguments):
        gc.collect()
        assert not any(frames() is not None for frames in loaded)
        windows = original(*arguments)
        assert len(windows.rows) == sum(arguments[2])
        loaded.append(weakref.ref(windows.frames.base))
        return windows

    monkeypatch.setattr(source_samplings, "_load", load)
    feed = SourceFeed(version, Files(2, redraw=2), 4, 0, cut=CUT)
    for batch in itertools.islice(feed, 20):
        assert batch.observation.shape == (4, 5, 6, 4)
        del batch
    assert len(loaded) >= 10


def test_the_most_rows_that_are_held_at_once():
    assert Files(files=2).most([8, 4, 6, 10]) == 18
    assert Files(files=2, rows=5).most([8, 4, 6, 10]) == 10
    assert Shards(100, 100).most([8, 4]) == 12


def test_shards_give_every_transition_about_as_often(version, number_of):
    feed = SourceFeed(version, Shards(shards=4, shuffle=10), 7, 0, cut=CUT)
    numbers = np.concatenate(drawn(feed, number_of, 400))  # 2,800 of 28 transitions
    counts = np.bincount(numbers)
    assert len(counts) == 28
    # Independent draws would have a deviation of 10. Here only what is in a buffer is missing.
    assert counts.std() < 4
    # Shards are read in another order again and again: no 28 after one another are an epoch.
    epochs = numbers.reshape(100, 28)
    assert sum(len(set(epoch)) == 28 for epoch in epochs) < 20


def test_a_shard_is_read_whole_before_the_next_one():
    """A buffer of one transition gives each shard in the order in which it was dealt."""
    batches = list(itertools.islice(Shards(shards=4, shuffle=1).indices([8, 4], 3, 5, 0), 400))
    shards = collections.Counter(tuple(batch) for batch in batches)
    assert len(shards) == 4
    assert sorted(number for shard in shards for number in shard) == list(range(12))
    # 404 names were read, 101 of each, of which 4 are still in the buffer.
    assert all(97 <= count <= 101 for count in shards.values())
    names = [tuple(batch) for batch in batches]
    assert any(a == b for a, b in itertools.pairwise(names))


@pytest.mark.parametrize("held", [1, 3, 50])
def test_a_shuffle_buffer_of_numbers_is_one_item_after_another(held):
    pieces = [np.arange(start, start + 20) for start in range(0, 200, 20)]
    given = list(source_samplings.through_buffer(pieces, held, np.random.default_rng(0)))
    rng, buffer, expected = np.random.default_rng(0), [], []
    for piece in pieces:
        filling, rest = piece[: held - len(buffer)], piece[held - len(buffer) :]
        buffer += list(filling)
        for place, number in zip(rng.integers(held, size=len(rest)), rest, strict=True):
            expected.append(buffer[place])
            buffer[place] = number
    np.testing.assert_array_equal(np.concatenate(given), expected)
    assert sorted(expected + buffer) == list(range(200))


def test_what_cannot_be_drawn_is_refused(version):
    with pytest.raises(DatasetError, match="5 files are to be held at once, and there are 4: join"):
        SourceFeed(version, SAMPLINGS["batch_rl"], 4, 0)
    with pytest.raises(ValueError, match="steps divide redraw=10"):
        SourceFeed(version, Files(2, redraw=10), 4, 0, steps=3)
    with pytest.raises(ValueError, match="must be positive"):
        SourceFeed(version, Files(2), 0, 0)
    with pytest.raises(ValueError, match="steps=2 must divide batch=3"):
        SourceFeed(version, Files(2, redraw=10), 4, 0, steps=2).seek(3)


@pytest.mark.parametrize("rows", [None, 2])
def test_a_damaged_file_reaches_the_caller(version, tmp_path, rows):
    copy = shutil.copytree(version, tmp_path / "copy")
    for shard in copy.glob("*.tfrecord-*"):
        content = bytearray(shard.read_bytes())
        content[100] ^= 1
        shard.write_bytes(content)
    with pytest.raises(DatasetError, match="is damaged"):
        next(SourceFeed(copy, Files(2, rows), 4, 0, cut=CUT))
