"""The proof that follows every way through an episode: how much of the emulator it takes."""

import ale_py
import numpy as np

from rl_datasets.replaying.replay import Emulator, LoggedEpisode, replay
from tests.rl_datasets.replaying import logs


class CountingEmulator(Emulator):
    """Counts the frames that are emulated."""

    frames = 0

    def act(self, action):
        self.frames += 1
        return super().act(action)


def test_going_back_a_step_further_costs_no_more_late_in_an_episode():
    """As in YarsRevenge, whose states can only be come to by the step before them."""
    (played,) = logs.play(1, seed=3, rom="pong", last_rows=200)
    taken, proofs = {}, {}
    for needs_run_up in (False, True):
        emulator = CountingEmulator(ale_py.roms.get_rom_path("pong"))
        emulator.needs_run_up = needs_run_up
        frames = [0]
        for rows in (100, 200):
            logged = LoggedEpisode(
                played.observation[:rows],
                played.action[:rows],
                np.clip(played.reward[:rows], -1, 1),
                False,
            )
            before = emulator.frames
            proofs[needs_run_up] = replay(emulator, logged, prove_unique=True)
            frames.append(emulator.frames - before)
        taken[needs_run_up] = frames[1], frames[2]
    # Twice the rows take about twice the frames, with a step more for each outcome.
    for first, both in taken.values():
        assert both < 3 * first
    assert taken[True][1] < 3 * taken[False][1]
    assert proofs[True].whole
    np.testing.assert_array_equal(proofs[True].reward, proofs[False].reward)
