"""The reader and the writer of DQN Replay logs, against logs of Dopamine's own buffer."""

import gzip
import io
import itertools
import pickle
import shutil
import subprocess
import sys
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from isal import igzip

from rl_datasets import errors, files
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.episode_check import check_episode
from rl_datasets.sources import atari, dqn_replay

SPEC = atari.atari_episode_spec(6)
CAPACITY = 40


def frame_of(number):
    """A frame that bears its step's number, as those of the logs in `shared` do."""
    frame = np.zeros((84, 84), np.uint8)
    frame[0, :4] = np.array([number], "<i4").view(np.uint8)
    return frame


def numbers_of(observation):
    return np.asarray(observation)[:, 0, :4, 0].copy().view("<i4")[:, 0]


def stored_numbers(folder, checkpoint):
    return numbers_of(
        load(folder / f"$store$_observation_ckpt.{checkpoint}.gz")[..., None]
    ).tolist()


def action_of(number):
    return number % 6


def reward_of(number):
    return number % 3 - 1


def write_log(folder, lengths, capacity=CAPACITY, is_last_whole=True):
    """Episodes of so many rows, whose steps are numbered from 1; the last may be cut."""
    number = 0
    with pytest.MonkeyPatch.context() as patch, ReplayLog(folder, capacity) as log:
        patch.setattr(files, "sync", lambda path: None)  # Waiting for the disk takes most time.
        for index, length in enumerate(lengths):
            for row in range(length):
                number += 1
                is_end = row == length - 1 and (is_last_whole or index < len(lengths) - 1)
                log.add(frame_of(number), action_of(number), reward_of(number), is_end)
    return log


def read_rows(run):
    """Of every episode: numbers of its rows that are kept with their actions, and is_terminal."""
    read = []
    for unit in run.units:
        episodes = list(dqn_replay.read_episodes(unit))
        assert len(episodes) == len(unit.spans)
        assert sum(each.num_transitions for each in episodes) == unit.num_transitions
        for index, each in enumerate(episodes):
            check_episode(each, SPEC)
            assert (each.metadata["checkpoint_id"], each.metadata["episode_id"]) == (
                unit.number,
                index,
            )
            numbers = numbers_of(each.observation)
            acted = numbers[:-1]
            np.testing.assert_array_equal(each.action[:-1], action_of(acted))
            np.testing.assert_array_equal(each.reward[:-1], reward_of(acted))
            terminal = bool(each.is_terminal[-1])
            assert numbers[-1] == (0 if terminal else acted[-1] + 1)
            assert np.count_nonzero(each.observation) <= 4 * len(numbers)
            read.append((acted.tolist(), terminal))
    return read


def steps_of(lengths):
    ends = list(itertools.accumulate(lengths))
    return [list(range(e - n + 1, e + 1)) for e, n in zip(ends, lengths, strict=True)]


def read_npz(path):
    with np.load(path) as arrays:
        return dict(arrays)


def rewrite(path, change):
    """Changes the array of a file of a checkpoint."""
    array = load(path)
    save(path, change(array))


def save(path, array, **options):
    content = io.BytesIO()
    np.save(content, array, **options)
    path.write_bytes(gzip.compress(content.getvalue(), 1))


def load(path):
    with gzip.open(path) as file:
        return np.load(file, allow_pickle=False)


class TestDopaminesOwnLogs:
    """Six checkpoints that batch_rl's `LoggedReplayBuffer` wrote, and what its agent saw."""

    @pytest.fixture
    def log(self, shared):
        return shared / "dopamine_logs" / "Pong_plain" / "1" / "replay_logs"

    @pytest.fixture
    def truth(self, shared):
        return read_npz(shared / "dopamine_logs" / "Pong_plain" / "truth.npz")

    @pytest.fixture
    def frames(self, log):
        """Every frame by the number that it bears, wherever it lies."""
        stored = [load(path)[:-1] for path in log.glob("*observation*")]
        last = [load(path)[-1:] for path in log.glob("*observation*") if ".0.gz" not in path.name]
        rows = np.concatenate(stored + last)
        return dict(zip(numbers_of(rows[..., None]).tolist(), rows, strict=True))

    def test_reading_gives_every_step_once_in_its_episode(self, log, truth, frames):
        run = dqn_replay.read_run(log)
        episodes = [each for unit in run.units for each in dqn_replay.read_episodes(unit)]
        assert not run.faults
        assert [each.num_transitions for each in episodes] == truth["lengths"].tolist()
        for each, start in zip(episodes, truth["starts"], strict=True):
            numbers = numbers_of(each.observation)
            acted = slice(start - 1, start - 1 + each.num_transitions)
            assert numbers.tolist() == [*range(start, start + each.num_transitions), 0]
            np.testing.assert_array_equal(each.action[:-1], truth["actions"][acted])
            np.testing.assert_array_equal(each.reward[:-1], truth["rewards"][acted])
            assert each.is_terminal[-1]
            for number, frame in zip(numbers[:-1], each.observation, strict=False):
                np.testing.assert_array_equal(frame[..., 0], frames[number])

    def test_the_writer_writes_the_same_arrays(self, log, truth, frames, tmp_path):
        ends = set(truth["starts"] + truth["lengths"] - 1)
        with ReplayLog(tmp_path, capacity=int(truth["capacity"])) as ours:
            for number, action, reward in zip(
                itertools.count(1), truth["actions"], truth["rewards"], strict=False
            ):
                ours.add(frames[number], action, reward, number in ends)
        assert ours.add_count == truth["total_adds"]
        theirs = {path.name for path in log.iterdir() if "episode_end_indices" not in path.name}
        assert {path.name for path in tmp_path.iterdir()} == theirs
        for name in theirs:
            expected, written = load(log / name), load(tmp_path / name)
            assert (written.dtype, written.shape) == (expected.dtype, expected.shape)
            if name.startswith("$store$") and name.endswith("_ckpt.0.gz"):
                expected, written = expected[:-1], written[:-1]  # Its last row is uninitialised.
            np.testing.assert_array_equal(written, expected, err_msg=name)


def expected_rows(lengths, capacity, is_last_whole=True):
    """What a right reader gives back, told from which rows the buffer held when it was saved.

    Gives the episodes as `read_rows` does, and whether the reader can tell at all that rows before
    the final checkpoint are lost: only its stale rows say so, and they may agree by chance, or the
    first rows of a run of no other checkpoint, and they may look like padding by chance.
    """
    rows, saves, starts = [], [], []
    for steps in steps_of(lengths):
        rows += [0, 0, 0]
        starts.append(len(rows))
        for step in steps:
            rows.append(step)
            if len(rows) % capacity == capacity - 1:
                saves.append(len(rows))
    final = len(rows) // capacity * capacity - 1
    held = {row for save in saves for row in range(max(0, save - capacity), save)}
    held |= set(range(max(0, final), len(rows)))
    stale = slice(len(rows) % capacity, capacity - 1)
    if saves:
        is_told = saves[-1] >= final or rows_differ(rows, saves[-1], capacity, stale)
    else:
        is_told = len(rows) < capacity or any(rows[final + 1 : final + 4])
    episodes, previous_end = [], -1
    for index, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        is_begun = all(row in held for row in range(max(0, previous_end), start + 1))
        # A step in the place before a boundary that was jumped over is no padding.
        is_begun |= start % capacity == capacity - 1 and start in held
        previous_end = start + length - 1
        kept = list(itertools.takewhile(held.__contains__, range(start, start + length)))
        is_whole = len(kept) == length and (is_last_whole or index < len(lengths) - 1)
        numbers = [rows[row] for row in kept[: None if is_whole else -1]]
        if is_begun and numbers:
            episodes.append((numbers, is_whole))
    return episodes, is_told


def rows_differ(rows, save, capacity, places):
    """Whether the buffer at its last row and at `save` differ in these places."""
    buffers = []
    for count in (save, len(rows)):
        buffer = [0] * capacity
        for row in range(max(0, count - capacity), count):
            buffer[row % capacity] = rows[row]
        buffers.append([(action_of(n), reward_of(n)) if n else (0, 0) for n in buffer[places]])
    return buffers[0] != buffers[1]


class TestBoundaries:
    """The places where a checkpoint ends, at a capacity of 40 rows."""

    def test_the_last_row_of_the_first_checkpoint_is_not_read(self, tmp_path):
        write_log(tmp_path, [30, 20])
        path = tmp_path / "$store$_observation_ckpt.0.gz"
        rewrite(path, lambda array: np.concatenate([array[:-1], np.full_like(array[:1], 255)]))
        assert read_rows(dqn_replay.read_run(tmp_path)) == [
            (list(range(1, 31)), True),
            (list(range(31, 51)), True),
        ]

    def test_the_last_row_of_a_later_checkpoint_comes_before_its_first(self, tmp_path):
        # Padding 0-2, steps 1-30 in rows 3-32, padding 33-35, steps 31-50 in rows 36-55. Row 39,
        # which is step 34, is at place 39 of checkpoint 1.
        write_log(tmp_path, [30, 20])
        assert stored_numbers(tmp_path, 0)[36:39] == [31, 32, 33]
        assert stored_numbers(tmp_path, 1)[39:] + stored_numbers(tmp_path, 1)[:2] == [34, 35, 36]
        run = dqn_replay.read_run(tmp_path)
        assert [(unit.number, len(unit.spans)) for unit in run.units] == [(0, 2)]
        assert read_rows(run)[1] == (list(range(31, 51)), True)

    def test_the_stale_rows_of_the_final_checkpoint_are_left_out(self, tmp_path):
        write_log(tmp_path, [30, 20])
        run = dqn_replay.read_run(tmp_path)
        assert load(tmp_path / "add_count_ckpt.1.gz") == 16
        # Rows 16 to 38; row 39 is new.
        assert run.repaired == ("23 stale rows of the final checkpoint are left out",)

    def test_a_final_checkpoint_that_says_the_same_twice_adds_nothing(self, tmp_path):
        write_log(tmp_path, [36], is_last_whole=False)  # 39 rows: saved full, then once more.
        assert load(tmp_path / "add_count_ckpt.1.gz") == 39
        run = dqn_replay.read_run(tmp_path)
        assert [unit.number for unit in run.units] == [0]
        assert read_rows(run) == [(list(range(1, 36)), False)]

    def test_a_final_checkpoint_with_the_cursor_at_its_front_adds_one_row(self, tmp_path):
        write_log(tmp_path, [37])  # 40 rows
        assert load(tmp_path / "add_count_ckpt.1.gz") == 0
        assert read_rows(dqn_replay.read_run(tmp_path)) == [(list(range(1, 38)), True)]

    def test_a_run_shorter_than_a_checkpoint_is_a_final_checkpoint_alone(self, tmp_path):
        write_log(tmp_path, [5, 2, 4], is_last_whole=False)
        run = dqn_replay.read_run(tmp_path)
        assert read_rows(run) == [([1, 2, 3, 4, 5], True), ([6, 7], True), ([8, 9, 10], False)]
        assert not run.faults
        assert [sentence.split(" are ")[0] for sentence in run.repaired] == [
            "1 episodes",
            "1 truncated episodes lose the action and the reward of their last row",
        ]

    def test_a_checkpoint_that_was_jumped_over_is_a_gap(self, tmp_path):
        # Rows: 3-36 are steps 1-34, 40-74 steps 35-69, 78-92 steps 70-84: the first boundary, at
        # 39 rows, falls between 37 and 41, and the second, at 79 rows, between 75 and 79.
        write_log(tmp_path, [34, 35, 15])
        assert load(tmp_path / "add_count_ckpt.0.gz") == 79
        run = dqn_replay.read_run(tmp_path)
        assert read_rows(run) == [(list(range(70, 85)), True)]
        assert "its first 36 rows" in run.repaired[0]
        assert "an episode begins at one of the first three of them" in run.repaired[0]

    def test_a_run_that_jumped_over_its_only_full_checkpoint_does_not_begin_there(self, tmp_path):
        # Steps 1-34 in rows 3-36, step 35 in row 40, behind the last place.
        write_log(tmp_path, [34, 5, 5])
        assert load(tmp_path / "add_count_ckpt.0.gz") == 13
        run = dqn_replay.read_run(tmp_path)
        assert read_rows(run) == [(list(range(40, 45)), True)]
        assert "its first 6 rows" in run.repaired[0]

    def test_an_episode_that_begins_with_the_first_row_after_a_jump_is_kept(self, tmp_path):
        # Steps 1-33 in rows 3-35, step 34 in row 39, which is the last place.
        write_log(tmp_path, [33, 5, 5])
        assert load(tmp_path / "add_count_ckpt.0.gz") == 12
        run = dqn_replay.read_run(tmp_path)
        assert read_rows(run) == [(list(range(34, 39)), True), (list(range(39, 44)), True)]
        assert run.repaired[0] == (
            "the rows before checkpoint 0 are not in the log, which skipped a checkpoint there; an "
            "episode begins after"
        )

    @pytest.mark.parametrize(
        ("frame", "action", "reward", "is_known"),
        [(0, 0, 0, False), (7, 0, 0, True), (0, 3, 0, True), (0, 0, -1, True)],
    )
    def test_a_first_row_of_zeros_may_be_padding(self, tmp_path, frame, action, reward, is_known):
        """Three steps that begin in the last place before a jump, after a first checkpoint."""
        with ReplayLog(tmp_path, CAPACITY) as log:
            for row in range(36):  # rows 3-38
                log.add(frame_of(1), 1, 1, row == 35)
            for row in range(34):  # rows 42-75, so that the next begins in row 79
                log.add(frame_of(2), 2, 1, row == 33)
            log.add(frame_of(frame), action, reward, False)
            log.add(frame_of(8), 1, 1, False)
            log.add(frame_of(9), 2, 0, True)
        run = dqn_replay.read_run(tmp_path)
        *_, last = (each for unit in run.units for each in dqn_replay.read_episodes(unit))
        if is_known:
            assert numbers_of(last.observation).tolist() == [frame, 8, 9, 0]
            assert last.action.tolist() == [action, 1, 2, 0]
            assert last.reward.tolist() == [reward, 1, 0, 0]
        else:
            assert len(last.action) == 37
            assert "its first 3 rows" in run.repaired[0]

    def test_a_gap_before_the_final_checkpoint_shows_in_its_stale_rows(self, tmp_path):
        # Steps 1-36 in rows 3-38, saved; 37-72 in rows 42-77, 73-77 in rows 81-85: jumped over 79.
        write_log(tmp_path, [36, 36, 5, 6])
        steps = steps_of([36, 36, 5, 6])
        run = dqn_replay.read_run(tmp_path)
        assert read_rows(run) == [(steps[0], True), (steps[3], True)]
        assert "the rows before checkpoint 1 are not in the log" in run.repaired[0]
        assert "its first 7 rows" in run.repaired[0]
        assert "an episode begins at one of the first three of them" in run.repaired[0]

    def test_a_missing_checkpoint_cuts_the_episode_before_and_hides_the_one_behind(self, tmp_path):
        lengths = [30, 30, 30, 30, 30, 30]
        write_log(tmp_path, lengths)
        for path in tmp_path.glob("*_ckpt.2.gz"):
            path.unlink()
        # Checkpoint 1 ends with row 78, checkpoint 3 begins with row 119. Episodes begin at rows
        # 3, 36, 69, 102, 135 and 168.
        steps = steps_of(lengths)
        run = dqn_replay.read_run(tmp_path)
        assert read_rows(run) == [
            (steps[0], True),
            (steps[1], True),
            (steps[2][:9], False),
            (steps[4], True),
            (steps[5], True),
        ]
        assert "before checkpoint 3" in run.repaired[0]
        assert "its first 13 rows" in run.repaired[0]
        assert "an episode begins" not in run.repaired[0]  # Files are missing; nothing was skipped.

    def test_an_episode_longer_than_a_checkpoint_belongs_where_it_begins(self, tmp_path):
        write_log(tmp_path, [20, 110, 7])
        run = dqn_replay.read_run(tmp_path)
        assert [unit.number for unit in run.units] == [0, 3]
        assert [each.number for each in run.units[0].checkpoints] == [0, 1, 2, 3]
        assert read_rows(run) == [(each, True) for each in steps_of([20, 110, 7])]

    def test_a_time_limit_is_no_terminal(self, tmp_path):
        write_log(tmp_path, [6, 7, 5, 7])
        steps = steps_of([6, 7, 5, 7])
        run = dqn_replay.read_run(tmp_path, time_limit=7)
        assert read_rows(run) == [
            (steps[0], True),
            (steps[1][:-1], False),
            (steps[2], True),
            (steps[3][:-1], False),
        ]
        assert "2 episodes of exactly 7 rows" in run.repaired[0]

    def test_no_episode_may_be_longer_than_the_time_limit(self, tmp_path):
        write_log(tmp_path, [6, 8])
        with pytest.raises(errors.DatasetError, match="has 8 rows, but the time limit is 7"):
            dqn_replay.read_run(tmp_path, time_limit=7)

    @hypothesis.given(
        st.lists(st.integers(1, 4) | st.integers(1, 90), min_size=1, max_size=12),
        st.integers(8, 50),
        st.booleans(),
    )
    @hypothesis.settings(max_examples=100)
    def test_every_step_that_was_saved_comes_back_once(self, lengths, capacity, is_last_whole):
        expected, is_told = expected_rows(lengths, capacity, is_last_whole)
        hypothesis.assume(is_told)
        with tempfile.TemporaryDirectory() as folder:
            write_log(folder, lengths, capacity, is_last_whole)
            run = dqn_replay.read_run(folder)
            assert not run.faults
            assert read_rows(run) == expected


class TestReplayLog:
    def test_the_buffer_is_there_to_sample_from(self, tmp_path):
        log = write_log(tmp_path, [2, 3], capacity=100)
        assert log.add_count == 11
        assert numbers_of(log.store["observation"][:11, ..., None]).tolist() == [
            *(0, 0, 0, 1, 2),
            *(0, 0, 0, 3, 4, 5),
        ]
        assert log.store["terminal"][:11].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1]
        assert log.store["action"][:11].tolist() == [0, 0, 0, 1, 2, 0, 0, 0, 3, 4, 5]

    def test_other_frames_and_stacks(self, tmp_path):
        log = ReplayLog(tmp_path, 10, stack_size=2, frame_shape=(3, 5))
        log.add(np.ones((3, 5), np.uint8), 1, 1.0, False)
        log.close()
        assert load(tmp_path / "$store$_observation_ckpt.0.gz").shape == (10, 3, 5)
        assert load(tmp_path / "invalid_range_ckpt.0.gz").tolist() == [1, 2, 3]

    def test_the_same_rows_give_the_same_bytes(self, tmp_path):
        for name in "ab":
            write_log(tmp_path / name, [30, 30])
        for path in (tmp_path / "a").iterdir():
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()

    def test_an_exception_saves_no_final_checkpoint(self, tmp_path):
        log = ReplayLog(tmp_path, CAPACITY)
        with pytest.raises(ValueError, match="broadcast"), log:
            log.add(np.zeros((7, 7), np.uint8), 1, 0.0, False)
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_with_checkpoints_is_left_alone(self, tmp_path):
        write_log(tmp_path, [3])
        with pytest.raises(errors.DatasetError, match="is there already"):
            ReplayLog(tmp_path)

    def test_what_cannot_be_written_is_named(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(errors.DatasetError, match=r"cannot write into .*file"):
            ReplayLog(tmp_path / "file" / "replay_logs", CAPACITY)
        with ReplayLog(tmp_path / "log", CAPACITY) as log:
            shutil.rmtree(tmp_path / "log")
            with pytest.raises(errors.DatasetError, match=r"cannot write .*observation_ckpt\.0"):
                log.close()
            (tmp_path / "log").mkdir()

    def test_a_buffer_has_room_for_a_stack(self, tmp_path):
        with pytest.raises(ValueError, match="capacity must be at least 5"):
            ReplayLog(tmp_path, 4)


class Bomb:
    """What a reader that unpickles it would notice."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was opened",)


class TestBadInput:
    """Files that are not what they should be; each is named."""

    # Checkpoints 0 to 3; episodes 0 to 4 begin in 0, 0, 1, 2 and 2.
    LENGTHS = (20, 30, 30, 15, 25)

    @pytest.fixture
    def folder(self, tmp_path):
        write_log(tmp_path, self.LENGTHS)
        return tmp_path

    def fault(self, folder, number):
        """The one fault that is told; what is read beside it is right."""
        run = dqn_replay.read_run(folder)
        assert list(run.faults) == [number]
        whole = steps_of(self.LENGTHS)
        read = read_rows(run)
        assert read
        for numbers, is_terminal in read:
            of = next(steps for steps in whole if steps[0] == numbers[0])
            assert numbers == of if is_terminal else numbers == of[: len(numbers)]
        return run.faults[number]

    @pytest.mark.parametrize(
        "member",
        [
            *("$store$_observation", "$store$_action", "$store$_reward", "$store$_terminal"),
            *("add_count", "invalid_range"),
        ],
    )
    def test_a_missing_member(self, folder, member):
        path = folder / f"{member}_ckpt.1.gz"
        path.unlink()
        assert self.fault(folder, 1) == (
            f"{path} cannot be read (No such file or directory): copy it again, or leave its "
            "checkpoint out"
        )

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((CAPACITY, 84, 83), np.uint8),
            np.zeros((CAPACITY, 84, 84), np.float32),
            np.zeros((CAPACITY, 84, 84, 1), np.uint8),
            np.asfortranarray(np.ones((CAPACITY, 84, 84), np.uint8)),
            np.zeros((), np.uint8),
        ],
        ids=lambda array: f"{array.dtype}-{array.ndim}",
    )
    def test_frames_of_another_kind(self, folder, array):
        path = folder / "$store$_observation_ckpt.1.gz"
        save(path, array)
        assert self.fault(folder, 1).startswith(f"{path} holds {array.dtype} of shape")

    @pytest.mark.parametrize("dtype", [np.int64, ">i4", np.float32])
    def test_actions_of_another_dtype(self, folder, dtype):
        path = folder / "$store$_action_ckpt.1.gz"
        rewrite(path, lambda array: array.astype(dtype))
        assert self.fault(folder, 1).startswith(f"{path} holds {np.dtype(dtype)} of shape (40,)")

    @pytest.mark.parametrize("reward", [5, -1.5, np.nan, np.inf])
    def test_a_reward_that_is_not_clipped(self, folder, reward):
        path = folder / "$store$_reward_ckpt.1.gz"
        rewrite(path, lambda array: np.where(np.arange(CAPACITY) == 20, reward, array))
        rewrite(path, lambda array: array.astype(np.float32))
        says = f"{path} holds a reward of {reward:.1f}, and rewards of a Dopamine log are clipped"
        assert self.fault(folder, 1).startswith(says)

    def test_pickled_objects_are_not_opened(self, folder):
        path = folder / "$store$_action_ckpt.1.gz"
        save(path, np.array([Bomb()] * CAPACITY), allow_pickle=True)
        (folder / "episode_end_indices_ckpt.1.gz").write_bytes(gzip.compress(pickle.dumps(Bomb())))
        assert self.fault(folder, 1).startswith(f"{path} holds object of shape (40,)")

    def test_checkpoints_of_runs_of_different_sizes(self, folder, tmp_path_factory):
        other = tmp_path_factory.mktemp("other")
        write_log(other, self.LENGTHS, capacity=30)
        for path in other.glob("*_ckpt.1.gz"):
            shutil.copy(path, folder / path.name)
        path = folder / "$store$_observation_ckpt.1.gz"
        assert self.fault(folder, 1).startswith(
            f"{path} has 30 rows, and that of checkpoint 0 has 40"
        )

    @pytest.mark.parametrize("add_count", [0, 5, 39, 78, 80, -1, 2**62])
    def test_a_checkpoint_of_another_place(self, folder, add_count):
        path = folder / "add_count_ckpt.1.gz"
        save(path, np.array(add_count, np.int64))
        assert self.fault(folder, 1).startswith(f"{path} says {add_count}, which cannot be in")

    def test_a_terminal_row_without_padding(self, folder):
        path = folder / "$store$_terminal_ckpt.1.gz"
        rewrite(path, lambda array: np.where(np.arange(CAPACITY) == 10, 1, array).astype(np.uint8))
        assert self.fault(folder, 1).startswith(f"{path} has a terminal row without 3 rows of zero")

    def test_a_terminal_flag_that_is_none(self, folder):
        path = folder / "$store$_terminal_ckpt.1.gz"
        rewrite(path, lambda array: 2 * array)
        assert self.fault(folder, 1).startswith(f"{path} holds values other than 0 and 1")

    @pytest.mark.parametrize("kept", [0, 5, 30, 60])
    def test_small_arrays_that_are_cut(self, folder, kept):
        path = folder / "$store$_action_ckpt.1.gz"
        path.write_bytes(path.read_bytes()[:kept])
        assert str(path) in self.fault(folder, 1)

    def test_frames_that_are_cut(self, folder):
        path = folder / "$store$_observation_ckpt.1.gz"
        path.write_bytes(path.read_bytes()[:-8])
        run = dqn_replay.read_run(folder)
        assert not run.faults
        # The last episode that begins in checkpoint 0 runs on into checkpoint 1.
        for unit in run.units[:2]:
            with pytest.raises(errors.DatasetError) as raised:
                list(dqn_replay.read_episodes(unit))
            assert str(raised.value).startswith(f"{path} is truncated or damaged")
        assert list(dqn_replay.read_episodes(run.units[2]))

    @pytest.mark.parametrize("more", [b"\0" * 7056, b"\1"])
    def test_more_frames_than_the_header_says(self, folder, more):
        path = folder / "$store$_observation_ckpt.1.gz"
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + more))
        run = dqn_replay.read_run(folder)
        with pytest.raises(errors.DatasetError, match="holds more than its header says") as raised:
            list(dqn_replay.read_episodes(run.units[1]))
        assert str(raised.value).startswith(str(path))

    def test_a_folder_that_is_not_there_or_empty(self, tmp_path):
        with pytest.raises(errors.DatasetError, match=r"No such file .* log a run of your own"):
            dqn_replay.read_run(tmp_path / "nothing")
        with pytest.raises(errors.DatasetError, match=r"holds no file such as \$store\$_observ"):
            dqn_replay.read_run(tmp_path)

    def test_files_that_are_no_checkpoints_do_not_matter(self, folder):
        (folder / "notes_ckpt.1.gz").write_text("hello")
        (folder / "add_count_ckpt.01.gz").write_text("hello")
        (folder / "add_count_ckpt.9.gz.part").write_text("hello")
        assert not dqn_replay.read_run(folder).faults


class TestFuzz:
    """Mutated files: a right result, or an error that names the file; nothing between."""

    LENGTHS = (4, 6, 5, 3, 6, 1)
    CAPACITY = 12

    @pytest.fixture(scope="class")
    def original(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("log")
        write_log(folder, self.LENGTHS, self.CAPACITY)
        rows = read_rows(dqn_replay.read_run(folder))
        contents = {path: path.read_bytes() for path in sorted(folder.iterdir())}
        assert len(contents) == 24
        return folder, contents, rows

    def read_mutated(self, original, path, content):
        """The fault that is told, or None where all is read and right."""
        folder, contents, rows = original
        path.write_bytes(content)
        try:
            run = dqn_replay.read_run(folder)
            found = read_rows(run)
        except errors.DatasetError as error:
            return str(error)
        finally:
            path.write_bytes(contents[path])
        if not run.faults:
            assert found == rows
            return None
        (fault,) = run.faults.values()
        for numbers, is_terminal in found:
            whole = next(each for each, _ in rows if each[0] == numbers[0])
            assert numbers == whole if is_terminal else numbers == whole[: len(numbers)]
        return fault

    @hypothesis.given(data=st.data())
    @hypothesis.settings(max_examples=350)
    def test_bytes_of_a_file(self, original, data):
        path = data.draw(st.sampled_from(list(original[1])))
        content = bytearray(original[1][path])
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(content) - 1))
            kind = data.draw(st.sampled_from(["flip", "cut", "insert", "remove", "repeat"]))
            if kind == "flip":
                content[place] ^= data.draw(st.integers(1, 255))
            elif kind == "cut":
                del content[max(place, 1) :]
            elif kind == "insert":
                content[place:place] = data.draw(st.binary(min_size=1, max_size=20))
            elif kind == "remove" and len(content) > 1:
                del content[place]
            else:
                content += content[place:]
        fault = self.read_mutated(original, path, bytes(content))
        assert fault is None or path.name in fault

    @hypothesis.given(data=st.data())
    @hypothesis.settings(max_examples=300)
    def test_the_header_of_an_array(self, original, data):
        path = data.draw(st.sampled_from(list(original[1])))
        plain = bytearray(gzip.decompress(original[1][path]))
        for _ in range(data.draw(st.integers(1, 4))):
            place = data.draw(st.integers(0, 127))
            plain[place] = data.draw(st.integers(0, 255) | st.sampled_from(b"0123456789(),'{}<>O"))
        fault = self.read_mutated(original, path, gzip.compress(bytes(plain), 1))
        assert fault is None or str(original[0]) in fault

    @hypothesis.given(data=st.data())
    @hypothesis.settings(max_examples=100)
    def test_a_file_in_the_place_of_another(self, original, data):
        path, other = (data.draw(st.sampled_from(list(original[1]))) for _ in range(2))
        hypothesis.assume(path.name.split("_ckpt")[0] != other.name.split("_ckpt")[0])
        fault = self.read_mutated(original, path, original[1][other])
        assert fault is not None
        assert path.name in fault


def test_memory_holds_a_few_frames_and_not_a_checkpoint(tmp_path):
    """706 MB of frames, two episodes of them 27,000 rows long, which alone are 191 MB each.

    A checkpoint of 1,000,000 rows needs no more than this one but for its small arrays and the
    numbers of its rows, a few dozen bytes a row.
    """
    rows = 100_000
    ends = np.array([*range(999, 40_000, 1_000), 67_002, 94_005, rows - 2])
    terminal = np.zeros(rows, np.uint8)
    terminal[ends] = 1
    small = {
        "$store$_action": np.zeros(rows, np.int32),
        "$store$_reward": np.zeros(rows, np.float32),
        "$store$_terminal": terminal,
        "add_count": np.array(rows - 1),
        "invalid_range": (np.arange(5) + rows - 2) % rows,
    }
    for member, array in small.items():
        save(tmp_path / f"{member}_ckpt.0.gz", array)
    with igzip.open(tmp_path / "$store$_observation_ckpt.0.gz", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (rows, 84, 84)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(rows // 1_000):
            file.write(bytes(1_000 * 84 * 84))
    script = (
        "import pathlib, sys\n"
        "from rl_datasets.sources import dqn_replay\n"
        "(unit,) = dqn_replay.read_run(sys.argv[1]).units\n"
        "lengths = [each.num_transitions for each in dqn_replay.read_episodes(unit)]\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(len(lengths), max(lengths), status.split('VmHWM:')[1].split()[0])\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    episodes, longest, peak = map(int, done.stdout.split())
    assert (episodes, longest) == (43, 26_999)
    assert peak * 1024 < 150e6
