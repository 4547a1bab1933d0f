"""Dopamine's Atari protocol, frame by frame against ALE itself and OpenCV's own resize."""

import unittest

import ale_py
import cv2
import dm_env
import numpy as np
import pytest
from dm_env import test_utils

from rl_datasets.collection import atari
from rl_datasets.errors import DatasetError

GAMES = ("pong", "breakout", "space_invaders", "air_raid")


def rom_of(game):
    return ale_py.roms.get_rom_path(game)


class Dopamine:
    """The protocol written down plainly, on ALE's one-frame interface: nothing is shared."""

    def __init__(self, game, sticky_probability=0.25):
        self.ale = ale_py.ALEInterface()
        self.ale.setLoggerMode(ale_py.LoggerMode.Error)
        self.ale.setFloat("repeat_action_probability", sticky_probability)
        self.game = game

    def reset(self, seed):
        self.ale.setInt("random_seed", seed)
        self.ale.loadROM(rom_of(self.game))
        self.ale.reset_game()
        self.actions = self.ale.getMinimalActionSet()
        self.screens = [self.ale.getScreenGrayscale(), self.ale.getScreenGrayscale() * 0]
        return self.observation()

    def step(self, action):
        """(reward, whether the game is over, in which of the four frames it stopped)."""
        reward = 0
        for frame in range(4):
            reward += self.ale.act(self.actions[action])
            if self.ale.game_over():
                break
            if frame >= 2:
                self.screens[frame - 2] = self.ale.getScreenGrayscale()
        return reward, self.ale.game_over(), frame

    def observation(self):
        pooled = np.maximum(*self.screens)
        return cv2.resize(pooled, (84, 84), interpolation=cv2.INTER_AREA)[..., None]


class PongByContract(test_utils.EnvironmentTestMixin, unittest.TestCase):
    """dm_env's own contract test."""

    def make_object_under_test(self):
        return atari.AtariEnvironment(rom_of("pong"), seed=0, max_steps=20)

    def make_action_sequence(self):
        return iter([0, 2, 3] * 20)


@pytest.mark.parametrize("game", GAMES)
def test_every_frame_and_reward_is_that_of_the_protocol(game):
    environment, dopamine = atari.AtariEnvironment(rom_of(game), seed=1), Dopamine(game)
    rng = np.random.default_rng(2)
    ends = []
    timestep = environment.reset()
    expected = dopamine.reset(environment.episode_seed)
    for _ in range(1500):
        np.testing.assert_array_equal(timestep.observation, expected)
        action = rng.integers(environment.action_spec().num_values)
        timestep = environment.step(action)
        reward, is_over, frame = dopamine.step(action)
        assert timestep.reward == reward
        assert timestep.last() == is_over
        if is_over:
            ends.append(frame)
            assert timestep.discount == 0
            # The one difference: ale-py looks at a fourth frame in which the game is over.
            if frame < 3:
                np.testing.assert_array_equal(timestep.observation, dopamine.observation())
            timestep = environment.reset()
            dopamine.reset(environment.episode_seed)
        expected = dopamine.observation()
    assert ends


@pytest.mark.parametrize("game", ["pong", "breakout", "space_invaders"])
def test_a_life_is_lost_where_the_console_counts_fewer_and_the_game_continues(game):
    """Two games, each begun again when it is over; Pong has no lives."""
    games, plain = atari.AtariGames(rom_of(game), 2), [Dopamine(game), Dopamine(game)]
    rng, lost, is_over = np.random.default_rng(3), 0, [True, True]
    games.begin([0, 1], [0, 0])
    for step in range(400):
        for number in np.flatnonzero(is_over).tolist():
            games.begin([number], [step])
            plain[number].reset(step)
        before = [each.ale.lives() for each in plain]
        actions = rng.integers(games.num_actions, size=2)
        taken = games.step(actions)
        is_over = [each.step(action)[1] for each, action in zip(plain, actions, strict=True)]
        after = [each.ale.lives() for each in plain]
        expected = [0 < a < b for a, b in zip(after, before, strict=True)]
        assert taken.is_life_lost.tolist() == expected
        assert taken.is_over.tolist() == is_over
        lost += sum(expected)
    assert (lost > 0) == (game != "pong")


@pytest.mark.parametrize("game", GAMES)
def test_every_frame_may_keep_the_action_before_the_first_of_a_step_too(game):
    """Where all keep it, none of the actions is ever executed, but the no-op of the beginning."""

    def played(probability, action):
        environment = atari.AtariEnvironment(rom_of(game), sticky_probability=probability)
        environment.reset_with(3)
        return [environment.step(action).observation for _ in range(150)]

    last = atari.AtariEnvironment(rom_of(game)).action_spec().num_values - 1
    kept = played(1.0, last)
    np.testing.assert_array_equal(kept, played(0.0, 0))
    assert np.any(np.array(kept) != played(0.0, last))


def test_the_observation_after_a_game_that_ends_in_the_fourth_frame_is_not_dopamines():
    environment, dopamine = atari.AtariEnvironment(rom_of("pong")), Dopamine("pong")
    environment.reset_with(11)  # Whose game ends so.
    dopamine.reset(11)
    rng, is_over = np.random.default_rng(11), False
    while not is_over:
        action = rng.integers(6)
        timestep = environment.step(action)
        _, is_over, frame = dopamine.step(action)
    assert frame == 3
    assert not np.array_equal(timestep.observation, dopamine.observation())


def vector_environment(game, **changes):
    """ale-py's own, as the protocol needs it, but for what is to be seen."""
    protocol = {
        "num_envs": 1,
        "stack_num": 1,
        "noop_max": 0,
        "use_fire_reset": False,
        "reward_clipping": False,
        "repeat_action_probability": 0.25,
    }
    return ale_py.AtariVectorEnv(game, **{**protocol, **changes})


def play(game, steps=120, **changes):
    vector = vector_environment(game, **changes)
    rng = np.random.default_rng(0)
    observation, _ = vector.reset(seed=5)
    seen, rewards, ends = [observation[0, -1]], [], []
    for _ in range(steps):
        action = rng.integers(vector.single_action_space.n, size=1)
        observation, reward, terminated, truncated, _ = vector.step(action)
        seen.append(observation[0, -1])
        rewards.append(reward[0])
        ends.append(bool(terminated[0] or truncated[0]))
    return np.array(seen), np.array(rewards), np.array(ends)


@pytest.mark.parametrize(
    ("game", "change"),
    [
        ("breakout", {"noop_max": 30}),
        ("breakout", {"use_fire_reset": True}),
        ("breakout", {"repeat_action_probability": 0.0}),
        ("breakout", {"maxpool": False}),
        ("breakout", {"episodic_life": True}),
        ("space_invaders", {"reward_clipping": True}),
    ],
)
def test_what_the_vector_environment_does_by_default_is_not_the_protocol(game, change):
    for one, other in zip(play(game), play(game, **change), strict=True):
        if not np.array_equal(one, other):
            return
    pytest.fail(f"{change} makes no difference here")


# AirRaid's emulator plays some frames before an episode can begin; they do not count.
@pytest.mark.parametrize("game", ["pong", "air_raid"])
def test_a_time_limit_truncates_after_so_many_steps(game):
    environment = atari.AtariEnvironment(rom_of(game), seed=0, max_steps=50)
    for _ in range(2):
        timestep, steps = environment.reset(), 0
        while not timestep.last():
            timestep, steps = environment.step(0), steps + 1
        assert (steps, timestep.discount) == (50, 1.0)
    assert environment.step(0).step_type is dm_env.StepType.FIRST


def test_a_game_that_is_over_at_the_time_limit_is_over():
    def last_step(max_steps):
        environment = atari.AtariEnvironment(rom_of("breakout"), max_steps=max_steps)
        timestep, rng, steps = environment.reset_with(0), np.random.default_rng(0), 0
        while not timestep.last():
            timestep, steps = environment.step(rng.integers(4)), steps + 1
        return steps, timestep.discount

    steps, _ = last_step(atari.MAX_STEPS)
    assert last_step(steps) == last_step(steps + 1) == (steps, 0.0)
    assert last_step(steps - 1) == (steps - 1, 1.0)


def episode(environment, steps=200):
    rng = np.random.default_rng(3)
    observations = []
    for _ in range(steps):
        observations.append(environment.step(rng.integers(4)).observation)
    return np.array(observations)


def test_an_episode_can_be_replayed_from_its_seed():
    environment = atari.AtariEnvironment(rom_of("breakout"), seed=7)
    environment.reset()
    environment.step(1)
    environment.reset()
    seed, first = environment.episode_seed, episode(environment)
    other = atari.AtariEnvironment(rom_of("breakout"), seed=8)
    other.reset()
    other.step(2)
    other.reset_with(seed)
    np.testing.assert_array_equal(episode(other), first)
    other.reset_with(seed + 1)
    assert not np.array_equal(episode(other), first)


def test_an_action_that_the_game_lacks_is_refused():
    environment = atari.AtariEnvironment(rom_of("pong"), seed=0)
    environment.reset()
    for action in (-1, 6):
        with pytest.raises(ValueError, match=r"must be in 0\.\.5"):
            environment.step(action)


def test_what_is_no_rom_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"pong\.bin is not the ROM of a game"):
        atari.AtariEnvironment(tmp_path / "pong.bin")
    stranger = tmp_path / "stranger.bin"
    stranger.write_bytes(b"\0" * 4096)
    with pytest.raises(DatasetError, match=r"stranger\.bin is not the ROM of a game"):
        atari.AtariEnvironment(stranger)


def test_games_that_are_stepped_together_are_each_what_it_is_alone():
    """Also where one is begun again in the midst of the others, at a time limit or at its end."""
    count, rng = 3, np.random.default_rng(4)
    alone = [atari.AtariEnvironment(rom_of("breakout"), max_steps=170) for _ in range(count)]
    games = atari.AtariGames(rom_of("breakout"), count, max_steps=170)
    frames = games.begin(range(count), [10, 11, 12])
    np.testing.assert_array_equal(
        frames, [a.reset_with(10 + i).observation for i, a in enumerate(alone)]
    )
    overs = truncations = 0
    for _ in range(800):
        actions = rng.integers(games.num_actions, size=count)
        taken = games.step(actions)
        timesteps = [a.step(b) for a, b in zip(alone, actions, strict=True)]
        np.testing.assert_array_equal(taken.frame, [t.observation for t in timesteps])
        np.testing.assert_array_equal(taken.reward, [t.reward for t in timesteps])
        is_last = taken.is_over | taken.is_truncated
        np.testing.assert_array_equal(is_last, [t.last() for t in timesteps])
        np.testing.assert_array_equal(taken.is_over, [t.discount == 0 for t in timesteps])
        overs += np.count_nonzero(taken.is_over)
        truncations += np.count_nonzero(taken.is_truncated)
        for game in np.flatnonzero(is_last):
            seed = int(rng.integers(2**31))
            begun = games.begin([game], [seed])
            np.testing.assert_array_equal(begun[0], alone[game].reset_with(seed).observation)
    assert min(overs, truncations) > 3


def test_episodes_may_begin_with_no_ops_and_with_fire():
    """Breakout's ball is there only after FIRE; no-ops differ from seed to seed."""

    def frames(seed, **how):
        games = atari.AtariGames(rom_of("breakout"), 1, sticky_probability=0, **how)
        games.begin([0], [seed])
        return np.array([games.step(np.array([0])).frame for _ in range(20)])

    plain = frames(1)
    np.testing.assert_array_equal(plain, frames(2))
    assert np.any(plain != frames(1, presses_fire=True))
    begun = frames(1, most_no_ops=30, presses_fire=True)
    assert np.any(begun != frames(2, most_no_ops=30, presses_fire=True))
