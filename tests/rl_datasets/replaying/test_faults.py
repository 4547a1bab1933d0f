"""Logs with something wrong in them: told at its row, and never replayed as if nothing were."""

import ale_py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_datasets.replaying.emulator import Emulator, observe
from rl_datasets.replaying.replay import LoggedEpisode, replay
from tests.rl_datasets.replaying import logs

PATIENCE = 300


@pytest.fixture(scope="module")
def emulator():
    return Emulator(ale_py.roms.get_rom_path(logs.ROM))


def played():
    return logs.play(episodes=2, seed=3)[0]  # To the end of the game.


def log():
    return logs.as_logged(played())


def altered(array, place, value):
    changed = array.copy()
    changed[place] = value
    return changed


def test_without_a_fault_it_is_whole_and_true(emulator):
    replayed = replay(emulator, log(), patience=PATIENCE)
    assert (replayed.whole, replayed.reason, replayed.rows) == (True, "", len(log().actions))
    np.testing.assert_array_equal(replayed.reward, played().reward)
    assert replayed.final_observation is None  # No proof: another state might show another.


@settings(max_examples=10)
@given(st.data())
def test_a_bit_of_a_frame_is_told_at_its_row(emulator, data):
    row = data.draw(st.integers(0, len(log().actions) - 1))
    place = (row, data.draw(st.integers(0, 83)), data.draw(st.integers(0, 83)), 0)
    bit = 1 << data.draw(st.integers(0, 7))
    observations = altered(log().observations, place, log().observations[place] ^ bit)
    replayed = replay(emulator, log()._replace(observations=observations), patience=PATIENCE)
    assert (replayed.whole, replayed.rows) == (False, row)
    assert np.isnan(replayed.reward[max(row - 1, 0) :]).all()
    assert replayed.final_observation is None
    if row:
        assert f"row {row - 1}'s action does not lead to row {row}'s frame" in replayed.reason
    else:
        assert replayed.reason == "its first frame is not the game's"


@settings(max_examples=10)
@given(st.data())
def test_an_action_is_told_at_its_row_or_later_or_made_no_difference(emulator, data):
    row = data.draw(st.integers(0, len(log().actions) - 1))
    actions = altered(log().actions, row, data.draw(st.integers(0, emulator.num_actions - 1)))
    replayed = replay(emulator, log()._replace(actions=actions), patience=PATIENCE)
    assert replayed.rows > row
    if replayed.whole:
        np.testing.assert_array_equal(replayed.reward[:-1], played().reward[:-1])
    else:
        assert replayed.final_observation is None
        assert f"row {replayed.rows - 1}" in replayed.reason


@pytest.mark.parametrize("row", [0, 50, -1])
def test_a_reward_is_told_at_its_row(emulator, row):
    row %= len(log().actions)
    rewards = altered(log().rewards, row, 1 - log().rewards[row])
    replayed = replay(emulator, log()._replace(rewards=rewards), patience=PATIENCE)
    assert (replayed.whole, replayed.rows) == (False, row + 1)
    assert f"row {row} has the reward {rewards[row]:g}, and its action earns" in replayed.reason


def test_an_end_that_is_none_is_told(emulator):
    rows = 40
    cut = LoggedEpisode(*(part[:rows] for part in log()[:3]), is_terminal=True)
    replayed = replay(emulator, cut, patience=PATIENCE)
    assert (replayed.whole, replayed.rows) == (False, rows)
    assert "the game continues after the last row, 39" in replayed.reason
    assert replay(emulator, cut._replace(is_terminal=False), patience=PATIENCE).whole


def test_no_end_where_there_is_one_is_told(emulator):
    last_row = len(log().actions) - 1
    replayed = replay(emulator, log()._replace(is_terminal=False), patience=PATIENCE)
    assert not replayed.whole
    assert f"the game ends after the last row, {last_row}" in replayed.reason


@pytest.mark.parametrize("frame_skip", [2, 3, 5])
def test_another_frame_skip_is_lost_soon(emulator, frame_skip):
    rng = np.random.default_rng(0)
    emulator.begin()
    observations, actions = [observe(emulator.screen())], []
    for _ in range(60):
        actions.append(int(rng.integers(emulator.num_actions)))
        screens = []
        for _ in range(frame_skip):
            emulator.act(actions[-1])
            screens.append(emulator.screen())
        observations.append(observe(np.maximum(*screens[-2:])))
    unknown = np.full(len(actions), np.nan)
    logged = LoggedEpisode(np.stack(observations[:-1]), np.array(actions), unknown, False)
    replayed = replay(emulator, logged, patience=PATIENCE)
    assert not replayed.whole
    assert replayed.rows < 40


def test_another_rom_is_lost_at_once():
    """Space Invaders' ROM differs between the sets; here it is Asterix's that is another."""
    (other,) = logs.play(episodes=1, rom="space_invaders")
    emulator = Emulator(ale_py.roms.get_rom_path("asterix"))
    replayed = replay(emulator, logs.as_logged(other), patience=PATIENCE)
    assert (replayed.whole, replayed.rows) == (False, 0)
    assert replayed.reason == "its first frame is not the game's"


def test_what_is_no_episode_is_refused(emulator):
    with pytest.raises(ValueError, match="as many frames of 84x84 as actions and rewards"):
        replay(emulator, log()._replace(rewards=log().rewards[:-1]))
    with pytest.raises(ValueError, match=r"an action must be in 0\.\.8"):
        replay(emulator, log()._replace(actions=altered(log().actions, 5, 9)))
