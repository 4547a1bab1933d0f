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
