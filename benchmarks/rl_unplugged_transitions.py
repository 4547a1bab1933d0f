"""`python -m benchmarks.rl_unplugged_transitions Asterix SHARD...`: finds whose reward `r_t` is.

A transition of RL Unplugged (`gs://rl_unplugged/atari`) says that `a_t` was taken in `o_t`, and
that `o_tp1` and a reward `r_t` followed. In the suite's episode files, a row has the reward of the
next row's action. Whether transitions have that too is not known. A single transition cannot be
replayed, but many together show it: an action that earns a reward changes the score on the screen.

For each pixel, take the share of transitions with a reward in which it changes from the last frame
of `o_t` to that of `o_tp1`, minus the same share of transitions without a reward. The result is the
greatest difference of any pixel. It is compared with that of a game that a random agent plays here:
once with the reward of `a_t`, once with that of `a_tp1`. If these two differ clearly, the nearer
one says which reward the shard has. Some games show their score late or seldom change it; they give
no answer.
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

APART = 0.3  # The two values of a game played here must differ by at least this for an answer.
LEAST_REWARDS = 20
SEED = 0


class Shown(NamedTuple):
    """What the screens of transitions show.

    Attributes:
      transitions: number of transitions.
      rewards: number of those whose reward is not 0.
      share: the greatest difference of any pixel, as the module says; 0 if all or none have a
        reward.
    """

    transitions: int
    rewards: int
    share: float


def shown(seen: Iterable[tuple[np.ndarray, np.ndarray, float]]) -> Shown:
    """Takes (frame [84, 84, 1] before an action, frame after it, reward); holds one at a time."""
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
    """Reads shards of transitions, as `shown` takes them.

    Raises:
      DatasetError: a file is not a shard of transitions.
    """
    for shard in shards:
        for each in rl_unplugged.read_transitions(shard):
            before, after = (
                np.asarray(f[-1:])[0] for f in (each.observation, each.next_observation)
            )
            yield before, after, each.reward


def of_a_game(rom: pathlib.Path, rows: int) -> tuple[Shown, Shown]:
    """`shown` for a random agent's rows: with the reward of their action, and of the next one."""
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
    """The conclusion from a shard and from both cases of a game played here, as a sentence."""
    least = min(shard.rewards, own.rewards, following.rewards)
    if own.share - following.share < APART or least < LEAST_REWARDS:
        return "that does not show which action earned the rewards"
    if shard.share > (own.share + following.share) / 2:
        return "so the shard's rewards are those of their own actions"
    return "so the shard's rewards look like those of the next actions"


def main(
    game: Annotated[str, typer.Argument(help="The game, as RL Unplugged spells it.")],
    shards: Annotated[list[pathlib.Path], typer.Argument(help="Shards of the game's transitions.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows to play of the game here.")] = 3_000,
) -> None:
    """Finds out whether shards of transitions have each action's own reward or the next one's."""
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
