"""Collects transitions from live environments into a collected folder, or continues one.

`unit_plan` splits the work into units, `lock_step` collects a unit, and `workers` distributes the
units among processes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping

from rl_datasets import episode, episode_check, errors, files, staging, terminal
from rl_datasets.collection import (
    collected_folder,
    description,
    environments,
    lock_step,
    mixtures,
    unit_plan,
    workers,
)
from rl_datasets.sources import collected

PLAN_FILE = "plan.json"


def collect(
    environment: str,
    mixture: str | pathlib.Path,
    transitions: int,
    folder: str | pathlib.Path,
    *,
    policy_path: str | pathlib.Path | None = None,
    seed: int = 0,
    processes: int = 2,
    name: str | None = None,
    show_progress: bool = True,
) -> collected.Collection:
    """Collects a dataset, or continues one that was interrupted.

    Whole units are kept. A complete collection is read and returned.

    Args:
      environment: such as `HalfCheetah-v2`; without a version, gymnasium's newest one.
      mixture: a shipped data configuration's name, or the path of your own `.toml`.
      transitions: the total number of transitions.
      folder: the folder to write; created if it does not exist.
      policy_path: a BRAC checkpoint's prefix, a `.npz` of `policies.save_policy`, or a `.hdf5` of
        D4RL's; by default the project's own partially trained policy for this environment.
      seed: the seed of everything that is random.
      processes: the number of processes that share the work; it changes nothing but the time.
      name: the dataset's name; by default the one that `naming` makes of the other arguments.
      show_progress: whether to draw a progress bar on standard error.

    Raises:
      DatasetError: an argument is wrong, the folder holds another collection, another process
        collects into it, or it cannot be written.
      KeyboardInterrupt: Ctrl-C; whole units stay, and the same call continues from them.
    """
    if processes < 1:
        raise errors.DatasetError(f"processes must be 1 or more, got {processes}")
    if seed < 0:
        raise errors.DatasetError(f"seed must be 0 or more, got {seed}")
    configuration = mixtures.load_mixture(mixture)
    time_limit = environments.time_limit(environment)
    units = unit_plan.plan(configuration, transitions, time_limit)
    folder = files.local_path(folder)
    planned, behaviours = description.describe(
        folder, environment, configuration, transitions, policy_path, seed, name
    )
    with _sole_collector(folder):
        done = _check_same_collection(planned, units)
        jobs = [
            lock_step.Job(
                unit=unit,
                environment=environment,
                policy=behaviours[unit.policy_id],
                seed=seed,
                path=folder / unit.file,
                time_limit=time_limit,
                protocol=configuration.protocol,
            )
            for unit in units
        ]
        spec = planned.episode_spec()
        records = _collect_units(
            [job for job in jobs if job.unit.is_whole], spec, done, processes, show_progress
        )
        records |= _collect_units(
            [_filling(job, jobs, records) for job in jobs if not job.unit.is_whole],
            spec,
            done,
            processes,
            show_progress,
        )
        collection = dataclasses.replace(planned, units=tuple(records[u.file] for u in units))
        collected_folder.write_collection(collection)
        (folder / PLAN_FILE).unlink(missing_ok=True)
    return collection


def _filling(
    job: lock_step.Job, jobs: list[lock_step.Job], records: Mapping[str, collected.UnitRecord]
) -> lock_step.Job:
    """The job that fills its policy's share, reduced by the surplus of units of whole episodes."""
    over = sum(
        records[other.unit.file].transitions - other.unit.transitions
        for other in jobs
        if other.unit.is_whole and other.unit.policy_id == job.unit.policy_id
    )
    unit = dataclasses.replace(job.unit, transitions=job.unit.transitions - over)
    return dataclasses.replace(job, unit=unit)


def _collect_units(
    jobs: list[lock_step.Job],
    spec: episode.EpisodeSpec,
    done: collected.Collection | None,
    processes: int,
    show_progress: bool,
) -> dict[str, collected.UnitRecord]:
    """Collects the units that are not whole yet; returns the records of all units by file."""
    found = {job.unit.file: _whole_unit(job, spec, done) for job in jobs}
    open_jobs = [job for job in jobs if found[job.unit.file] is None]
    with _progress(show_progress and bool(open_jobs), jobs, open_jobs) as advance:
        new = workers.run(open_jobs, processes, advance)
    return {file: record for file, record in found.items() if record} | new


@contextlib.contextmanager
def _sole_collector(folder: pathlib.Path) -> Iterator[None]:
    """Makes the folder, and locks it so that no other process collects into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.DatasetError(
            f"cannot make the folder {folder} ({error.strerror}): give another folder"
        ) from error
    with staging.lock(folder / ".lock", f"collecting into {folder}"):
        files.remove_partial(folder)
        yield


def _check_same_collection(
    planned: collected.Collection, units: list[unit_plan.Unit]
) -> collected.Collection | None:
    """Checks that the folder is empty or holds this collection, and writes the plan into it.

    Returns:
      The collection if it was completed before; its units may have been damaged since then.
    """
    folder = planned.folder
    content = {**dataclasses.asdict(planned), "units": [dataclasses.asdict(unit) for unit in units]}
    del content["folder"]
    text = json.dumps(content, indent=2, sort_keys=True) + "\n"
    plan_path, done = folder / PLAN_FILE, None
    if (folder / collected.COLLECTION_FILE).is_file():
        done = collected.read_collection(folder, check_units=False)
        same = dataclasses.replace(done, units=()) == planned
        total = sum(unit.transitions for unit in units)
        same = same and (len(done.units), done.num_transitions) == (len(units), total)
    elif plan_path.is_file():
        same = plan_path.read_text(encoding="utf-8") == text
    else:
        same = not any(folder.glob("unit-*.npz"))
    if not same:
        raise errors.DatasetError(
            f"{folder} holds another collection (environment, mixture, policy, transitions, seed "
            "or versions differ): give another folder"
        )
    if done is None:
        files.write(plan_path, text)
    return done


def _whole_unit(
    job: lock_step.Job, spec: episode.EpisodeSpec, done: collected.Collection | None
) -> collected.UnitRecord | None:
    """The record of a unit that an earlier run finished; None if it must be collected."""
    if not job.path.is_file():
        return None
    try:
        episodes = list(collected.read_unit(job.path))
        for each in episodes:
            episode_check.check_episode(each, spec)
    except (errors.DatasetError, episode.EpisodeError):
        return None  # It was damaged after it was written; collecting it gives the same bytes.
    transitions = sum(each.num_transitions for each in episodes)
    sha256 = files.sha256_of(job.path)
    record = collected.UnitRecord(job.unit.file, sha256, len(episodes), transitions)
    expected = done is None or record in done.units
    over = transitions - job.unit.transitions
    # Only units of D4RL's protocol hold whole episodes, and these have a time limit.
    is_full = 0 <= over < (job.time_limit or 0) if job.unit.is_whole else over == 0
    return record if expected and is_full else None


@contextlib.contextmanager
def _progress(
    show: bool, jobs: list[lock_step.Job], open_jobs: list[lock_step.Job]
) -> Iterator[Callable[[int], None]]:
    """A progress bar, as a function that takes the number of steps done since the last call."""
    if not show:
        yield lambda steps: None
        return
    total = sum(job.unit.transitions for job in jobs)
    done = before = total - sum(job.unit.transitions for job in open_jobs)
    start = time.monotonic()

    with terminal.bar("collecting", total, done) as draw:

        def advance(steps: int) -> None:
            nonlocal done
            done += steps
            draw(done, f"{(done - before) / (time.monotonic() - start):,.0f} steps/s")

        yield advance
