"""What all logs of Atari games share: the protocol, the games, the spec, and episodes from rows.

DQN Replay (Agarwal, Schuurmans and Norouzi 2020, "An Optimistic Perspective on Offline
Reinforcement Learning") and RL Unplugged (Gulcehre et al. 2020), which is made from it, hold an
episode as N rows (o_t, a_t, r_{t+1}, d_{t+1}). There is no row for the final observation, because
Dopamine's `end_episode` takes a reward and no observation. RL Unplugged's files show that its rows
are the same: an episode has as many observations as actions, rewards and discounts; its last
discount is 0 and all others are 1; and its return is the sum of all N rewards. The last row is
therefore a transition, which a reader that takes it for RLDS's last step would lose. (RL
Unplugged's rewards are one row early: `sources.rl_unplugged`.)

Only `episode_from_rows` applies the alignment rule of `rl_datasets.episode` to rows:

    terminal      N transitions. The final observation is a frame of zeros. Nothing bootstraps from
                  it, because the discount that leads to it is 0.
    not terminal  N - 1 transitions. A learner bootstraps from the final observation, so it must be
                  a real one: it is the last row's, whose action and reward are left out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import dm_env.specs
import numpy as np

from rl_datasets import frames
from rl_datasets.episode import Episode, EpisodeSpec

FRAME_SHAPE = (84, 84, 1)
FRAME_SKIP = 4
STICKY_PROBABILITY = 0.25
NUM_ALE_ACTIONS = 18


class Game(NamedTuple):
    """A game of the Arcade Learning Environment.

    Attributes:
      num_actions: size of its minimal action set; a stored action is an index into this set.
      in_rl_unplugged: whether RL Unplugged has the game.
    """

    num_actions: int
    in_rl_unplugged: bool


# By the names in DQN Replay's bucket. The sizes are those of `getMinimalActionSet` in ale-py 0.12.1
# and atari-py 0.2.5, which are equal.
ATARI_GAMES: Mapping[str, Game] = {
    "AirRaid": Game(6, in_rl_unplugged=False),
    "Alien": Game(18, in_rl_unplugged=True),
    "Amidar": Game(10, in_rl_unplugged=True),
    "Assault": Game(7, in_rl_unplugged=True),
    "Asterix": Game(9, in_rl_unplugged=True),
    "Asteroids": Game(14, in_rl_unplugged=False),
    "Atlantis": Game(4, in_rl_unplugged=True),
    "BankHeist": Game(18, in_rl_unplugged=True),
    "BattleZone": Game(18, in_rl_unplugged=True),
    "BeamRider": Game(9, in_rl_unplugged=True),
    "Berzerk": Game(18, in_rl_unplugged=False),
    "Bowling": Game(6, in_rl_unplugged=False),
    "Boxing": Game(18, in_rl_unplugged=True),
    "Breakout": Game(4, in_rl_unplugged=True),
    "Carnival": Game(6, in_rl_unplugged=True),
    "Centipede": Game(18, in_rl_unplugged=True),
    "ChopperCommand": Game(18, in_rl_unplugged=True),
    "CrazyClimber": Game(9, in_rl_unplugged=True),
    "DemonAttack": Game(6, in_rl_unplugged=True),
    "DoubleDunk": Game(18, in_rl_unplugged=True),
    "ElevatorAction": Game(18, in_rl_unplugged=False),
    "Enduro": Game(9, in_rl_unplugged=True),
    "FishingDerby": Game(18, in_rl_unplugged=True),
    "Freeway": Game(3, in_rl_unplugged=True),
    "Frostbite": Game(18, in_rl_unplugged=True),
    "Gopher": Game(8, in_rl_unplugged=True),
    "Gravitar": Game(18, in_rl_unplugged=True),
    "Hero": Game(18, in_rl_unplugged=True),
    "IceHockey": Game(18, in_rl_unplugged=True),
    "Jamesbond": Game(18, in_rl_unplugged=True),
    "JourneyEscape": Game(16, in_rl_unplugged=False),
    "Kangaroo": Game(18, in_rl_unplugged=True),
    "Krull": Game(18, in_rl_unplugged=True),
    "KungFuMaster": Game(14, in_rl_unplugged=True),
    "MontezumaRevenge": Game(18, in_rl_unplugged=False),
    "MsPacman": Game(9, in_rl_unplugged=True),
    "NameThisGame": Game(6, in_rl_unplugged=True),
    "Phoenix": Game(8, in_rl_unplugged=True),
    "Pitfall": Game(18, in_rl_unplugged=False),
    "Pong": Game(6, in_rl_unplugged=True),
    "Pooyan": Game(6, in_rl_unplugged=True),
    "PrivateEye": Game(18, in_rl_unplugged=False),
    "Qbert": Game(6, in_rl_unplugged=True),
    "Riverraid": Game(18, in_rl_unplugged=True),
    "RoadRunner": Game(18, in_rl_unplugged=True),
    "Robotank": Game(18, in_rl_unplugged=True),
    "Seaquest": Game(18, in_rl_unplugged=True),
    "Skiing": Game(3, in_rl_unplugged=False),
    "Solaris": Game(18, in_rl_unplugged=False),
    "SpaceInvaders": Game(6, in_rl_unplugged=True),
    "StarGunner": Game(18, in_rl_unplugged=True),
    "Tennis": Game(18, in_rl_unplugged=False),
    "TimePilot": Game(10, in_rl_unplugged=True),
    "Tutankham": Game(8, in_rl_unplugged=False),
    "UpNDown": Game(6, in_rl_unplugged=True),
    "Venture": Game(18, in_rl_unplugged=False),
    "VideoPinball": Game(9, in_rl_unplugged=True),
    "WizardOfWor": Game(10, in_rl_unplugged=True),
    "YarsRevenge": Game(18, in_rl_unplugged=True),
    "Zaxxon": Game(18, in_rl_unplugged=True),
}


def clipped(reward: Any) -> Any:
    """Rewards, an array or a number, clipped to [-1, 1] as Dopamine logs and learns from them."""
    return np.minimum(np.maximum(reward, -1), 1)


def atari_episode_spec(num_actions: int = NUM_ALE_ACTIONS) -> EpisodeSpec:
    """The spec of an episode of single frames, with the names of TFDS's `rlu_atari_checkpoints`.

    Args:
      num_actions: size of the game's action set; 18, all actions, where it is not known.
    """
    return EpisodeSpec(
        observation=dm_env.specs.Array(FRAME_SHAPE, np.uint8),
        action=dm_env.specs.BoundedArray((), np.int64, 0, num_actions - 1),
        metadata={
            "checkpoint_id": dm_env.specs.Array((), np.int64),
            "episode_id": dm_env.specs.Array((), np.int64),
            "episode_return": dm_env.specs.Array((), np.float32),
        },
    )


def episode_from_rows(
    observation: np.ndarray | frames.EncodedFrames,
    action: np.ndarray,
    reward: np.ndarray,
    *,
    is_terminal: bool,
    metadata: Mapping[str, Any],
    extras: Mapping[str, np.ndarray] | None = None,
) -> Episode:
    """An episode of N rows whose final observation was never stored, by the rule above.

    Args:
      observation: [N, 84, 84, 1] uint8, or N PNG files.
      action: [N], converted to int64.
      reward: [N], converted to float32.
      is_terminal: whether the game ended with the last row, and not a time limit or a cut.
      metadata: `checkpoint_id` and `episode_id`. Unless `episode_return` is given, it is the sum of
        the rewards that the episode holds.
      extras: further fields of each row, [N, ...]; they are zero in the step after a terminal row,
        which has no row of its own.

    Raises:
      EpisodeError: no transition is left, or the lengths do not match.
    """
    extras = extras or {}
    if is_terminal:
        observation = _with_blank_frame(observation)
        extras = {name: _with_zeros(field) for name, field in extras.items()}
    else:
        action, reward = action[:-1], reward[:-1]
    episode_return = np.float32(np.sum(reward, dtype=np.float64))
    episode = Episode.from_transitions(
        observation,
        np.asarray(action, np.int64),
        reward,
        is_terminal=is_terminal,
        metadata={"episode_return": episode_return, **metadata},
    )
    return dataclasses.replace(episode, extras=extras)


def _with_zeros(field: np.ndarray) -> np.ndarray:
    return np.concatenate([field, np.zeros_like(field[:1])])


def _with_blank_frame(
    observation: np.ndarray | frames.EncodedFrames,
) -> np.ndarray | frames.EncodedFrames:
    blank = np.zeros((1, *observation.shape[1:]), np.uint8)
    if isinstance(observation, np.ndarray):
        return np.concatenate([observation, blank])
    return frames.EncodedFrames(
        [*observation.pngs, *frames.encode_png(blank)], observation.shape[1:]
    )
