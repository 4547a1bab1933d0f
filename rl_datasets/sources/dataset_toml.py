"""What a user says about their own data, in a file `dataset.toml` beside them.

    environment = "Hopper-v5"       # gymnasium's id: where a policy is scored
    action_minimum = -1.0           # the bounds of actions: one number, or one for each value
    action_maximum = 1.0
    policy = "half-trained SAC"     # what acted
    citation = "..."
    license = "CC BY 4.0"

All of these may be left out. Discrete actions are numbered from `action_minimum`, usually 0.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Annotated

import dm_env.specs
import numpy as np

from rl_datasets import toml_tables
from rl_datasets.errors import DatasetError

FILE = "dataset.toml"

_Text = Annotated[str, "[1, inf)"] | None
_Bound = float | tuple[float, ...] | None


@dataclasses.dataclass(frozen=True)
class Told:
    """The content of a `dataset.toml`; None stands for what it does not say."""

    environment: _Text = None
    action_minimum: _Bound = None
    action_maximum: _Bound = None
    policy: _Text = None
    citation: _Text = None
    license: _Text = None

    def __post_init__(self) -> None:
        if (self.action_minimum is None) != (self.action_maximum is None):
            raise ValueError("give both action_minimum and action_maximum, or neither")

    def action_spec(self, action: dm_env.specs.Array) -> dm_env.specs.Array:
        """The spec of an action with the bounds, if these are given.

        Raises:
          DatasetError: they are not bounds of such actions.
        """
        if self.action_minimum is None:
            return action
        try:
            low, high = (
                np.broadcast_to(np.array(bound, np.float64), action.shape)
                for bound in (self.action_minimum, self.action_maximum)
            )
            if action.dtype.kind != "f" and np.any((low % 1 != 0) | (high % 1 != 0)):
                raise ValueError("they are whole numbers")
            if np.any(low > high):
                raise ValueError("the minimum is larger than the maximum")
            return dm_env.specs.BoundedArray(
                action.shape, action.dtype, low.astype(action.dtype), high.astype(action.dtype)
            )
        except ValueError as error:
            raise DatasetError(
                f"{FILE} has bounds that do not fit actions of shape {action.shape} ({error}): "
                "correct action_minimum and action_maximum"
            ) from error

    def facts(self) -> dict[str, str]:
        """What it says of where the data come from."""
        said = dataclasses.asdict(self)
        return {
            name: value
            for name, value in said.items()
            if value is not None and not name.startswith("action_")
        }


def read(folder: pathlib.Path) -> Told:
    """What a folder's `dataset.toml` says; nothing if there is none.

    Raises:
      DatasetError: it is not TOML, or has a key or a value that it cannot have.
    """
    path = folder / FILE
    if not path.exists():
        return Told()
    return toml_tables.build(Told, toml_tables.read_toml(path), str(path))
