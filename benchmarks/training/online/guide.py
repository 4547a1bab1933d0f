"""A teacher that acts in an agent's place in a part of each episode.

Jump-start RL (Uchendu et al. 2022, arXiv:2204.02372), as compared by Agarwal et al. 2022
(arXiv:2206.01626).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.training.online_options import GuideOptions


class Guide:
    """A teacher by these options.

    Attributes:
      horizon: of this iteration.
      steps: of all episodes so far.
    """

    def __init__(self, options: GuideOptions, act: Callable[[np.ndarray], np.ndarray]):
        """Makes a guide.

        Args:
          options: how much it acts.
          act: stacks of frames [N, 84, 84, 4] uint8 -> the teacher's actions [N].
        """
        self.horizon, self.steps = float(options.horizon), 0
        self._options, self._act = options, act
        self._left = 0  # of the first part of this episode

    def begin_episode(self, rng: np.random.Generator) -> None:
        self._left = int(rng.integers(max(1, int(self.horizon)))) + 1

    def end_iteration(self) -> None:
        self.horizon *= self._options.horizon_factor

    def acts(self, rng: np.random.Generator) -> bool:
        """Whether the teacher acts in this step, which is counted."""
        options = self._options
        share = options.share * max(0.0, 1 - self.steps / options.share_steps)
        self.steps += 1
        if self._left > 0:
            self._left -= 1
            return options.acts_first
        return bool(rng.random() < share)

    def choose(self, stack: np.ndarray) -> int:
        """The teacher's action for a stack of frames [84, 84, 4]."""
        return int(self._act(stack[None])[0])
