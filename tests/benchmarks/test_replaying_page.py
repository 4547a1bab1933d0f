"""The text of the page about replaying, for results made by hand."""

from benchmarks import replaying_page

OLD, NEW = "atari-py 0.2.5", "ale-py 0.12.1"


def log(game, whole, recorded_on=OLD, replayed_on=OLD, right=10):
    return {
        "game": game,
        "recorded_on": recorded_on,
        "replayed_on": replayed_on,
        "action_steps": 1,
        "rows": 10,
        "reached": 10 if whole else 4,
        "whole": whole,
        "steps": 12,
        "raw_return": 50.0,
        "found_return": 50.0 if whole else None,
        "rewards": {"told": 10, "right": right},
        "final_observation": "right" if whole else "not known",
        "only_return": True if whole else None,
        "executed": {"told": 30, "right": 30} if whole else None,
    }


def test_the_truth_counts_what_is_wrong():
    page = "\n".join(replaying_page.truth([log("Pong", True, right=9), log("Enduro", False)]))
    assert "2 logs of 2 games" in page
    assert "up to 2,000 rows each; 1 are replayed whole" in page
    assert "Of the values that replaying recovers, 19 of 20 raw rewards" in page
    assert "1 of 1 final observations and 30 of 30 proved executed actions are right." in page
    assert "| Pong | 1 | 10 | 10 | 1.20 | 50, 50 |" in page
    assert "| Enduro | 1 | 10 | 4 | 3.00 | not recovered, 50 |" in page
    assert "| Pong | 1 | right | yes | 30 of 40 |" in page


def test_a_game_has_a_cell_for_each_pair_of_roms():
    logs = [log("Pong", True), log("Amidar", True), log("Amidar", False, OLD, NEW)]
    page = "\n".join(replaying_page.games(logs))
    assert "| Pong | whole, 10 |  |  |  |" in page
    assert "| Amidar | whole, 10 |  | 4 of 10 |  |" in page
    assert "2 of 2 logs are replayed whole on their own ROM, and 0 of 1 on the other one." in page
    assert "Of the 20 raw rewards that replaying recovers, 20 are right." in page
