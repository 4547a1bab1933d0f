"""Finds the body that made given rows, by one step from every state in each body of a task.

Data of Hopper, for example, come from gym's v2 body or from gymnasium's v4 or v5, whose masses and
contacts differ (`bodies`). The rows show which. An observation of these tasks is the state without
the body's position, on which no step depends. So the state of a row is set, its action is taken,
and the result is compared with the row's next observation. The body that made the rows reproduces
them up to the rounding of their storage; another is off by 1e-2 rad/s or more.

The state comes from the file's `infos/qpos` and `infos/qvel` where these agree with the row's
observation: those of the row itself or, as in D4RL's v2 files, of the previous row, whose action
led to it. Otherwise it is taken from the observation. Hopper and Walker2d clip observed velocities
at 10; a row with a clipped velocity and no stored state is left out.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import mujoco
import numpy as np

from rl_datasets import terminal
from rl_datasets.collection import environments
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.sources import brac, collected, d4rl

VERSIONS = ("v2", "v4", "v5")
STORED_TO = 1e-6  # A stored state is a row's if its observation says so, up to float32.
EXACT_TO = 1e-4  # Float32 states reproduce steps to about 1e-6; another body is off by 1e-2.
ROWS = 5_000


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a task's observations begin: qpos without its first numbers, then qvel.

    Attributes:
      unseen: how many of qpos's first numbers, the body's position, are not observed.
      nq: size of qpos.
      nv: size of qvel.
      actions: size of an action.
      observations: sizes of an observation in all versions; contacts come after the state.
      clipped_at: the bound at which observed velocities are clipped.
    """

    unseen: int
    nq: int
    nv: int
    actions: int
    observations: tuple[int, ...]
    clipped_at: float = np.inf

    @property
    def observed(self) -> int:
        """The number of values of an observation that belong to the state."""
        return self.nq - self.unseen + self.nv

    def observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """Observations [N, observed] of states [N, nq] and [N, nv]."""
        seen = np.clip(qvel, -self.clipped_at, self.clipped_at)
        return np.concatenate([qpos[:, self.unseen :], seen], axis=1)

    def states(self, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """States [N, nq] and [N, nv] of observations; NaN where a velocity was clipped."""
        qpos = np.pad(observation[:, : -self.nv], [(0, 0), (self.unseen, 0)])
        qvel = observation[:, -self.nv :]
        return qpos, np.where(np.abs(qvel) < self.clipped_at, qvel, np.nan)


LAYOUTS: Mapping[str, Layout] = {
    "Ant": Layout(2, 15, 14, 8, (27, 105, 111)),
    "HalfCheetah": Layout(1, 9, 9, 6, (17,)),
    "Hopper": Layout(1, 6, 6, 3, (11,), clipped_at=10),
    "Walker2d": Layout(1, 9, 9, 6, (17,), clipped_at=10),
}


@dataclasses.dataclass(frozen=True)
class Steps:
    """Single steps of a task.

    Attributes:
      qpos: [N, nq] float64, before the step.
      qvel: [N, nv] float64, before the step.
      action: [N, actions].
      seen: [N, observed] float64, after the step.
      reward: [N] float64.
      is_terminal: [N] bool.
      is_stored: [N] bool, whether the state was stored, and not taken from the observation.
    """

    qpos: np.ndarray
    qvel: np.ndarray
    action: np.ndarray
    seen: np.ndarray
    reward: np.ndarray
    is_terminal: np.ndarray
    is_stored: np.ndarray

    def __len__(self) -> int:
        return len(self.action)

    def __getitem__(self, rows: slice | np.ndarray) -> Steps:
        return Steps(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One step from each state in one body, compared with the stored rows.

    Attributes:
      environment: such as `Hopper-v2`.
      error: [N] the largest difference of a value of the state, in m, rad, m/s or rad/s.
      reward_error: [N] the difference of the rewards; Ant's is about 1e-3 at best, because its
        reward depends on the last Runge-Kutta stage, which the state does not hold.
      terminals_differ: [N] bool, whether the step ended the episode and the row did not, or the
        other way round.
    """

    environment: str
    error: np.ndarray
    reward_error: np.ndarray
    terminals_differ: np.ndarray

    @property
    def percentiles(self) -> tuple[float, float, float]:
        """The error's median, 90th percentile and maximum."""
        median, ninetieth, largest = np.percentile(self.error, [50, 90, 100])
        return float(median), float(ninetieth), float(largest)

    @property
    def is_exact(self) -> bool:
        """Whether nine of ten rows come out as they are stored."""
        return self.percentiles[1] <= EXACT_TO


def investigate(
    name: str,
    read: Callable[[], Iterator[Episode]],
    task: str | None = None,
    rows: int | None = ROWS,
) -> list[Comparison]:
    """Compares one step from every state of some data, in each body of each task that fits.

    Args:
      name: the name of the data, for error messages.
      read: returns the episodes, from the start with each call.
      task: such as `Hopper`; by default every task whose shapes the data have.
      rows: the most rows to use for each task, evenly spread; None for all.

    Raises:
      DatasetError: the data do not fit the task, or no step can be repeated.
    """
    first = next(read(), None)
    if first is None:
        raise DatasetError(f"{name} has no episode: give data of one transition or more")
    fitting = _tasks_of(name, first)
    if task not in (None, *fitting):
        raise DatasetError(
            f"{name} has the shapes of {' and '.join(fitting)}: leave --task {task} out"
        )
    steps = {
        each: taken
        for each in ([task] if task else fitting)
        if len(taken := steps_of(read(), each, rows))
    }
    if not steps:
        raise DatasetError(
            f"{name} has no row whose state and next observation are both known, because "
            f"{' and '.join(fitting)} clip velocities at 10: give data with infos/qpos and "
            "infos/qvel"
        )
    total = len(VERSIONS) * sum(len(each) for each in steps.values())
    with terminal.progress("steps", total) as advance:
        return [
            compare(f"{each}-{version}", taken, advance)
            for each, taken in steps.items()
            for version in VERSIONS
        ]


def read_episodes(source: str | pathlib.Path) -> Iterator[Episode]:
    """Reads episodes of a file in D4RL's layout (.hdf5), a collected folder, or BRAC's saved data.

    Args:
      source: the file, the folder, or the prefix of the checkpoint.

    Raises:
      DatasetError: the source is none of these, or damaged.
    """
    path = pathlib.Path(source)
    if path.suffix in (".hdf5", ".h5"):
        return d4rl.read_episodes(path, d4rl.task_of_shapes(path))
    if path.is_dir():
        units = collected.read_collection(path).units
        return (each for unit in units for each in collected.read_unit(path / unit.file))
    prefix = str(path).removesuffix(".index")
    if not pathlib.Path(f"{prefix}.index").is_file():
        raise DatasetError(
            f"{path} does not exist, or its kind is not known: name an .hdf5 file in D4RL's "
            "layout, a published version with its number, a collected folder, or the prefix of "
            "BRAC's saved data"
        )
    return brac.read_episodes(prefix)


def steps_of(episodes: Iterable[Episode], task: str, rows: int | None = None) -> Steps:
    """The steps of episodes that can be repeated.

    Steps from an unknown state are left out. So are steps to a final observation of zeros, which
    readers put in place of one that the file does not hold.

    Args:
      episodes: episodes of the task.
      task: such as `Hopper`.
      rows: the most steps to return, evenly spread; None for all. Memory holds up to twice as many.
    """
    kept: list[Steps] = []
    stride, count, begin = 1, 0, 0
    for episode in episodes:
        steps = _steps(episode, LAYOUTS[task])
        chosen = steps[slice(-begin % stride, None, stride)]
        begin += len(steps)
        kept.append(chosen)
        count += len(chosen)
        while rows is not None and count > 2 * rows:
            kept = [_joined(kept)[::2]]
            stride, count = 2 * stride, len(kept[0])
    steps = _joined(kept)
    if rows is None or count <= rows:
        return steps
    return steps[np.linspace(0, count - 1, rows).round().astype(int)]


def compare(
    environment: str, steps: Steps, advance: Callable[[int], None] = lambda done: None
) -> Comparison:
    """Repeats every step in an environment such as `Hopper-v2`.

    Args:
      environment: one of a task's versions.
      steps: steps of that task.
      advance: called with the number of steps done since the last call.
    """
    made = environments.make_gymnasium(environment)
    seen, rewards = np.empty_like(steps.seen), np.empty(len(steps))
    terminated = np.empty(len(steps), np.bool_)
    for i in range(len(steps)):
        observation, rewards[i], terminated[i] = step(
            made, steps.qpos[i], steps.qvel[i], steps.action[i]
        )
        seen[i] = observation[: seen.shape[1]]
        advance(1)
    made.close()
    return Comparison(
        environment,
        error=np.abs(seen - steps.seen).max(axis=1),
        reward_error=np.abs(rewards - steps.reward),
        terminals_differ=terminated != steps.is_terminal,
    )


def step(
    environment: gymnasium.Env, qpos: np.ndarray, qvel: np.ndarray, action: np.ndarray
) -> tuple[np.ndarray, float, bool]:
    """Takes one step from a state: observation, reward, and whether it ended the episode."""
    body: Any = environment.unwrapped
    mujoco.mj_resetData(body.model, body.data)  # Or the solver starts from the previous step.
    body.set_state(qpos, qvel)
    observation, reward, terminated, _, _ = body.step(action.astype(np.float64))
    return observation, float(reward), bool(terminated)


def verdict(comparisons: Sequence[Comparison]) -> str:
    """A sentence that names the body, or says that none of them made the rows."""
    exact = [each.environment for each in comparisons if each.is_exact]
    if not exact:
        best = min(comparisons, key=lambda each: float(np.median(each.error)))
        share = np.mean(best.error <= EXACT_TO)
        return (
            f"No body of MuJoCo {mujoco.__version__} made these rows: {best.environment} comes "
            f"closest, and reproduces {share:.0%} of them."
        )
    named = exact[0] if len(exact) == 1 else f"{', '.join(exact[:-1])} and {exact[-1]}"
    if len(exact) == 1:
        return f"{named} made these rows."
    return f"{named} make the same rows: their bodies are the same."


def _tasks_of(name: str, episode: Episode) -> list[str]:
    """The tasks whose observations and actions have the shapes of an episode's."""
    observation, action = np.shape(episode.one_observation)[1:], np.shape(episode.action)[1:]
    found = [
        task
        for task, layout in LAYOUTS.items()
        if observation in [(size,) for size in layout.observations] and action == (layout.actions,)
    ]
    if not found:
        raise DatasetError(
            f"{name} has observations of shape {observation} and actions of shape {action}, and "
            f"bodies are known only of {', '.join(LAYOUTS)}: give data of one of these"
        )
    return found


def _steps(episode: Episode, layout: Layout) -> Steps:
    observation = np.asarray(episode.one_observation, np.float64)[:, : layout.observed]
    before = observation[:-1]
    qpos, qvel = layout.states(before)
    is_stored = np.zeros(len(before), np.bool_)
    for stored in _stored_states(episode, layout):
        observed = layout.observe(*stored)
        with np.errstate(invalid="ignore"):
            is_own = np.all(np.abs(observed - before) <= STORED_TO * (1 + np.abs(before)), axis=1)
        qpos[is_own], qvel[is_own] = stored[0][is_own], stored[1][is_own]
        is_stored |= is_own
    is_known = ~np.isnan(qvel).any(axis=1) & observation[1:].any(axis=1)
    return Steps(
        qpos=qpos,
        qvel=qvel,
        action=episode.action[:-1],
        seen=observation[1:],
        reward=episode.reward[:-1].astype(np.float64),
        is_terminal=episode.is_terminal[1:],
        is_stored=is_stored,
    )[is_known]


def _stored_states(episode: Episode, layout: Layout) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Candidates for the state before each step: its own row's, and the previous row's."""
    if not {"qpos", "qvel"} <= episode.extras.keys():
        return
    state = [np.asarray(episode.extras[name], np.float64) for name in ("qpos", "qvel")]
    if [each.shape[1:] for each in state] != [(layout.nq,), (layout.nv,)]:
        return
    yield state[0][:-1], state[1][:-1]
    nowhere = [np.full_like(each[:1], np.nan) for each in state]
    qpos, qvel = (np.concatenate(pair)[:-2] for pair in zip(nowhere, state, strict=True))
    yield qpos, qvel


def _joined(steps: Sequence[Steps]) -> Steps:
    fields = dataclasses.fields(Steps)
    return Steps(*(np.concatenate([getattr(s, field.name) for s in steps]) for field in fields))
