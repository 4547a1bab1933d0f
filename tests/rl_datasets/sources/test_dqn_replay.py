"""The reader of DQN Replay's logs, against logs of Dopamine's own buffer."""

import itertools
import subprocess
import sys
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from isal import igzip

from rl_datasets import errors
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.sources import dqn_replay
from tests.rl_datasets.sources.dqn_replay_logs import (
    CAPACITY,
    action_of,
    frame_of,
    load,
    numbers_of,
    read_npz,
    read_rows,
    reward_of,
    rewrite,
    save,
    steps_of,
    stored_numbers,
    write_log,
)


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
        # Steps 1-34 in rows 3-36, step 35 in row 40, after the last place.
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

    def test_a_missing_checkpoint_cuts_the_episode_before_and_hides_the_one_after(self, tmp_path):
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
