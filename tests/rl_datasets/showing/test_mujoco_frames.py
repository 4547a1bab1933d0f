"""Bodies that are drawn, where this machine can draw them."""

import numpy as np
import pytest

from rl_datasets.collection import environments
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.showing import mujoco_frames


def fall(steps=30) -> Episode:
    """A hopper that falls without acting."""
    environment = environments.make_gymnasium("Hopper-v4")
    observations = [environment.reset(seed=0)[0]]
    for _ in range(steps):
        observations.append(environment.step(np.zeros(3))[0])
    environment.close()
    return Episode.from_transitions(
        np.array(observations, np.float32), np.zeros((steps, 3)), np.ones(steps), is_terminal=True
    )


@pytest.fixture(scope="module")
def drawn():
    try:
        return mujoco_frames.render(fall(), "Hopper-v4", 5)
    except DatasetError as error:
        pytest.skip(f"MuJoCo's offscreen renderer: {error}")


def test_frames_are_evenly_spaced_and_show_a_body_that_moves(drawn):
    frames, steps = drawn
    assert steps == [0, 8, 15, 22, 30]
    assert frames.shape == (5, mujoco_frames.HEIGHT, mujoco_frames.WIDTH, 3)
    assert all(len(np.unique(frame)) > 50 for frame in frames)
    changed = np.abs(frames[-1].astype(int) - frames[0]).max(axis=2) > 40
    assert 0.01 < changed.mean() < 0.9


def test_a_final_observation_of_zeros_is_not_drawn(drawn):
    episode = fall()
    episode.observation[-1] = 0
    _, steps = mujoco_frames.render(episode, "Hopper-v4", 100)
    assert steps == list(range(30))


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ("door-v0", "the bodies of door-v0 are not"),
        ("Hopper-v4:evil-v0", "the bodies of Hopper-v4:evil-v0 are not"),
        (None, "the bodies of its environment are not"),
    ],
)
def test_other_bodies_are_not_drawn(environment, told):
    with pytest.raises(DatasetError, match=told):
        mujoco_frames.render(fall(2), environment, 5)


def test_a_machine_that_cannot_draw_says_why(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "nothing")
    with pytest.raises(DatasetError, match=r"cannot draw MuJoCo's bodies \(nothing: .*MUJOCO_GL"):
        mujoco_frames.render(fall(2), "Hopper-v4", 5)


def test_a_hopper_with_other_observations_is_not_drawn():
    zeros = np.zeros(3)
    for observation in (zeros, np.zeros((3, 2)), np.zeros((3, 11, 2))):
        episode = Episode.from_transitions(observation, zeros[:2], zeros[:2], is_terminal=True)
        with pytest.raises(DatasetError, match="the bodies of Hopper-v2 are not"):
            mujoco_frames.render(episode, "Hopper-v2", 5)
