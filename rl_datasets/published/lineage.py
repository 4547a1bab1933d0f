"""The lineage of a version: the facts of its manifest that code reads."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple


@dataclasses.dataclass(frozen=True)
class D4rlFile:
    """What an HDF5 file of D4RL says about its rows.

    Attributes:
      has_timeouts: whether it marks timeouts.
      rows: number of rows.
      horizon: the environment's time limit in steps.
      trajectories: the rule by which its rows are cut into episodes, see `sources.d4rl_episodes`.
    """

    has_timeouts: bool
    rows: int
    horizon: int
    trajectories: str


_OF_D4RL_FILE = {"has_timeouts": bool, "rows": int, "horizon": int, "trajectories": str}


class Iteration(NamedTuple):
    """An iteration of an agent that learned while it logged.

    Attributes:
      episodes: number of its episodes.
      mean_return: their mean return, in the game's own score.
    """

    episodes: int
    mean_return: float


@dataclasses.dataclass(frozen=True)
class Lineage:
    """The lineage of a version; None stands for a fact that it does not have.

    Attributes:
      environment: the environment of continuous control, with its version, such as `Hopper-v2`.
      game: the game, as DQN Replay spells it.
      rom_set: the set of the ROM that the game was played on, see `roms`.
      sticky_probability: the probability that a frame repeats the previous action.
      agent: the agent that logged, such as `dqn`.
      iterations: of an agent that learned while it logged; empty where the log does not have them.
      d4rl_file: the file that the episodes were read from; None also where one of its facts is
        missing.
      facts: the whole lineage, as the manifest has it.
    """

    environment: str | None = None
    game: str | None = None
    rom_set: str | None = None
    sticky_probability: float | None = None
    agent: str | None = None
    iterations: tuple[Iteration, ...] = ()
    d4rl_file: D4rlFile | None = None
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Lineage:
        """Reads the lineage of a manifest.

        Raises:
          ValueError: a fact has the wrong type.
        """
        of_file = [_fact(facts, name, kind) for name, kind in _OF_D4RL_FILE.items()]
        return cls(
            environment=_fact(facts, "environment", str),
            game=_fact(facts, "game", str),
            rom_set=_fact(facts, "rom_set", str),
            sticky_probability=_fact(facts, "sticky_probability", float),
            agent=_fact(facts, "agent", str),
            iterations=_iterations(facts),
            d4rl_file=None if None in of_file else D4rlFile(*of_file),
            facts=facts,
        )


def _iterations(facts: Mapping[str, Any]) -> tuple[Iteration, ...]:
    found = facts.get("iterations")
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        return ()  # Other lineages may count them.
    iterations = []
    for each in found:
        episodes = _fact(each, "episodes", int)
        mean_return = _fact(each, "mean_return", float)
        if episodes is None or mean_return is None or not math.isfinite(mean_return):
            raise ValueError(f"plan.lineage.iterations has {json.dumps(each):.80}")
        iterations.append(Iteration(episodes, float(mean_return)))
    return tuple(iterations)


def _fact(facts: Mapping[str, Any], name: str, kind: type) -> Any:
    fact = facts.get(name)
    is_number = kind is float and type(fact) is int
    if fact is not None and type(fact) is not kind and not is_number:
        raise ValueError(f"plan.lineage.{name} is {json.dumps(fact):.80}")
    return fact
