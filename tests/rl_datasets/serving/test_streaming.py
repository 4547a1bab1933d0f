"""The streaming feed: every transition once an epoch, repeatable, and in bounded memory."""

import dataclasses
import io
import itertools
import json
import shutil

import dm_env.specs
import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from PIL import Image

from rl_datasets.errors import DatasetError
from rl_datasets.frames import EncodedFrames
from rl_datasets.published.manifest import spec_to_json, statistics
from rl_datasets.published.version import Version
from rl_datasets.publishing.units import SourceUnit
from rl_datasets.serving import frame_windows, streaming
from rl_datasets.serving.arrays import ArrayFeed
from rl_datasets.serving.cut import ONE_STEP, Cut
from rl_datasets.serving.loading import load_frame_windows, load_rows, load_transitions
from rl_datasets.serving.packing import pack
from rl_datasets.serving.streaming import StreamFeed
from rl_datasets.serving.transitions import from_episode
from rl_datasets.sources import rl_unplugged
from rl_datasets.transition import TransitionSpec
from tests.rl_datasets.publishing import synthetic
from tests.rl_datasets.serving.conftest import LENGTHS, make_episode, publish_units

CUT = Cut(3, 0.9, 4)
SIZE = sum(LENGTHS)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def _sorted(rows):
    return sorted(row.tobytes() for row in rows)


def _drawn(feed, count):
    """Packed rows of so many batches [B, ...]."""
    return np.concatenate([pack(batch).copy() for batch in itertools.islice(feed, count)])


def test_episodes_are_read_by_number(published_frames):
    episodes = Version.open(published_frames).episode_files()
    assert len(episodes) == len(LENGTHS)
    for number in (7, 0, 5, 4):
        expected = make_episode(number, LENGTHS[number])
        np.testing.assert_array_equal(episodes[number].observation, expected.observation)
        np.testing.assert_array_equal(episodes[number].reward, expected.reward)


@pytest.mark.parametrize("shuffle", [1, 100, 100_000])
def test_every_epoch_holds_every_transition_once(published_frames, shuffle):
    feed = StreamFeed(published_frames, SIZE, seed=0, cut=CUT, shuffle=shuffle)
    expected = _sorted(load_rows(published_frames, cut=CUT))
    orders = []
    for batch in itertools.islice(feed, 3):
        assert _sorted(pack(batch)) == expected
        orders.append(batch.reward)
    assert not np.array_equal(orders[0], orders[1])


@pytest.mark.parametrize("steps", [None, 3])
def test_the_same_seed_gives_the_same_batches_and_another_gives_others(published_frames, steps):
    feeds = [StreamFeed(published_frames, 8, s, steps, cut=CUT) for s in (1, 1, 2)]
    like = next(ArrayFeed(load_frame_windows(published_frames, cut=CUT), 8, 0, steps))
    first, again, other = (list(itertools.islice(feed, 100)) for feed in feeds)
    for one, same in zip(first, again, strict=True):
        assert_same(one, same)
    assert not np.array_equal(first[0].reward, other[0].reward)
    shapes = (
        jax.tree.map(lambda field: (field.shape, field.dtype), each) for each in (first[0], like)
    )
    assert len(set(map(str, shapes))) == 1


@pytest.mark.parametrize("pool", [1, 3, 256])
@pytest.mark.parametrize("steps", [None, 3])
def test_a_feed_continues_bit_for_bit_after_seek(published_frames, monkeypatch, steps, pool):
    """269 transitions in batches of 8: batches 33 and 67 begin in one epoch and end in the next."""
    monkeypatch.setattr(streaming, "SEGMENTS_A_POOL", pool)
    whole = list(itertools.islice(StreamFeed(published_frames, 8, 5, cut=CUT, shuffle=100), 90))
    feed = StreamFeed(published_frames, 8, 5, steps, cut=CUT, shuffle=100)
    for start in (33, 34, 0, 1, 68, 50):
        feed.seek(start)
        for number, batch in zip(range(start, start + 9, steps or 1), feed, strict=False):
            expected = whole[number : number + (steps or 1)]
            if steps is None:
                assert_same(batch, expected[0])
            else:
                assert_same(batch, jax.tree.map(lambda *fields: np.stack(fields), *expected))


def test_what_was_given_before_is_not_decoded_again(published_frames, monkeypatch):
    monkeypatch.setattr(streaming, "SEGMENTS_A_POOL", 2)
    episode = Version.open(published_frames).episode_files()[4]  # of 100 transitions
    first, second, *others = streaming.segments_of(episode, CUT)
    cannot_be_decoded = [segment._replace(observation=None) for segment in (first, second)]
    rng = np.random.default_rng(0)
    (pool,) = streaming._pools(iter([*cannot_be_decoded, *others]), rng, given=64 + 10)
    assert len(pool.rows) == 26


def test_consecutive_transitions_are_spread_over_the_batches(published_frames):
    feed = StreamFeed(published_frames, SIZE, seed=0, cut=CUT)
    rewards = load_transitions(published_frames, cut=CUT).reward
    place = {reward: index for index, reward in enumerate(rewards)}
    order = np.array([place[reward] for reward in next(feed).reward])
    # Of neighbours in a batch a shuffled order has 2 / 269 that follow one another.
    assert np.mean(np.abs(np.diff(order)) == 1) < 0.05


def test_vectors_are_streamed_too(published):
    feed = StreamFeed(published, 7, seed=0, cut=Cut(2, 0.5, 2))
    expected = {row.tobytes() for row in load_rows(published, "train", Cut(2, 0.5, 2))}
    assert {row.tobytes() for row in _drawn(feed, 100)} == expected


@hypothesis.given(
    length=st.integers(1, 200),
    n_step=st.integers(1, 40),
    frame_stack=st.integers(1, 40),
)
@hypothesis.settings(max_examples=50, deadline=None)
def test_segments_are_the_transitions_of_the_episode_in_order(length, n_step, frame_stack):
    episode = make_episode(length, length, shape=(3,))
    segments = list(streaming.segments_of(episode, Cut(n_step, 0.9, frame_stack)))
    for segment in segments:
        assert len(segment.rows) <= streaming.SEGMENT
        assert len(segment.observation) <= streaming.SEGMENT + n_step + frame_stack - 1
        assert segment.observation.base is None  # a view would keep the whole episode
    pool = streaming.decoded(segments)
    expected = from_episode(episode, Cut(n_step=n_step, gamma=0.9, frame_stack=frame_stack))
    assert_same(frame_windows.cut_out(*pool), expected)


@hypothesis.given(size=st.integers(0, 50), held=st.integers(1, 60), seed=st.integers(0, 9))
def test_a_shuffle_buffer_loses_nothing_and_holds_no_more_than_it_may(size, held, seed):
    taken = 0

    def items():
        nonlocal taken
        for item in range(size):
            taken += 1
            yield item

    given = []
    for item in streaming.shuffled(items(), held, np.random.default_rng(seed)):
        assert taken <= len(given) + held + 1
        given.append(item)
    assert sorted(given) == list(range(size))


def test_a_shuffle_buffer_gives_up_any_of_its_items():
    order = list(streaming.shuffled(range(1000), 10, np.random.default_rng(0)))
    delay = np.argsort(order) - np.arange(1000)
    assert delay.min() >= -9
    # An item waits for 10 others to be drawn, on average; the last ones wait for less.
    assert 8 < np.mean(delay[:900] + 10) < 12
    assert 30 < delay[:900].max() < 300


def test_every_epoch_goes_through_the_episodes_in_another_order(published_frames):
    episodes, rng = Version.open(published_frames).episode_files(), np.random.default_rng(0)
    first = {episodes[number].reward[0]: number for number in range(len(episodes))}
    orders = []
    for _ in range(3):
        # A buffer of one holds nothing back.
        segments = list(streaming._epoch(episodes, rng, 1, ONE_STEP))
        rewards = [segment.rows["reward"][0] for segment in segments]
        orders.append([first[reward] for reward in rewards if reward in first])
        assert sorted(orders[-1]) == list(range(len(LENGTHS)))
    assert len(set(map(tuple, orders))) == 3


def test_frames_are_decoded_a_pool_at_a_time(published_frames, monkeypatch):
    monkeypatch.setattr(streaming, "SEGMENTS_A_POOL", 2)
    episodes = Version.open(published_frames).episode_files()
    segments = [s for n in range(len(episodes)) for s in streaming.segments_of(episodes[n], CUT)]
    assert all(isinstance(segment.observation, EncodedFrames) for segment in segments)
    pools = streaming._pools(iter(segments), np.random.default_rng(0))
    sizes = [len(pool.frames) - 1 for pool in pools]
    assert len(sizes) == -(-len(segments) // 2)
    assert max(sizes) <= 2 * (streaming.SEGMENT + 6)
    # A segment shares 3 frames with the one before, 3 with the next.
    assert sum(sizes) == SIZE + len(LENGTHS) + 6 * (len(segments) - len(LENGTHS))


def test_several_splits_are_streamed_and_loaded_as_one(published_frames, tmp_path):
    copy = shutil.copytree(published_frames, tmp_path / "copy")
    manifest = json.loads((copy / "MANIFEST.json").read_text())
    splits, entries = manifest["splits"], manifest["files"]
    first, second = sorted(entries)
    for name, shard, lengths in (("a", first, LENGTHS[:5]), ("b", second, LENGTHS[5:])):
        splits[name] = statistics(lengths, [0.0] * len(lengths))
        renamed = f"synthetic-{name}.tfrecord-00000-of-00001"
        (copy / shard).rename(copy / renamed)
        entries[renamed] = entries.pop(shard)
    del splits["train"]
    (copy / "MANIFEST.json").write_text(json.dumps(manifest))
    whole = load_rows(published_frames, cut=CUT)
    for split in ("a+b", "all"):
        np.testing.assert_array_equal(load_rows(copy, split, CUT), whole)
        feed = StreamFeed(copy, 50, seed=0, split=split, cut=CUT)
        assert {row.tobytes() for row in _drawn(feed, 60)} == {row.tobytes() for row in whole}
    np.testing.assert_array_equal(load_rows(copy, "b", CUT), whole[sum(LENGTHS[:5]) :])
    with pytest.raises(DatasetError, match=r"no split 'c'; it has \['a', 'b'\]"):
        StreamFeed(copy, 8, seed=0, split="a+c")


def test_a_dataset_without_episodes_is_refused(published_frames, tmp_path):
    copy = shutil.copytree(published_frames, tmp_path / "copy")
    manifest = json.loads((copy / "MANIFEST.json").read_text())
    action = dm_env.specs.BoundedArray((), np.int64, 0, 17)
    spec = TransitionSpec(dm_env.specs.Array((5, 6, 1), np.uint8), 4, action)
    manifest["plan"]["spec"] = spec_to_json(spec)
    manifest["splits"]["train"].pop("episodes")
    (copy / "MANIFEST.json").write_text(json.dumps(manifest))
    for load in (load_rows, load_frame_windows, lambda folder: StreamFeed(folder, 8, seed=0)):
        with pytest.raises(DatasetError, match="no episode can be made of"):
            load(copy)


def test_a_real_shard_is_streamed_as_its_frames_decode_elsewhere(shared, tmp_path):
    path = shared / "rl_unplugged/atari_episodes_ordered/Asterix/run_1-00000-of-00001"
    episodes = list(rl_unplugged.read_episodes(path, 0))
    unit = SourceUnit("unit", "train", 2, 1693, (), lambda: iter(episodes))
    folder = publish_units([unit], rl_unplugged.episode_spec(9), tmp_path)
    expected = set()
    for episode in episodes:
        frames = [Image.open(io.BytesIO(png)) for png in episode.observation.pngs]
        decoded = dataclasses.replace(episode, observation=np.stack(frames)[..., None])
        expected |= {row.tobytes() for row in pack(from_episode(decoded, CUT))}
    epoch = next(StreamFeed(folder, 1693, seed=0, cut=CUT))
    assert {row.tobytes() for row in pack(epoch)} == expected


def test_every_damage_to_a_shard_is_found_and_the_shard_is_named(published, tmp_path):
    copy = shutil.copytree(published, tmp_path / "copy")
    (shard,) = copy.glob("*.tfrecord-*")
    whole = shard.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(len(whole), size=200):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        for content, what in ((bytes(damaged), "damaged"), (whole[:position], "not what was p")):
            shard.write_bytes(content)
            with pytest.raises(DatasetError, match=f"{shard.name} is {what}"):
                list(Version.open(copy).episode_files())
    shard.unlink()
    with pytest.raises(DatasetError, match=f"{shard.name} is missing"):
        StreamFeed(copy, 8, seed=0)


def test_damage_found_while_streaming_reaches_the_caller(published, tmp_path):
    copy = shutil.copytree(published, tmp_path / "copy")
    (shard,) = copy.glob("*.tfrecord-*")
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DatasetError, match=f"{shard.name} is damaged"):
        list(StreamFeed(copy, 8, seed=0))


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"steps": 0}, {"shuffle": 0}])
def test_an_empty_request_is_refused(published, options):
    with pytest.raises(ValueError, match="must be positive"):
        StreamFeed(published, **{"batch_size": 8, "seed": 0} | options)


def test_a_next_action_is_refused_and_not_left_out(published):
    with pytest.raises(ValueError, match="a StreamFeed gives no next action: use"):
        StreamFeed(published, 8, seed=0, cut=Cut(next_action=True))


def test_the_synthetic_version_is_read_by_number(published):
    episodes = Version.open(published).episode_files()
    assert len(episodes) == 12
    np.testing.assert_array_equal(episodes[11].observation, synthetic.episode(11).observation)
