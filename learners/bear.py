"""BEAR as BRAC has it: brac_primal with BEAR's choices (Kumar et al. 2019, arXiv:1906.00949).

The policy maximises Q, and dual ascent keeps its squared MMD from the behaviour policy at a
threshold; the divergence is in no critic's target. This is the BEAR of BRAC's paper (section 4),
which compares all algorithms on equal terms. Everything else is as in `brac_primal`, above all the
behaviour policy, which is cloned beforehand and given by `with_behavior`.

BEAR's own code differs further: its behaviour policy is an autoencoder that learns at the same
time, its MMD is of actions before the tanh, and a target takes the best of ten of the policy's
actions. In that code, as in BRAC's results, the policy takes the best of ten actions: `max_q`.
"""

from __future__ import annotations

import dataclasses

from learners import brac_primal
from learners.brac_primal import make, with_behavior
from learners.ranges import NotNegative, Share

__all__ = ["Config", "make", "with_behavior"]


@dataclasses.dataclass(frozen=True)
class Config(brac_primal.Config):
    """Defaults are BEAR's where a comment names it, and otherwise those of `brac_primal`."""

    divergence: str = "mmd"
    value_penalty: bool = False
    alpha: NotNegative = 1.0  # brac_primal_agent.py
    train_alpha: bool = True
    # BEAR's code, threshold. The estimate is above zero even for two equal policies, because it
    # pairs each sample with itself: 0.06 with 4 samples on BRAC's HalfCheetah eps3. Where that
    # exceeds the target, alpha grows without end.
    target_divergence: float = 0.05
    ensemble_weight: Share = 0.75  # BEAR's code, as BCQ's
