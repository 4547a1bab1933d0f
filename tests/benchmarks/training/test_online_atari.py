"""The loop that logs an Atari run: its schedule, what it samples, what it writes, and its cuts."""

import dataclasses
import functools
import json

import dm_env
import filelock
import numpy as np
import pytest

from benchmarks.training.online import atari as online_atari
from benchmarks.training.online.atari_schedule import AtariSchedule
from benchmarks.training.online.replay_sampling import Uniform
from learners import dqn, networks, qr_dqn
from rl_datasets import npz, roms
from rl_datasets.collection import atari
from rl_datasets.collection.replay_log import ReplayLog
from rl_datasets.errors import DatasetError
from rl_datasets.roms import RomSet
from rl_datasets.sources import dqn_replay

SMALL = AtariSchedule(
    iterations=2,
    steps_per_iteration=150,
    checkpoint_rows=150,
    min_replay=40,
    update_period=20,
    target_period=80,
    epsilon_decay_steps=50,
    epsilon=0.5,
    batch_size=2,
    max_episode_steps=100,
)
MAKE = {module: functools.cache(module.make) for module in (dqn, qr_dqn)}


def small_network(style, num_outputs):
    """Of the mean of each frame and of its thirds, so that an update takes no time."""
    network = networks.mlp([16, num_outputs], networks.keras_initializers)

    def features(frames):
        thirds = frames.astype(np.float32).reshape(-1, 3, 28 * 84, 4) / 255.0
        return thirds.mean(axis=2).reshape(-1, 12)

    return networks.Network(
        lambda key, frames: network.init(key, features(frames)),
        lambda params, frames: network.apply(params, features(frames)),
    )


@pytest.fixture(autouse=True)
def quick_learners(monkeypatch):
    """Learners of small networks, compiled once: both take longer than these runs."""
    for module, make in MAKE.items():
        monkeypatch.setattr(module, "styled", small_network)
        monkeypatch.setattr(module, "make", make)


def log_run(folder, agent="random", game="Pong", schedule=SMALL, **options):
    return online_atari.log_run(game, folder, agent=agent, schedule=schedule, **options)


@pytest.mark.parametrize(
    ("step", "epsilon"),
    [
        (0, 1.0),
        (20_000, 1.0),
        (20_001, 1 - 0.99 / 250_000),
        (145_000, 0.505),
        (270_000, 0.01),
        (9_000_000, 0.01),
    ],
)
def test_epsilon_falls_as_dopamines(step, epsilon):
    assert AtariSchedule().epsilon_at(step) == pytest.approx(epsilon, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"target_period": 6}, "must be a multiple of update_period, 4, got 6"),
        ({"min_replay": 1_000_000}, "below checkpoint_rows, 1000000, got 1000000"),
        ({"min_replay": 3}, "min_replay must be at least 8"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(change, message):
    with pytest.raises(DatasetError, match=message):
        AtariSchedule(**change)


def filled(folder, lengths, capacity):
    """A log whose frames, actions and rewards all tell the number of the step, from 1."""
    log = ReplayLog(folder, capacity, frame_shape=(2, 2))
    step, step_of_row = 0, {}
    for length in lengths:
        for index in range(length):
            step += 1
            log.add(np.full((2, 2), step, np.uint8), step, step, index == length - 1)
            step_of_row[log.add_count - 1] = step
    return log, step_of_row


@pytest.mark.parametrize("capacity", [64, 37])  # as yet not full, and full
def test_batches_are_drawn_as_dopamine_draws_them(tmp_path, capacity):
    lengths = [9, 1, 2, 12, 5, 11]
    log, step_of_row = filled(tmp_path, lengths, capacity)
    ends = set(np.cumsum(lengths))
    starts = {
        int(end) - length + 1 for end, length in zip(np.cumsum(lengths), lengths, strict=True)
    }
    batch = Uniform(log).sample(np.random.default_rng(0), 3000)
    assert batch.observation.shape == (1, 3000, 2, 2, 4)
    drawn = set()
    for b in range(3000):
        stack, following = batch.observation[0, b, 0, 0], batch.next_observation[0, b, 0, 0]
        step = int(stack[-1])
        drawn.add(step)
        first = max(start for start in starts if start <= step)
        expected = [max(each, first - 1) for each in range(step - 3, step + 1)]
        assert [each if each >= first else 0 for each in expected] == stack.tolist()
        assert batch.action[0, b] == batch.reward[0, b] == step
        assert batch.discount[0, b] == (step not in ends)
        np.testing.assert_array_equal(following[:3], stack[1:])
        if step not in ends:
            assert following[3] == step + 1
    # Dopamine's rule: not the newest row; of a full buffer not the four oldest.
    oldest = max(log.add_count - capacity + 4, 0) if log.add_count >= capacity else 0
    assert drawn == {s for row, s in step_of_row.items() if oldest <= row < log.add_count - 1}


class Watched(atari.AtariEnvironment):
    """Keeps all that passes between the agent and the game."""

    seen: list

    def reset(self):
        timestep = super().reset()
        self.seen.append(([timestep.observation], [], []))
        return timestep

    def step(self, action):
        timestep = super().step(action)
        observations, actions, rewards = self.seen[-1]
        actions.append(action)
        rewards.append(timestep.reward)
        observations.append(timestep.observation)
        return timestep


@pytest.mark.parametrize("agent", ["random", "dqn", "qr_dqn"])
def test_a_logged_run_read_back_is_what_the_agent_saw(tmp_path, monkeypatch, agent):
    schedule = dataclasses.replace(SMALL, max_episode_steps=230, steps_per_iteration=250)
    monkeypatch.setattr(Watched, "seen", [], raising=False)
    monkeypatch.setattr(atari, "AtariEnvironment", Watched)
    home = log_run(tmp_path, agent, "Asterix", schedule, seed=5)
    assert home == tmp_path / "Asterix" / "1"

    run = dqn_replay.read_run(home / "replay_logs", time_limit=230)
    episodes = [episode for unit in run.units for episode in dqn_replay.read_episodes(unit)]
    assert not run.faults
    assert len(run.units) >= 3
    # An episode's first row can jump over a checkpoint, and its rows are lost: not in these runs.
    assert len(episodes) == len(Watched.seen) >= 4
    for episode, (observations, actions, rewards) in zip(episodes, Watched.seen, strict=True):
        rows = len(actions)
        is_terminal = bool(episode.is_terminal[-1])
        assert is_terminal == (rows < 230)
        kept = rows if is_terminal else rows - 1
        assert episode.num_transitions == kept
        np.testing.assert_array_equal(episode.observation[:kept], observations[:kept])
        np.testing.assert_array_equal(episode.action[:kept], actions[:kept])
        np.testing.assert_array_equal(episode.reward[:kept], np.clip(rewards[:kept], -1, 1))
        # What the layout cannot hold: the observation after the last row.
        final = np.zeros_like(observations[0]) if is_terminal else observations[kept]
        np.testing.assert_array_equal(episode.observation[kept], final)
    assert max(max(rewards) for _, _, rewards in Watched.seen) > 1
    if agent == "random":
        assert len({action for _, actions, _ in Watched.seen for action in actions}) == 9
        assert len({bool(episode.is_terminal[-1]) for episode in episodes}) == 2

    returns = json.loads((home / "returns.json").read_text())
    played = [each for iteration in returns["episode_return"] for each in iteration]
    assert played == [sum(rewards) for _, _, rewards in Watched.seen]
    assert [sum(steps) >= 250 for steps in returns["steps"]] == [True] * 2


def test_the_log_says_what_the_run_is(tmp_path):
    home = log_run(tmp_path, run=3, seed=2)
    log = json.loads((home / "log.json").read_text())
    rom = roms.rom_path("Pong", RomSet.ALE)
    assert {name: log[name] for name in ("game", "run", "agent", "seed", "rom_set")} == {
        "game": "Pong",
        "run": 3,
        "agent": "random",
        "seed": 2,
        "rom_set": "ale-py 0.12.1",
    }
    assert log["rom_md5"] == "60e0ea3cbe0913d39803477945e9e5ec"
    assert (log["sticky_probability"], log["time_limit"]) == (0.25, 100)
    assert log["schedule"] == dataclasses.asdict(SMALL)
    assert log["is_finished"]
    assert roms.roms_for(log) is RomSet.ALE
    assert [each["steps"] for each in log["iterations"]] == [200, 200]
    assert not (home / "training").exists()
    # Any episode can be played again from what is kept of it.
    seeds = json.loads((home / "returns.json").read_text())["seed"]
    environment = atari.AtariEnvironment(rom)
    frame = environment.reset_with(seeds[0][0]).observation
    (unit, *_) = dqn_replay.read_run(home / "replay_logs", time_limit=100).units
    np.testing.assert_array_equal(next(dqn_replay.read_episodes(unit)).observation[0], frame)


def bytes_of(home):
    return {
        path.relative_to(home): path.read_bytes()
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }


def test_the_same_call_logs_the_same_bytes_and_another_seed_or_run_others(tmp_path):
    logged = [
        bytes_of(log_run(tmp_path / str(number), "dqn", run=run, seed=seed))
        for number, (run, seed) in enumerate([(1, 0), (1, 0), (1, 1), (2, 0)])
    ]
    assert logged[0] == logged[1]
    frames = next(path for path in logged[0] if "observation" in path.name)
    assert len({each[frames] for each in logged}) == 3


class Cut(Exception):
    """Stands for whatever ends a process."""


def log_until(steps, folder, agent="random"):
    """Lets so many steps of the environment be taken."""
    step = atari.AtariEnvironment.step
    left = iter(range(steps))

    def step_or_die(environment, action):
        if next(left, None) is None:
            raise Cut
        return step(environment, action)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(atari.AtariEnvironment, "step", step_or_die)
        with pytest.raises(Cut):
            log_run(folder, agent)


@pytest.mark.parametrize("agent", ["random", "dqn"])
def test_a_run_that_was_cut_ends_as_it_would_have(tmp_path, agent):
    whole = bytes_of(log_run(tmp_path / "whole", agent))
    for steps in (150, 250, 390):  # within the first iteration, and twice within the second
        log_until(steps, tmp_path / "cut", agent)
        assert (tmp_path / "cut" / "Pong" / "1" / "training").is_dir()
    assert bytes_of(log_run(tmp_path / "cut", agent)) == whole


def test_a_finished_run_is_not_logged_again(tmp_path):
    log_run(tmp_path)
    with pytest.raises(DatasetError, match="1 holds a run that is finished: name another"):
        log_run(tmp_path)


def test_another_run_is_not_gone_on_with(tmp_path):
    log_until(250, tmp_path)
    with pytest.raises(DatasetError, match="training holds a run whose seed differ"):
        log_run(tmp_path, seed=1)


def test_two_processes_do_not_log_one_run(tmp_path):
    training = tmp_path / "Pong" / "1" / "training"
    training.mkdir(parents=True)
    with (
        filelock.FileLock(training / ".lock"),
        pytest.raises(DatasetError, match=r"another process is training in .*training"),
    ):
        log_run(tmp_path)


def test_a_game_that_does_not_repeat_itself_is_told(tmp_path):
    log_until(250, tmp_path)
    path = tmp_path / "Pong" / "1" / "training" / "checkpoint.npz"
    kept = npz.read_arrays(path, "")
    plain = json.loads(str(kept["facts"]))
    plain["iterations"][0][1][0] += 1  # the seed of the second episode
    kept["facts"] = np.array(json.dumps(plain))
    npz.write_arrays(path, kept)
    with pytest.raises(DatasetError, match=r"Pong does not repeat iteration 0 of .* as it was"):
        log_run(tmp_path)


def test_actions_that_are_missing_are_told(tmp_path):
    log_until(250, tmp_path)
    path = tmp_path / "Pong" / "1" / "training" / "actions-00000.npz"
    kept = npz.read_arrays(path, "")["action"]
    npz.write_arrays(path, {"action": kept[:-1]})
    with pytest.raises(
        DatasetError, match=r"Pong does not repeat iteration 0 of .*: delete .*Pong/1"
    ):
        log_run(tmp_path)


@pytest.mark.parametrize("file", ["checkpoint.npz", "actions-00000.npz"])
def test_a_damaged_file_of_a_cut_run_is_named(tmp_path, file):
    log_until(250, tmp_path)
    path = tmp_path / "Pong" / "1" / "training" / file
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match=file.replace(".", r"\.")):
        log_run(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"game": "Sokoban"}, "Sokoban is not one of DQN Replay's games"),
        ({"agent": "rainbow"}, "there is no agent rainbow: name one of dqn, "),
    ],
)
def test_what_is_unknown_is_refused(tmp_path, options, message):
    with pytest.raises(DatasetError, match=message):
        log_run(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_a_legacy_rom_that_is_not_installed_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    with pytest.raises(DatasetError, match=r"MsPacman's ROM in atari-py 0\.2\.5, is not installed"):
        log_run(tmp_path, game="MsPacman", rom_set=RomSet.LEGACY)


class Corridor(dm_env.Environment):
    """One bright frame; the second of two actions is rewarded, and ten of them are an episode."""

    episode_seed = 0

    def __init__(self, rom, seed, **protocol):
        del rom, seed, protocol
        self._steps = 0

    def reset(self):
        self._steps = 0
        return dm_env.restart(self._frame())

    def step(self, action):
        self._steps += 1
        end = dm_env.termination if self._steps == 10 else dm_env.transition
        return end(float(action), self._frame())

    def observation_spec(self):
        return dm_env.specs.Array((84, 84, 1), np.uint8)

    def action_spec(self):
        return dm_env.specs.DiscreteArray(2)

    def _frame(self):
        return np.full((84, 84, 1), 200, np.uint8)


def test_the_agent_learns(tmp_path, monkeypatch):
    monkeypatch.setattr(atari, "AtariEnvironment", Corridor)
    learned = functools.partial(dataclasses.replace, dqn.ADAM, learning_rate=1e-2)
    monkeypatch.setattr(online_atari, "AGENTS", {"dqn": learned()})
    schedule = dataclasses.replace(
        SMALL, iterations=3, steps_per_iteration=100, update_period=2, epsilon=0.0, batch_size=8
    )
    home = log_run(tmp_path, "dqn", schedule=schedule)
    returns = json.loads((home / "returns.json").read_text())["episode_return"]
    assert np.mean(returns[0]) < 8
    assert returns[2] == [10.0] * 10
