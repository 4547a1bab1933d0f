"""A stream of many checkpoints: exact epochs, in memory that does not depend on how many."""

import subprocess
import sys

import numpy as np
import pytest

from rl_datasets.episode import Episode
from rl_datasets.frames import EncodedFrames, encode_png
from tests.rl_datasets.exporting import versions

LENGTH = 2_000  # transitions of an episode
EPISODES = 5  # of a checkpoint
CHECKPOINTS = 16
DECODED = CHECKPOINTS * EPISODES * LENGTH * 84 * 84  # bytes of frames: 1.1 GB

# Prints the number of exact epochs, and the peak memory above that of the imports.
EPOCHS = """
import itertools, sys
import numpy as np
from rl_datasets.published.version import Version
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.streaming import StreamFeed

def peak():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024

folder, split, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3])
before = peak()
size = Version.open(folder).counts(split).transitions
feed = StreamFeed(folder, 50, seed=0, steps=4, split=split, cut=Cut(frame_stack=4), shuffle=5_000)
exact = 0
for epoch in range(epochs):
    batches = itertools.islice(feed, size // 200)
    numbers = np.concatenate([batch.reward.ravel() for batch in batches]).astype(int)
    exact += set(np.bincount(numbers - numbers.min())) == {1} and len(numbers) == size
print(exact, peak() - before)
"""


def episode(number: int, pngs: list[bytes]) -> Episode:
    """A long episode, whose rewards number the transitions of all episodes."""
    numbers = np.arange(number * LENGTH, (number + 1) * LENGTH)
    return Episode.from_transitions(
        EncodedFrames((pngs * LENGTH)[: LENGTH + 1], (84, 84, 1)),
        numbers % 18,
        numbers,
        is_terminal=True,
        metadata={"episode_id": np.int64(number)},
    )


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    pngs = encode_png(np.arange(1, 65, dtype=np.uint8).repeat(84 * 84).reshape(64, 84, 84, 1))
    splits = {
        f"checkpoint_{first:02d}": [
            episode(first * EPISODES + number, pngs) for number in range(EPISODES)
        ]
        for first in range(CHECKPOINTS)
    }
    return versions.write(tmp_path_factory.mktemp("versions") / "1.0.0", versions.FRAMES, splits)


def stream(folder, split: str, epochs: int) -> tuple[int, int]:
    """Exact epochs, and bytes of peak memory."""
    command = [sys.executable, "-c", EPOCHS, str(folder), split, str(epochs)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    exact, peak = map(int, done.stdout.split())
    return exact, peak


def test_epochs_are_exact_and_memory_is_bounded(checkpoints):
    """The bound: the shuffle buffer's PNG files, and three pools of decoded frames."""
    few, peak_of_few = stream(checkpoints, "checkpoint_01+checkpoint_02+checkpoint_03", 2)
    every, peak_of_all = stream(checkpoints, "all", 1)
    assert (few, every) == (2, 1)
    print(f"{DECODED / 1e6:.0f} MB of frames in {peak_of_all / 1e6:.0f} MB of memory,", end=" ")
    print(f"three checkpoints in {peak_of_few / 1e6:.0f} MB")
    assert peak_of_all < DECODED / 2
    assert peak_of_all < peak_of_few + 100e6
