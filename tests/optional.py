"""Modules that not every environment has, or stand-ins for them.

A test that uses TensorFlow or Reverb is marked so, and is skipped where it is missing. A stand-in
only lets the module of such a test be imported.
"""

import importlib
from typing import Any

from rl_datasets import extras

WHAT_BRINGS = {
    "tensorflow": "TensorFlow: `make test` has it, on Python 3.11",
    "reverb": "Reverb: `make test` has it, on Python 3.11",
}


class Missing:
    """Stands for whatever is in a module that cannot be imported."""

    def __init__(self, name: str, package: str):
        self._name, self._package = name, package

    def __getattr__(self, name: str) -> "Missing":
        return Missing(f"{self._name}.{name}", self._package)

    def __call__(self, *arguments: Any, **options: Any) -> None:
        raise ModuleNotFoundError(
            f"{self._name} needs {self._package}: mark the test `{self._package}`"
        )


def optional(name: str) -> Any:
    """A module, or its stand-in where it needs a package of `WHAT_BRINGS` that is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in WHAT_BRINGS or extras.is_installed(error.name):
            raise
        return Missing(name, error.name)
