"""The replay buffer that logs itself as Dopamine's does."""

import shutil

import numpy as np
import pytest

from rl_datasets import errors
from rl_datasets.collection.replay_log import ReplayLog
from tests.rl_datasets.sources.dqn_replay_logs import CAPACITY, load, numbers_of, write_log


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
        with pytest.raises(errors.DatasetError, match="already exists"):
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
