"""Trains a policy online by soft actor-critic, until a schedule says that it is done.

So that a kill loses no evaluation, the folder of a training holds

    transitions-<step>.npz  the transitions that were added to the replay buffer since the previous
                            evaluation
    checkpoint.npz          everything else at the time of the last evaluation; written last

The environment is not saved. Its last episode is played again: the seed of the reset and the
actions since then restore every bit, which MuJoCo's positions and velocities alone would not.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import pathlib
import time
from collections.abc import Callable
from typing import Any

import dm_env
import jax
import numpy as np

from benchmarks.training import checkpoint, evaluation
from benchmarks.training.online import training_folder
from benchmarks.training.online.control_buffer import ReplayBuffer
from benchmarks.training.online.control_schedule import ControlSchedule, Evaluation, is_done
from learners import sac, types
from rl_datasets import npz
from rl_datasets.collection import environments
from rl_datasets.errors import DatasetError

LIBRARIES = ("jax", "dm-haiku", "optax", "numpy", "gymnasium", "mujoco")


def train(
    schedule: ControlSchedule,
    config: sac.Config,
    seed: int,
    report: Callable[[Evaluation, float], None] = lambda evaluation, seconds: None,
    folder: pathlib.Path | None = None,
) -> Training:
    """Trains SAC online until the schedule says that its policy is done.

    Args:
      schedule: the environment, the target and the length of the training.
      config: the learner's configuration.
      seed: the seed of the networks, the environment, the exploration and the sampling.
      report: called after each evaluation with the evaluation and the seconds since the start. When
        a run is continued, it is first called with the run's last evaluation.
      folder: the folder for the checkpoint of the last evaluation. An interrupted run continues
        from it, and ends bit for bit as it would have without the interruption. None to save
        nothing.

    Returns:
      The training when the schedule's rule was met: the learner's state, the evaluations, the
      replay buffer.

    Raises:
      DatasetError: the rule was not met within `schedule.max_steps`; or the folder holds another
        run, is damaged, or is in use by another process.
    """
    training = Training(schedule, config, seed)
    if folder is None:
        _train(training, report, None)
        return training
    with training_folder.opened(folder, _identity(schedule, config, seed)):
        training.resume(folder)
        if training.evaluations:
            report(training.evaluations[-1], 0.0)
        _train(training, report, folder)
    return training


def _train(
    training: Training,
    report: Callable[[Evaluation, float], None],
    folder: pathlib.Path | None,
) -> None:
    schedule, start = training.schedule, time.perf_counter()
    while training.step < schedule.max_steps:
        training.take_step()
        if training.step % schedule.evaluation_interval:
            continue
        training.evaluate()
        report(training.evaluations[-1], time.perf_counter() - start)
        if is_done(schedule, training.evaluations):
            return
        if folder is not None:
            training.keep(folder)
    if schedule.target is None:
        raise DatasetError(
            f"SAC still improves on {schedule.environment} after {schedule.max_steps} steps; raise "
            "--max-steps"
        )
    raise DatasetError(
        f"SAC did not reach a mean return of {schedule.target} on {schedule.environment} twice in "
        f"a row within {schedule.max_steps} steps; raise --max-steps or lower --target"
    )


class Training:
    """All that changes while a policy is trained, and the step that changes it.

    Attributes:
      schedule: the schedule.
      state: the learner's state.
      replay: the transitions so far.
      evaluations: the evaluations so far.
      step: number of environment steps so far.
    """

    _timestep: dm_env.TimeStep
    _actions: list[np.ndarray]  # Since the last reset.

    def __init__(self, schedule: ControlSchedule, config: sac.Config, seed: int):
        self.schedule, self._seed = schedule, seed
        self._rng = np.random.default_rng(seed)
        self._environment = environments.make_environment(schedule.environment, seed=seed)
        observation, self._bounds = environments.policy_specs(schedule.environment)
        (observation_size,), (action_size,) = observation.shape, self._bounds.shape
        spec = types.Spec(observation_size, action_size, self._bounds.minimum, self._bounds.maximum)
        self._learner = sac.make(config, spec)
        key, self._action_key = jax.random.split(jax.random.PRNGKey(seed))
        self.state = self._learner.init(key)
        capacity = min(schedule.replay_capacity, schedule.max_steps)
        self.replay = ReplayBuffer(capacity, observation_size, action_size)
        self.evaluations: list[Evaluation] = []
        self.step = self._resets = 0
        self._reset()

    def take_step(self) -> None:
        """Takes one step of the environment and, after exploration, one update."""
        self.step += 1
        is_exploring = self.step <= self.schedule.exploration_steps
        observation = self._timestep.observation
        action = self._explore() if is_exploring else self._sample(observation)
        self._actions.append(action)
        self._timestep = self._environment.step(action)
        self.replay.add(
            {
                "observation": observation,
                "action": action,
                "reward": self._timestep.reward,
                "discount": self._timestep.discount,
                "next_observation": self._timestep.observation,
                "is_last": self._timestep.last(),
            }
        )
        if self._timestep.last():
            self._reset()
        if not is_exploring:
            batch = self.replay.sample(self._rng, self.schedule.batch_size)
            self.state, _ = self._learner.update(self.state, batch)

    def evaluate(self) -> None:
        """Evaluates the mode of the policy."""
        returns = evaluation.evaluate(
            self.schedule.environment,
            functools.partial(_act, self._learner, self.state),
            episodes=self.schedule.evaluation_episodes,
            seed=self._seed,
        )
        self.evaluations.append(Evaluation(self.step, float(np.mean(returns))))

    def keep(self, folder: pathlib.Path) -> None:
        """Writes a checkpoint, right after an evaluation."""
        added = self.replay.latest(self.schedule.evaluation_interval)
        npz.write_arrays(_transitions(folder, self.step), added)
        facts = {
            "step": self.step,
            "rng": self._rng.bit_generator.state,
            "evaluations": [dataclasses.astuple(each) for each in self.evaluations],
            "resets": self._resets,
        }
        arrays = {
            "actions": np.array(self._actions, np.float32),  # [T, act] since the last reset
            "observation": self._timestep.observation,  # [obs] that these actions led to
        }
        checkpoint.save(folder / checkpoint.FILE_NAME, self.state, facts, arrays)

    def resume(self, folder: pathlib.Path) -> None:
        """Restores the last checkpoint, if there is one."""
        path, what_to_do = folder / checkpoint.FILE_NAME, f"delete {folder} to train from the start"
        if not path.exists():
            return
        self.state, facts, arrays = checkpoint.restore(path, self.state, what_to_do)
        self.step = facts["step"]
        self._rng.bit_generator.state = facts["rng"]
        self.evaluations = [Evaluation(*each) for each in facts["evaluations"]]
        for each in self.evaluations:
            added = npz.read_arrays(_transitions(folder, each.step), what_to_do)
            self.replay.restore(each.step, added)
        while self._resets < facts["resets"]:
            self._reset()
        for action in arrays["actions"]:
            self._actions.append(action)
            self._timestep = self._environment.step(action)
        if not np.array_equal(self._timestep.observation, arrays["observation"]):
            raise DatasetError(
                f"{self.schedule.environment} does not repeat the episode of the checkpoint at "
                f"step {self.step}: {what_to_do}"
            )

    def _reset(self) -> None:
        self._timestep = self._environment.reset()
        self._resets += 1
        self._actions = []

    def _explore(self) -> np.ndarray:
        return self._rng.uniform(self._bounds.minimum, self._bounds.maximum).astype(np.float32)

    def _sample(self, observation: Any) -> np.ndarray:
        assert self._learner.sample is not None
        key = jax.random.fold_in(self._action_key, self.step)
        return np.asarray(self._learner.sample(self.state, key, observation[None]))[0]


def _transitions(folder: pathlib.Path, step: int) -> pathlib.Path:
    return folder / f"transitions-{step:010}.npz"


def _identity(schedule: ControlSchedule, config: sac.Config, seed: int) -> dict[str, Any]:
    """All that determines a run's bytes, except when it ends."""
    of_schedule = dataclasses.asdict(schedule)
    for when_it_ends in ("max_steps", "target", "patience", "window", "gain"):
        del of_schedule[when_it_ends]
    return {
        "recipe": of_schedule,
        "config": dataclasses.asdict(config),
        "seed": seed,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def _act(learner: types.Learner, state: types.TrainingState, observation: np.ndarray) -> np.ndarray:
    return np.asarray(learner.act(state, jax.numpy.asarray(observation)))
