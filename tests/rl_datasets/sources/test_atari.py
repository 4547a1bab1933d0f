"""Rows to episodes, on numbers worked by hand, and the games against the emulator itself."""

import dm_env.specs
import numpy as np
import pytest

from rl_datasets import frames
from rl_datasets.episode import EpisodeError
from rl_datasets.episode_check import check_episode
from rl_datasets.sources import atari

METADATA = {"checkpoint_id": np.int64(3), "episode_id": np.int64(7)}


def frames_of(*values):
    return np.stack([np.full(atari.FRAME_SHAPE, value, np.uint8) for value in values])


def rows():
    return frames_of(5, 6, 7), np.array([1, 2, 3], np.int32), np.array([1, 0, -1], np.float32)


def test_a_terminal_episode_keeps_every_row_and_ends_in_a_blank_frame():
    episode = atari.episode_from_rows(*rows(), is_terminal=True, metadata=METADATA)
    check_episode(episode, atari.atari_episode_spec(4))
    assert episode.observation[:, 0, 0, 0].tolist() == [5, 6, 7, 0]
    assert episode.action.tolist() == [1, 2, 3, 0]
    assert episode.reward.tolist() == [1, 0, -1, 0]
    assert episode.discount.tolist() == [1, 1, 0, 0]
    assert episode.is_terminal.tolist() == [False, False, False, True]
    assert episode.metadata == {**METADATA, "episode_return": 0}


def test_a_cut_episode_bootstraps_from_its_last_row_which_loses_action_and_reward():
    episode = atari.episode_from_rows(*rows(), is_terminal=False, metadata=METADATA)
    check_episode(episode, atari.atari_episode_spec(4))
    assert episode.observation[:, 0, 0, 0].tolist() == [5, 6, 7]
    assert episode.action.tolist() == [1, 2, 0]
    assert episode.reward.tolist() == [1, 0, 0]
    assert episode.discount.tolist() == [1, 1, 0]
    assert not episode.is_terminal.any()
    assert episode.metadata == {**METADATA, "episode_return": 1}


@pytest.mark.parametrize("is_terminal", [True, False])
def test_png_files_stay_png_files(is_terminal):
    observation, action, reward = rows()
    encoded = frames.EncodedFrames(frames.encode_png(observation), atari.FRAME_SHAPE)
    plain, files = (
        atari.episode_from_rows(
            each, action, reward, is_terminal=is_terminal, metadata=METADATA
        ).observation
        for each in (observation, encoded)
    )
    assert files.pngs[:3] == encoded.pngs
    np.testing.assert_array_equal(np.asarray(files), plain)


def test_the_return_that_a_source_states_stands():
    metadata = {**METADATA, "episode_return": np.float32(9)}
    episode = atari.episode_from_rows(*rows(), is_terminal=True, metadata=metadata)
    assert episode.metadata["episode_return"] == 9


def test_a_cut_episode_of_one_row_has_no_transition():
    observation, action, reward = (field[:1] for field in rows())
    with pytest.raises(EpisodeError, match="at least one transition"):
        atari.episode_from_rows(observation, action, reward, is_terminal=False, metadata=METADATA)


def test_the_spec_bounds_actions():
    action = atari.atari_episode_spec(6).action
    assert isinstance(action, dm_env.specs.BoundedArray)
    assert (action.minimum, action.maximum) == (0, 5)
    assert atari.atari_episode_spec().action.maximum == 17


def test_sixty_games_of_which_rl_unplugged_has_forty_six():
    assert len(atari.ATARI_GAMES) == 60
    assert sum(game.in_rl_unplugged for game in atari.ATARI_GAMES.values()) == 46
    assert not atari.ATARI_GAMES["MontezumaRevenge"].in_rl_unplugged


def test_numbers_of_actions_are_the_emulators():
    ale_py = pytest.importorskip("ale_py")
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    for name, game in list(atari.ATARI_GAMES.items())[::5]:
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
        ale = ale_py.ALEInterface()
        ale.loadROM(ale_py.roms.get_rom_path(snake))
        assert len(ale.getMinimalActionSet()) == game.num_actions, name
