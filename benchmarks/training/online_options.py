"""How a row continues in its game after the data: the table `[online]` of a recipe."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from benchmarks.training.row import Count
from rl_datasets.errors import DatasetError

Steps = Annotated[int, "[0, inf)"]
Share = Annotated[float, "[0, 1]"]


@dataclasses.dataclass(frozen=True)
class GuideOptions:
    """In which steps the teacher acts in the agent's place.

    The defaults are those of jsrl.gin of google-research/reincarnating_rl.

    Attributes:
      horizon: the first part of an episode has 1 to this number of steps, drawn uniformly.
      horizon_factor: of the horizon, after each iteration.
      acts_first: whether the teacher acts in the first part; the agent does otherwise.
      share: probability that the teacher acts in a step after the first part, at the start.
      share_steps: agent steps in which this probability falls linearly to 0.
    """

    horizon: Count = 100
    horizon_factor: Annotated[float, "(0, 1]"] = 1.0
    acts_first: bool = False
    share: Share = 1.0
    share_steps: Count = 2_500_000


@dataclasses.dataclass(frozen=True)
class OnlineOptions:
    """The online phase of a run; a step is an agent step, of four frames.

    The defaults are those of google-research/reincarnating_rl (arXiv:2206.01626).

    Attributes:
      iterations: each of which ends with an evaluation.
      steps_per_iteration: least number of steps of an iteration, which plays its last episode to
        the end.
      buffer_rows: of the replay buffer, which begins empty.
      min_replay: number of rows, with padding, that the buffer must exceed before the agent learns.
      update_period: steps between gradient steps.
      epsilon: final probability of a random action.
      epsilon_decay_steps: number of steps in which this probability falls linearly from 1; the
        gradient steps of the offline phase count as steps.
      skips_offline: whether there is no offline phase.
      starts_as_teacher: whether the agent starts with the teacher's parameters.
      learner, config, n_step: of the online phase, where they differ from those of the offline one;
        config adds to the row's unless the learner is another.
      keeps_optimizer: whether the state of the optimiser is carried over; it starts anew otherwise.
      prioritizes: whether batches are drawn by priority.
      teacher_share: probability that a transition of a batch is one of the dataset's.
      weight_rule: how the weight of the distillation follows from an evaluation: see
        `distillation_weight`.
      weight_steps: the weight is 0 after the first iteration that ends after this step.
      guide: a teacher acts in some of the steps.
    """

    iterations: Count = 10
    steps_per_iteration: Count = 250_000
    buffer_rows: Count = 1_000_000
    min_replay: Count = 20_000
    update_period: Count = 4
    epsilon: Share = 0.01
    epsilon_decay_steps: Count = 50_000
    skips_offline: bool = False
    starts_as_teacher: bool = False
    learner: str = ""
    config: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    n_step: Steps = 0
    keeps_optimizer: bool = True
    prioritizes: bool = False
    teacher_share: Share = 0.0
    weight_rule: Literal["latched", "paper", "constant"] = "latched"
    weight_steps: Count = 1_500_000
    guide: GuideOptions | None = None

    def __post_init__(self) -> None:
        if self.min_replay >= self.buffer_rows:
            raise DatasetError(
                f"min_replay must be below buffer_rows, {self.buffer_rows}, got {self.min_replay}"
            )
        if self.starts_as_teacher and not self.skips_offline:
            raise DatasetError("starts_as_teacher goes with skips_offline alone: set both")
        if self.prioritizes and self.teacher_share:
            raise DatasetError("prioritizes and teacher_share do not go together: leave one out")

    def epsilon_at(self, step: int) -> float:
        """Probability of a random action at a step, counted from 1."""
        left = max(0.0, 1 - step / self.epsilon_decay_steps)
        return self.epsilon + (1 - self.epsilon) * left

    def iterations_at(self, budget: float) -> int:
        """The number of iterations at a fraction of the full budget."""
        return max(1, round(self.iterations * budget))


def distillation_weight(
    rule: str, weight: float, score: float, teacher_score: float, random_score: float
) -> float:
    """The weight of the distillation after an evaluation, 0 or more.

    `latched`, as in the released code, is 1 - (score - random) / (teacher - random); once it is 0
    it stays 0. `paper`, as arXiv:2206.01626 prints it, is 1 - score / teacher. `constant` does not
    change.

    Args:
      rule: one of these.
      weight: before the evaluation.
      score: mean return of the evaluation.
      teacher_score: of the teacher.
      random_score: of a policy that acts at random.
    """
    if rule == "constant":
        return weight
    if rule == "paper":
        return max(0.0, 1 - score / teacher_score)
    if weight <= 0:
        return 0.0
    return max(0.0, 1 - (score - random_score) / (teacher_score - random_score + 1e-8))
