"""docs/atari_rewards.md says what was measured."""

import itertools
import json

import numpy as np
import pytest

from benchmarks import rl_unplugged_rewards
from benchmarks.tables import figures, page
from rl_datasets.errors import DatasetError
from tests.rl_datasets.replaying.logs import GAME, play, write_shards

PAGE = rl_unplugged_rewards.PAGE.read_text()
MEASURED = json.loads(rl_unplugged_rewards.RESULTS.read_text())


def test_the_table_is_that_of_the_results():
    assert page.filled(PAGE, {"rewards": rl_unplugged_rewards.table(MEASURED)}) == PAGE


def test_what_the_page_says_is_what_was_measured():
    ((first, second),) = (shard["episodes"] for shard in MEASURED.values())
    for episode in (first, second):
        assert episode["replayed_whole"]
        assert episode["of_the_next_row"] == episode["rows"] - 1
        assert episode["earned_by_first_action"] == episode["stored_in_last_row"] == 0
    assert f"{first['of_the_same_row']} and {second['of_the_same_row']} rows agree" in PAGE


def test_real_episodes_are_measured_anew(shared):
    shard = shared / "rl_unplugged/atari_episodes_ordered/Asterix/run_1-00000-of-00001"
    assert {"Asterix/run_1-00000-of-00001": rl_unplugged_rewards.measure(shard)} == MEASURED


def test_a_shard_whose_rewards_are_known_is_counted_right(tmp_path):
    game, _ = play(2)  # The second is cut.
    folder = write_shards(tmp_path, [game], shards=1) / "atari_episodes_ordered" / GAME
    (shard,) = folder.iterdir()
    (counted,) = rl_unplugged_rewards.measure(shard)["episodes"]
    earned = np.clip(game.reward, -1, 1)
    stored = np.append(earned[1:], 0)
    assert counted["rows"] == len(earned)
    assert counted["of_the_same_row"] == np.sum(stored == earned) < len(earned)
    assert counted["of_the_next_row"] == len(earned) - 1
    assert counted["raw_return"] == game.reward.sum()


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "Asterix").mkdir()
    (tmp_path / "Asterix" / "shard").write_bytes(b"nothing of the kind")
    with pytest.raises(DatasetError, match="shard is damaged"):
        rl_unplugged_rewards.measure(tmp_path / "Asterix" / "shard")


def test_the_picture_shows_a_game_that_was_played_here():
    rows = rl_unplugged_rewards.played()
    drawn = figures.svg(rl_unplugged_rewards.picture(rows))
    assert "images/atari_rewards.svg" in PAGE
    assert rl_unplugged_rewards.PICTURE.read_text() == drawn
    np.testing.assert_array_equal(rows.stored[:-1], rows.earned[1:])
    assert np.flatnonzero(rows.earned).tolist() == [rl_unplugged_rewards.BEFORE]
    # The page names the row, and the next frame is the first to show the score.
    earned = rl_unplugged_rewards.BEFORE
    assert f"the reward of row {rows.first + earned} shows" in PAGE
    score = rows.frames[:, 73:78]
    changes = [np.any(after != before) for before, after in itertools.pairwise(score)]
    assert np.flatnonzero(changes).tolist() == [earned]
