"""Logs of DQN Replay's layout with files that are missing, damaged or of another run."""

import gzip
import pickle
import shutil

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from rl_datasets import errors
from rl_datasets.sources import dqn_replay
from tests.rl_datasets.sources.dqn_replay_logs import (
    CAPACITY,
    read_rows,
    rewrite,
    save,
    steps_of,
    write_log,
)


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
