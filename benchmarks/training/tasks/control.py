"""The task of a row of continuous control: vectors as data, scored in a gymnasium environment."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np
from dm_env import specs

from benchmarks.training.evaluation import Act, evaluate
from benchmarks.training.recipe import Recipe
from benchmarks.training.row import (
    AS_SERVED,
    AS_STORED,
    CORRECTED,
    QLEARNING_DATASET,
    RETURN_RANGE,
    UNIFORM,
    Row,
)
from benchmarks.training.tasks import memory
from learners import types
from rl_datasets.collection.environments import make_environment, resolve
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.serving import time_limits
from rl_datasets.serving.cut import ONE_STEP, Cut, observation_bytes
from rl_datasets.serving.d4rl import load_qlearning_dataset
from rl_datasets.serving.loading import load_transitions, transitions_by_episode
from rl_datasets.serving.rewards import return_range
from rl_datasets.serving.share import Share
from rl_datasets.serving.statistics import mean_and_std
from rl_datasets.serving.transitions import NEXT_ACTION, Transition


@dataclasses.dataclass(frozen=True)
class ContinuousControl:
    """A row whose observations and actions are vectors.

    Attributes:
      row: the recipe's row.
      version: the published dataset.
      collected_in: the environment in which the data were collected, by the manifest.
      discount: the learner's discount, if the row's transitions have several rewards.
      extras: names of the extras of transitions that the learner reads.
      identity: the fields that the task adds to a run's identity.
      cut: how a feed cuts the version into transitions.

    Raises:
      DatasetError: from `cut`, only the feed `arrays` has the row's reading; from `transitions`,
        the row's learner reads the next action, which that reading lacks.
    """

    row: Row
    version: Version
    collected_in: str
    discount: float = 1.0
    extras: tuple[str, ...] = ()
    spec_type: ClassVar = types.Spec
    sampling: ClassVar[None] = None

    @classmethod
    def of(cls, recipe: Recipe, row: Row, version: Version) -> ContinuousControl:
        """The task of a row.

        Raises:
          DatasetError: the row's reading or sampling is one of games; its learner cannot have its
            n_step; or the data are of another environment, and the row does not say that this is
            intended.
        """
        if row.data.reading == AS_STORED:
            raise DatasetError(
                f"row {row.name!r} reads rewards as stored, which only episodes of RL Unplugged's "
                "games have: leave out its reading"
            )
        if row.data.sampling != UNIFORM:
            raise DatasetError(
                f"row {row.name!r} draws its batches as {row.data.sampling} does, from files that "
                "only data of games have: leave out its sampling"
            )
        collected_in = _check_environment(row, version)
        discount = 1.0 if row.data.n_step == 1 else recipe.discount(row)
        return cls(row, version, collected_in, discount)

    @property
    def identity(self) -> Mapping[str, Any]:
        plain = {
            "split": "all",
            "n_step": 1,
            "behavior": "",
            **AS_SERVED,
        }
        differs = self.row.differing(plain)
        if self.collected_in != self.row.scoring.environment:
            differs["collected_in"] = self.collected_in
        return differs | self.row.data.identity_of_share

    def reward_scale(self, feed: str) -> float:
        """The factor by which rewards are multiplied.

        Args:
          feed: for `arrays`, which holds the data in memory, they are loaded; for other feeds they
            are read in one pass.
        """
        if self.row.data.reward_scale == RETURN_RANGE:
            return 1000.0 / return_range(self._pieces(feed))
        return float(self.row.data.reward_scale)

    @property
    def cut(self) -> Cut:
        if self._reading:
            raise DatasetError(
                f"row {self.row.name!r} sets {' and '.join(self._reading)}, which only the feed "
                "arrays gives: use that feed"
            )
        return self._cut

    @property
    def _cut(self) -> Cut:
        return Cut(self.row.data.n_step, self.discount, next_action=NEXT_ACTION in self.extras)

    @property
    def _reading(self) -> Mapping[str, Any]:
        """The settings by which the row's transitions differ from the corrected ones."""
        names = ("reading", "across_time_limits")
        return {name: self.identity[name] for name in names if name in self.identity}

    def read_by(self, name: str, extras: tuple[str, ...]) -> ContinuousControl:
        """The task for the learner of this name, which reads these extras.

        Raises:
          DatasetError: the data do not have what the learner reads.
        """
        if others := set(extras) - {NEXT_ACTION}:
            raise DatasetError(
                f"learner {name} reads {min(others)} of a transition, which no feed gives: name "
                f"another for row {self.row.name!r}"
            )
        if self._reading and extras:
            raise DatasetError(
                f"row {self.row.name!r} sets {' and '.join(self._reading)}, which gives no next "
                "action, and its learner reads that: change the setting or the learner"
            )
        return dataclasses.replace(self, extras=extras)

    def transitions(self) -> Any:
        """All data that the row trains on, loaded into memory."""
        data = self.row.data
        return _transitions(
            self.version, data.split, self._cut, data.uniform_share(), **self._reading
        )

    def _pieces(self, feed: str) -> Iterable[Transition]:
        """The data as one piece if the feed holds them in memory, otherwise one per episode."""
        if feed == "arrays":
            return [self.transitions()]
        data = self.row.data
        return transitions_by_episode(self.version, data.split, self._cut, data.uniform_share())

    def check_memory(self) -> None:
        """Refuses data that do not fit in memory.

        Raises:
          DatasetError: they do not fit.
        """
        data, spec = self.row.data, self.version.episode_spec
        transitions = self.version.counts(data.split).transitions
        share = data.uniform_share()
        rows = transitions if share is None else share.size(transitions)
        size = 2 * observation_bytes(spec) + spec.action.generate_value().nbytes
        memory.check(self.version, "transitions", rows * size)

    def shapes(self) -> types.Spec:
        """The spec without its statistics, from the version's manifest; reads no data.

        Raises:
          DatasetError: there is no such split, or as `spec`.
        """
        self.version.split_names(self.row.data.split)
        published = self.version.episode_spec
        observation = published.observation
        shape = (
            (sum(math.prod(array.shape) for array in observation.values()),)
            if isinstance(observation, Mapping)
            else observation.shape
        )
        return self._spec(shape, published.action.shape)

    def spec(self, feed: str = "arrays") -> types.Spec:
        """The spec, with bounds from the environment and statistics from the data.

        In float64 the statistics for `arrays` and for other feeds are equal up to rounding, so in
        float32 they differ by the last bit at most.

        Args:
          feed: as in `reward_scale`.

        Raises:
          DatasetError: the data do not fit the environment, or it has no continuous control.
        """
        mean, std = mean_and_std(piece.observation for piece in self._pieces(feed))
        return dataclasses.replace(
            self.shapes(),
            observation_mean=mean.astype(np.float32),
            observation_std=std.astype(np.float32),
        )

    def _spec(self, observation: tuple[int, ...], action: tuple[int, ...]) -> types.Spec:
        """The spec for data of these shapes, without statistics."""
        where = self.row.scoring.environment
        with contextlib.closing(make_environment(where, 0)) as environment:
            of_environment = environment.observation_spec(), environment.action_spec()
        if isinstance(of_environment[1], specs.DiscreteArray):
            raise DatasetError(
                f"{where} has numbered actions, and of such environments only DQN "
                "Replay's games are known: name one as it spells them, such as Pong"
            )
        names = ("observations", "actions")
        for name, of_data, spec in zip(names, (observation, action), of_environment, strict=True):
            if of_data != spec.shape:
                raise DatasetError(
                    f"{self.row.data.dataset} has {name} of shape {of_data}, and {where} has "
                    f"{spec.shape}: name the environment that the data are from"
                )
            if len(of_data) != 1:
                raise DatasetError(
                    f"{where} has {name} of shape {of_data}, and a learner of "
                    "vectors needs one axis: choose another environment"
                )
        bounds = of_environment[1]
        if not isinstance(bounds, specs.BoundedArray):
            raise DatasetError(
                f"{where} does not bound its actions, and the learners need bounds: "
                "choose another environment"
            )
        return types.Spec(observation[0], action[0], bounds.minimum, bounds.maximum)

    def batches(self, spec: types.Spec, leading: tuple[int, ...]) -> Transition:
        """The shapes of a batch with these leading axes: [*leading, ...]."""
        observation = jax.ShapeDtypeStruct((*leading, spec.observation_size), np.float32)
        action = jax.ShapeDtypeStruct((*leading, spec.action_size), np.float32)
        scalar = jax.ShapeDtypeStruct(leading, np.float32)
        extras = dict.fromkeys(self.extras, action)
        return Transition(observation, action, scalar, scalar, observation, extras)

    def steps_in_a_call(self, evaluate_every: int) -> int:
        """Number of gradient steps of one jitted update, which bounds the memory for batches."""
        return math.gcd(evaluate_every, 100)

    def score(self, act: Act, episodes: int, seed: Sequence[int]) -> np.ndarray:
        """Plays whole episodes, and returns their returns, [episodes] float64."""
        return evaluate(self.row.scoring.environment, act, episodes, seed)


def _check_environment(row: Row, version: Version) -> str:
    """The environment in which the data were collected.

    It must be the row's, unless the row explicitly names another. The names are compared, because
    bodies of different versions have observations of the same shape.
    """
    scored_in = row.scoring.environment
    named = version.lineage.environment
    collected_in = named or "an environment that its manifest does not name"
    if collected_in == scored_in:
        return collected_in
    if row.scoring.in_another_environment:
        resolved = resolve(scored_in)
        if resolved != scored_in:
            raise DatasetError(
                f"row {row.name!r} names its environment {scored_in!r} without a version: "
                f"name one, such as {resolved}"
            )
        return collected_in
    raise DatasetError(
        f"{row.data.dataset} is of {collected_in}, and row {row.name!r} is scored in "
        f"{scored_in}: name the environment of the data, or set "
        "in_another_environment = true in the row if you mean it"
    )


@functools.lru_cache(maxsize=2)  # for successive cells of a row, with and without extras
def _transitions(
    version: Version,
    split: str,
    cut: Cut,
    share: Share | None,
    reading: str = CORRECTED,
    across_time_limits: bool = False,
) -> Any:
    if reading == QLEARNING_DATASET:
        loaded = load_qlearning_dataset(version, split)
    else:
        loaded = load_transitions(version, split, ONE_STEP if across_time_limits else cut, share)
    if across_time_limits:
        loaded = time_limits.across_time_limits(loaded, cut.n_step, cut.gamma)
    return with_extras(loaded, (NEXT_ACTION,) if cut.next_action else ())


def with_extras(transitions: Any, names: Collection[str]) -> Any:
    """The transitions with only these of their extras."""
    return transitions._replace(extras={name: transitions.extras[name] for name in names})
