"""An agent that learns from several games at once: its buffer, its schedule, its cuts, its file."""

import dataclasses

import jax
import numpy as np
import pytest

from benchmarks.training import checkpoint
from benchmarks.training.online import agent_file, played_log, several_games
from benchmarks.training.online.games_buffer import GamesBuffer
from benchmarks.training.online.several_games import GamesSchedule, train_agent
from learners import networks, qr_dqn
from rl_datasets import npz, roms, run_log
from rl_datasets.collection.atari import AtariGames, GameSteps
from rl_datasets.errors import DatasetError
from rl_datasets.sources import dqn_replay

SMALL = GamesSchedule(
    games=2,
    buffer_rows=60,
    n_step=2,
    warm_up=20,
    batch_size=2,
    epochs=2,
    steps_per_epoch=100,
    epsilon_decay_steps=100,
    test_episodes=2,
)


def small_network(style, num_outputs):
    network = networks.mlp([8, num_outputs])

    def features(frames):
        return frames.astype(np.float32).reshape(-1, 21, 336, 4).mean(axis=(2)).reshape(-1, 84) / 99

    return networks.Network(
        lambda key, frames: network.init(key, features(frames)),
        lambda params, frames: network.apply(params, features(frames)),
    )


@pytest.fixture
def quick(monkeypatch):
    """A small network, and tests that each end better than the one before."""
    monkeypatch.setattr(qr_dqn, "styled", small_network)
    monkeypatch.setattr(
        several_games._Training, "_test", lambda training: float(len(training.tests))
    )


def filled(rows, games, steps, ends, n_step, lives_lost=()):
    """A buffer after some steps; the frame of step t in game g is all 10 g + t + 1."""
    buffer, number = GamesBuffer(rows, games, n_step, 0.5), np.arange(games)
    for step in range(steps):
        value = (10 * number + step + 1).astype(np.uint8)
        frames = np.broadcast_to(value[:, None, None, None], (games, 84, 84, 1))
        is_over = np.array([(step, game) in ends for game in range(games)])
        is_life_lost = np.array([(step, game) in lives_lost for game in range(games)])
        reward = (number + step).astype(np.float32)
        taken = GameSteps(frames, reward, is_over, np.zeros(games, bool), is_life_lost)
        buffer.add(frames, number + 100 * step, taken)
    return buffer


def test_a_stack_ends_where_its_episode_begins():
    buffer = filled(rows=8, games=2, steps=5, ends={(2, 1)}, n_step=1)
    frames = np.full((2, 84, 84, 1), 200, np.uint8)
    stacks = buffer.stacks(frames)
    assert stacks[0, 0, 0].tolist() == [3, 4, 5, 200]
    # The second game's third step was its last: its episode is of steps 3 and 4.
    assert stacks[1, 0, 0].tolist() == [0, 14, 15, 200]


@pytest.mark.parametrize("how", ["ends", "lives_lost"])
def test_a_transition_of_two_steps_by_hand(how):
    """A lost life is the same to a transition as the end of the game."""
    ends = {"ends": (), "lives_lost": (), how: {(4, 0)}}
    buffer = filled(rows=8, games=1, steps=7, n_step=2, **ends)
    batch = buffer.sample(np.random.default_rng(0), 200)
    seen = {}
    for i in range(200):
        step = int(batch.action[0, i]) // 100
        seen[step] = (
            batch.observation[0, i, 5, 6].tolist(),
            float(batch.reward[0, i]),
            float(batch.discount[0, i]),
            batch.next_observation[0, i, 5, 6].tolist(),
        )
    # Rewards 0..6, clipped to 1; half of the second; 0.5 for what follows, none after an end.
    assert seen[0] == ([0, 0, 0, 1], 0.5, 0.5, [0, 1, 2, 3])
    assert seen[1] == ([0, 0, 1, 2], 1.5, 0.5, [1, 2, 3, 4])
    assert seen[3][:3] == ([1, 2, 3, 4], 1.5, 0.0)
    assert seen[4][:3] == ([2, 3, 4, 5], 1.0, 0.0)
    assert sorted(seen) == [0, 1, 2, 3, 4]


def test_what_is_drawn_from_a_full_buffer_is_in_it_with_its_stack():
    buffer = filled(rows=10, games=2, steps=25, ends=set(), n_step=3)
    batch = buffer.sample(np.random.default_rng(0), 500)
    for i in range(500):
        step, game = divmod(int(batch.action[0, i]), 100)
        first = (10 * game + step + 1) % 256
        assert batch.observation[0, i, 0, 0].tolist() == list(range(first - 3, first + 1))
        assert batch.next_observation[0, i, 0, 0].tolist() == list(range(first, first + 4))
    # 15..24 are held: 18 is the first with a stack, 21 the last with three more.
    assert set((batch.action[0] // 100).tolist()) == {18, 19, 20, 21}


def test_epsilon_falls_in_a_line():
    schedule = GamesSchedule()
    steps = [0, 500_000, 1_000_000, 2_000_000]
    assert [schedule.epsilon_at(step) for step in steps] == pytest.approx([1, 0.525, 0.05, 0.05])


class _Cut(Exception):
    pass


def cut(line):
    raise _Cut


def test_a_training_that_was_cut_ends_as_it_would_have(tmp_path, quick):
    whole = train_agent("Pong", tmp_path / "whole.npz", schedule=SMALL)
    with pytest.raises(_Cut):
        train_agent("Pong", tmp_path / "cut.npz", schedule=SMALL, report=cut)
    again = train_agent("Pong", tmp_path / "cut.npz", schedule=SMALL)
    assert whole.facts["tests"] == again.facts["tests"] == [0, 1]
    assert whole.facts["steps"] == 200
    for a, b in zip(jax.tree.leaves(whole.state), jax.tree.leaves(again.state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (tmp_path / "cut.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"whole.npz", "cut.npz"}


def without_lives(monkeypatch):
    """From now on no game says that a life is lost."""
    step = AtariGames.step
    monkeypatch.setattr(
        AtariGames,
        "step",
        lambda games, actions: step(games, actions)._replace(
            is_life_lost=np.zeros(games.count, bool)
        ),
    )


@pytest.mark.parametrize(("game", "has_lives"), [("Pong", False), ("Breakout", True)])
def test_an_agent_learns_from_lost_lives_where_the_game_has_them(
    tmp_path, quick, monkeypatch, game, has_lives
):
    schedule = dataclasses.replace(SMALL, epochs=1, steps_per_epoch=200)
    train_agent(game, tmp_path / "a.npz", schedule=schedule)
    without_lives(monkeypatch)
    train_agent(game, tmp_path / "b.npz", schedule=schedule)
    is_same = (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert is_same != has_lives


def test_a_lost_life_ends_an_episode_for_the_learner_and_not_the_game(tmp_path, quick, monkeypatch):
    """Breakout has five lives: the buffer has five ends for each game that was begun again."""
    begun, step, taken = [], AtariGames.step, []
    begin = AtariGames.begin
    monkeypatch.setattr(AtariGames, "begin", lambda *of: (begun.append(list(of[1])), begin(*of))[1])
    monkeypatch.setattr(AtariGames, "step", lambda *of: (taken.append(step(*of)), taken[-1])[1])
    schedule = dataclasses.replace(SMALL, buffer_rows=1600, warm_up=1600)
    rom = roms.rom_path("Breakout", roms.RomSet.ALE)
    training = several_games._Training(rom, schedule, qr_dqn.TIANSHOU, 0, tmp_path)
    for _ in range(800):
        training._play_step()
    is_over = np.array([each.is_over for each in taken])
    assert begun == [[0, 1], *([game] for game in np.nonzero(is_over)[1].tolist())]
    is_end = training._buffer.arrays["is_end"]
    for game in (0, 1):
        ends = np.flatnonzero(is_end[:, game])
        over = np.flatnonzero(is_over[:, game])
        assert len(over) > 1
        assert over.tolist() == ends[4::5].tolist()
        after = ends[ends < 799] + 1
        assert np.all(training._buffer.arrays["age"][after, game] == 0)


def test_a_test_is_whole_episodes_by_the_schedule(tmp_path, monkeypatch):
    """Played with all actions at random, two games of Pong are lost by about 20 points each."""
    monkeypatch.setattr(qr_dqn, "styled", small_network)
    schedule = dataclasses.replace(SMALL, epochs=1, test_epsilon=1.0)
    agent = train_agent("Pong", tmp_path / "a.npz", schedule=schedule)
    assert -21 <= agent.facts["tests"][0] < -15


def test_a_training_ends_when_a_test_is_good_enough(tmp_path, quick):
    schedule = dataclasses.replace(SMALL, epochs=9)
    agent = train_agent("Pong", tmp_path / "a.npz", schedule=schedule, stop_at=2.0)
    assert agent.facts["tests"] == [0, 1, 2]


def test_another_training_is_not_gone_on_with(tmp_path, quick):
    with pytest.raises(_Cut):
        train_agent("Pong", tmp_path / "a.npz", schedule=SMALL, report=cut)
    with pytest.raises(DatasetError, match="seed differ"):
        train_agent("Pong", tmp_path / "a.npz", schedule=SMALL, seed=1)


def test_an_agent_comes_back_as_it_was_and_acts(tmp_path, quick):
    agent = train_agent("Pong", tmp_path / "a.npz", schedule=SMALL)
    stacks = np.random.default_rng(0).integers(0, 256, (5, 84, 84, 4), dtype=np.uint8)
    loaded = agent_file.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded.act(stacks), agent.act(stacks))
    assert loaded.facts["learner"] == "qr_dqn"


def test_what_holds_no_agent_is_refused(tmp_path, quick, monkeypatch):
    with pytest.raises(DatasetError, match=r"a\.npz does not exist"):
        agent_file.load(tmp_path / "a.npz")
    with pytest.raises(DatasetError, match="is a folder, and not a file: name an agent that"):
        agent_file.load(tmp_path)
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    with pytest.raises(DatasetError, match=r"b\.npz is no checkpoint of a learner: name an agent"):
        agent_file.load(tmp_path / "b.npz")
    train_agent("Pong", tmp_path / "c.npz", schedule=SMALL)
    monkeypatch.undo()  # The network is the real one again.
    with pytest.raises(DatasetError, match=r"c\.npz holds the state of another learner"):
        agent_file.load(tmp_path / "c.npz")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"learner": None},
            "holds no agent, because it does not say its learner: name an agent that `rl-datasets",
        ),
        ({"game": "Pong 2"}, "because its game is 'Pong 2', which is not known"),
        ({"rom_set": "ale-py 1978"}, "because its rom_set is 'ale-py 1978', which is not"),
        ({"game": ["Pong"]}, r"because its game is \['Pong'\], which is not known"),
        ({"game": "Breakout"}, "a qr_dqn of 6 actions, and Breakout has the 4 of its minimal set"),
        ({"learner": "td3_bc"}, "a td3_bc of 6 actions, and Pong has"),
        ({"learner": "dqn"}, "config has .*num_quantiles"),
    ],
    ids=[
        "nothing",
        "unknown game",
        "unknown ROMs",
        "several games",
        "game",
        "kind of learner",
        "learner",
    ],
)
def test_an_agent_of_another_game_or_network_logs_nothing(tmp_path, quick, changes, why):
    agent = train_agent("Pong", tmp_path / "a.npz", schedule=SMALL)
    facts = {name: told for name, told in {**agent.facts, **changes}.items() if told is not None}
    checkpoint.save(tmp_path / "a.npz", agent.state, facts)
    with pytest.raises(DatasetError, match=rf"a\.npz.* {why}"):
        played(tmp_path)
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("run.json", b'{"game": "Po', r"run\.json is damaged .*: remove"),
        ("checkpoint.npz", b"PK", r"checkpoint\.npz is truncated, damaged .*: delete"),
        (
            "best.npz",
            None,
            r"best\.npz does not exist: delete .*a\.training to train from the start",
        ),
        ("best.npz", b"PK", r"best\.npz is truncated, damaged .*: delete .*a\.training to"),
    ],
)
def test_a_damaged_training_is_told_and_left_as_it_is(tmp_path, quick, name, content, why):
    schedule = dataclasses.replace(SMALL, epochs=1)
    with pytest.raises(_Cut):
        train_agent("Pong", tmp_path / "a.npz", schedule=schedule, report=cut)
    path = tmp_path / "a.training" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DatasetError, match=why):
        train_agent("Pong", tmp_path / "a.npz", schedule=schedule)
    assert (tmp_path / "a.training").is_dir()
    assert not (tmp_path / "a.npz").exists()


def played(tmp_path, name="logs", **changes):
    path = tmp_path / "a.npz"
    if not path.exists():
        train_agent("Pong", path, schedule=SMALL)
    options = {"rows": 900, "epsilon": 0.3, "checkpoint_rows": 500, **changes}
    return played_log.log_played(path, tmp_path / name, **options)


def test_a_played_log_is_read_as_whole_episodes(tmp_path, quick):
    home = played(tmp_path)
    assert home == tmp_path / "logs" / "Pong" / "1"
    facts = run_log.read(home)
    logged = dqn_replay.read_run(home / dqn_replay.FOLDER_NAME, facts["time_limit"])
    found = [e for unit in logged.units for e in dqn_replay.read_episodes(unit)]
    lengths = [episode.num_transitions for episode in found]
    assert sum(lengths) == facts["rows"] >= 900 > sum(lengths) - lengths[-1]
    assert facts["sticky_probability"] == 0
    assert facts["epsilon"] == 0.3
    # A random Pong agent loses nearly every point.
    assert np.mean([e.reward.sum() for e in found]) == pytest.approx(facts["mean_return"])
    assert facts["mean_return"] < -15


def test_the_same_command_logs_the_same_bytes_and_another_run_others(tmp_path, quick):
    def contents(home):
        return [p.read_bytes() for p in sorted((home / "replay_logs").iterdir())]

    first = contents(played(tmp_path))
    assert contents(played(tmp_path, name="again")) == first
    assert contents(played(tmp_path, run=2)) != first
    with pytest.raises(DatasetError, match="holds a run that is finished"):
        played(tmp_path)


def test_actions_give_the_same_log_without_the_agents_choices(tmp_path, quick, monkeypatch):
    """As on another machine, whose network may round otherwise and choose other actions."""
    first = played(tmp_path)
    facts = run_log.read(first)

    def refuse(agent):
        raise AssertionError("the agent chose an action")

    monkeypatch.setattr(agent_file.TrainedAgent, "act", property(lambda agent: refuse))
    actions = first / played_log.ACTIONS
    again = played(tmp_path, name="again", actions_path=actions)
    for path in sorted((first / "replay_logs").iterdir()):
        assert (again / "replay_logs" / path.name).read_bytes() == path.read_bytes()
    assert (again / played_log.ACTIONS).read_bytes() == actions.read_bytes()
    assert run_log.read(again) == facts


@pytest.mark.parametrize("changes", [{"run": 2}, {"seed": 1}, {"rows": 1900}])
def test_actions_of_another_run_are_refused(tmp_path, quick, changes):
    actions = played(tmp_path) / played_log.ACTIONS
    with pytest.raises(DatasetError, match="do not repeat: give the agent, the run, the seed"):
        played(tmp_path, name="again", actions_path=actions, **changes)
    assert not (tmp_path / "again" / "Pong" / "1" / "log.json").exists()


def test_a_file_that_holds_no_actions_is_refused(tmp_path, quick):
    path = tmp_path / "x.npz"
    npz.write_arrays(path, {"action": np.zeros(3, np.uint8), "length": np.array([2])})
    with pytest.raises(DatasetError, match=r"x\.npz does not hold the actions of a run"):
        played(tmp_path, actions_path=path)


def by_what_moves(stacks):
    """A policy that no frame or order of frames is the same to."""
    return stacks[:, ::2, ::2].sum(axis=(1, 2), dtype=np.int64) @ [1, 3, 7, 20] // 97 % 6


def test_a_logged_episode_is_the_one_of_its_number_played_plainly(tmp_path):
    """One game alone, its stack kept by hand: the fourth episode of two games at once."""
    rom = roms.rom_path("Pong", roms.RomSet.ALE)
    how = {"sticky_probability": 0, "most_no_ops": 30, "presses_fire": True, "max_steps": 150}
    chance = played_log._chance([5, 1], 0.25, 6)
    found = played_log.episodes(AtariGames(rom, 2, **how), by_what_moves, chance)
    logged = [next(found) for _ in range(4)][3]
    game, rng = AtariGames(rom, 1, **how), np.random.default_rng([5, 1, 3])
    frame, stack = game.begin([0], [int(rng.integers(2**31))]), np.zeros((1, 84, 84, 4), np.uint8)
    for step, action in enumerate(logged.actions):
        np.testing.assert_array_equal(frame[0, ..., 0], logged.frames[step])
        stack = np.concatenate([stack[..., 1:], frame], axis=-1)
        is_random, at_random = rng.random() < 0.25, rng.integers(6)
        assert action == (at_random if is_random else by_what_moves(stack)[0])
        taken = game.step(np.array([action]))
        assert taken.reward[0] == logged.rewards[step]
        frame = taken.frame
    assert taken.is_truncated[0]


def test_episodes_come_in_the_order_in_which_they_began(tmp_path, quick):
    """A short one that ends first does not come first; each follows from its number alone."""
    train_agent("Pong", tmp_path / "a.npz", schedule=SMALL)
    agent = agent_file.load(tmp_path / "a.npz")
    rom = roms.rom_path("Pong", roms.RomSet.ALE)

    def first(number, count):
        games = AtariGames(rom, count, sticky_probability=0, most_no_ops=30, presses_fire=True)
        chance = played_log._chance([5, 1], 1.0, 6)  # all actions are random
        found = played_log.episodes(games, agent.act, chance)
        return [next(found) for _ in range(number)]

    four, alone = first(4, 3), first(4, 1)
    for a, b in zip(four, alone, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.actions, b.actions)
    lengths = [len(a.actions) for a in four]
    assert lengths != sorted(lengths)
