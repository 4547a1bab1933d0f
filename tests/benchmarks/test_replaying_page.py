"""What the page of replaying says of results, by hand."""

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
    assert "Right are 19 of the 20 raw rewards that replaying recovers" in page
    assert "1 of 1 final observations, and 30 of 30 executed actions that are proved." in page
    assert "| Pong | 1 | 10 | 10 | 1.20 | 50, 50 |" in page
    assert "| Enduro | 1 | 10 | 4 | 3.00 | not recovered, 50 |" in page
    assert "| Pong | 1 | right | yes | 30 of 40 |" in page


def test_a_game_has_a_cell_for_each_pair_of_roms():
    logs = [log("Pong", True), log("Amidar", True), log("Amidar", False, OLD, NEW)]
    page = "\n".join(replaying_page.games(logs))
    assert "| Pong | whole, 10 |  |  |  |" in page
    assert "| Amidar | whole, 10 |  | 4 of 10 |  |" in page
    assert "On its own ROM 2 of 2 logs are replayed whole, on the other 0 of 1." in page
    assert "Of 20 raw rewards that are told 20 are the truth." in page
