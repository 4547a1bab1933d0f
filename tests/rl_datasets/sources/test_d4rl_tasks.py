"""D4RL's tasks, against what D4RL registers; and scores."""

import numpy as np
import pytest

from rl_datasets.errors import DatasetError
from rl_datasets.sources.d4rl_tasks import normalized_score, task, tasks


def test_every_task_is_there():
    """4 environments x (5 + 6 + 6), and ant-random-expert; 4 x 2 x 4; 6 x 4; 2 x 10; 3."""
    assert len(tasks()) == 4 * 17 + 1 + 4 * 2 * 4 + 6 * 4 + 2 * 10 + 3 == 148
    for environment in ("halfcheetah", "hopper", "walker2d", "ant"):
        for data in ("random", "medium", "expert", "medium-replay", "medium-expert"):
            for version in ("v0", "v1", "v2"):
                assert task(f"{environment}-{data}-{version}").observation_size > 10


@pytest.mark.parametrize(
    ("name", "file", "horizon", "trajectories"),
    [
        ("halfcheetah-medium-v2", "gym_mujoco_v2/halfcheetah_medium-v2.hdf5", 1000, "flags"),
        ("walker2d-medium-replay-v0", "gym_mujoco/walker_mixed.hdf5", 1000, "flags"),
        ("door-human-v0", "hand_dapg/door-v0_demos_clipped.hdf5", 200, "flags"),
        ("pen-human-longhorizon-v1", "hand_dapg_v1/pen-human-v1.hdf5", 200, "flags"),
        ("kitchen-mixed-v0", "kitchen/kitchen_microwave_kettle_bottomburner_light-v0.hdf5", 280,
         "terminals"),
        ("maze2d-large-dense-v1", "maze2d/maze2d-large-dense-v1.hdf5", 800, "one"),
        ("antmaze-large-play-v0",
         "ant_maze_new/Ant_maze_hardest-maze_noisy_multistart_True_multigoal_False_sparse.hdf5",
         1000, "jumps"),
        ("antmaze-umaze-diverse-v2",
         "ant_maze_v2/Ant_maze_u-maze_noisy_multistart_True_multigoal_True_sparse_fixed.hdf5",
         700, "timeouts"),
    ],
)  # fmt: skip
def test_files_and_horizons(name, file, horizon, trajectories):
    of = task(name)
    assert (of.file, of.horizon, of.trajectories) == (file, horizon, trajectories)
    assert of.url == f"http://rail.eecs.berkeley.edu/datasets/offline_rl/{file}"


def test_the_nearest_task_is_suggested():
    for name, nearest in {
        "halfcheta-medium-v2": "halfcheetah-medium-v2",
        "hopper-medium-v3": "hopper-medium-v2",
        "antmaze-umaze-v9": "antmaze-umaze-v2",
        "Kitchen-mixed-v0": "kitchen-mixed-v0",
    }.items():
        with pytest.raises(DatasetError, match=rf"no task '{name}': did you mean {nearest}\?$"):
            task(name)


def test_scores():
    """By D4RL's formula, by hand: (4770 + 280.178953) / (12135 + 280.178953) = 0.4067746."""
    assert normalized_score("halfcheetah-medium-v2", 4770.0) == pytest.approx(0.4067746, abs=1e-7)
    recollected = normalized_score("halfcheetah-medium-v2-recollected", np.array([-280.178953, 0]))
    np.testing.assert_allclose(recollected, [0, 280.178953 / 12415.178953])
    assert normalized_score("maze2d-umaze-v1", 161.86) == 1
    assert normalized_score("maze2d-umaze-v0", 62.6) == 1
    assert normalized_score("antmaze-umaze-v2", 0.5) == 0.5
    with pytest.raises(DatasetError, match="no reference scores for ant-random-expert-v0"):
        normalized_score("ant-random-expert-v0", 1.0)


def test_known_defects_are_those_of_the_version():
    def told(name):
        return " ".join(task(name).known_defects)

    assert not task("hopper-expert-v2").known_defects
    assert "issue 86" in told("hopper-medium-v1")
    assert "issue 86" not in told("walker2d-medium-v1")
    assert "issue 162" in told("walker2d-medium-replay-v2")
    assert "issue 77" in told("antmaze-umaze-v0")
    assert "issue 77" not in told("antmaze-umaze-v2")
    assert "issue 194" in told("maze2d-large-v1")
    assert "end of a demonstration" in told("kitchen-complete-v0")
    assert "replaced files" in told("pen-human-v0")
