"""Checks that arrays have the shapes which a function takes.

A shape is written as its axes: "K B 17". A number is a size; a name is a size that is the same
wherever the name appears; and ... is any number of axes, also the same everywhere. Checks look at
shapes alone, so they cost nothing once a function is compiled.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import jax.numpy as jnp

from learners.types import DiscreteSpec, Spec, Transition

P = ParamSpec("P")
R = TypeVar("R")


def check_shapes(where: str, wanted: Mapping[str, str], arrays: Mapping[str, Any]) -> None:
    """Checks the shapes of arrays.

    Args:
      where: what takes them, for the error.
      wanted: the axes of each array, by name.
      arrays: the arrays, by the same names.

    Raises:
      ValueError: an array has another shape.
    """
    sizes: dict[str, tuple[int, ...]] = {}
    for name, text in wanted.items():
        axes, shape = text.split(), jnp.shape(arrays[name])
        if not _fits(axes, shape, sizes):
            told = ", ".join(", ".join(map(str, sizes.get(axis, [axis]))) for axis in axes)
            raise ValueError(
                f"{where} takes {name} of shape [{told.removesuffix(', ')}], got {list(shape)}"
            )


def _fits(axes: list[str], shape: tuple[int, ...], sizes: dict[str, tuple[int, ...]]) -> bool:
    """Whether a shape has these axes; records the sizes of axes that appear for the first time."""
    spare = len(shape) - len(axes) + axes.count("...")
    if spare < 0 or (spare and "..." not in axes):
        return False
    rest = list(shape)
    for axis in axes:
        length = spare if axis == "..." else 1
        size, rest = tuple(rest[:length]), rest[length:]
        if size != ((int(axis),) if axis.isdigit() else sizes.setdefault(axis, size)):
            return False
    return True


def shaped(**wanted: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Checks the shapes of a function's arguments; a ValueError names the one that differs."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            check_shapes(function.__name__, wanted, signature.bind(*args, **kwargs).arguments)
            return function(*args, **kwargs)

        return checked

    return decorate


def check_batches(batches: Transition, spec: Spec | DiscreteSpec) -> None:
    """Checks that an update is given batches [K, B, ...] of its task.

    Raises:
      ValueError: one batch was given instead of K, or a field has another shape or dtype.
    """
    if jnp.ndim(batches.reward) < 2:
        raise ValueError(
            "an update takes K batches at once, [K, B, ...], and the rewards of these have shape "
            f"{list(jnp.shape(batches.reward))}: ask the feed for them with steps=K, or for one "
            "batch with steps=1"
        )
    observation, action = (_axes("K B", s) for s in (spec.observation_shape, spec.action_shape))
    wanted = {
        "reward": "K B",
        "discount": "K B",
        "observation": observation,
        "action": action,
        "next_observation": observation,
    }
    arrays = {name: getattr(batches, name) for name in wanted}
    of_extras = {"next_action": action, "importance": "K B"}
    if isinstance(spec, DiscreteSpec):
        of_extras["teacher_values"] = f"K B {spec.num_actions}"
    extras = {name: x for name, x in dict(batches.extras).items() if name in of_extras}
    wanted |= {name: of_extras[name] for name in extras}
    arrays |= extras
    check_shapes("an update", wanted, arrays)
    if isinstance(spec, DiscreteSpec):
        _check_kind("an update", "action", batches.action, jnp.integer, "whole numbers")
        for name in ("observation", "next_observation"):
            _check_kind("an update", name, arrays[name], jnp.uint8, "uint8")
        for name in extras.keys() & {"importance", "teacher_values"}:
            _check_kind("an update", name, arrays[name], jnp.float32, "float32")


def check_observation(observation: Any, spec: Spec | DiscreteSpec) -> None:
    """Checks that a policy is given observations [B, ...] of its task.

    Raises:
      ValueError: they have another shape or dtype.
    """
    wanted = {"observation": _axes("B", spec.observation_shape)}
    check_shapes("a policy", wanted, {"observation": observation})
    if isinstance(spec, DiscreteSpec):
        _check_kind("a policy", "observation", observation, jnp.uint8, "uint8")


def _axes(leading: str, shape: tuple[int, ...]) -> str:
    return " ".join([leading, *map(str, shape)])


def _check_kind(where: str, name: str, array: Any, kind: Any, told: str) -> None:
    if not jnp.issubdtype(dtype := jnp.result_type(array), kind):
        raise ValueError(f"{where} takes {name} of {told}, got {dtype}")
