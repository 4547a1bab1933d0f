"""RL Unplugged's shards: a real one, and every way in which one can be bad."""

import gzip
import pathlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_datasets import wire
from rl_datasets.episode import EpisodeError
from rl_datasets.episode_check import check_episode
from rl_datasets.errors import DatasetError
from rl_datasets.frames import encode_png
from rl_datasets.sources import rl_unplugged
from rl_datasets.transition import TransitionSpec, check_transition
from tests.rl_datasets.sources.fake_bucket import serving
from tests.rl_datasets.sources.rl_unplugged_files import (
    compress,
    episode,
    frames,
    shard,
    transition,
    write,
)

SPEC = rl_unplugged.episode_spec(9)
BROKEN_PNG = encode_png(frames(0, 1))[0][:-1]
OTHER_PNG = encode_png(np.zeros((1, 84, 80, 1), np.uint8))[0]


@pytest.fixture(scope="module")
def real(shared) -> pathlib.Path:
    folder = shared / "rl_unplugged" / "atari_episodes_ordered" / "Asterix"
    return folder / "run_1-00000-of-00001"


@pytest.fixture(scope="module")
def real_rows(real) -> list[dict[str, np.ndarray]]:
    """Every record of the real shard, as TensorFlow reads it."""
    tf = pytest.importorskip("tensorflow")
    found = []
    for record in tf.data.TFRecordDataset(str(real), compression_type="GZIP"):
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        values = {name: getattr(f, f.WhichOneof("kind")).value for name, f in feature.items()}
        found.append(
            {
                name: np.array(v, object if v and isinstance(v[0], bytes) else None)
                for name, v in values.items()
            }
        )
    return found


def decoded(rows: dict[str, np.ndarray]) -> np.ndarray:
    tf = pytest.importorskip("tensorflow")
    return np.stack([tf.io.decode_png(png).numpy()[..., 0] for png in rows["observations"]])


def read(path: pathlib.Path, checkpoint: int = 0) -> list:
    return list(rl_unplugged.read_episodes(path, checkpoint))


def test_the_real_shard_is_read_whole(real, real_rows):
    episodes = read(real, checkpoint=3)
    assert [each.num_transitions for each in episodes] == [1093, 600]
    assert [each.episode_return for each in episodes] == [66, 29]
    for ours, rows in zip(episodes, real_rows, strict=True):
        check_episode(ours, SPEC)
        assert ours.is_terminal[-1]
        assert ours.observation.pngs[:-1] == rows["observations"].tolist()
        assert not np.any(ours.observation[-1])
        np.testing.assert_array_equal(ours.action[:-1], rows["actions"])
        stored = rows["unclipped_rewards"].astype(np.float32)
        assert ours.extras["stored_reward"][:-1].tobytes() == stored.tobytes()
        np.testing.assert_array_equal(ours.reward, [0, *stored[:-1], 0])
        np.testing.assert_array_equal(ours.discount[:-1], rows["discounts"])
        # The last row's, which is left out, is 0 in both.
        assert ours.metadata["episode_return"] == rows["episode_return"][0]
        assert ours.metadata["episode_id"] == rows["episode_id"][0] > 2**61
        assert ours.metadata["checkpoint_id"] == 3


def test_what_the_real_shard_does_not_hold(real_rows):
    for rows in real_rows:
        assert not rows.keys() & {"checkpoint_idx", "episode_idx"}
        np.testing.assert_array_equal(rows["clipped_rewards"], rows["unclipped_rewards"])


def asterix(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows o_0 .. o_{N-1} and rewards of a game of Asterix in the emulator, as Dopamine sees it."""
    ale_py, cv2 = pytest.importorskip("ale_py"), pytest.importorskip("cv2")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("random_seed", seed)
    ale.setFloat("repeat_action_probability", 0.25)
    ale.loadROM(ale_py.roms.get_rom_path("asterix"))
    ale.reset_game()
    actions, rng = ale.getMinimalActionSet(), np.random.default_rng(seed)
    screens, observations, rewards = [ale.getScreenGrayscale()] * 2, [], []
    screens[1] = np.zeros_like(screens[0])
    while not ale.game_over():
        pooled = np.maximum(*screens)
        observations.append(cv2.resize(pooled, (84, 84), interpolation=cv2.INTER_AREA))
        action, reward = actions[rng.integers(len(actions))], 0
        for frame in range(4):
            reward += ale.act(action)
            if frame >= 2:
                screens[frame - 2] = ale.getScreenGrayscale()
        rewards.append(reward)
    return np.stack(observations), np.array(rewards)


def changes(observation: np.ndarray) -> np.ndarray:
    """[N - 1]: whether the screen changes from a row to the next."""
    return np.any(observation[1:] != observation[:-1], axis=(1, 2))


def test_no_row_is_missing_from_the_real_episodes(real_rows):
    """A game ends 77 emulator frames after a last change of its screen: 19 rows from its end."""
    emulated = [asterix(seed)[0] for seed in range(3)]
    for rows in [*emulated, *map(decoded, real_rows)]:
        np.testing.assert_array_equal(rows[0], emulated[0][0])
        assert changes(rows)[-19]
        assert not changes(rows)[-18:-7].any()


def shown(observation: np.ndarray, rewards: np.ndarray) -> float:
    """Of the rewards other than 0, the share after which the next frame shows another score."""
    scores = changes(observation[:, 73:78])  # below the lives, which move
    return np.mean(scores[np.flatnonzero(rewards[: len(scores)])])


def test_the_score_on_the_screen_changes_with_the_rewards(real, real_rows):
    """As it does in the emulator; not so with the rewards where the file has them."""
    for seed in range(3):
        assert shown(*asterix(seed)) == 1
    for ours, rows in zip(read(real), real_rows, strict=True):
        observation = decoded(rows)
        assert np.count_nonzero(ours.reward) == np.count_nonzero(rows["unclipped_rewards"]) > 25
        assert shown(observation, ours.reward[:-1]) == 1
        assert shown(observation, ours.extras["stored_reward"][:-1]) < 0.2


STORED = st.lists(st.sampled_from([-1.0, -0.0, 0.0, 1.0]), min_size=1, max_size=30)


@settings(max_examples=100)
@given(STORED, st.booleans())
def test_a_reward_moves_to_the_action_that_earned_it_and_what_was_stored_is_kept(
    path, stored, is_terminal
):
    rows = len(stored)
    if rows == 1 and not is_terminal:
        return  # It has no transition.
    rewards = wire.float_list(np.array(stored, np.float32))
    write(path, [episode(0, rows, 0 if is_terminal else 1, unclipped_rewards=rewards)])
    (found,) = read(path)
    check_episode(found, SPEC)
    transitions = rows if is_terminal else rows - 1
    assert found.num_transitions == transitions
    # Action t earned what row t - 1 has; and back: row t has what action t + 1 earned.
    assert found.reward[0] == 0
    np.testing.assert_array_equal(found.reward[1:transitions], stored[: transitions - 1])
    kept = found.extras["stored_reward"]
    assert kept[:rows].tobytes() == np.array(stored, np.float32).tobytes()
    assert not np.any(kept[rows:])
    np.testing.assert_array_equal(kept[: transitions - 1], found.reward[1:transitions])
    assert found.metadata["episode_return"] == sum(stored[: transitions - 1])


def test_a_shard_that_tensorflow_wrote_is_read(tmp_path):
    tf = pytest.importorskip("tensorflow")
    path = tmp_path / "run_1-00007-of-00050"
    lists = {1: "bytes_list", 2: "float_list", 3: "int64_list"}
    examples = [episode(seed, 3 + seed) for seed in range(4)]
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for example in examples:
            theirs = tf.train.Example()
            for name, encoded in example.items():
                values = tf.train.Feature.FromString(encoded)
                getattr(theirs.features.feature[name], lists[encoded[0] >> 3]).CopyFrom(
                    getattr(values, lists[encoded[0] >> 3])
                )
            writer.write(theirs.SerializeToString())
    found = read(path)
    assert [each.metadata["episode_id"] for each in found] == [0, 1, 2, 3]
    assert {int(each.metadata["checkpoint_id"]) for each in found} == {7}
    for seed, each in enumerate(found):
        check_episode(each, SPEC)
        np.testing.assert_array_equal(each.observation[:-1], frames(seed, 3 + seed))


def test_a_truncated_episode_ends_in_a_frame_that_was_seen(tmp_path):
    path = write(tmp_path / "shard", [episode(1, 5, last_discount=1)])
    (found,) = read(path)
    check_episode(found, SPEC)
    assert found.num_transitions == 4
    assert not found.is_terminal.any()
    np.testing.assert_array_equal(found.observation, frames(1, 5))
    stored = np.random.default_rng(1).integers(-1, 2, 5)  # as `episode` draws them
    assert found.reward.tolist() == [0, *stored[:3], 0]
    assert found.extras["stored_reward"].tolist() == stored.tolist()


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"discounts": None}, "has no feature 'discounts', so it is not an episode"),
        ({"episode_idx": None}, "has no feature 'episode_id'"),
        ({"actions": wire.int64_list(np.arange(4))}, "5 observations, 4 actions, 5 rewards and 5"),
        ({"actions": wire.float_list(np.ones(5))}, "a list of float values where one of int64"),
        ({"discounts": wire.float_list(np.zeros(5))}, "a discount is not 1"),
        ({"discounts": wire.float_list(np.full(5, 0.99))}, "a discount is not 1"),
        ({"unclipped_rewards": wire.float_list(np.full(5, np.nan))}, "it has a reward of nan"),
        (
            {"unclipped_rewards": wire.float_list(np.full(5, 7.0))},
            "it has a reward of 7.0, and rew",
        ),
        ({"observations": wire.bytes_list([BROKEN_PNG] * 5)}, "frame 0 is truncated"),
        ({"observations": wire.bytes_list([OTHER_PNG] * 5)}, "frame 0 is not an 8-bit 84x84x1 PNG"),
        ({"observations": wire.bytes_list([b"GIF89a"] * 5)}, "frame 0 is not a PNG file"),
        ({"episode_idx": wire.int64_list(np.arange(2))}, "another number of values where one"),
    ],
)
def test_a_record_that_is_no_episode_is_named(tmp_path, changed, fault):
    path = write(tmp_path / "shard", [episode(0, 4), episode(1, 5, **changed)])
    with pytest.raises(DatasetError, match=f"{path}.*{fault}") as caught:
        read(path)
    assert "record 1 of " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_episode_of_one_truncated_row_has_no_transition(tmp_path):
    path = write(tmp_path / "shard", [episode(0, 1, last_discount=1)])
    with pytest.raises(DatasetError, match=r"record 0 .*at least one transition"):
        read(path)
    assert read(write(tmp_path / "shard", [episode(0, 1)]))[0].num_transitions == 1


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda content: content[: len(content) // 2], "ended before the end-of-stream"),
        (lambda content: content[:-4], "ended before the end-of-stream"),
        (lambda content: gzip.decompress(content), "was decompressed, and RL Unplugged"),
        (lambda content: b"<html>no such object</html>", "is damaged"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-5]), "a record is truncated"),
        (lambda content: gzip.compress(b"\xff" * 100), "checksum does not match"),
    ],
)
def test_a_file_that_is_cut_or_no_shard_is_named(tmp_path, spoil, fault):
    path = tmp_path / "shard"
    path.write_bytes(spoil(shard([episode(0, 4), episode(1, 5)])))
    with pytest.raises(DatasetError, match=f"{path} is damaged: .*{fault}|{path} {fault}"):
        read(path)


def test_a_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(DatasetError, match="absent cannot be read: No such file"):
        read(tmp_path / "absent")


def test_transitions_are_read_as_they_stand(tmp_path):
    path = write(tmp_path / "shard", [transition(seed) for seed in range(6)])
    found = list(rl_unplugged.read_transitions(path))
    assert len(found) == 6
    for seed, each in enumerate(found):
        check_transition(each, TransitionSpec(SPEC.observation, 4, SPEC.action))
        np.testing.assert_array_equal(each.observation, frames(seed, 5)[:4])
        np.testing.assert_array_equal(each.next_observation, frames(seed, 5)[1:])
        assert (each.action, each.next_action) == (seed % 9, (seed + 1) % 9)
        assert (each.reward, each.discount) == (seed % 3 - 1, seed % 4 > 0)
        assert (each.episode_id, each.episode_return) == (-(2**62) + seed, 0.5 * seed)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"o_t": None}, "has no feature 'o_t', so it is not a transition"),
        ({"o_t": wire.bytes_list([BROKEN_PNG] * 4)}, "frame 0 is truncated"),
        ({"o_tp1": wire.bytes_list([OTHER_PNG] * 4)}, "frame 0 is not an 8-bit 84x84x1 PNG"),
        ({"o_t": wire.bytes_list(encode_png(frames(0, 3)))}, "o_t has 3 frames, not 4"),
        ({"a_t": wire.int64_list(np.arange(2))}, "another number of values"),
        ({"r_t": wire.float_list(np.ones(2))}, "another number of values"),
        ({"r_t": wire.float_scalar(-3)}, "it has a reward of -3.0, and rewards of RL Unplugged"),
        ({"r_t": wire.int64_scalar(1)}, "a list of int64 values where one of float"),
    ],
)
def test_a_record_that_is_no_transition_is_named(tmp_path, changed, fault):
    path = write(tmp_path / "shard", [transition(0), transition(1, **changed)])
    with pytest.raises(DatasetError, match=f"{path}.*{fault}") as caught:
        list(rl_unplugged.read_transitions(path))
    assert "record 1 of " in str(caught.value)


def test_one_kind_of_shard_is_not_taken_for_the_other(tmp_path):
    episodes = write(tmp_path / "episodes", [episode(0, 4)])
    transitions = write(tmp_path / "transitions", [transition(0)])
    with pytest.raises(DatasetError, match="name a folder of atari_episodes_ordered"):
        read(transitions)
    with pytest.raises(DatasetError, match=r"name a folder of atari$"):
        list(rl_unplugged.read_transitions(episodes))


EXAMPLES = [episode(seed, 3 + seed) for seed in range(3)]
WHOLE = shard(EXAMPLES)
SERIALIZED = [wire.encode_example(example) for example in EXAMPLES]


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("fuzz") / "shard"


def mutated(draw, content: bytes) -> bytes:
    """The content after a cut, a few other bytes, a piece left out, or a piece twice."""
    at = draw(st.integers(0, len(content) - 1))
    kind = draw(st.sampled_from(["cut", "flip", "drop", "repeat"]))
    if kind == "cut":
        return content[:at]
    if kind == "flip":
        spoilt = bytearray(content)
        for place in draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
            spoilt[place] ^= draw(st.integers(1, 255))
        return bytes(spoilt)
    size = draw(st.integers(1, 40))
    middle = b"" if kind == "drop" else content[at : at + size] * 2
    return content[:at] + middle + content[at + size :]


def contents(episodes) -> list[bytes]:
    return [
        b"".join(e.observation.pngs) + e.action.tobytes() + e.reward.tobytes() for e in episodes
    ]


@settings(max_examples=600)
@given(st.data())
def test_a_mutated_file_is_refused_by_name_or_read_right(path, data):
    path.write_bytes(WHOLE)
    expected = contents(read(path))
    spoilt = mutated(data.draw, WHOLE)
    path.write_bytes(spoilt)
    try:
        found = contents(read(path))
    except DatasetError as error:
        assert str(path) in str(error)  # noqa: PT017
        return
    # Gzip does not protect its own header; and an empty file holds no record, which publishing
    # refuses.
    assert found == expected or not spoilt


@settings(max_examples=600)
@given(st.data())
def test_a_mutated_record_is_refused_by_name_or_is_an_episode(path, data):
    """Its checksums agree, as if it had been written so."""
    at = data.draw(st.integers(0, 2))
    spoilt = [mutated(data.draw, each) if i == at else each for i, each in enumerate(SERIALIZED)]
    path.write_bytes(compress(spoilt))
    try:
        found = read(path)
        for each in found:
            check_episode(each, SPEC)
        assert len(found) == 3
        path.write_bytes(WHOLE)
        kept = [i for i in range(3) if i != at]
        assert contents(found[i] for i in kept) == contents(read(path)[i] for i in kept)
    except DatasetError as error:
        assert re.search(f"{path}: record {at} of |record {at} of {path}", str(error))  # noqa: PT017
    except EpisodeError as error:
        assert "every action must lie within the bounds" in str(error)  # noqa: PT017


@settings(max_examples=150)
@given(st.data())
def test_a_mutated_transition_is_refused_by_name_or_is_a_transition(path, data):
    spec = TransitionSpec(SPEC.observation, 4, SPEC.action)
    whole = wire.encode_example(transition(1))
    path.write_bytes(compress([whole, mutated(data.draw, whole)]))
    try:
        found = list(rl_unplugged.read_transitions(path))
        assert len(found) == 2
        for each in found:
            check_transition(each, spec)
    except DatasetError as error:
        assert re.search(f"{path}: record 1 of |record 1 of {path}", str(error))  # noqa: PT017
    except EpisodeError as error:
        assert "must" in str(error)  # noqa: PT017


@pytest.mark.parametrize("source", ["", "atari_episodes_ordered", "atari_episodes_ordered/Pong"])
def test_shards_are_found_in_a_copy_of_the_bucket_or_of_a_part_of_it(tmp_path, source):
    folder = tmp_path / "atari_episodes_ordered" / "Pong"
    folder.mkdir(parents=True)
    for name in ("run_2-00003-of-00005", "run_2-00000-of-00005", "run_1-00000-of-00009", "notes"):
        (folder / name).touch()
    found = rl_unplugged.find_shards(tmp_path / source, "Pong", 2)
    assert found == [folder / f"run_2-{index:05d}-of-00005" for index in range(5)]


@pytest.mark.parametrize("folder", ["", "/atari_episodes_ordered/", "/atari_episodes_ordered/Pong"])
def test_shards_are_found_in_a_bucket(tmp_path, monkeypatch, folder):
    shards = tmp_path / "atari_episodes_ordered" / "Pong"
    shards.mkdir(parents=True)
    for name in ("run_2-00003-of-00004", "run_2-00000-of-00004", "run_1-00000-of-00009", "run_2-"):
        (shards / name).write_text(name)
    with serving(mirror=tmp_path) as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        found = rl_unplugged.find_shards(f"gs://mirror{folder}", "Pong", 2)
        for game, run in (("Pong", 3), ("Breakout", 2)):
            with pytest.raises(
                DatasetError, match=f"gs://mirror.* no shard of run {run} of {game}"
            ):
                rl_unplugged.find_shards(f"gs://mirror{folder}", game, run)
    names = [f"gs://mirror/atari_episodes_ordered/Pong/run_2-{i:05d}-of-00004" for i in range(4)]
    assert [each.name for each in found] == names
    assert [each.generation is not None for each in found] == [True, False, False, True]
    with pytest.raises(DatasetError, match="names no bucket"):
        rl_unplugged.find_shards("gs://", "Pong", 2)


def test_shards_that_are_not_there_are_told_with_what_to_do(tmp_path):
    with pytest.raises(
        DatasetError,
        match=f"{tmp_path} has no shard of run 2 of Pong, such as Pong/run_2-00000-of-00050; name "
        "gs://rl_unplugged, or copy them there from "
        "gs://rl_unplugged/atari_episodes_ordered/Pong/run_2-.*dqn_replay",
    ):
        rl_unplugged.find_shards(tmp_path, "Pong", 2)
    with pytest.raises(
        DatasetError, match="s3://bucket cannot be read: name a folder, or a bucket"
    ):
        rl_unplugged.find_shards("s3://bucket", "Pong", 2)
    (tmp_path / "Pong").mkdir()
    for name in ("run_2-00003-of-00005", "run_2-00000-of-00050"):
        (tmp_path / "Pong" / name).touch()
    with pytest.raises(DatasetError, match="has no shard of run 2 of Breakout"):
        rl_unplugged.find_shards(tmp_path / "Pong", "Breakout", 2)
    with pytest.raises(DatasetError, match="one split into 5 and the other into 50"):
        rl_unplugged.find_shards(tmp_path, "Pong", 2)


def test_the_games_are_those_of_tfds():
    utils = pytest.importorskip("tensorflow_datasets.rl_unplugged.atari_utils")
    assert set(rl_unplugged.GAMES) == {config.game for config in utils.builder_configs()}
    assert len(rl_unplugged.GAMES) == 46
