"""Rewards from another field of the steps: RL Unplugged's where its files have them."""

import dataclasses
import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from builders.rl_unplugged_atari.rl_unplugged_atari_dataset_builder import Builder
from rl_datasets.errors import DatasetError
from rl_datasets.publishing.publish import publish
from rl_datasets.serving import segments
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_frame_windows, load_transitions
from rl_datasets.serving.streaming import StreamFeed
from rl_datasets.serving.transitions import from_episode
from rl_datasets.sources import atari, rl_unplugged
from tests.optional import optional
from tests.rl_datasets.sources.rl_unplugged_files import episode, frames, write

reverb = optional("rl_datasets.serving.reverb")

STORED = {"reward_field": "stored_reward"}


def of_file(path) -> list[np.ndarray]:
    """The rewards of every record as TensorFlow reads them."""
    tf = pytest.importorskip("tensorflow")
    return [
        np.array(
            tf.train.Example.FromString(record.numpy())
            .features.feature["unclipped_rewards"]
            .float_list.value,
            np.float32,
        )
        for record in tf.data.TFRecordDataset(str(path), compression_type="GZIP")
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A version of episodes that end and that are cut, and what its shard stores."""
    folder = tmp_path_factory.mktemp("made")
    shard = folder / "bucket" / rl_unplugged.EPISODES / "Asterix" / "run_1-00000-of-00001"
    lengths = [1, 2, 7, 40, 3]
    write(shard, [episode(seed, rows, seed in (1, 3)) for seed, rows in enumerate(lengths)])
    builder = Builder(config="Asterix_run_1", source=str(folder / "bucket"), data_dir=folder)
    # A cut episode ends in the frame of its last row, which is no transition.
    stored = [
        rewards[: len(rewards) - (seed in (1, 3))] for seed, rewards in enumerate(of_file(shard))
    ]
    return publish(builder).path, np.concatenate(stored)


def test_they_are_those_of_the_real_file(shared, tmp_path):
    source = shared / "rl_unplugged"
    builder = Builder(config="Asterix_run_1", source=str(source), data_dir=tmp_path)
    version = publish(builder).path
    (shard,) = rl_unplugged.find_shards(source, "Asterix", 1)
    stored = np.concatenate(of_file(shard))
    assert (
        load_frame_windows(version, "all", Cut(**STORED)).rows["reward"].tobytes()
        == stored.tobytes()
    )
    default = load_frame_windows(version, "all").rows["reward"]
    np.testing.assert_array_equal(default[1:1093], stored[:1092])
    np.testing.assert_array_equal(default[1094:], stored[1093:-1])
    assert default[0] == default[1093] == 0


def test_every_way_to_read_gives_them(made):
    version, stored = made
    assert load_transitions(version, "all", Cut(**STORED)).reward.tobytes() == stored.tobytes()
    assert (
        load_frame_windows(version, "all", Cut(**STORED)).rows["reward"].tobytes()
        == stored.tobytes()
    )
    streamed = next(StreamFeed(version, len(stored), 0, split="all", cut=Cut(**STORED)))
    np.testing.assert_array_equal(streamed.reward, streamed.extras["stored_reward"])


@pytest.mark.reverb
def test_reverb_gives_them(made):
    version, _ = made
    with reverb.ReverbServer.from_published(version, "all", Cut(**STORED)) as server:
        assert server.schema.cut.reward_field == "stored_reward"
        feed = reverb.ReverbFeed(server.address, segments.SEGMENT, seed=0)
        for batch in itertools.islice(feed, 8):
            np.testing.assert_array_equal(batch.reward, batch.extras["stored_reward"])


def test_they_are_not_the_default(made):
    version, stored = made
    assert np.any(load_transitions(version, "all").reward != stored)


@hypothesis.given(
    rewards=st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=12),
    is_terminal=st.booleans(),
    n_step=st.integers(1, 4),
)
def test_several_of_them_are_summed_as_the_corrected_ones_are(rewards, is_terminal, n_step):
    stored = np.array(rewards, np.float32)
    action = np.zeros(len(stored), np.int64)

    def cut(reward, **options):
        metadata = {"checkpoint_id": np.int64(0), "episode_id": np.int64(0)}
        made = atari.episode_from_rows(
            frames(0, len(stored)),
            action,
            reward,
            is_terminal=is_terminal,
            metadata=metadata,
            extras={"stored_reward": stored},
        )
        return from_episode(made, Cut(n_step=n_step, gamma=0.9, **options))

    ours, plain = cut(rl_unplugged.earned(stored), **STORED), cut(stored)
    np.testing.assert_array_equal(ours.reward, plain.reward)
    np.testing.assert_array_equal(ours.discount, plain.discount)


@pytest.mark.parametrize("field", ["observation", "raw_reward", "policy"])
def test_what_is_no_field_of_rewards_is_refused(made, field):
    version, _ = made
    with pytest.raises(DatasetError, match=f"no field '{field}' of rewards: name one that"):
        load_frame_windows(version, "all", Cut(reward_field=field))


def test_a_field_of_another_shape_is_refused(tmp_path):
    write(tmp_path / "shard", [episode(0, 4)])
    (found,) = rl_unplugged.read_episodes(tmp_path / "shard", 0)
    wide = dataclasses.replace(found, extras={"goal": np.zeros((5, 2), np.float32)})
    with pytest.raises(DatasetError, match="no field 'goal' of rewards"):
        from_episode(wide, Cut(reward_field="goal"))
