"""Real episodes, and logs of the project's own environment, replayed."""

import ale_py
import numpy as np

from rl_datasets.replaying.replay import Emulator, LoggedEpisode, replay
from rl_datasets.sources import rl_unplugged


def test_real_episodes_of_asterix_are_replayed_whole(shared):
    shard = shared / "rl_unplugged/atari_episodes_ordered/Asterix/run_1-00000-of-00001"
    emulator = Emulator(ale_py.roms.get_rom_path("asterix"))
    lengths = []
    for episode in rl_unplugged.read_episodes(shard, checkpoint=0):
        rows = len(episode.observation) - 1
        stored = episode.extras["stored_reward"][:rows]
        rewards = np.concatenate([[np.nan], episode.reward[1:rows]])  # The first is not stored.
        logged = LoggedEpisode(episode.observation[:-1], episode.action[:rows], rewards, True)
        replayed = replay(emulator, logged)
        assert (replayed.whole, replayed.rows, replayed.reason) == (True, rows, "")
        assert not np.isnan(replayed.reward).any()
        assert (replayed.lives[0], replayed.lives[-1]) == (3, 0)
        assert np.nansum(np.clip(replayed.reward[1:], -1, 1)) == stored[:-1].sum()
        lengths.append(rows)
        as_stored = replay(emulator, logged._replace(rewards=stored), patience=1_000)
        assert not as_stored.whole
        assert "has the reward" in as_stored.reason
    assert lengths == [1_093, 600]
