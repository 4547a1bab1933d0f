"""BEAR as BRAC has it: brac_primal with BEAR's choices (Kumar et al. 2019, arXiv:1906.00949).

The policy maximises Q while its squared MMD from the behaviour policy is kept at a threshold by
dual ascent; the divergence is in no critic's target. This is the BEAR of BRAC's paper (section 4),
which it compares on equal terms: everything else is `brac_primal`'s, above all the behaviour
policy, cloned beforehand and handed over by `with_behavior`.

BEAR's own code differs in more than that: its behaviour policy is an autoencoder that learns
meanwhile, its MMD is of actions before the tanh, and a target takes the best of ten of the policy's
actions. There, as in BRAC's results, the policy acts by the best of ten: by `max_q`.
"""

from __future__ import annotations

import dataclasses

from learners import brac_primal
from learners.brac_primal import make, with_behavior
from learners.ranges import NotNegative, Share

__all__ = ["Config", "make", "with_behavior"]


@dataclasses.dataclass(frozen=True)
class Config(brac_primal.Config):
    """Defaults are BEAR's where it is named, else `brac_primal`'s."""

    divergence: str = "mmd"
    value_penalty: bool = False
    alpha: NotNegative = 1.0  # brac_primal_agent.py
    train_alpha: bool = True
    # BEAR's code, threshold. Of two equal policies the estimate is above zero, because it counts
    # each sample with itself: with 4 samples 0.06 on BRAC's HalfCheetah eps3. Where that is more
    # than the target, alpha never ceases to grow.
    target_divergence: float = 0.05
    ensemble_weight: Share = 0.75  # BEAR's code, as BCQ's
