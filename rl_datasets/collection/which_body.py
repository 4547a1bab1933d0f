"""Which body made these rows: one step from every state, in each body that a task has.

Data of Hopper, say, come from gym's v2 body or from gymnasium's v4 or v5, whose masses and contacts
are others (`bodies`). The rows tell. An observation of these tasks is the state but for where the
body stands, on which no step depends; so a row's state is set, its action is taken, and what comes
is compared with the row's next observation. The body that made the rows gives them back to the
rounding of their storage; another is off by 1e-2 rad/s and more.

A state is the one stored in the file's `infos/qpos` and `infos/qvel`, where these agree with the
row's observation: of the row itself or, as in D4RL's v2 files, of the row before, whose action led
to it. Else it is read off the observation. Hopper and Walker2d observe velocities clipped at 10,
and a row with one that was clipped and no stored state is left out.
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
EXACT_TO = 1e-4  # Float32 states give steps to 1e-6 or so, and another body ones off by 1e-2.
ROWS = 5_000


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a task's observations begin: qpos without its first numbers, then qvel.

    Attributes:
      unseen: the first numbers of qpos, which say where the body stands.
      nq: numbers in qpos.
      nv: numbers in qvel.
      actions: numbers in an action.
      observations: numbers in an observation of any version; what follows the state is contacts.
      clipped_at: no observed velocity is larger.
    """

    unseen: int
    nq: int
    nv: int
    actions: int
    observations: tuple[int, ...]
    clipped_at: float = np.inf

    @property
    def observed(self) -> int:
        """Numbers of an observation that are of the state."""
        return self.nq - self.unseen + self.nv

    def observe(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
        """[N, observed], of states [N, nq] and [N, nv]."""
        seen = np.clip(qvel, -self.clipped_at, self.clipped_at)
        return np.concatenate([qpos[:, self.unseen :], seen], axis=1)

    def states(self, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """qpos [N, nq] and qvel [N, nv] of [N, observed]; NaN where a velocity was clipped."""
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
      is_stored: [N] bool, whether the state was stored as such, and not read off the observation.
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
    """What came of one step from each state in one body.

    Attributes:
      environment: such as `Hopper-v2`.
      error: [N] the largest difference of a number of the state, in m, rad, m/s or rad/s.
      reward_error: [N]; Ant's is about 1e-3 at best, because it is rewarded from where its last
        Runge-Kutta step looked, which no state tells.
      terminals_differ: [N] bool.
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
        """Whether nine rows of ten come out as they are stored."""
        return self.percentiles[1] <= EXACT_TO


def investigate(
    name: str,
    read: Callable[[], Iterator[Episode]],
    task: str | None = None,
    rows: int | None = ROWS,
) -> list[Comparison]:
    """One step from every state of some data, in each body of each task that it may be of.

    Args:
      name: of the data, for what is said of them.
      read: gives the episodes, anew with each call.
      task: such as `Hopper`; by default every one whose shapes the data have.
      rows: at most so many of each, evenly spread; None for all.

    Raises:
      DatasetError: the data are of no such task, or no step can be taken again.
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
    """Episodes of a file of D4RL's layout (.hdf5), a collected folder, or BRAC's saved data.

    Args:
      source: the file, the folder, or the prefix of the checkpoint.

    Raises:
      DatasetError: it is none of them, or damaged.
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
            f"{path} is not there, or not of a kind that is known: name an .hdf5 file of D4RL's "
            "layout, a published version with its number, a collected folder, or the prefix of "
            "BRAC's saved data"
        )
    return brac.read_episodes(prefix)


def steps_of(episodes: Iterable[Episode], task: str, rows: int | None = None) -> Steps:
    """The steps of episodes that can be taken again.

    Left out are those from a state that is not known, and those to a final observation of zeros,
    by which readers of files without next observations stand for one that was never stored.

    Args:
      episodes: of the task.
      task: such as `Hopper`.
      rows: at most so many, evenly spread; None for all. Memory holds twice as many.
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
    """Takes every step again in an environment such as `Hopper-v2`.

    Args:
      environment: one of a task's versions.
      steps: of that task.
      advance: is told how many steps more are done.
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
    """One step from a state: observation, reward, and whether it ended the episode."""
    body: Any = environment.unwrapped
    mujoco.mj_resetData(body.model, body.data)  # Else the solver starts from the step before.
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
            f"nearest, and gives back {share:.0%} of them."
        )
    named = exact[0] if len(exact) == 1 else f"{', '.join(exact[:-1])} and {exact[-1]}"
    if len(exact) == 1:
        return f"{named} made these rows."
    return f"{named} make these rows alike: their bodies are the same."


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
            f"bodies are known of {', '.join(LAYOUTS)} alone: give data of one of these"
        )
    return found


def _steps(episode: Episode, layout: Layout) -> Steps:
    observation = np.asarray(episode.one_observation, np.float64)[:, : layout.observed]
    before = observation[:-1]
    qpos, qvel = layout.states(before)
    is_stored = np.zeros(len(before), np.bool_)
    for stored in _stored_states(episode, layout):
        told = layout.observe(*stored)
        with np.errstate(invalid="ignore"):
            is_own = np.all(np.abs(told - before) <= STORED_TO * (1 + np.abs(before)), axis=1)
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
    """What may be the states before each step: its own row's, and those of the row before."""
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
