"""Kinds of numbers in a learner's `Config`, each with the interval that it lies in.

A learner does not check them: whoever makes a `Config` of a file does.
"""

from __future__ import annotations

from typing import Annotated

Count = Annotated[int, "[1, inf)"]
Steps = Annotated[int, "[0, inf)"]
Sizes = tuple[Count, ...]  # of hidden layers
Positive = Annotated[float, "(0, inf)"]
NotNegative = Annotated[float, "[0, inf)"]
Share = Annotated[float, "[0, 1]"]
