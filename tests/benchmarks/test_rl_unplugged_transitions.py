"""Which action the reward of a transition is of, as its screens tell it."""

import ale_py
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from benchmarks import rl_unplugged_transitions
from benchmarks.rl_unplugged_transitions import Shown, shown, verdict
from rl_datasets import roms, wire
from rl_datasets.frames import encode_png
from rl_datasets.sources import rl_unplugged
from tests.rl_datasets.replaying.logs import play
from tests.rl_datasets.sources import rl_unplugged_files

GAME, ROM = "MsPacman", "ms_pacman"  # Dots are earned at once, and many of them.


@pytest.fixture(scope="module")
def controls():
    """Of a game that is played with another seed than those of the shards."""
    return rl_unplugged_transitions.of_a_game(ale_py.roms.get_rom_path(ROM), 600)


@pytest.fixture(params=["its own", "the next one's"])
def shard(request, tmp_path):
    """A shard of a game that was played here; which reward it has is the parameter."""
    (played,) = play(1, seed=5, rom=ROM, last_rows=600)
    stacks = encode_png(played.observation)
    examples = []
    for row in range(3, len(played.action) - 1):
        reward = played.reward[row if request.param == "its own" else row + 1]
        examples.append(
            rl_unplugged_files.transition(
                row,
                o_t=wire.bytes_list(stacks[row - 3 : row + 1]),
                o_tp1=wire.bytes_list(stacks[row - 2 : row + 2]),
                r_t=wire.float_scalar(float(np.clip(reward, -1, 1))),
            )
        )
    order = np.random.default_rng(0).permutation(len(examples))
    path = tmp_path / "run_1-00000-of-00100"
    rl_unplugged_files.write(path, [examples[i] for i in order])
    return request.param, path


def test_a_shard_is_told_by_its_screens(shard, controls, monkeypatch):
    has, path = shard
    monkeypatch.setattr(roms, "rom_path", lambda *_: ale_py.roms.get_rom_path(ROM))
    monkeypatch.setattr(rl_unplugged_transitions, "of_a_game", lambda *_: controls)
    app = typer.Typer()
    app.command()(rl_unplugged_transitions.main)
    outcome = CliRunner().invoke(app, [GAME, str(path)])
    assert outcome.exit_code == 0, outcome.output
    whose = "are those of their own" if has == "its own" else "look like those of the next"
    assert outcome.output.splitlines()[-1] == f"so the shard's rewards {whose} actions"


def test_the_screens_of_real_rows_tell_the_same_as_replaying_them(shared):
    path = shared / "rl_unplugged/atari_episodes_ordered/Asterix/run_1-00000-of-00001"
    for episode in rl_unplugged.read_episodes(path, 0):
        frames = np.asarray(episode.observation)[:-1]

        def share(rewards, frames=frames):
            return shown(zip(frames[:-1], frames[1:], rewards, strict=False)).share

        assert share(episode.reward) > 0.7
        assert share(episode.extras["stored_reward"]) < 0.3


def test_the_share_is_of_the_pixel_that_tells_most():
    """By hand: a pixel that changes in 2 of 2 rows with a reward and in 1 of 4 without."""
    before = np.zeros((84, 84, 1), np.uint8)
    telling, always = before.copy(), before.copy()
    telling[3, 4] = telling[80, 80] = always[80, 80] = 9
    rows = [(before, telling, 1.0), (before, telling, -1.0), (before, telling, 0.0)]
    rows += [(before, always, 0.0)] * 3
    assert shown(rows) == Shown(6, 2, 0.75)
    assert shown([(before, telling, 1.0)]) == Shown(1, 1, 0.0)
    assert shown([]) == Shown(0, 0, 0.0)


@pytest.mark.parametrize(
    ("shard", "own", "following", "sentence"),
    [
        (Shown(900, 90, 0.9), Shown(900, 90, 0.99), Shown(900, 90, 0.2), "their own actions"),
        (Shown(900, 90, 0.3), Shown(900, 90, 0.99), Shown(900, 90, 0.2), "the next actions"),
        (Shown(900, 90, 0.9), Shown(900, 90, 0.49), Shown(900, 90, 0.51), "does not show"),
        (Shown(900, 19, 0.9), Shown(900, 90, 0.99), Shown(900, 90, 0.2), "does not show"),
    ],
)
def test_there_is_no_verdict_where_a_game_or_a_shard_gives_none(shard, own, following, sentence):
    assert sentence in verdict(shard, own, following)


def test_a_game_played_here_tells_them_apart(controls):
    own, following = controls
    assert min(own.rewards, following.rewards) >= rl_unplugged_transitions.LEAST_REWARDS
    assert own.share > 0.9
    assert following.share < 0.4
