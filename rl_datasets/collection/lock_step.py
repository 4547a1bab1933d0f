"""Collects one unit in copies of its environment that move in lock step.

The copies act together so that the policy sees a batch. The unit holds the episodes in the order in
which they started; those that started together are ordered by the copy's number. Each episode is
whole except the last, which is cut where the unit is full. So a unit has the distribution of one
environment run on its own, and at most one cut episode. Episodes that the other copies began after
it are dropped.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import dm_env
import dm_env.specs
import numpy as np

from rl_datasets import episode
from rl_datasets.collection import collected_folder, environments, mixtures, policies, unit_plan
from rl_datasets.sources import collected

# Episodes of MuJoCo's tasks have 1,000 steps, so 10 copies fill a unit in whole rounds: where no
# episode ends early, nothing is cut or dropped.
LOCK_STEP_COPIES = 10
REPORT_EVERY = 100  # lock steps


@dataclasses.dataclass(frozen=True)
class Job:
    """Everything that a process needs to collect one unit; it can be pickled."""

    unit: unit_plan.Unit
    environment: str
    policy: policies.Policy
    seed: int
    path: pathlib.Path
    time_limit: int | None
    protocol: str = mixtures.BRAC


def collect_unit(job: Job, report: Callable[[int], None]) -> collected.UnitRecord:
    """Collects one unit and writes its file.

    Args:
      job: what to collect.
      report: called at intervals with the number of transitions gathered since the last call.
    """
    episodes = _lock_step_episodes(job, report)
    return collected_folder.write_unit(job.path, episodes)


def _lock_step_episodes(job: Job, report: Callable[[int], None]) -> list[episode.Episode]:
    """The episodes of one unit, by the rule at the top of this file."""
    budget = job.unit.transitions
    copies = 1
    if job.time_limit is not None:
        copies = max(1, min(LOCK_STEP_COPIES, budget // job.time_limit))
    seeds = np.random.SeedSequence(job.seed, spawn_key=(job.unit.index,)).spawn(1 + copies)
    rng = np.random.default_rng(seeds[0])
    live = [environments.make_environment(job.environment, seed) for seed in seeds[1:]]
    # Row t holds, for each copy, the observation at lock step t, the action taken then, and the
    # reward of the previous action. A copy whose episode has ended resets instead of acting.
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
                begun.advance(copy, timestep)
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
    """The place of an episode in the lock-step history: its copy, and its rows from `start` on."""

    copy: int
    start: int
    environment_seed: int
    transitions: int = 0
    is_open: bool = True
    is_terminal: bool = False


class _Begun:
    """The episodes begun so far, in the order in which they started.

    Attributes:
      spans: their places.
      whole: number of transitions of the whole episodes before the oldest that is still open.
      filled: `whole`, and the transitions of that open episode.
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

    def advance(self, copy: int, timestep: dm_env.TimeStep) -> None:
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

    In a unit of whole episodes the last one is whole too.
    """
    episodes: list[episode.Episode] = []
    left = job.unit.transitions
    for number, span in enumerate(spans):
        if left <= 0:
            break
        length = span.transitions if job.unit.is_whole else min(span.transitions, left)
        is_cut = length < span.transitions or span.is_open
        # D4RL checks the time limit first: an episode that ends at the limit is not terminal.
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
                    "episode_id": np.int64(job.unit.index * unit_plan.UNIT_TRANSITIONS + number),
                    "environment_seed": np.int64(span.environment_seed),
                    "is_cut": np.bool_(is_cut),
                },
            )
        )
        left -= length
    return episodes
