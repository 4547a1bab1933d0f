"""`rl-datasets serve` in one process, and learners that train on what it serves in two others."""

import os
import pathlib
import signal
import socket
import subprocess
import sys

import dm_env.specs
import numpy as np
import pytest

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.publishing.units import SourceUnit
from tests.rl_datasets.serving.conftest import publish_units

pytestmark = pytest.mark.timeout(180)

SPEC = EpisodeSpec(
    observation=dm_env.specs.Array((4, 4, 1), np.uint8),
    action=dm_env.specs.BoundedArray((1,), np.float32, -1.0, 1.0),
)

_LEARNER = """
import sys
import jax, numpy as np
from learners import bc
from learners.types import Spec
from rl_datasets.serving.reverb import ReverbFeed

feed = ReverbFeed(sys.argv[1], 64, steps=20, seed=int(sys.argv[2]), timeout=60)
size = int(np.prod(next(feed).observation.shape[2:]))
learner = bc.make(bc.Config(hidden_sizes=(32,), learning_rate=3e-3), Spec(size, 1))
state, losses = learner.init(jax.random.PRNGKey(int(sys.argv[2]))), []
for _ in range(20):
    batch = next(feed)
    frames = (batch.observation, batch.next_observation)
    now, later = (each.reshape(20, 64, size).astype(np.float32) / 255 for each in frames)
    batch = batch._replace(observation=now, next_observation=later, extras={})
    state, metrics = learner.update(state, batch)
    losses.append(float(metrics["policy_loss"]))
print(feed.schema.num_transitions, size, losses[0], losses[-1])
"""


def _episode(number: int) -> Episode:
    """50 transitions of a policy that can be learnt: whether the newest frame is light or dark."""
    rng = np.random.default_rng(number)
    is_light = rng.random(51) < 0.5
    frames = rng.integers(0, 50, (51, 4, 4, 1), np.uint8)
    frames[is_light] += 150
    action = np.where(is_light[:-1, None], np.float32(0.9), np.float32(-0.9))
    return Episode.from_transitions(frames, action, np.zeros(50), is_terminal=False)


@pytest.fixture(scope="module")
def version(tmp_path_factory) -> pathlib.Path:
    """Folder of a published version of 1,000 transitions."""
    unit = SourceUnit("unit", "train", 20, 1000, (), lambda: map(_episode, range(20)))
    return publish_units([unit], SPEC, tmp_path_factory.mktemp("published"))


def _start(*command: str) -> subprocess.Popen:
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.mark.reverb
def test_two_learners_train_on_what_one_process_serves(version):
    with socket.create_server(("", 0)) as free:
        port = str(free.getsockname()[1])
    command = str(pathlib.Path(sys.executable).with_name("rl-datasets"))
    options = ["--port", port, "--frame-stack", "4", "--n-step", "3"]
    processes = [_start(command, "serve", str(version), *options)]
    processes += [  # They wait for the server.
        _start(sys.executable, "-c", _LEARNER, f"localhost:{port}", seed) for seed in "01"
    ]
    try:
        assert f"serving 1000 transitions at localhost:{port} " in processes[0].stdout.readline()
        for learner in processes[1:]:
            output, _ = learner.communicate(timeout=120)
            assert learner.returncode == 0
            transitions, size, first, last = output.split()
            assert (transitions, size) == ("1000", "64")
            assert float(last) < 0.2 * float(first)
        processes[0].send_signal(signal.SIGINT)
        assert processes[0].wait(30) == 130
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()
