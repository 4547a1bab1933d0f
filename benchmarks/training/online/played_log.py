"""Logs how a trained agent plays a game, in Dopamine's layout; the agent no longer learns.

Tianshou made the data of its offline examples in this way: a trained agent played with a constant
probability of random actions. Several games are played at once. The log holds their episodes in the
order in which they began, so that it does not favour short ones, and ends with the episode in which
it reaches its size.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import itertools
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchmarks.training.game_player import Act, Chance, GamePlayer
from benchmarks.training.online import agent_file
from benchmarks.training.results import code_version
from rl_datasets import npz, roms, run_log, staging, terminal
from rl_datasets.collection.atari import MAX_STEPS, AtariGames
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.errors import DatasetError
from rl_datasets.sources.dqn_replay import CAPACITY, FOLDER_NAME

GAMES = 10
ACTIONS = "actions.npz"  # in the folder of a run: the actions of its episodes, and their lengths


@dataclasses.dataclass(frozen=True)
class PlayedEpisode:
    """An episode of T steps.

    Attributes:
      frames: [T, 84, 84] uint8.
      actions: [T].
      rewards: [T], not clipped.
    """

    frames: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray


def log_played(
    agent_path: pathlib.Path,
    folder: pathlib.Path,
    *,
    rows: int,
    epsilon: float,
    run: int = 1,
    seed: int = 0,
    most_no_ops: int = 30,
    checkpoint_rows: int = CAPACITY,
    actions_path: pathlib.Path | None = None,
) -> pathlib.Path:
    """Logs the play of an agent of `train_agent`; an interrupted log starts again.

    Args:
      agent_path: the agent's file, which names the game and the ROM set.
      folder: the folder in which to make `<game>/<run>`.
      rows: the least number of transitions; the last episode is played to its end.
      epsilon: probability of a random action.
      run: the run's number; runs with different numbers have different random numbers.
      seed: the seed of the emulators and of random actions.
      most_no_ops: an episode begins with a random number of no-ops, at most this many, and FIRE.
      checkpoint_rows: number of rows of the replay buffer, and so of a checkpoint.
      actions_path: the `ACTIONS` of a run with the same agent, epsilon, run and seed. Its episodes
        are played again, which gives the same log on every machine; `rows` must be its number.

    Returns:
      The folder of the run.

    Raises:
      DatasetError: there is no such agent or ROM; the actions are damaged or of another run; or the
        folder holds a finished run, or cannot be written.
    """
    agent = agent_file.load(agent_path)
    game, rom_set = agent.game, agent.rom_set
    rom = roms.rom_path(game, rom_set)
    home = folder / game / str(run)
    if run_log.is_finished(home):
        raise DatasetError(f"{home} holds a run that is finished: name another run or folder")
    training = home / run_log.TRAINING
    training.mkdir(parents=True, exist_ok=True)
    with staging.lock(training / ".lock", f"logging in {home}"):
        shutil.rmtree(home / FOLDER_NAME, ignore_errors=True)
        games = AtariGames(
            rom, GAMES, sticky_probability=0, most_no_ops=most_no_ops, presses_fire=True
        )
        act, chance = agent.act, _chance([seed, run], epsilon, games.num_actions)
        if actions_path is not None:
            act, chance = _no_act, _same_actions(_read_actions(actions_path), chance)
        returns, actions = list[float](), list[np.ndarray]()
        logged = 0
        with (
            ReplayLog(home / FOLDER_NAME, checkpoint_rows) as log,
            terminal.bar(f"{game} {run}", rows) as advance,
        ):
            for episode in episodes(games, act, chance):
                last = len(episode.actions) - 1
                for step, frame in enumerate(episode.frames):
                    reward = np.clip(episode.rewards[step], -1, 1)
                    log.add(frame, int(episode.actions[step]), reward, step == last)
                returns.append(float(episode.rewards.sum()))
                actions.append(episode.actions)
                logged += len(episode.actions)
                advance(min(logged, rows), f"rows, mean return {np.mean(returns):,.1f}")
                if logged >= rows:
                    break
        if actions_path is not None:
            _check_same_actions(actions_path, actions)
        _write_actions(home / ACTIONS, actions)
        facts = {
            "game": game,
            "run": run,
            "agent": str(agent.facts["learner"]),
            "seed": seed,
            "rom_set": rom_set,
            "rom_md5": hashlib.md5(rom.read_bytes()).hexdigest(),
            "sticky_probability": 0.0,
            "time_limit": MAX_STEPS,
            "epsilon": epsilon,
            "most_no_ops": most_no_ops,
            "begins_with_fire": True,
            "agent_sha256": hashlib.sha256(agent_path.read_bytes()).hexdigest(),
            "agent_facts": agent.facts,
            "rows": logged,
            "mean_return": float(np.mean(returns)),
            "code_version": code_version(),
        }
        run_log.write(home, facts)
    shutil.rmtree(training)
    return home


def episodes(games: AtariGames, act: Act, chance: Chance) -> Iterator[PlayedEpisode]:
    """An endless stream of whole episodes, in the order in which they began."""
    player = GamePlayer(games, act, chance)
    player.begin(range(games.count))
    rows = collections.defaultdict[int, list[tuple[np.ndarray, int, float]]](list)
    has_ended = set[int]()
    for due in itertools.count():
        while due not in has_ended:
            step = player.step()
            for game, number in enumerate(step.number.tolist()):
                frame, reward = step.frame[game, ..., 0].copy(), float(step.taken.reward[game])
                rows[number].append((frame, int(step.action[game]), reward))
            has_ended.update(step.number[step.ended].tolist())
            player.begin(step.ended)
        yield PlayedEpisode(*map(np.array, zip(*rows.pop(due), strict=True)))


def _chance(seed: list[int], epsilon: float, num_actions: int) -> Chance:
    def of(number: int) -> tuple[int, Callable[[int], int]]:
        rng = np.random.default_rng([*seed, number])
        emulator_seed = int(rng.integers(2**31))

        def explore(action: int) -> int:
            is_random, at_random = rng.random() < epsilon, int(rng.integers(num_actions))
            return at_random if is_random else action

        return emulator_seed, explore

    return of


def _no_act(stacks: np.ndarray) -> np.ndarray:
    return np.zeros(len(stacks), np.int64)


def _same_actions(actions: Sequence[np.ndarray], chance: Chance) -> Chance:
    """Takes these actions, whatever the policy says; later episodes, which are not logged, none."""

    def of(number: int) -> tuple[int, Callable[[int], int]]:
        left = iter(actions[number].tolist() if number < len(actions) else ())
        return chance(number)[0], lambda action: next(left, 0)

    return of


def _write_actions(path: pathlib.Path, actions: Sequence[np.ndarray]) -> None:
    lengths = np.array([len(each) for each in actions], np.int32)
    npz.write_arrays(path, {"action": np.concatenate(actions).astype(np.uint8), "length": lengths})


def _read_actions(path: pathlib.Path) -> list[np.ndarray]:
    arrays = npz.read_arrays(path, "name the actions of a run of `rl-datasets log-agent`")
    if arrays.keys() != {"action", "length"} or arrays["length"].sum() != len(arrays["action"]):
        raise DatasetError(
            f"{path} does not hold the actions of a run: name those of `rl-datasets log-agent`"
        )
    return np.split(arrays["action"], np.cumsum(arrays["length"])[:-1])


def _check_same_actions(path: pathlib.Path, actions: Sequence[np.ndarray]) -> None:
    """Refuses a run whose episodes are not those of the file: an emulator, run or seed differs."""
    expected = _read_actions(path)
    if [len(each) for each in actions] != [len(each) for each in expected]:
        raise DatasetError(
            f"the episodes of {path} do not repeat: give the agent, the run, the seed and the "
            "number of transitions that it was logged with"
        )
