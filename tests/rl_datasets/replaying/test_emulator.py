"""The emulator of the replay against the environment that logs are recorded in."""

import ale_py
import numpy as np
import pytest

from rl_datasets.collection.atari import AtariEnvironment
from rl_datasets.errors import DatasetError
from rl_datasets.replaying import step
from rl_datasets.replaying.emulator import Emulator, observe

GAMES = ("pong", "breakout", "asterix", "freeway")


def rom_of(game):
    return ale_py.roms.get_rom_path(game)


@pytest.mark.parametrize("game", GAMES)
def test_every_observation_reward_and_end_is_the_environments(game):
    environment = AtariEnvironment(rom_of(game), seed=0, sticky_probability=0.0)
    emulator, rng, ends = Emulator(rom_of(game)), np.random.default_rng(0), 0
    timestep, state = environment.reset(), step.begin(emulator.first_start)
    np.testing.assert_array_equal(emulator.first_start.screen, emulator.screen())
    np.testing.assert_array_equal(observe(emulator.screen())[..., None], timestep.observation)
    for _ in range(1_000):
        action = int(rng.integers(emulator.num_actions))
        timestep = environment.step(action)
        outcome = step.outcome(emulator, state, action, kept=0)
        seen = step.final_observation(emulator, outcome)
        np.testing.assert_array_equal(seen[..., None], timestep.observation)
        assert (outcome.way.reward, outcome.is_over) == (timestep.reward, timestep.last())
        state = step.after(outcome)
        if timestep.last():
            ends += 1
            timestep, state = environment.reset(), step.begin(emulator.first_start)
            step.go_to(emulator, state)
    assert ends or game not in ("breakout", "asterix")


def test_what_is_no_rom_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"pong\.bin is not the ROM of a game"):
        Emulator(tmp_path / "pong.bin")


@pytest.mark.parametrize("game", ["qbert", "yars_revenge", "pong"])
def test_what_follows_a_state_is_the_same_when_it_is_gone_back_to(game):
    straight, there_and_back = Emulator(rom_of(game)), Emulator(rom_of(game))
    rng = np.random.default_rng(0)
    states = [step.begin(each.first_start) for each in (straight, there_and_back)]
    for _ in range(150):
        step.go_to(straight, states[0]) if not states[0].ways else None
        step.go_to(there_and_back, states[1])
        for action in rng.integers(straight.num_actions, size=4):  # A detour.
            there_and_back.act(action)
        step.go_to(there_and_back, states[1])
        action, kept = int(rng.integers(straight.num_actions)), int(rng.integers(5))
        one = step.outcome(straight, states[0], action, kept)
        other = step.outcome(there_and_back, states[1], action, kept)
        np.testing.assert_array_equal(one.screens, other.screens)
        assert one[0][1:] == other[0][1:]
        states = [step.after(one), step.after(other)]
        states[1].snapshot = there_and_back.clone()


def test_a_game_that_draws_before_it_begins_has_several_starts():
    emulator = Emulator(rom_of("double_dunk"))
    assert len(emulator.starts) > 10
    assert emulator.starts[0] is emulator.first_start
    environment = AtariEnvironment(rom_of("double_dunk"))
    known = {observe(start.screen).tobytes() for start in emulator.starts}
    for seed in range(10):
        assert environment.reset_with(seed).observation.tobytes() in known


def test_a_start_is_begun_at_again():
    emulator = Emulator(rom_of("double_dunk"))
    screen = emulator.begin(3)
    ram = emulator.ram()
    emulator.act(1)
    np.testing.assert_array_equal(emulator.begin(3), screen)
    np.testing.assert_array_equal(emulator.ram(), ram)
