"""Every algorithm by its name: how to make it, what it is for, and what data it needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from learners import (
    bc,
    bcq,
    bear,
    brac_bc,
    brac_dual,
    brac_primal,
    c51,
    cql,
    crr,
    discrete_bc,
    discrete_bcq,
    discrete_cql,
    dqfd,
    dqn,
    ensemble_dqn,
    iql,
    qdagger_dqn,
    qdagger_drq,
    qdagger_rainbow,
    qr_dqn,
    rebrac,
    rem,
    sac,
    td3_bc,
)
from learners.types import DiscreteSpec, Learner, Params, Spec, TrainingState


@dataclasses.dataclass(frozen=True)
class Entry:
    """An algorithm.

    Attributes:
      config: its `Config`.
      make: (config, spec) -> learner.
      policies: what each of the learner's policies does; {names} are fields of the config.
      spec: the type of spec that `make` takes.
      extras: config -> names of the extras of a batch that an update reads.
      with_behavior: (state, params) -> the state with the params of a behaviour policy; None for
        an algorithm that starts from none.
    """

    config: type
    make: Callable[[Any, Any], Learner]
    policies: Mapping[str, str]
    spec: type[Spec] | type[DiscreteSpec] = Spec
    extras: Callable[[Any], tuple[str, ...]] = lambda config: ()
    with_behavior: Callable[[TrainingState, Params], TrainingState] | None = None


_DETERMINISTIC = {"act": "the deterministic action"}
_GREEDY = {"act": "the best action"}
_MODE = {"act": "the mode"}
_MODE_AND_BEST = {**_MODE, "max_q": "the best of {max_q_samples} samples by the first critic"}

LEARNERS: Mapping[str, Entry] = {
    "bc": Entry(bc.Config, bc.make, _DETERMINISTIC),
    "bcq": Entry(bcq.Config, bcq.make, {"act": "the best of {act_samples} proposals"}),
    "bear": Entry(bear.Config, bear.make, _MODE_AND_BEST, with_behavior=bear.with_behavior),
    "brac_bc": Entry(brac_bc.Config, brac_bc.make, _MODE),
    "brac_dual": Entry(
        brac_dual.Config, brac_dual.make, _MODE_AND_BEST, extras=brac_dual.Config.extras
    ),
    "brac_primal": Entry(
        brac_primal.Config,
        brac_primal.make,
        _MODE_AND_BEST,
        with_behavior=brac_primal.with_behavior,
    ),
    "c51": Entry(c51.Config, c51.make, _GREEDY, DiscreteSpec),
    "cql": Entry(cql.Config, cql.make, _MODE),
    "crr": Entry(
        crr.Config,
        crr.make,
        {"act": "the likeliest action", "sample": "an action drawn by its probability"},
        DiscreteSpec,
    ),
    "discrete_bc": Entry(
        discrete_bc.Config, discrete_bc.make, {"act": "the likeliest action"}, DiscreteSpec
    ),
    "discrete_bcq": Entry(
        discrete_bcq.Config,
        discrete_bcq.make,
        {"act": "the best of the actions that are likely enough"},
        DiscreteSpec,
    ),
    "discrete_cql": Entry(discrete_cql.Config, discrete_cql.make, _GREEDY, DiscreteSpec),
    "dqfd": Entry(dqfd.Config, dqfd.make, _GREEDY, DiscreteSpec, extras=dqfd.Config.extras),
    "dqn": Entry(dqn.Config, dqn.make, _GREEDY, DiscreteSpec),
    "ensemble_dqn": Entry(ensemble_dqn.Config, ensemble_dqn.make, _GREEDY, DiscreteSpec),
    "iql": Entry(iql.Config, iql.make, {"act": "the mean"}),
    "qdagger_dqn": Entry(
        qdagger_dqn.Config,
        qdagger_dqn.make,
        _GREEDY,
        DiscreteSpec,
        extras=qdagger_dqn.Config.extras,
    ),
    "qdagger_drq": Entry(
        qdagger_drq.Config,
        qdagger_drq.make,
        _GREEDY,
        DiscreteSpec,
        extras=qdagger_drq.Config.extras,
    ),
    "qdagger_rainbow": Entry(
        qdagger_rainbow.Config,
        qdagger_rainbow.make,
        _GREEDY,
        DiscreteSpec,
        extras=qdagger_rainbow.Config.extras,
    ),
    "qr_dqn": Entry(qr_dqn.Config, qr_dqn.make, _GREEDY, DiscreteSpec),
    "rebrac": Entry(
        rebrac.Config, rebrac.make, _DETERMINISTIC, extras=lambda config: ("next_action",)
    ),
    "rem": Entry(rem.Config, rem.make, _GREEDY, DiscreteSpec),
    "sac": Entry(sac.Config, sac.make, _MODE),
    "td3_bc": Entry(td3_bc.Config, td3_bc.make, _DETERMINISTIC),
}
