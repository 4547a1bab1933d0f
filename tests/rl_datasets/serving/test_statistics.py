"""Statistics of data read piece by piece, beside NumPy's of all rows together."""

import subprocess
import sys

import dm_env.specs
import hypothesis
import hypothesis.strategies as st
import numpy as np

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.serving.statistics import mean_and_std
from tests.rl_datasets.exporting import versions


@hypothesis.given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=8).filter(sum),
    shift=st.sampled_from([0.0, 1e4]),
    seed=st.integers(0, 99),
)
@hypothesis.settings(deadline=None)
def test_they_are_numpys(lengths, shift, seed):
    rng = np.random.default_rng(seed)
    pieces = [(rng.normal(size=(n, 3)) + shift).astype(np.float32) for n in lengths]
    pieces = [np.append(piece, np.full((len(piece), 1), 0.1, np.float32), 1) for piece in pieces]
    whole = np.concatenate(pieces)
    mean, std = mean_and_std(iter(pieces))
    np.testing.assert_allclose(mean, whole.mean(axis=0, dtype=np.float64), 1e-13, 1e-14)
    np.testing.assert_allclose(std, whole.std(axis=0, dtype=np.float64), rtol=1e-9, atol=1e-15)


def test_of_one_piece_they_are_numpys_bit_for_bit():
    piece = np.random.default_rng(0).normal(3, 5, size=(10_007, 5)).astype(np.float32)
    mean, std = mean_and_std([piece[:0], piece])
    np.testing.assert_array_equal(mean, piece.mean(axis=0, dtype=np.float64))
    np.testing.assert_array_equal(std, piece.std(axis=0, dtype=np.float64))


def test_by_hand():
    mean, std = mean_and_std([np.array([[1.0]]), np.array([[2.0], [6.0]]), np.array([[7.0]])])
    assert (mean.tolist(), std.tolist()) == ([4.0], [np.sqrt((9 + 4 + 4 + 9) / 4)])


LENGTH, EPISODES, WIDTH = 1000, 60, 200  # 48 MB of observations
STATISTICS = """
import sys
from rl_datasets.serving.loading import load_rows, transitions_by_episode
from rl_datasets.serving.statistics import mean_and_std

def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024

before = peak()
mean_and_std(piece.observation for piece in transitions_by_episode(sys.argv[1]))
print(peak() - before)
load_rows(sys.argv[1])
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_data(tmp_path):
    spec = EpisodeSpec(
        observation=dm_env.specs.Array((WIDTH,), np.float32),
        action=dm_env.specs.BoundedArray((1,), np.float32, -1.0, 1.0),
    )
    rng = np.random.default_rng(0)
    episodes = [
        Episode.from_transitions(
            rng.normal(size=(LENGTH + 1, WIDTH)).astype(np.float32),
            np.zeros((LENGTH, 1), np.float32), np.zeros(LENGTH), is_terminal=True,
        )
        for _ in range(EPISODES)
    ]  # fmt: skip
    folder = versions.write(tmp_path / "1.0.0", spec, {"train": episodes})
    done = subprocess.run(
        [sys.executable, "-c", STATISTICS, str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    in_pieces, loaded = map(int, done.stdout.split())
    data = 4 * LENGTH * EPISODES * WIDTH
    assert loaded > 2 * data
    assert in_pieces < data / 2
