"""`rl-datasets serve` in one process, and learners that train on what it serves in two others."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

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


_TRAINER = """
import json, sys, time
import jax, numpy as np
from learners import bc
from learners.types import Spec
from rl_datasets.serving.reverb import ReverbFeed

feed = ReverbFeed(sys.argv[1], 64, steps=20, seed=int(sys.argv[2]), timeout=60)
learner = bc.make(bc.Config(hidden_sizes=(32,), learning_rate=3e-3), Spec(16, 1))
state = learner.init(jax.random.PRNGKey(int(sys.argv[2])))
for batch in feed:
    frames = (batch.observation, batch.next_observation)
    now, later = (each.reshape(20, 64, 16).astype(np.float32) / 255 for each in frames)
    batch = batch._replace(observation=now, next_observation=later, extras={})
    state, metrics = learner.update(state, batch)
    rewards = sorted(set(batch.reward.ravel().astype(int).tolist()))
    line = {"steps": int(state.steps), "loss": float(metrics["policy_loss"]), "rewards": rewards}
    print(json.dumps(line), flush=True)
    time.sleep(0.01)
"""


def _episode(number: int) -> Episode:
    """50 transitions of a policy that can be learnt: whether the newest frame is light or dark."""
    rng = np.random.default_rng(number)
    is_light = rng.random(51) < 0.5
    frames = rng.integers(0, 50, (51, 4, 4, 1), np.uint8)
    frames[is_light] += 150
    action = np.where(is_light[:-1, None], np.float32(0.9), np.float32(-0.9))
    reward = 50 * number + np.arange(50)  # tells which transition it is
    return Episode.from_transitions(frames, action, reward, is_terminal=False)


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


@contextlib.contextmanager
def _serving(version: pathlib.Path, port: int):
    """`rl-datasets serve` in a process of its own, which is killed in the end."""
    command = str(pathlib.Path(sys.executable).with_name("rl-datasets"))
    process = _start(command, "serve", str(version), "--port", str(port))
    try:
        assert process.stdout.readline().startswith("serving 1000 transitions")
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Trainer:
    """A learner in a process of its own, and the files that it writes to."""

    def __init__(self, folder: pathlib.Path, port: int, seed: int):
        self._told, self._said = folder / f"told-{seed}", folder / f"said-{seed}"
        with self._told.open("w") as told, self._said.open("w") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _TRAINER, f"localhost:{port}", str(seed)],
                stdout=told,
                stderr=said,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )

    @property
    def updates(self) -> list[dict]:
        """What it told of each update; a line that is being written does not count."""
        whole = self._told.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def said(self) -> list[str]:
        return self._said.read_text().splitlines()


def _until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.reverb
def test_two_learners_outlive_a_server_that_is_killed(version, tmp_path):
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    learners = []
    try:
        with _serving(version, port):
            learners += [_Trainer(tmp_path, port, seed) for seed in (0, 1)]
            _until(lambda: all(len(learner.updates) > 5 for learner in learners))
        _until(lambda: all(learner.said for learner in learners))
        before = [len(learner.updates) for learner in learners]
        time.sleep(2)
        assert [len(learner.updates) for learner in learners] == before  # They wait.
        with _serving(version, port):
            after = [count + 60 for count in before]
            _until(lambda: all(len(e.updates) > n for e, n in zip(learners, after, strict=True)))
    finally:
        for learner in learners:
            learner.process.kill()
            learner.process.wait()
    for learner, count in zip(learners, before, strict=True):
        assert learner.said == [
            f"the Reverb server at localhost:{port} is gone: waiting until it serves the same again"
        ]
        updates = learner.updates
        assert [each["steps"] for each in updates] == [20 * n for n in range(1, len(updates) + 1)]
        assert updates[-1]["loss"] < 0.5 * updates[0]["loss"]
        again = set().union(*(update["rewards"] for update in updates[count:]))
        assert again == set(range(1000))
