"""Trains a policy online and saves it with its lineage."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.training import results
from benchmarks.training.online import control, replay_folder
from benchmarks.training.online.control_schedule import (
    MEDIUM,
    ControlSchedule,
    Evaluation,
    schedule_of,
)
from learners import types
from rl_datasets import terminal
from rl_datasets.collection import policies
from rl_datasets.errors import DatasetError


def train_and_save(
    environment: str,
    path: pathlib.Path,
    kind: str,
    target: float | None,
    seed: int,
    max_steps: int,
    replay: pathlib.Path | None = None,
) -> None:
    """Trains a policy, and saves it with its lineage and, on request, its replay buffer.

    Until the policy is saved, checkpoints are beside it, in a folder with its name and the ending
    `.training`. The same call continues an interrupted training. With a larger `max_steps`, it also
    continues one that gave up.

    Args:
      environment: gymnasium id.
      path: the `.npz` to write; the lineage goes beside it, as `.json`.
      kind: the kind of policy, see `schedule_of`.
      target: mean return to reach twice in a row; None for the kind's own in this environment.
      seed: the seed of all that is random.
      max_steps: environment steps after which training gives up.
      replay: the folder to write the replay buffer to, as a collected folder; see
        `replay_folder`.

    Raises:
      DatasetError: there is no target, the policy does not reach it, or a file cannot be written.
    """
    if path.suffix != ".npz":
        raise DatasetError(f"a policy is written to a .npz file, and {path} is not one: name one")
    schedule, config = schedule_of(kind, environment, target, max_steps)
    if schedule.target is not None and not np.isfinite(schedule.target):
        raise DatasetError(f"--target must be a finite number, got {schedule.target}")
    if replay is not None:
        if kind != MEDIUM:
            raise DatasetError(
                f"only a {MEDIUM} policy's replay buffer is a data set of D4RL: leave --replay out"
            )
        replay_folder.check(replay, max_steps, schedule.replay_capacity)
    folder = path.with_suffix(".training")
    with _progress(schedule) as report:
        training = control.train(schedule, config, seed, report, folder)
    lineage = {
        "algorithm": "SAC",
        "kind": kind,
        "recipe": dataclasses.asdict(schedule),
        "config": dataclasses.asdict(config),
        "seed": seed,
        "steps": training.step,
        "updates": int(training.state.steps),
        "evaluations": [dataclasses.astuple(e) for e in training.evaluations],
        "code_version": results.code_version(),
        "versions": control.versions(),
    }
    policies.save_policy(path, _layers(training.state.params.policy), lineage)
    if replay is not None:
        transitions = training.replay.latest(training.step)
        replay_folder.write(replay, environment, seed, transitions, path)
    shutil.rmtree(folder)


@contextlib.contextmanager
def _progress(schedule: ControlSchedule) -> Iterator[Callable[[Evaluation, float], None]]:
    """A progress bar on standard error, or a line per evaluation if that is not a terminal."""
    if not sys.stderr.isatty():
        yield functools.partial(_print, schedule)
        return
    with terminal.bar(schedule.environment, schedule.max_steps) as draw:
        yield lambda evaluation, seconds: draw(
            evaluation.step, f"steps, {_of_target(evaluation, schedule)}"
        )


def _print(schedule: ControlSchedule, evaluation: Evaluation, seconds: float) -> None:
    line = (
        f"{schedule.environment}: step {evaluation.step:,} of at most {schedule.max_steps:,}, "
        f"{_of_target(evaluation, schedule)}, {seconds:,.0f} s"
    )
    print(line, file=sys.stderr, flush=True)


def _of_target(evaluation: Evaluation, schedule: ControlSchedule) -> str:
    target = "" if schedule.target is None else f" of {schedule.target:,.0f}"
    return f"mean return {evaluation.mean_return:,.0f}{target}"


def _layers(params: types.Params) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel [in, out] and bias [out] of every layer of `networks.mlp`, in their order."""
    hidden = [params[name] for name in sorted(params) if name.startswith("hidden")]
    head = params["head"]
    layers = [(layer["w"], layer["b"]) for layer in hidden] + [(head["w"].T, head["b"])]
    return [(np.array(kernel), np.array(bias)) for kernel, bias in layers]
