"""Scores of games: against Dopamine's evaluation written down plainly, one episode at a time."""

import collections
import dataclasses
import os
import pathlib

import ale_py
import numpy as np
import pytest

from benchmarks.training import game_evaluation
from benchmarks.training.atari_protocol import AtariProtocol
from benchmarks.training.game_evaluation import play_games
from rl_datasets.collection import atari
from tests.rl_datasets.collection.test_atari import Dopamine

INVADERS = pathlib.Path(ale_py.roms.get_rom_path("space_invaders"))
SHORT = AtariProtocol(evaluation_epsilon=0.1, max_episode_steps=250, sticky_probability=0.25)


class PlainAgent:
    """Dopamine's evaluation of one episode written down plainly, on ALE's one-frame interface."""

    def __init__(self, game, act, epsilon, sticky_probability, max_steps):
        self.game = Dopamine(game, sticky_probability)
        self.act, self.epsilon, self.max_steps = act, epsilon, max_steps

    def score(self, seed):
        explore = np.random.default_rng([seed, 1])
        self.game.reset(int(np.random.default_rng([seed, 0]).integers(2**31)))
        stack = collections.deque([np.zeros((84, 84), np.uint8)] * 4, maxlen=4)
        total, is_over = 0, False
        self.length = 0
        while self.length < self.max_steps and not is_over:
            self.length += 1
            stack.append(self.game.observation()[..., 0])
            action = int(self.act(np.stack(stack, axis=-1)[None])[0])
            if explore.random() <= self.epsilon:
                action = int(explore.integers(len(self.game.actions)))
            reward, is_over, _ = self.game.step(action)
            total += reward
        return total


def by_what_moves(observation):
    """A policy [B, 84, 84, 4] -> [B] that no frame or order of frames is the same to."""
    weights = np.array([1, 3, 7, 20])
    return (observation[:, ::2, ::2].sum(axis=(1, 2), dtype=np.int64) @ weights // 97) % 6


def seeds_of(seed, count):
    return [int(each) for each in np.random.SeedSequence(seed).generate_state(count)]


@pytest.mark.parametrize("sticky_probability", [0.25, 0.0])
@pytest.mark.parametrize("emulators", [1, 2, 8])
def test_scores_are_those_of_the_protocol_played_one_by_one(sticky_probability, emulators):
    """However many are played at once, and whichever emulator comes to an end first."""
    protocol = dataclasses.replace(SHORT, sticky_probability=sticky_probability)
    scores = play_games(INVADERS, protocol, by_what_moves, 5, (7, 100), emulators)
    plain = PlainAgent("space_invaders", by_what_moves, 0.1, sticky_probability, 250)
    assert scores.tolist() == [plain.score(seed) for seed in seeds_of((7, 100), 5)]
    assert len(set(scores)) > 1
    assert max(scores) > 36  # Not clipped: that is more than there are aliens.
    other = play_games(INVADERS, protocol, by_what_moves, 5, (8, 100), emulators)
    assert other.tolist() != scores.tolist()


@pytest.mark.parametrize("emulators", [1, 3])
def test_by_steps_the_first_whole_episodes_that_reach_them_count(emulators):
    plain = PlainAgent("space_invaders", by_what_moves, 0.1, 0.25, 1000)
    seeds, lengths, expected = seeds_of(5, 20), [], []
    for seed in seeds:
        expected.append(plain.score(seed))
        lengths.append(plain.length)
        if sum(lengths) >= 1500:
            break
    assert 1 < len(lengths) < 20
    assert len(set(lengths)) > 1
    for steps in (sum(lengths), sum(lengths[:-1]) + 1):  # The fewest and the most that need these.
        protocol = dataclasses.replace(SHORT, max_episode_steps=1000, evaluation_steps=steps)
        scores = play_games(INVADERS, protocol, by_what_moves, 1, 5, emulators)
        assert scores.tolist() == expected


def test_an_episode_that_ended_before_an_earlier_one_does_not_count_instead_of_it():
    plain = PlainAgent("space_invaders", by_what_moves, 0.1, 0.25, 1000)
    scores, lengths = [], []
    for seed in seeds_of(5, 3):
        scores.append(plain.score(seed))
        lengths.append(plain.length)
    assert max(lengths[1:]) < lengths[0]
    protocol = dataclasses.replace(SHORT, max_episode_steps=1000, evaluation_steps=1)
    assert play_games(INVADERS, protocol, by_what_moves, 1, 5, 3).tolist() == scores[:1]


def test_an_episode_is_that_of_the_single_game_bit_for_bit():
    """Frames, rewards and the end, of an emulator that had played another episode before."""
    seen = []

    def act(stacks):
        seen.append(stacks.copy())
        return by_what_moves(stacks)

    protocol = dataclasses.replace(SHORT, evaluation_epsilon=0.0, max_episode_steps=60)
    # Of one emulator, so that its second episode follows the first.
    scores = play_games(INVADERS, protocol, act, 2, 3, 1)
    first = int(np.random.default_rng([seeds_of(3, 2)[1], 0]).integers(2**31))
    game = atari.AtariEnvironment(INVADERS, max_steps=60)
    timestep, total, stack = game.reset_with(first), 0.0, np.zeros((84, 84, 4), np.uint8)
    for stacks in seen[60:]:
        stack = np.concatenate([stack[..., 1:], timestep.observation], axis=-1)
        np.testing.assert_array_equal(stacks[0], stack)
        assert not timestep.last()
        timestep = game.step(int(by_what_moves(stack[None])[0]))
        total += timestep.reward
    assert timestep.last()
    assert (len(seen), total) == (120, scores[1])


def test_the_batch_is_of_stacks_and_keeps_its_shape():
    seen = []

    def act(stacks):
        seen.append((stacks.shape, stacks.dtype))
        return np.zeros(len(stacks), np.int32)

    play_games(INVADERS, dataclasses.replace(SHORT, max_episode_steps=20), act, 3, 0)
    assert seen == [((3, 84, 84, 4), np.uint8)] * 20


def test_a_random_action_is_taken_now_and_then(monkeypatch):
    taken = []

    class Watched(atari.AtariGames):
        def step(self, actions):
            taken.extend(actions.tolist())
            return super().step(np.minimum(actions, 5))

    monkeypatch.setattr(game_evaluation.atari, "AtariGames", Watched)
    protocol = dataclasses.replace(SHORT, evaluation_epsilon=0.25, max_episode_steps=500)
    play_games(INVADERS, protocol, lambda stacks: np.full(len(stacks), 7), 4, 0)
    share = sum(action != 7 for action in taken) / len(taken)
    assert len(taken) > 1000
    assert 0.22 < share < 0.28
    assert set(taken) == {*range(6), 7}


def test_the_returns_do_not_depend_on_the_number_of_cores():
    cores = os.sched_getaffinity(0)
    together = play_games(INVADERS, SHORT, by_what_moves, 4, 1)
    try:
        os.sched_setaffinity(0, {min(cores)})
        alone = play_games(INVADERS, SHORT, by_what_moves, 4, 1)
    finally:
        os.sched_setaffinity(0, cores)
    assert together.tolist() == alone.tolist()


def test_episodes_begin_as_the_protocol_says(monkeypatch):
    """Held to what the emulators are told; they have tests of their own."""
    asked = []

    class Watched(atari.AtariGames):
        def __init__(self, rom, count, **how):
            asked.append(how)
            super().__init__(rom, count, **how)

    monkeypatch.setattr(game_evaluation.atari, "AtariGames", Watched)
    how = {"sticky_probability": 0.0, "most_no_ops": 30, "presses_fire": True}
    play_games(INVADERS, AtariProtocol(max_episode_steps=5, **how), by_what_moves, 1, 0)
    assert asked == [{"max_steps": 5, **how}]


def test_what_is_by_default_is_not_told_of_a_run():
    """So an earlier run continues as the same run."""
    assert dataclasses.replace(AtariProtocol(), sticky_probability=0.0).identity == {
        "sticky_probability": 0.0,
        "evaluation_epsilon": 0.001,
        "max_episode_steps": 27_000,
    }
    told = AtariProtocol(evaluation_steps=125_000, most_no_ops=30, presses_fire=True).identity
    assert [*told][3:] == ["evaluation_steps", "most_no_ops", "presses_fire"]
