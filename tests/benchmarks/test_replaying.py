"""Logs whose truth is known, replayed: the rooms' own check, on the ROMs that ale-py brings."""

import ale_py
import numpy as np
import pytest

from benchmarks import replaying
from rl_datasets.replaying.emulator import Emulator
from rl_datasets.replaying.replay import replay

# DoubleDunk draws before an episode begins; Qbert begins within a frame, and YarsRevenge's objects
# are in no snapshot; Gravitar hides choices for long; Pong's paddle is not in its RAM.
GAMES = ("pong", "asterix", "breakout", "double_dunk", "qbert", "yars_revenge", "gravitar")


@pytest.mark.parametrize("game", GAMES)
def test_what_is_told_is_the_truth(game):
    rom = ale_py.roms.get_rom_path(game)
    recorded = replaying.record(rom, rows=100, seed=1)
    replayed = replay(Emulator(rom), recorded.logged, prove_unique=True, most_states=200)
    compared = replaying.compare(recorded, replayed)
    assert compared["whole"]
    assert compared["rewards"] == {"told": 100, "right": 100}
    assert compared["final_observation"] in ("right", "not known")
    assert compared["found_return"] == compared["raw_return"]
    assert (recorded.executed is None) == (game == "double_dunk")
    if compared["executed"]:
        assert 0 < compared["executed"]["told"] == compared["executed"]["right"]


def test_it_is_whole_to_the_end_of_a_game():
    rom = ale_py.roms.get_rom_path("breakout")
    recorded = replaying.record(rom, rows=1_000, seed=0)
    assert recorded.logged.is_terminal
    replayed = replay(Emulator(rom), recorded.logged, prove_unique=True)
    np.testing.assert_array_equal(replayed.reward, recorded.reward)
    np.testing.assert_array_equal(replayed.final_observation, recorded.final_observation)
    assert replayed.lives[-1] == 0
    assert replay(Emulator(rom), recorded.logged).final_observation is None


def test_a_comparison_shows_what_is_wrong():
    rom = ale_py.roms.get_rom_path("pong")
    recorded = replaying.record(rom, rows=60, seed=0)
    replayed = replay(Emulator(rom), recorded.logged, prove_unique=True)
    wrong = recorded._replace(
        reward=recorded.reward + 1,
        final_observation=255 - recorded.final_observation,
        executed=recorded.executed + 1,
    )
    compared = replaying.compare(wrong, replayed)
    assert (compared["rewards"]["right"], compared["executed"]["right"]) == (0, 0)
    assert compared["final_observation"] == "wrong"


def test_the_truth_of_executed_actions_is_shown():
    rom = ale_py.roms.get_rom_path("pong")
    recorded = replaying.record(rom, rows=60, seed=0)
    emulator = Emulator(rom)
    assert replaying.leads_there(emulator, recorded.executed, recorded.logged)
    other = np.where(recorded.executed == 2, 3, recorded.executed)
    assert not replaying.leads_there(emulator, other, recorded.logged)


def test_every_game_is_recorded_on_both_sets_where_they_differ():
    tasks = list(replaying.tasks("games"))
    assert len({task.game for task in tasks}) == 60
    assert len(tasks) == 31 + 4 * 29
