"""What learners share: the batch they read, the spec of their task, and the state they keep."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

Params = Any  # a pytree of arrays
Metrics = dict[str, jax.Array]


class Transition(Protocol):
    """A batch of transitions: any NamedTuple with these fields.

    Leading axes are [B] within a step, and [K, B] for an update of K steps. `discount` is 0 where
    the environment ended and 1 elsewhere; a learner multiplies it by its own.
    """

    @property
    def observation(self) -> Any: ...
    @property
    def action(self) -> Any: ...
    @property
    def reward(self) -> Any: ...
    @property
    def discount(self) -> Any: ...
    @property
    def next_observation(self) -> Any: ...
    @property
    def extras(self) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of a continuous-control task, and the bounds of its actions.

    Attributes:
      observation_size: number of entries of one observation.
      action_size: number of entries of one action.
      action_minimum: lower bound of each entry, or one number for all.
      action_maximum: upper bound of each entry, or one number for all.
      observation_mean: mean of each entry over the dataset, or one number for all.
      observation_std: standard deviation of each entry over the dataset, or one number for all.
        Only learners that normalise observations read this and the mean.

    Raises:
      ValueError: if a size is not positive, a bound has a wrong shape, or the bounds are not
        finite and in order.
    """

    observation_size: int
    action_size: int
    action_minimum: float | np.ndarray = -1.0
    action_maximum: float | np.ndarray = 1.0
    observation_mean: float | np.ndarray = 0.0
    observation_std: float | np.ndarray = 1.0

    def __post_init__(self) -> None:
        if self.observation_size < 1 or self.action_size < 1:
            raise ValueError("observation_size and action_size must be positive")
        sizes = {"action": self.action_size, "observation": self.observation_size}
        for name in ("action_minimum", "action_maximum", "observation_mean", "observation_std"):
            size = sizes[name.partition("_")[0]]
            if np.shape(getattr(self, name)) not in ((), (size,)):
                raise ValueError(f"{name} must be one number or {size} of them")
        if not np.all(np.isfinite(self.action_magnitude) & (self.action_magnitude > 0)):
            raise ValueError("action bounds must be finite, and minimum below maximum")

    @property
    def observation_shape(self) -> tuple[int]:
        """Of one observation."""
        return (self.observation_size,)

    @property
    def action_shape(self) -> tuple[int]:
        """Of one action."""
        return (self.action_size,)

    @property
    def action_centre(self) -> np.ndarray:
        """Midpoint of the bounds, float32 [action_size]."""
        return self._per_entry(np.add(self.action_maximum, self.action_minimum) / 2)

    @property
    def action_magnitude(self) -> np.ndarray:
        """Half the distance of the bounds, float32 [action_size]."""
        return self._per_entry(np.subtract(self.action_maximum, self.action_minimum) / 2)

    def _per_entry(self, value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, np.float32), (self.action_size,))


@dataclasses.dataclass(frozen=True)
class DiscreteSpec:
    """Of a task whose observations are images and whose actions are numbered from 0.

    Attributes:
      num_actions: how many actions there are.
      observation_shape: of one observation, [height, width, channels].

    Raises:
      ValueError: if there is no action, or if an observation is not an image.
    """

    num_actions: int
    observation_shape: tuple[int, int, int] = (84, 84, 4)  # Mnih et al. 2015

    def __post_init__(self) -> None:
        if self.num_actions < 1 or len(self.observation_shape) != 3:
            raise ValueError("num_actions must be positive, and an observation [H, W, channels]")

    @property
    def action_shape(self) -> tuple[()]:
        """Of one action, which is a number."""
        return ()


class TrainingState(NamedTuple):
    """Everything that changes while a learner learns: a pytree of arrays and nothing else.

    Attributes:
      params: what the optimisers change.
      target_params: slow copies of params, or () where the algorithm has none.
      optimizer_state: state of every optimiser.
      key: raw uint32 PRNG key of the run; it never changes, and a step folds its number into it.
      steps: int32 scalar, the number of gradient steps taken.
    """

    params: Params
    target_params: Params
    optimizer_state: Any
    key: jax.Array
    steps: jax.Array


Policy = Callable[[TrainingState, jax.Array], jax.Array]


class Learner(NamedTuple):
    """An algorithm as pure functions; every one of them is jitted.

    Attributes:
      init: key -> state.
      update: (state, batches [K, B, ...]) -> (state, metrics averaged over the K steps). The
        given state is donated: use only the returned one. A metric is a number, but `priority` is
        [B], one for each transition: take it with K = 1.
      policies: those that may be evaluated, by their names, each (state, observation [B, obs]) ->
        action [B, act], or int32 [B] where actions are numbers. One that draws its actions draws
        them by the state's key: give it another key for each call. Every learner has `act`; BRAC's
        have `max_q`, of several samples of the stochastic policy the one that the first critic
        values most.
      sample: (state, key, observation [B, obs]) -> action [B, act] of the stochastic policy;
        None where the policy is deterministic.
      values: (state, observation [B, H, W, C]) -> float32 [B, A], what each action is worth; None
        where a learner has no such values.
    """

    init: Callable[[jax.Array], TrainingState]
    update: Callable[[TrainingState, Transition], tuple[TrainingState, Metrics]]
    policies: Mapping[str, Policy]
    sample: Callable[[TrainingState, jax.Array, jax.Array], jax.Array] | None = None
    values: Policy | None = None

    @property
    def act(self) -> Policy:
        """The policy `act`."""
        return self.policies["act"]
