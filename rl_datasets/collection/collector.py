"""Collects transitions from live environments into a collected folder.

`plan` splits every policy's share of the transitions into units of at most 50,000. A unit has its
own environments and its own seed, so it does not matter which process collects it, nor when: every
byte of a collection depends on the environment, the mixture, the policy, the number of transitions
and the seed alone.

Within a unit, several copies of the environment move in lock step, so that the policy acts on a
batch. The unit holds the episodes in the order in which they started (of those that started
together, by the copy's number), each whole but the last, which is cut where the unit is full. So a
unit has the distribution of one environment run on its own, and at most one cut episode; what the
other copies had begun beyond it is dropped.

By D4RL's protocol every unit but a policy's last holds whole episodes, a little under 50,000
transitions, and the last, which is collected when the others are whole, fills the policy's share.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import importlib.metadata
import json
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dm_env
import dm_env.specs
import numpy as np
import rich.progress
import threadpoolctl

import rl_datasets
from rl_datasets import episode, errors, files
from rl_datasets.collection import environments, mixtures, naming, policies
from rl_datasets.sources import collected

UNIT_TRANSITIONS = 50_000
# Of MuJoCo's tasks, whose episodes have 1,000 steps, a unit is whole rounds of 10 copies: where no
# episode ends early, nothing is cut or dropped.
LOCK_STEP_COPIES = 10
PLAN_FILE = "plan.json"
REPORT_EVERY = 100  # lock steps


@dataclasses.dataclass(frozen=True)
class Unit:
    """One policy's share, or a part of it, collected on its own.

    Attributes:
      index: its place in the collection, and the key of its seed.
      policy_id: the place of its policy in the mixture.
      transitions: how many it holds, exactly; of whole episodes, at least.
      is_whole: whether it holds whole episodes.
    """

    index: int
    policy_id: int
    transitions: int
    is_whole: bool = False

    @property
    def file(self) -> str:
        return f"unit-{self.index:05d}.npz"


@dataclasses.dataclass(frozen=True)
class Job:
    """All that a process needs to collect one unit; it can be pickled."""

    unit: Unit
    environment: str
    policy: policies.Policy
    seed: int
    path: pathlib.Path
    time_limit: int | None
    protocol: str = mixtures.BRAC


def plan(mixture: mixtures.Mixture, transitions: int, time_limit: int | None) -> list[Unit]:
    """Splits a collection into units, in the order of the mixture's policies.

    Args:
      mixture: of policies.
      transitions: how many in all.
      time_limit: of the environment's episodes, in steps; None where it has none.

    Raises:
      DatasetError: there are too few transitions for every policy of the mixture to have one, or
        the protocol is D4RL's and there is no time limit.
    """
    counts = mixture.counts(transitions)
    if min(counts) < 1:
        raise errors.DatasetError(
            f"{transitions} transitions leave a policy of the mixture {mixture.name!r} without "
            "one: collect more"
        )
    split: Callable[[int], list[tuple[int, bool]]] = _shares
    if mixture.protocol == mixtures.D4RL:
        if time_limit is None:
            raise errors.DatasetError(
                f"the mixture {mixture.name!r} is of the protocol d4rl, which cuts episodes at the "
                "environment's time limit, and this environment has none: use the protocol brac"
            )
        split = functools.partial(_shares_of_whole_episodes, time_limit=time_limit)
    shares = [
        (policy_id, *share) for policy_id, count in enumerate(counts) for share in split(count)
    ]
    return [Unit(index, *share) for index, share in enumerate(shares)]


def _shares(count: int) -> list[tuple[int, bool]]:
    starts = range(0, count, UNIT_TRANSITIONS)
    return [(min(UNIT_TRANSITIONS, count - start), False) for start in starts]


def _shares_of_whole_episodes(count: int, time_limit: int) -> list[tuple[int, bool]]:
    """The last is large enough for what whole episodes may be longer than planned."""
    most = max(UNIT_TRANSITIONS, 2 * time_limit)
    least = most - time_limit
    whole = max(0, count // most - 1)
    return [*[(least, True)] * whole, (count - whole * least, False)]


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
    """Collects a dataset, or goes on with one that was cut.

    Units that are whole are kept; a collection that is complete is read and returned.

    Args:
      environment: such as `HalfCheetah-v2`; without a version it is gymnasium's newest.
      mixture: a shipped data configuration's name, or the path of your own `.toml`.
      transitions: how many in all.
      folder: where to write; made if absent.
      policy_path: a BRAC checkpoint's prefix, a `.npz` of `policies.save_policy`, or a `.hdf5` of
        D4RL's; by default the project's own partially trained policy for this environment.
      seed: of everything that is random.
      processes: how many share the work; it changes nothing but the time.
      name: of the dataset; by default what `naming` makes of the others.
      show_progress: draw a progress bar on standard error.

    Raises:
      DatasetError: an argument is wrong, the folder holds another collection or another process
        collects into it, or it cannot be written.
      KeyboardInterrupt: Ctrl-C; whole units stay, and the same call goes on from them.
    """
    if processes < 1:
        raise errors.DatasetError(f"processes must be 1 or more, got {processes}")
    if seed < 0:
        raise errors.DatasetError(f"seed must be 0 or more, got {seed}")
    configuration = mixtures.load_mixture(mixture)
    time_limit = environments.time_limit(environment)
    units = plan(configuration, transitions, time_limit)
    folder = files.local_path(folder)
    planned, behaviours = _plan_collection(
        folder, environment, configuration, transitions, policy_path, seed, name
    )
    with _sole_collector(folder):
        done = _check_same_collection(planned, units)
        jobs = [
            Job(
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
        collected.write_collection(collection)
        (folder / PLAN_FILE).unlink(missing_ok=True)
    return collection


def _filling(job: Job, jobs: list[Job], records: Mapping[str, collected.UnitRecord]) -> Job:
    """The job that fills its policy's share, less by what units of whole episodes hold over."""
    over = sum(
        records[other.unit.file].transitions - other.unit.transitions
        for other in jobs
        if other.unit.is_whole and other.unit.policy_id == job.unit.policy_id
    )
    unit = dataclasses.replace(job.unit, transitions=job.unit.transitions - over)
    return dataclasses.replace(job, unit=unit)


def _collect_units(
    jobs: list[Job],
    spec: episode.EpisodeSpec,
    done: collected.Collection | None,
    processes: int,
    show_progress: bool,
) -> dict[str, collected.UnitRecord]:
    """Collects the units that are not whole yet; gives the records of all by file."""
    found = {job.unit.file: _whole_unit(job, spec, done) for job in jobs}
    open_jobs = [job for job in jobs if found[job.unit.file] is None]
    with _progress(show_progress and bool(open_jobs), jobs, open_jobs) as advance:
        new = _run_jobs(open_jobs, processes, advance)
    return {file: record for file, record in found.items() if record} | new


def collect_unit(job: Job, report: Callable[[int], None]) -> collected.UnitRecord:
    """Collects one unit and writes its file.

    Args:
      job: what to collect.
      report: called now and then with the transitions gathered since the last call.
    """
    episodes = _lock_step_episodes(job, report)
    return collected.write_unit(job.path, episodes)


def _lock_step_episodes(job: Job, report: Callable[[int], None]) -> list[episode.Episode]:
    """The episodes of one unit, by the rule at the top of this file."""
    budget = job.unit.transitions
    copies = 1
    if job.time_limit is not None:
        copies = max(1, min(LOCK_STEP_COPIES, budget // job.time_limit))
    seeds = np.random.SeedSequence(job.seed, spawn_key=(job.unit.index,)).spawn(1 + copies)
    rng = np.random.default_rng(seeds[0])
    live = [environments.make_environment(job.environment, seed) for seed in seeds[1:]]
    # Row t holds, for every copy, what it saw at lock step t, the action it took then, and the
    # reward of the action before. A copy whose episode has ended resets instead of acting.
    observations: list[np.ndarray] = []
    actions: list[np.ndarray] = []
    rewards: list[np.ndarray] = []
    begun = _Begun(copies)
    action: Any = [None] * copies
    reported = 0
    while (begun.whole if job.unit.is_whole else begun.filled) < budget:
        row = len(observations)
        observation = np.empty((copies, *live[0].observation_spec().shape), np.float32)
        reward = np.zeros(copies, np.float32)
        for copy, env in enumerate(live):
            timestep = env.step(action[copy])
            observation[copy] = timestep.observation
            if timestep.first():
                begun.start(_Span(copy, row, env.episode_seed))
            else:
                reward[copy] = timestep.reward
                begun.go_on(copy, timestep)
        action = job.policy(rng, observation)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        if row % REPORT_EVERY == 0:
            gathered = min(budget, row * copies)
            report(gathered - reported)
            reported = gathered
    report(budget - reported)
    for env in live:
        env.close()
    return _cut_out(
        job, begun.spans, np.stack(observations), np.stack(actions), np.stack(rewards[1:])
    )


@dataclasses.dataclass
class _Span:
    """Where an episode lies in the lock-step history: its copy, and its rows from `start` on."""

    copy: int
    start: int
    environment_seed: int
    transitions: int = 0
    is_open: bool = True
    is_terminal: bool = False


class _Begun:
    """The episodes begun so far, in the order in which they started.

    Attributes:
      spans: where they lie.
      whole: how many transitions the whole episodes have, up to the oldest that is still open.
      filled: the same, and those of that one.
    """

    def __init__(self, copies: int):
        self.spans: list[_Span] = []
        self.whole = 0
        self.filled = 0
        self._of_copy: list[_Span | None] = [None] * copies
        self._oldest = 0

    def start(self, span: _Span) -> None:
        self.spans.append(span)
        self._of_copy[span.copy] = span

    def go_on(self, copy: int, timestep: dm_env.TimeStep) -> None:
        span = self._of_copy[copy]
        assert span is not None
        span.transitions += 1
        if timestep.last():
            span.is_open = False
            span.is_terminal = timestep.discount == 0
        while self._oldest < len(self.spans) and not self.spans[self._oldest].is_open:
            self.whole += self.spans[self._oldest].transitions
            self._oldest += 1
        is_one_open = self._oldest < len(self.spans)
        open_transitions = self.spans[self._oldest].transitions if is_one_open else 0
        self.filled = self.whole + open_transitions


def _cut_out(
    job: Job,
    spans: list[_Span],
    observations: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
) -> list[episode.Episode]:
    """Takes a unit's episodes out of the history: whole ones, then one that fills the budget.

    Of a unit of whole episodes that one is whole too.
    """
    episodes: list[episode.Episode] = []
    left = job.unit.transitions
    for number, span in enumerate(spans):
        if left <= 0:
            break
        length = span.transitions if job.unit.is_whole else min(span.transitions, left)
        is_cut = length < span.transitions or span.is_open
        # D4RL asks for the time limit first, and calls what ended there no terminal.
        is_at_limit = job.protocol == mixtures.D4RL and length == job.time_limit
        taken = slice(span.start, span.start + length)
        episodes.append(
            episode.Episode.from_transitions(
                observations[span.start : span.start + length + 1, span.copy],
                actions[taken, span.copy],
                rewards[taken, span.copy],
                is_terminal=span.is_terminal and not is_cut and not is_at_limit,
                extras={"policy_id": np.full(length, job.unit.policy_id, np.int32)},
                metadata={
                    "episode_id": np.int64(job.unit.index * UNIT_TRANSITIONS + number),
                    "environment_seed": np.int64(span.environment_seed),
                    "is_cut": np.bool_(is_cut),
                },
            )
        )
        left -= length
    return episodes


def _plan_collection(
    folder: pathlib.Path,
    environment: str,
    mixture: mixtures.Mixture,
    transitions: int,
    policy_path: str | pathlib.Path | None,
    seed: int,
    name: str | None,
) -> tuple[collected.Collection, list[policies.Policy]]:
    """The collection to come, as yet without units, and its policies by id."""
    environment = environments.resolve(environment)
    observation, action = specs(environment)
    loaded = source = None
    if any(entry.kind == mixtures.TANH_GAUSSIAN for entry in mixture.entries):
        loaded = policies.load_policy(policy_path or _shipped_policy(environment, mixture))
        source = loaded.for_observations(environment, *observation.shape)
        _check_fits(environment, observation, action, source)
    elif policy_path is not None:
        raise errors.DatasetError(
            f"the mixture {mixture.name!r} has no policy that --policy could give: leave it out"
        )
    minimum = np.broadcast_to(action.minimum, action.shape).astype(np.float32)
    maximum = np.broadcast_to(action.maximum, action.shape).astype(np.float32)
    behaviours, records = [], []
    for policy_id, entry in enumerate(mixture.entries):
        policy: policies.Policy = policies.Uniform(minimum, maximum)
        weights: tuple[tuple[str, str], ...] = ()
        if source is not None and entry.kind == mixtures.TANH_GAUSSIAN:
            policy = policies.TanhGaussian(
                source.layers, minimum, maximum, entry.mode, source.log_std
            )
            weights = source.files
        behaviours.append(policies.with_noise(policy, entry.sigma, entry.epsilon, minimum, maximum))
        records.append(
            collected.PolicyRecord(
                id=policy_id,
                name=entry.name,
                kind=entry.kind,
                mode=entry.mode,
                sigma=float(entry.sigma),
                epsilon=float(entry.epsilon),
                source=weights,
                transitions=mixture.counts(transitions)[policy_id],
            )
        )
    usual = naming.dataset_name(environment, mixture, loaded, transitions, seed)
    dataset = usual if name is None else name
    files.check_folder_name(dataset)
    collection = collected.Collection(
        folder=folder,
        dataset=dataset,
        environment=environment,
        mixture=mixture.name,
        seed=seed,
        observation={"shape": list(observation.shape), "dtype": "float32"},
        action={
            "shape": list(action.shape),
            "dtype": "float32",
            "minimum": minimum.tolist(),
            "maximum": maximum.tolist(),
        },
        policies=tuple(records),
        units=(),
        versions=versions(),
        protocol=mixture.protocol,
    )
    return collection, behaviours


def versions() -> dict[str, str]:
    """Versions of the packages that decide what is collected, by name."""
    packages = ("gymnasium", "mujoco", "numpy")
    return {
        "rl-datasets": rl_datasets.__version__,
        **{name: importlib.metadata.version(name) for name in packages},
    }


def specs(environment: str) -> tuple[dm_env.specs.Array, dm_env.specs.BoundedArray]:
    """Of an observation and an action.

    Raises:
      DatasetError: there is no such environment, or the policies here cannot act in it.
    """
    env = environments.make_environment(environment)
    observation, action = env.observation_spec(), env.action_spec()
    env.close()
    bounded = isinstance(action, dm_env.specs.BoundedArray) and action.dtype == np.float32
    if not bounded or len(action.shape) != 1 or len(observation.shape) != 1:
        raise errors.DatasetError(
            f"environment {environment!r} must have observations of one axis, and actions of "
            "bounded real numbers and one axis: choose another"
        )
    return observation, action


def _shipped_policy(environment: str, mixture: mixtures.Mixture) -> pathlib.Path:
    if mixture.protocol == mixtures.D4RL:
        raise errors.DatasetError(
            f"the mixture {mixture.name!r} needs a policy, and none is shipped for it: give D4RL's "
            "own file, which holds the one that collected it, such as halfcheetah_medium-v2.hdf5, "
            "or one that `rl-datasets train-policy` trained"
        )
    path = policies.partial_policy_path(environment)
    if not path.is_file():
        raise errors.DatasetError(
            f"no policy for {environment!r} is shipped ({path} does not exist): give the path of a "
            "policy"
        )
    return path


def _check_fits(
    environment: str,
    observation: dm_env.specs.Array,
    action: dm_env.specs.Array,
    source: policies.PolicySource,
) -> None:
    (size,), (action_size,) = observation.shape, action.shape
    inputs, outputs = source.layers[0][0].shape[0], source.layers[-1][0].shape[1]
    if (inputs, outputs) != (size, 2 * action_size):
        raise errors.DatasetError(
            f"the policy {source.files[0][0]} takes {inputs} observations and gives {outputs // 2} "
            f"actions, and {environment!r} has {size} and {action_size}: give the policy of this "
            "environment"
        )


@contextlib.contextmanager
def _sole_collector(folder: pathlib.Path) -> Iterator[None]:
    """Makes the folder, and holds it so that no other process collects into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.DatasetError(
            f"cannot make the folder {folder} ({error.strerror}): give another"
        ) from error
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.DatasetError(
                f"another process is collecting into {folder}: wait for it, or give another folder"
            ) from error
        files.remove_partial(folder)
        yield
    finally:
        os.close(descriptor)


def _check_same_collection(
    planned: collected.Collection, units: list[Unit]
) -> collected.Collection | None:
    """Checks that the folder holds nothing, or this very collection; notes the plan in it.

    Returns:
      The collection as it was completed before, if it was; its units may be damaged since.
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
        collected.write_atomically(plan_path, lambda file: file.write(text.encode("utf-8")))
    return done


def _whole_unit(
    job: Job, spec: episode.EpisodeSpec, done: collected.Collection | None
) -> collected.UnitRecord | None:
    """The record of a unit that an earlier run finished; None if it must be collected."""
    if not job.path.is_file():
        return None
    try:
        episodes = list(collected.read_unit(job.path))
        for each in episodes:
            episode.check_episode(each, spec)
    except (errors.DatasetError, episode.EpisodeError):
        return None  # Damaged since it was written: collecting it again gives the same bytes.
    transitions = sum(each.num_transitions for each in episodes)
    sha256 = files.sha256_of(job.path)
    record = collected.UnitRecord(job.unit.file, sha256, len(episodes), transitions)
    expected = done is None or record in done.units
    over = transitions - job.unit.transitions
    # Only D4RL's units are of whole episodes, and those have a time limit.
    is_full = 0 <= over < (job.time_limit or 0) if job.unit.is_whole else over == 0
    return record if expected and is_full else None


@contextlib.contextmanager
def _progress(show: bool, jobs: list[Job], open_jobs: list[Job]) -> Iterator[Callable[[int], None]]:
    total = sum(job.unit.transitions for job in jobs)
    columns = (
        rich.progress.TextColumn("collecting"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[rate]}"),
        rich.progress.TimeRemainingColumn(),
    )
    done = total - sum(job.unit.transitions for job in open_jobs)
    with rich.progress.Progress(
        *columns, console=rich.console.Console(stderr=True), disable=not show
    ) as bar:
        task = bar.add_task("collect", total=total, completed=done, rate="")

        def advance(steps: int) -> None:
            bar.advance(task, steps)
            speed = bar.tasks[0].speed
            if speed:
                bar.update(task, rate=f"{speed:,.0f} steps/s")

        yield advance


def _run_jobs(
    jobs: list[Job], processes: int, advance: Callable[[int], None]
) -> dict[str, collected.UnitRecord]:
    """Collects units; gives their records by file. One process is this one."""
    if min(processes, len(jobs)) <= 1:
        with threadpoolctl.threadpool_limits(1):
            return {job.unit.file: collect_unit(job, advance) for job in jobs}
    # Not fork: this process may have threads of TensorFlow, which a forked child would lack.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "gymnasium.envs.mujoco"])
    waiting = list(reversed(jobs))
    records: dict[str, collected.UnitRecord] = {}
    workers: dict[Any, Any] = {}
    try:
        with _interrupts_held_back():
            for _ in range(min(processes, len(jobs))):
                connection, theirs = context.Pipe()
                workers[connection] = context.Process(target=_work, args=(theirs,), daemon=True)
                workers[connection].start()
                theirs.close()
                connection.send(waiting.pop())
        while len(records) < len(jobs):
            ready: list[Any] = multiprocessing.connection.wait(list(workers))
            for connection in ready:
                message = connection.recv()
                if isinstance(message, int):
                    advance(message)
                elif isinstance(message, Exception):
                    raise message
                else:
                    records[message.file] = message
                    if waiting:
                        connection.send(waiting.pop())
    except (EOFError, ConnectionError) as error:
        raise errors.DatasetError(
            "a collecting process died, perhaps for want of memory: run the same command again to "
            "go on"
        ) from error
    finally:
        for connection, worker in workers.items():
            connection.close()
            worker.terminate()
            worker.join()
    return records


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Holds Ctrl-C back until the block ends, and from the processes that it starts for good."""
    multiprocessing.resource_tracker.ensure_running()  # Starting it later would let Ctrl-C through.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Any) -> None:
    """A worker process: collects the units that it is sent until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent handles Ctrl-C, and ends us so:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by an exception, which cleans up.
    with threadpoolctl.threadpool_limits(1), contextlib.suppress(EOFError, ConnectionError):
        while True:
            job = connection.recv()
            try:
                message: Any = collect_unit(job, connection.send)
            except ConnectionError:
                raise
            except errors.DatasetError as error:
                message = error
            except Exception as error:
                error.add_note(traceback.format_exc())
                message = error
            connection.send(message)
