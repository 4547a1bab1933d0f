"""Nothing is earned by the first action of an episode, so what RL Unplugged does not store is 0."""

import json

import ale_py
import pytest

from benchmarks import first_actions
from rl_datasets.roms import RomSet
from rl_datasets.sources import atari, rl_unplugged

MEASURED = json.loads(first_actions.RESULTS.read_text())


def test_no_first_action_of_rl_unplugged_s_games_earns_anything():
    assert MEASURED.keys() == atari.ATARI_GAMES.keys()
    for game in rl_unplugged.GAMES:
        assert MEASURED[game].keys() == {*RomSet}
        for of in MEASURED[game].values():
            assert of["least"] == of["most"] == 0
            # Each action but the no-op has five outcomes, from each start.
            assert of["outcomes"] % (5 * atari.ATARI_GAMES[game].num_actions - 4) == 0


def test_one_of_dqn_replay_s_games_does():
    """Time is what Skiing counts, so a reward is found where there is one."""
    earning = {g for g, of in MEASURED.items() if any(x["least"] or x["most"] for x in of.values())}
    assert earning == {"Skiing"}


@pytest.mark.parametrize(("game", "rom"), [("Freeway", "freeway"), ("Skiing", "skiing")])
def test_a_game_is_measured_anew(game, rom):
    again = first_actions.measure(ale_py.roms.get_rom_path(rom))
    assert again == MEASURED[game][RomSet.ALE]
