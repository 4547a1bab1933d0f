"""`python -m benchmarks.rl_unplugged_transitions Asterix SHARD...`: which action `r_t` is of.

A transition of RL Unplugged's (`gs://rl_unplugged/atari`) says that `a_t` was taken in `o_t`, that
`o_tp1` followed, and a reward `r_t`. In the episodes of the suite a row has the reward of the next
row's action; whether transitions are so is not known. One cannot be replayed alone, but many can be
looked at: an action that earns a reward changes the score on the screen.

So of each pixel the share of transitions with a reward in which it changes from the last frame of
`o_t` to that of `o_tp1`, less its share of those without. The greatest of any pixel is told,
beside the same of a game that a random agent plays here, with the reward of `a_t`, and with that
of `a_tp1`. Where these are apart, the nearer one tells which the shard has. Some games show their
score late or seldom change it; there nothing is told.
"""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import numpy as np
import typer

from rl_datasets import roms
from rl_datasets.collection.atari import AtariEnvironment
from rl_datasets.sources import atari, rl_unplugged

APART = 0.3  # by how much the two of a game played here must differ to tell anything
LEAST_REWARDS = 20
SEED = 0


class Shown(NamedTuple):
    """What the screens of transitions show.

    Attributes:
      transitions: how many.
      rewards: those whose reward is not 0.
      share: the greatest over the pixels, as the module says; 0 where all or none have a reward.
    """

    transitions: int
    rewards: int
    share: float


def shown(seen: Iterable[tuple[np.ndarray, np.ndarray, float]]) -> Shown:
    """Of frames [84, 84, 1] before and after an action and a reward each; holds one at a time."""
    counts = np.zeros(2, np.int64)
    changes = np.zeros((2, *atari.FRAME_SHAPE), np.int64)
    for before, after, reward in seen:
        kind = int(reward != 0)
        counts[kind] += 1
        changes[kind] += before != after
    share = 0.0
    if counts.all():
        without, having = changes / counts[:, None, None, None]
        share = float((having - without).max())
    return Shown(int(counts.sum()), int(counts[1]), share)


def of_shards(shards: Iterable[pathlib.Path]) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """What `shown` takes, of shards of transitions.

    Raises:
      DatasetError: a file is no shard of transitions.
    """
    for shard in shards:
        for each in rl_unplugged.read_transitions(shard):
            before, after = (
                np.asarray(f[-1:])[0] for f in (each.observation, each.next_observation)
            )
            yield before, after, each.reward


def of_a_game(rom: pathlib.Path, rows: int) -> tuple[Shown, Shown]:
    """Of a random agent's rows: with the reward of their own action, and with the next one's."""
    environment, rng = AtariEnvironment(rom, SEED), np.random.default_rng(SEED)
    num_actions = environment.action_spec().num_values
    timestep = environment.reset()
    played: list[list[tuple[np.ndarray, np.ndarray, float]]] = [[]]
    for _ in range(rows):
        before = timestep.observation
        timestep = environment.step(int(rng.integers(num_actions)))
        played[-1].append((before, timestep.observation, timestep.reward))
        if timestep.last():
            timestep = environment.reset()
            played.append([])
    following = (
        (before, after, next_reward)
        for game in played
        for (before, after, _), (_, _, next_reward) in itertools.pairwise(game)
    )
    return shown(itertools.chain.from_iterable(played)), shown(following)


def verdict(shard: Shown, own: Shown, following: Shown) -> str:
    """What the three together tell, in a sentence."""
    least = min(shard.rewards, own.rewards, following.rewards)
    if own.share - following.share < APART or least < LEAST_REWARDS:
        return "that does not tell which action the rewards are of"
    if shard.share > (own.share + following.share) / 2:
        return "so the shard has with each action its own reward"
    return "so the shard has not with each action its own reward: the next one's would look so"


def main(
    game: Annotated[str, typer.Argument(help="As RL Unplugged spells it.")],
    shards: Annotated[list[pathlib.Path], typer.Argument(help="Shards of its transitions.")],
    rows: Annotated[int, typer.Option(min=1, help="Of the game that is played here.")] = 3_000,
) -> None:
    """Looks at shards of transitions, and at a game played here."""
    own, following = of_a_game(roms.rom_path(game, roms.RomSet.LEGACY), rows)
    shard = shown(of_shards(shards))
    for name, each in {
        "the shards": shard,
        "a game played here, the action's own reward": own,
        "a game played here, the next action's reward": following,
    }.items():
        typer.echo(
            f"{each.share:.2f}  {name}: {each.rewards:,} rewards in {each.transitions:,} rows"
        )
    typer.echo(verdict(shard, own, following))


if __name__ == "__main__":
    typer.run(main)
