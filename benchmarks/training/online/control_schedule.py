"""Online soft actor-critic: when a policy counts as partially trained, and when as an expert.

BRAC (Wu et al. 2019, arXiv 1911.11361) collects its data with policies of half-finished SAC runs.
Every 5,000 steps the mode of the policy plays 20 episodes, and the first policy whose last two
evaluations both reach the target is saved. There is one update per environment step, after 10,000
steps with uniformly random actions.

D4RL (Fu et al. 2020, arXiv 2004.07219) trained with rlkit's SAC: `medium` is a policy of medium
performance, `medium-replay` the replay buffer at that moment, `expert` the policy at the end.
Neither that performance nor the end is stated. Here, `medium` is the policy that returns as much as
D4RL's own medium policy, by BRAC's rule, and the end is where evaluations hardly improve any more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from learners import sac
from rl_datasets.collection import environments
from rl_datasets.errors import DatasetError

PARTIAL, MEDIUM, EXPERT = "partial", "medium", "expert"

# The mean return that a policy must reach twice in a row. For partially trained policies,
# HalfCheetah's is in BRAC's README, and the others are the default of its `eval_target` flag. For
# medium policies, it is what the policies in D4RL's `-medium-v2` files returned over 1,000,000
# transitions in that body (benchmarks/results/d4rl_comparison has the v2 bodies). An expert has no
# target.
TARGETS = {
    PARTIAL: {
        **{f"HalfCheetah-{version}": 4000.0 for version in ("v2", "v4")},
        **{
            f"{task}-{version}": 1000.0
            for task in ("Hopper", "Walker2d", "Ant")
            for version in ("v2", "v4")
        },
    },
    MEDIUM: {
        "HalfCheetah-v2": 4743.0,
        "Hopper-v2": 1401.0,
        "Walker2d-v2": 2850.0,
        "HalfCheetah-v4": 4750.0,
        "Hopper-v4": 1259.0,
        "Walker2d-v4": 2868.0,
    },
    EXPERT: {},
}

# BRAC's README says (300, 300), but the critics in the checkpoints that it ships are these.
BRAC_SAC = sac.Config(critic_sizes=(200, 200))

# examples/sac.py of rlkit; its log standard deviations are clipped, where BRAC's are squashed.
RLKIT_SAC = sac.Config(
    policy_sizes=(256, 256), critic_sizes=(256, 256), learning_rate=3e-4, adam_epsilon=1e-8
)
# rlkit explores with its untrained policy. Here actions are uniform, as in BRAC.
RLKIT_EXPLORATION_STEPS = 1_000


@dataclasses.dataclass(frozen=True)
class ControlSchedule:
    """How long to train online, and when to stop; the defaults are BRAC's.

    Attributes:
      environment: gymnasium id.
      target: mean return that `patience` evaluations in a row must reach; None to continue until
        the policy hardly improves any more.
      patience: the number of evaluations in a row.
      window: without a target, training ends when the mean of the last `window` evaluations exceeds
        that of the previous `window` by less than `gain`.
      gain: a fraction of the previous mean.
      exploration_steps: environment steps with uniformly random actions, without updates.
      evaluation_interval: environment steps between evaluations.
      evaluation_episodes: episodes per evaluation, played with the mode of the policy.
      max_steps: environment steps after which training gives up.
      batch_size: transitions per update.
      replay_capacity: most transitions in the replay buffer; then the oldest are overwritten.
    """

    environment: str
    target: float | None
    patience: int = 2
    window: int = 40
    gain: float = 0.05
    exploration_steps: int = 10_000
    evaluation_interval: int = 5_000
    evaluation_episodes: int = 20
    max_steps: int = 1_000_000
    batch_size: int = 256
    replay_capacity: int = 1_000_000


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The mean return of the mode policy after a number of environment steps."""

    step: int
    mean_return: float


def has_reached(evaluations: Sequence[Evaluation], target: float, patience: int) -> bool:
    """Whether the last `patience` evaluations all reach the target."""
    recent = evaluations[-patience:]
    return len(recent) == patience and all(e.mean_return >= target for e in recent)


def has_converged(evaluations: Sequence[Evaluation], window: int, gain: float) -> bool:
    """Whether the last `window` evaluations exceed the previous ones by less than `gain`."""
    if len(evaluations) < 2 * window:
        return False
    before, last = np.reshape([e.mean_return for e in evaluations[-2 * window :]], (2, -1)).mean(1)
    return bool(last - before < gain * abs(before))


def is_done(schedule: ControlSchedule, evaluations: Sequence[Evaluation]) -> bool:
    if schedule.target is None:
        return has_converged(evaluations, schedule.window, schedule.gain)
    return has_reached(evaluations, schedule.target, schedule.patience)


def schedule_of(
    kind: str, environment: str, target: float | None, max_steps: int
) -> tuple[ControlSchedule, sac.Config]:
    """The schedule and the learner of a kind of policy.

    Args:
      kind: `partial`, `medium` or `expert`, as the module says.
      environment: gymnasium id.
      target: mean return to reach twice in a row; None for the kind's own.
      max_steps: environment steps after which training gives up.

    Raises:
      DatasetError: there is no such kind; or it has no target of its own for the environment, or
        takes none.
    """
    if kind not in TARGETS:
        raise DatasetError(f"there is no kind of policy {kind!r}: give one of {', '.join(TARGETS)}")
    if kind == EXPERT and target is not None:
        raise DatasetError("an expert trains until it hardly improves: give no --target")
    environment = environments.resolve(environment)
    if kind != EXPERT and target is None:
        target = TARGETS[kind].get(environment)
        if target is None:
            raise DatasetError(
                f"there is no target of a {kind} policy for {environment}: give one with --target"
            )
    if kind == PARTIAL:
        return ControlSchedule(environment, target, max_steps=max_steps), BRAC_SAC
    schedule = ControlSchedule(
        environment, target, exploration_steps=RLKIT_EXPLORATION_STEPS, max_steps=max_steps
    )
    return schedule, RLKIT_SAC
