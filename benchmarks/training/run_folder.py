"""What a run keeps on disk, so that it can be stopped at any time and continued.

A cell has a folder of its own, `<runs>/<table>/<dataset>/<learner>/seed-<n>/`, that holds

    run.json       what the run is; a folder is never continued as another run
    results.jsonl  one line for each evaluation
    checkpoint.npz the training state at the last evaluation
    events.*       the same numbers for TensorBoard
    .lock          held while a process works on the cell

A kill loses only what came after the last evaluation. The line is written before the checkpoint,
and a process that continues from a checkpoint first drops the lines after it.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.training import checkpoint
from benchmarks.training.events import Events
from benchmarks.training.results import (
    RESULTS,
    append_result,
    code_version,
    read_results,
    write_results,
)
from learners.types import TrainingState
from rl_datasets import files, staging
from rl_datasets.errors import DatasetError

RUN = "run.json"


class RunFolder:
    """The folder of one cell, which this process has locked (see `lock`).

    Args:
      folder: the cell's folder; created if it does not exist.
      identity: what the run is, as JSON; every line of results begins with it.
      evaluations: the steps at which the run is evaluated.

    Raises:
      DatasetError: the folder holds another run.
    """

    def __init__(
        self, folder: pathlib.Path, identity: Mapping[str, Any], evaluations: Sequence[int]
    ):
        self._folder = folder
        self._evaluations = evaluations
        self._identity = json.loads(json.dumps(identity))
        path = folder / RUN
        if not path.exists():
            files.write(path, json.dumps(self._identity, indent=2) + "\n")
        check_same(folder, identity)

    @property
    def checkpoint_step(self) -> int:
        """The step to continue from, 0 at the start."""
        return _step_of_checkpoint(self._folder)

    def restore(self, initial: TrainingState) -> checkpoint.Checkpoint:
        """The checkpoint of `checkpoint_step`; drops later results, which will be measured again.

        Args:
          initial: the state at step 0, which also gives the structure of the others.

        Returns:
          The state, and what `write` kept beside it, which is nothing at step 0.

        Raises:
          DatasetError: as `results_to_keep`; or the checkpoint is another learner's, or the events
            cannot be written.
        """
        step = self.checkpoint_step
        results = results_to_keep(self._folder, self._evaluations)
        write_results(self._folder / RESULTS, results)
        self._events = Events(self._folder, results)
        if not step:
            return checkpoint.Checkpoint(initial, {}, {})
        return _last(self._folder, initial)

    def write(
        self,
        step: int,
        state: TrainingState,
        returns: Mapping[str, np.ndarray],
        metrics: Mapping[str, float],
        seconds: Mapping[str, float],
        facts: Mapping[str, Any] | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Saves one evaluation: first the line, then the state (see the module).

        Args:
          step: number of steps taken.
          state: the state after them.
          returns: the returns [episodes] of every scored policy, which are saved to a thousandth;
            the line's `returns` are those of the first, and `returns_of` has those of the others.
          metrics: metrics of training.
          seconds: seconds of training and of evaluation since the last evaluation.
          facts, arrays: what else the rest of the run needs, as `checkpoint.save` takes them.

        Raises:
          DatasetError: a return is not finite, or the disk is full.
        """
        if not all(np.isfinite(of_policy).all() for of_policy in returns.values()):
            raise DatasetError(
                f"{self._folder} has returns that are not finite numbers at step {step}: the "
                "learner diverged, change its config"
            )
        main, *others = ([round(float(r), 3) for r in of_policy] for of_policy in returns.values())
        result = {
            **self._identity,
            "step": step,
            "returns": main,
            **({"returns_of": dict(zip([*returns][1:], others, strict=True))} if others else {}),
            "metrics": metrics,
            "code_version": code_version(),
            "seconds": seconds,
        }
        append_result(self._folder / RESULTS, result)
        facts = {"step": step, **(facts or {})}
        checkpoint.save(self._folder / checkpoint.FILE_NAME, state, facts, arrays)
        self._events.write(result)


def check_same(folder: pathlib.Path, identity: Mapping[str, Any]) -> None:
    """Refuses a folder that holds another run.

    Args:
      folder: a cell's folder, which need not exist.
      identity: what the cell's run is.

    Raises:
      DatasetError: the folder holds another run.
    """
    path = folder / RUN
    if not path.exists():
        return
    before, now = read_run(path), json.loads(json.dumps(identity))
    differing = sorted(k for k in before.keys() | now if before.get(k) != now.get(k))
    if differing:
        raise DatasetError(
            f"{folder} holds a run whose {' and '.join(differing)} differ from this one's: move "
            "that folder away, or run what it holds"
        )


def read_run(path: pathlib.Path) -> dict[str, Any]:
    """The identity of a run, from its file.

    Raises:
      DatasetError: it is damaged.
    """
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(
            f"{path} is damaged ({error}): remove {path.parent} to run it again"
        ) from error
    if not isinstance(run, dict):
        raise DatasetError(f"{path} does not say what its run is: remove {path.parent}")
    return run


def results_to_keep(folder: pathlib.Path, evaluations: Sequence[int]) -> list[dict[str, Any]]:
    """The results of a run up to its checkpoint; later ones will be measured again.

    Args:
      folder: a cell's folder, which need not exist.
      evaluations: the steps at which the run is evaluated.

    Raises:
      DatasetError: the checkpoint is damaged, results up to it are missing, or there are more after
        it than a process that was stopped can have left.
    """
    step, path = _step_of_checkpoint(folder), folder / RESULTS
    results = read_results(path)
    kept = [result for result in results if result["step"] <= step]
    expected = [each for each in evaluations if each <= step]
    if [result["step"] for result in kept] != expected or (step and step not in expected):
        raise DatasetError(
            f"{path} lacks results up to step {step}, at which the checkpoint beside it was "
            f"written: {_anew(folder)}"
        )
    if len(results) > len(kept) + 1:
        raise DatasetError(
            f"{path} has results up to step {results[-1]['step']}, and "
            f"{checkpoint.FILE_NAME} beside it is {f'of step {step}' if step else 'missing'}: put "
            f"the right one there, or {_anew(folder)}"
        )
    return kept


def _step_of_checkpoint(folder: pathlib.Path) -> int:
    path = folder / checkpoint.FILE_NAME
    if not path.exists():
        return 0
    step = checkpoint.facts_of(path, _anew(folder)).get("step")
    if not isinstance(step, int):
        raise DatasetError(f"{path} is no checkpoint of a run: {_anew(folder)}")
    return step


def begin_with_shorter_run(
    folder: pathlib.Path, identity: Mapping[str, Any], others: Iterable[pathlib.Path]
) -> None:
    """Starts a run from the furthest run of the same cell at a smaller budget, if there is one.

    The budget of a run does not change how it begins. A run that has begun stays as it is.

    Args:
      folder: the cell's folder, locked by this process.
      identity: what the run is.
      others: folders that may hold runs of the same cell.
    """
    if (folder / RUN).exists():
        return
    shorter = [other for other in others if _is_shorter(other, identity)]
    for other in sorted(shorter, key=_last_step)[-1:]:
        with lock(other) as is_free:
            if is_free:
                shutil.copyfile(other / checkpoint.FILE_NAME, folder / checkpoint.FILE_NAME)
                begun = read_results(other / RESULTS)
                write_results(folder / RESULTS, [{**result, **identity} for result in begun])


def _is_shorter(folder: pathlib.Path, identity: Mapping[str, Any]) -> bool:
    """Whether a folder holds the beginning of a run."""
    path, apart = folder / RUN, {"budget": None, "steps": None}
    if not (path.exists() and (folder / checkpoint.FILE_NAME).exists()):
        return False
    run = read_run(path)
    is_same = {**run, **apart} == json.loads(json.dumps({**identity, **apart}))
    return is_same and run["steps"] < identity["steps"]


def _last_step(folder: pathlib.Path) -> int:
    results = read_results(folder / RESULTS)
    return results[-1]["step"] if results else 0


def last_state(folder: pathlib.Path, initial: TrainingState) -> TrainingState:
    """The last state of a run; changes nothing on disk.

    Args:
      folder: the cell's folder.
      initial: a state of the same structure.

    Raises:
      DatasetError: the run left no checkpoint, or one before its last results.
    """
    return _last(folder, initial).state


def _last(folder: pathlib.Path, initial: TrainingState) -> checkpoint.Checkpoint:
    path = folder / checkpoint.FILE_NAME
    if not path.exists():
        raise DatasetError(
            f"{folder} holds results but no state to continue from: remove it, and run once "
            "without a results folder"
        )
    step, last = _step_of_checkpoint(folder), _last_step(folder)
    if step != last:
        raise DatasetError(
            f"{path} is of step {step}, and the results beside it go to step {last}: remove those "
            f"after step {step} to run the rest again"
        )
    return checkpoint.restore(path, initial, _anew(folder))


def _anew(folder: pathlib.Path) -> str:
    return f"remove {folder} to run it again"


@contextlib.contextmanager
def lock(folder: pathlib.Path) -> Iterator[bool]:
    """Makes the folder and tries to lock it; yields whether this process has the lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with staging.try_lock(folder / ".lock") as is_ours:
        yield is_ours
