"""Splits a collection into units, which also determines how large its published shards are.

`plan` splits every policy's share of the transitions into units of at most 50,000. A unit has its
own environments and its own seed, so it does not matter which process collects it, nor when. Every
byte of a collection depends only on the environment, the mixture, the policy, the number of
transitions and the seed.

By D4RL's protocol, every unit of a policy except the last holds whole episodes: the fewest that
reach 50,000 transitions less one time limit. The last unit is collected when the others are whole,
and fills the policy's share.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from rl_datasets import errors
from rl_datasets.collection import mixtures

UNIT_TRANSITIONS = 50_000


@dataclasses.dataclass(frozen=True)
class Unit:
    """One policy's share, or a part of it, which is collected on its own.

    Attributes:
      index: the unit's index in the collection, and the key of its seed.
      policy_id: the index of its policy in the mixture.
      transitions: the number of transitions; exact, or the least if the unit holds whole episodes.
      is_whole: whether it holds whole episodes.
    """

    index: int
    policy_id: int
    transitions: int
    is_whole: bool = False

    @property
    def file(self) -> str:
        return f"unit-{self.index:05d}.npz"


def plan(mixture: mixtures.Mixture, transitions: int, time_limit: int | None) -> list[Unit]:
    """Splits a collection into units, in the order of the mixture's policies.

    Args:
      mixture: the mixture of policies.
      transitions: the total number of transitions.
      time_limit: the environment's time limit in steps; None where it has none.

    Raises:
      DatasetError: there are too few transitions for every policy of the mixture to have one, or
        the protocol is D4RL's and there is no time limit.
    """
    counts = mixture.counts(transitions)
    if min(counts) < 1:
        raise errors.DatasetError(
            f"{transitions} transitions leave a policy of the mixture {mixture.name!r} without "
            "any: collect more"
        )
    split: Callable[[int], list[tuple[int, bool]]] = _shares
    if mixture.protocol == mixtures.D4RL:
        if time_limit is None:
            raise errors.DatasetError(
                f"the mixture {mixture.name!r} has the protocol d4rl, which truncates episodes at "
                "the environment's time limit, and this environment has none: use the protocol brac"
            )
        split = functools.partial(_shares_of_whole_episodes, time_limit=time_limit)
    shares = [
        (policy_id, *share) for policy_id, count in enumerate(counts) for share in split(count)
    ]
    return [Unit(index, *share) for index, share in enumerate(shares)]


def _shares(count: int) -> list[tuple[int, bool]]:
    starts = range(0, count, UNIT_TRANSITIONS)
    return [(min(UNIT_TRANSITIONS, count - start), False) for start in starts]


def _shares_of_whole_episodes(count: int, time_limit: int) -> list[tuple[int, bool]]:
    """Shares of which the last is large enough to absorb the surplus of whole episodes."""
    most = max(UNIT_TRANSITIONS, 2 * time_limit)
    least = most - time_limit
    whole = max(0, count // most - 1)
    return [*[(least, True)] * whole, (count - whole * least, False)]
