"""Types of the numbers in a learner's `Config`, each with the interval in which it lies.

A learner does not check them; the code that reads a `Config` from a file does.
"""

from __future__ import annotations

from typing import Annotated

Count = Annotated[int, "[1, inf)"]
Steps = Annotated[int, "[0, inf)"]
Sizes = tuple[Count, ...]  # of hidden layers
Positive = Annotated[float, "(0, inf)"]
NotNegative = Annotated[float, "[0, inf)"]
Share = Annotated[float, "[0, 1]"]
