"""The replay buffer beside a checkpoint of Dopamine's agent, from its oldest row on."""

import gzip
import pathlib
import pickle
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from rl_datasets import errors
from rl_datasets.sources import dqn_replay
from tests.rl_datasets.sources import dopamine_files
from tests.rl_datasets.sources.dopamine_files import NUMBER, episodes_left, write_buffer
from tests.rl_datasets.sources.dqn_replay_logs import read_rows, rewrite

LIMIT = 25


def read(folder, number=NUMBER):
    return dqn_replay.read_final_buffer(folder, number, LIMIT)


class TestDopaminesOwnBuffer:
    """60 rows of 125; the sixth of eight episodes, of 17 steps, was ended by a time limit."""

    @pytest.fixture
    def folder(self, tmp_path):
        return dopamine_files.write_saved(tmp_path, only="_ckpt.")

    def test_episodes_come_in_their_order_and_the_first_is_left_out(self, folder):
        run = read(folder)
        (unit,) = run.units
        assert unit.number == NUMBER
        # Rows 65 to 124: the fifth episode has rows 59 to 70, and its beginning is missing.
        assert read_rows(run) == [
            (list(range(57, 73)), False),  # It lost its last row, which holds its last frame.
            (list(range(74, 96)), True),
            (list(range(96, 102)), True),
        ]
        assert run.repaired == (
            "the buffer held the last 60 rows of 125, so its oldest 6 rows, whose episode's "
            "beginning is missing, are left out",
            "1 episodes ended without a game over, as the log records: they are truncated, and "
            "end in their last row's observation",
            "1 truncated episodes lose the action and the reward of their last row",
        )
        assert any("episode_end_indices" in path for path in unit.files)


class TestByHand:
    @hypothesis.given(
        lengths=st.lists(st.integers(1, LIMIT - 1), min_size=1, max_size=7),
        capacity=st.integers(8, 90),
        limits=st.lists(st.booleans(), min_size=7, max_size=7),
        is_cut=st.booleans(),
        has_ends=st.booleans(),
    )
    def test_every_whole_episode_is_read(self, lengths, capacity, limits, is_cut, has_ends):
        ends = ["terminal"] * len(lengths)
        for index, is_limit in enumerate(limits[: len(lengths)]):
            if is_limit:
                ends[index] = "limit"
                lengths[index] = lengths[index] if has_ends else LIMIT
        if is_cut:
            ends[-1] = "cut"
            lengths[-1] = min(lengths[-1], LIMIT - 1)
        expected = episodes_left(lengths, capacity, ends)
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            write_buffer(folder, lengths, capacity, NUMBER, ends, has_ends)
            if expected:
                assert read_rows(read(folder)) == expected
            else:
                with pytest.raises(errors.DatasetError, match="holds no whole episode"):
                    read(folder)

    @pytest.mark.parametrize("rest", range(12))
    def test_wherever_the_cursor_is(self, tmp_path, rest):
        """Also within padding, and at an episode's end."""
        lengths = [9, 9, 9, 1 + rest]
        write_buffer(tmp_path, lengths, 30)
        assert read_rows(read(tmp_path)) == episodes_left(lengths, 30)

    def test_a_buffer_that_is_not_full_holds_the_run_from_its_beginning(self, tmp_path):
        write_buffer(tmp_path, [4, 5], 30)
        run = read(tmp_path)
        assert read_rows(run) == [([1, 2, 3, 4], True), ([5, 6, 7, 8, 9], True)]
        assert run.repaired == ()


class TestBadInput:
    def test_the_buffer_of_another_checkpoint(self, tmp_path):
        write_buffer(tmp_path, [9], 30, number=398)
        with pytest.raises(errors.DatasetError, match="replay buffer of checkpoint 398, which do"):
            read(tmp_path)

    def test_no_buffer(self, tmp_path):
        with pytest.raises(
            errors.DatasetError,
            match=r"holds checkpoint 399 without its replay buffer, \$store\$_\*_ckpt\.399\.gz and "
            r"the others: .* Reincarnating RL takes file 100 in their place",
        ):
            read(tmp_path)

    @pytest.mark.parametrize(
        "member", ["$store$_observation", "$store$_action", "$store$_reward", "$store$_terminal"]
    )
    def test_a_file_that_is_missing_cut_or_empty(self, tmp_path, member):
        write_buffer(tmp_path, [9, 9, 9], 30)
        path = tmp_path / f"{member}_ckpt.{NUMBER}.gz"
        content = path.read_bytes()
        for change in (path.unlink, lambda: path.write_bytes(content[:40]), path.touch):
            change()
            with pytest.raises(errors.DatasetError, match=f"{member[7:]}_ckpt") as raised:
                read_rows(read(tmp_path))
            assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        ("count", "why"), [(-1, "399.gz says -1: copy"), (0, "no whole episode")]
    )
    def test_a_count_of_nothing(self, tmp_path, count, why):
        write_buffer(tmp_path, [9], 30)
        rewrite(tmp_path / f"add_count_ckpt.{NUMBER}.gz", lambda array: np.array(count))
        with pytest.raises(errors.DatasetError, match=why):
            read(tmp_path)

    def test_a_count_of_another_buffer(self, tmp_path):
        """The rows after an end are then not those of padding."""
        write_buffer(tmp_path, [9, 9, 9], 30)
        rewrite(tmp_path / f"add_count_ckpt.{NUMBER}.gz", lambda array: array + 7)
        with pytest.raises(errors.DatasetError, match="without 3 rows of zeros after"):
            read(tmp_path)

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (gzip.compress(pickle.dumps([1, 2])), "something else than a set of indices"),
            (gzip.compress(pickle.dumps({"1"})), "something else than a set of indices"),
            (gzip.compress(pickle.dumps({print})), "a key of type Foreign"),
            (gzip.compress(b""), "is truncated, damaged or no pickle"),
            (gzip.compress(pickle.dumps({1}))[:-9], "is truncated"),
            (b"", "is truncated"),
            (b"noise", "is truncated or damaged"),
        ],
    )
    def test_ends_that_are_none(self, tmp_path, content, why):
        write_buffer(tmp_path, [9, 9, 9], 30)
        (tmp_path / f"episode_end_indices_ckpt.{NUMBER}.gz").write_bytes(content)
        with pytest.raises(errors.DatasetError, match=f"episode_end_indices_ckpt.* {why}"):
            read(tmp_path)
