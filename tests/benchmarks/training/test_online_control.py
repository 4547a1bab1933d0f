"""BRAC's rule for a partially trained policy, and the loop that applies it."""

import dataclasses
import functools
import json
import os
import pathlib
import signal
import subprocess
import sys

import filelock
import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from benchmarks.training.online import control as online_control
from benchmarks.training.online import control_schedule, policy_file
from benchmarks.training.online.control_buffer import ReplayBuffer
from benchmarks.training.online.control_schedule import (
    ControlSchedule,
    Evaluation,
    has_converged,
    has_reached,
)
from learners import sac, types
from rl_datasets.collection import policies
from rl_datasets.errors import DatasetError
from rl_datasets.serving.transitions import Transition


def evaluations(*means: float) -> list[Evaluation]:
    return [Evaluation(5_000 * (i + 1), mean) for i, mean in enumerate(means)]


@pytest.mark.parametrize(
    ("means", "reached"),
    [
        ([], False),
        ([4100], False),
        ([3900, 4100], False),
        ([4100, 3900, 4100], False),
        ([4100, 3900], False),
        ([4000, 4000], True),
        ([100, 4100, 4050], True),
    ],
)
def test_two_evaluations_in_a_row_must_reach_the_target(means, reached):
    assert has_reached(evaluations(*means), target=4000, patience=2) is reached


@pytest.mark.parametrize(
    ("means", "converged"),
    [
        ([], False),
        ([100, 100, 100], False),  # Too few.
        ([90, 110, 104, 106], False),  # From 100 to 105, which is 5 % of it.
        ([90, 110, 103, 105], True),
        ([900, 1100, 50, 50], True),  # Falling is no gain.
        ([0, 0, 90, 110, 103, 105], True),
        ([-110, -90, -96, -94], False),
        ([-110, -90, -98, -94], True),
    ],
)
def test_a_policy_has_converged_where_evaluations_hardly_rise(means, converged):
    assert has_converged(evaluations(*means), window=2, gain=0.05) is converged


def test_an_expert_trains_until_it_hardly_improves():
    recipe = ControlSchedule(target=None, window=2, gain=100.0, **SMALL | {"max_steps": 100})
    assert online_control.train(recipe, TINY_SAC, seed=3).step == 80
    never = dataclasses.replace(recipe, gain=-100.0)
    with pytest.raises(DatasetError, match="still improves on Pendulum-v1 after 100 steps; raise"):
        online_control.train(never, TINY_SAC, seed=3)


def test_each_kind_of_policy_has_its_recipe():
    partial, _ = control_schedule.schedule_of("partial", "HalfCheetah-v2", None, 9)
    medium, config = control_schedule.schedule_of("medium", "HalfCheetah-v2", None, 9)
    expert, same = control_schedule.schedule_of("expert", "Swimmer-v4", None, 9)
    assert (partial.target, medium.target, expert.target) == (4000, 4743, None)
    assert (partial.exploration_steps, medium.exploration_steps) == (10_000, 1_000)
    assert config == same == control_schedule.RLKIT_SAC
    assert control_schedule.schedule_of("medium", "Swimmer-v4", 30.0, 9)[0].target == 30


@pytest.mark.parametrize(
    ("kind", "target", "sentence"),
    [
        ("best", None, "no kind of policy 'best': give one of partial, medium, expert"),
        ("expert", 5.0, "give no --target"),
        ("medium", None, "no target of a medium policy for Swimmer-v4: give one with --target"),
    ],
)
def test_a_kind_that_cannot_be_trained_is_refused(kind, target, sentence):
    with pytest.raises(DatasetError, match=sentence):
        control_schedule.schedule_of(kind, "Swimmer-v4", target, 9)


def test_the_replay_buffer_overwrites_the_oldest():
    replay = ReplayBuffer(capacity=3, observation_size=1, action_size=1)
    for i in range(5):
        replay.add(
            {
                "observation": [i],
                "action": [10 * i],
                "reward": i,
                "discount": 1,
                "next_observation": [i + 1],
                "is_last": False,
            }
        )
    batch = replay.sample(np.random.default_rng(0), 200)
    assert len(replay) == 3
    assert batch.observation.shape == (1, 200, 1)
    assert set(batch.reward.ravel()) == {2, 3, 4}
    np.testing.assert_array_equal(batch.action[..., 0], 10 * batch.reward)
    np.testing.assert_array_equal(batch.next_observation, batch.observation + 1)


@hypothesis.given(
    capacity=st.integers(1, 12), intervals=st.lists(st.integers(1, 9), min_size=1, max_size=6)
)
def test_a_replay_buffer_comes_back_from_what_was_added_last(capacity, intervals):
    replay = ReplayBuffer(capacity, observation_size=1, action_size=1)
    restored = ReplayBuffer(capacity, observation_size=1, action_size=1)
    added = 0
    for interval in intervals:
        for i in range(added, added + interval):
            replay.add(dict.fromkeys([*Transition._fields, "is_last"], i))
        added += interval
        restored.restore(added, replay.latest(interval))
    one, two = (each.sample(np.random.default_rng(0), 50) for each in (replay, restored))
    assert len(replay) == len(restored)
    for field, other in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_array_equal(field, other)


SMALL = {
    "environment": "Pendulum-v1",
    "exploration_steps": 30,
    "evaluation_interval": 20,
    "evaluation_episodes": 1,
    "max_steps": 60,
    "batch_size": 8,
}
TINY_SAC = sac.Config(policy_sizes=(8,), critic_sizes=(8,))
MADE = {}


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch):
    """Compiling a learner takes longer than these runs."""
    make = sac.make

    def make_once(config, spec):
        key = (config, spec.observation_size)
        if key not in MADE:
            MADE[key] = make(config, spec)
        return MADE[key]

    monkeypatch.setattr(sac, "make", make_once)


def test_training_stops_at_the_rule_and_repeats_bit_for_bit():
    recipe = ControlSchedule(target=-1e6, **SMALL)
    training = online_control.train(recipe, TINY_SAC, seed=3)
    assert [e.step for e in training.evaluations] == [20, 40]
    assert int(training.state.steps) == 10
    assert_same(online_control.train(recipe, TINY_SAC, seed=3), training)


def test_a_target_that_is_never_reached_is_said():
    with pytest.raises(DatasetError, match="Pendulum-v1 twice in a row within 60 steps"):
        online_control.train(ControlSchedule(target=1e6, **SMALL), TINY_SAC, seed=3)


def test_a_saved_policy_acts_like_the_learner_that_it_came_from(tmp_path, monkeypatch):
    states = []
    train = online_control.train

    def train_and_keep(recipe, config, seed, report, folder):
        training = train(ControlSchedule(target=-1e6, **SMALL), config, seed, report, folder)
        states.append(training.state)
        return training

    monkeypatch.setattr(online_control, "train", train_and_keep)
    path = tmp_path / "policy.npz"
    policy_file.train_and_save(
        "Pendulum-v1", path, control_schedule.PARTIAL, -1e6, seed=3, max_steps=60
    )
    minimum, maximum = np.full(1, -2, np.float32), np.full(1, 2, np.float32)
    layers = policies.load_policy(path).layers
    policy = policies.TanhGaussian(layers, minimum, maximum, mode=True)
    observation = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    learner = sac.make(control_schedule.BRAC_SAC, types.Spec(3, 1, minimum, maximum))
    np.testing.assert_allclose(
        policy(np.random.default_rng(0), observation),
        learner.act(states[0], observation),
        atol=1e-5,
    )


class Cut(Exception):
    """Stands for whatever ends a process."""


def cut_at(step):
    """A report that ends the run when its evaluation at this step is made, before it is kept."""

    def report(evaluation, seconds):
        if seconds and evaluation.step == step:
            raise Cut

    return report


def train_with_cuts(recipe, folder, *cuts, seed=3):
    for step in cuts:
        with pytest.raises(Cut):
            online_control.train(recipe, TINY_SAC, seed, cut_at(step), folder)
    return online_control.train(recipe, TINY_SAC, seed, folder=folder)


def assert_same(one, other):
    assert one.evaluations == other.evaluations
    state, expected_state = jax.tree.leaves(one.state), jax.tree.leaves(other.state)
    for leaf, expected in zip(state, expected_state, strict=True):
        np.testing.assert_array_equal(leaf, expected)


# Pendulum's episodes are longer than an interval, most of Hopper's are not; the ring overflows.
@pytest.mark.parametrize("environment", ["Pendulum-v1", "Hopper-v4"])
def test_a_run_that_was_cut_ends_as_it_would_have(tmp_path, environment):
    schedule = SMALL | {"environment": environment, "max_steps": 100, "replay_capacity": 45}
    recipe = ControlSchedule(target=-1e6, patience=5, **schedule)
    whole = online_control.train(recipe, TINY_SAC, seed=3)
    assert [each.step for each in whole.evaluations] == [20, 40, 60, 80, 100]
    assert_same(train_with_cuts(recipe, tmp_path / "run", 40, 80, 80), whole)


def test_a_run_that_gave_up_goes_on_with_more_steps(tmp_path):
    more = ControlSchedule(target=-1e6, patience=4, **SMALL | {"max_steps": 80})
    fewer = ControlSchedule(target=-1e6, patience=4, **SMALL | {"max_steps": 40})
    with pytest.raises(DatasetError, match="within 40 steps; raise --max-steps"):
        online_control.train(fewer, TINY_SAC, 3, folder=tmp_path / "run")
    steps = []
    again = online_control.train(
        more, TINY_SAC, 3, lambda evaluation, _: steps.append(evaluation.step), tmp_path / "run"
    )
    assert steps == [40, 60, 80]
    assert_same(again, online_control.train(more, TINY_SAC, 3))


def test_another_run_is_not_gone_on_with(tmp_path):
    recipe = ControlSchedule(target=-1e6, patience=3, **SMALL)
    with pytest.raises(Cut):
        online_control.train(recipe, TINY_SAC, 3, cut_at(40), tmp_path / "run")
    with pytest.raises(DatasetError, match="run holds a run whose seed differ from this one's"):
        online_control.train(recipe, TINY_SAC, 4, folder=tmp_path / "run")


def test_two_processes_do_not_train_one_run(tmp_path):
    with (
        filelock.FileLock(tmp_path / ".lock"),
        pytest.raises(DatasetError, match=r"another process is training in .*; wait"),
    ):
        online_control.train(ControlSchedule(target=0, **SMALL), TINY_SAC, 3, folder=tmp_path)


@pytest.mark.parametrize("file", ["checkpoint.npz", "transitions-0000000020.npz"])
def test_a_damaged_checkpoint_is_named(tmp_path, file):
    recipe = ControlSchedule(target=-1e6, patience=3, **SMALL)
    with pytest.raises(Cut):
        online_control.train(recipe, TINY_SAC, 3, cut_at(40), tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[:-30])
    with pytest.raises(DatasetError, match=f"{file} .*: delete .* to train from the start"):
        online_control.train(recipe, TINY_SAC, 3, folder=tmp_path)


def test_an_environment_that_does_not_repeat_itself_is_told(tmp_path, monkeypatch):
    recipe = ControlSchedule(target=-1e6, patience=3, **SMALL)
    with pytest.raises(Cut):
        online_control.train(recipe, TINY_SAC, 3, cut_at(40), tmp_path)
    make = online_control.environments.make_environment
    monkeypatch.setattr(
        online_control.environments, "make_environment", lambda name, seed=None: make(name, 9)
    )
    with pytest.raises(DatasetError, match=r"does not repeat the episode .* at step 20"):
        online_control.train(recipe, TINY_SAC, 3, folder=tmp_path)


SCRIPT = """
import functools, os, pathlib, signal, sys
from benchmarks.training.online import control as online_control
from benchmarks.training.online import control_schedule, policy_file
path, kill_at = pathlib.Path(sys.argv[1]), int(sys.argv[2])
control_schedule.ControlSchedule = functools.partial(
    control_schedule.ControlSchedule,
    patience=4, exploration_steps=30, evaluation_interval=20, evaluation_episodes=1,
)
take_step = online_control.Training.take_step
def take_step_or_die(training):
    if training.step == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    take_step(training)
online_control.Training.take_step = take_step_or_die
policy_file.train_and_save("Pendulum-v1", path, "partial", -1e6, seed=3, max_steps=100)
"""


def train_in_a_process(path, kill_at=-1):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), str(kill_at)],
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_a_killed_process_goes_on_to_the_same_policy(tmp_path, monkeypatch, capsys):
    whole, killed = tmp_path / "whole.npz", tmp_path / "killed.npz"
    assert train_in_a_process(killed, kill_at=55).returncode == -signal.SIGKILL
    assert not killed.exists()
    assert killed.with_suffix(".training").is_dir()
    result = train_in_a_process(killed)
    assert result.returncode == 0, result.stderr
    assert [line.split()[2] for line in result.stderr.splitlines()] == ["40", "60", "80"]
    assert not killed.with_suffix(".training").exists()

    schedule = {"exploration_steps": 30, "evaluation_interval": 20, "evaluation_episodes": 1}
    tiny = functools.partial(ControlSchedule, patience=4, **schedule)
    monkeypatch.setattr(control_schedule, "ControlSchedule", tiny)
    policy_file.train_and_save(
        "Pendulum-v1", whole, control_schedule.PARTIAL, -1e6, seed=3, max_steps=100
    )
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("Pendulum-v1: step 20 of at most 100, mean return -")
    assert killed.read_bytes() == whole.read_bytes()
    lineages = [json.loads(path.with_suffix(".json").read_text()) for path in (whole, killed)]
    for lineage in lineages:
        del lineage["code_version"]  # A commit may come in between.
    assert lineages[0] == lineages[1]


@pytest.mark.parametrize(
    ("environment", "file", "target", "said"),
    [
        (
            "CartPole-v1",
            "p.npz",
            1.0,
            "'CartPole-v1' must have .* actions of one axis and bounded real numbers",
        ),
        ("Hopper-v4", "p.txt", 1.0, r"written to a \.npz file, and .*p\.txt is not one"),
        ("Hopper-v4", "p.npz", float("nan"), "--target must be a finite number, got nan"),
    ],
)
def test_what_no_policy_can_come_of_is_refused_first(tmp_path, environment, file, target, said):
    with pytest.raises(DatasetError, match=said):
        policy_file.train_and_save(environment, tmp_path / file, "partial", target, 0, 10)
