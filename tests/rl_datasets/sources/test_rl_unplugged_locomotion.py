"""RL Unplugged's tasks of locomotion: real episodes, and how each task's can end."""

import dataclasses

import numpy as np
import pytest

from rl_datasets import wire
from rl_datasets.episode import EpisodeError
from rl_datasets.episode_check import check_episode
from rl_datasets.sources import rl_unplugged_control as control
from tests.rl_datasets.sources.rl_unplugged_suite_files import NAN, changed, read, shard, write
from tests.rl_datasets.sources.rl_unplugged_suite_files import control as features_of

CORRIDOR = control.LOCOMOTION["humanoid_corridor"]


@pytest.fixture(scope="module")
def real_corridor(shared):
    return shared / "rl_unplugged/dm_locomotion_episodes/humanoid_corridor/train-00000-of-00001"


def test_real_episodes_of_locomotion_are_read_whole(real_corridor):
    """Both walkers fell: 56 and 115 transitions, of at least 1000 without a failure."""
    dataset = control.locomotion("humanoid_corridor")
    episodes = read(dataset, real_corridor)
    assert [each.num_transitions for each in episodes] == [56, 115]
    for episode in episodes:
        check_episode(episode, dataset.spec)
        assert episode.is_terminal[-1]
        assert episode.discount[-2] == 0
        assert episode.metadata["stored_discount"] == 1
        assert episode.metadata["is_failure_inferred"]
        # The environment's appendages are its end effectors, and the head.
        observation = episode.observation
        ends = observation["end_effectors_pos"]
        np.testing.assert_array_equal(observation["appendages_pos"][:, :12], ends)


def test_the_real_actions_move_the_real_joints(real_corridor):
    """A row's action foretells where its joints go next; the next row's and the last one's do not.

    They are targets of the joints. What is left of a joint's movement, once a line was fitted to
    its position, its velocity and an action, is the joints' median share.
    """
    episodes = read(control.locomotion("humanoid_corridor"), real_corridor)
    left = {shift: share_left(episodes, shift) for shift in (-1, 0, 1)}
    assert left[0] < 0.6
    assert min(left[-1], left[1]) > 0.8


def share_left(episodes, shift: int) -> float:
    """Of the movements of joints, by the actions of the rows `shift` later."""
    position, velocity, after, action = (
        np.concatenate(rows).astype(np.float64)
        for rows in zip(
            *(
                (
                    each.observation["joints_pos"][1:-2],
                    each.observation["joints_vel"][1:-2],
                    each.observation["joints_pos"][2:-1],
                    each.action[1 + shift : len(each.action) - 2 + shift],
                )
                for each in episodes
            ),
            strict=True,
        )
    )
    shares = []
    for joint in range(position.shape[1]):
        moved = after[:, joint] - position[:, joint]
        by = np.stack([position[:, joint], velocity[:, joint], action[:, joint]], 1)
        by = np.column_stack([by, np.ones(len(by))])
        fitted = by @ np.linalg.lstsq(by, moved, rcond=None)[0]
        shares.append(np.std(moved - fitted) / np.std(moved))
    return float(np.median(shares))


@pytest.mark.tensorflow
def test_tfds_reads_the_same_of_locomotion_but_for_the_failure(real_corridor, tmp_path):
    suite = pytest.importorskip("tensorflow_datasets.rl_unplugged.rlu_locomotion")
    builder = suite.rlu_locomotion.RluLocomotion(config="humanoid_corridor", data_dir=str(tmp_path))
    found = read(control.locomotion("humanoid_corridor"), real_corridor)
    theirs = list(builder.generate_examples_one_file(str(real_corridor)))
    for ours, (key, their) in zip(found, theirs, strict=True):
        assert key == str(ours.metadata["episode_id"])
        walker = their["steps"]["observation"]["walker"]
        only_ours = {"appendages_pos", "sensors_torque", "sensors_touch"}
        assert ours.observation.keys() - only_ours == walker.keys()
        for name, array in walker.items():
            np.testing.assert_array_equal(ours.observation[name], array, err_msg=name)
        for name in ("action", "reward"):
            np.testing.assert_array_equal(ours.steps()[name], their["steps"][name])
        assert not np.any(their["steps"]["is_terminal"])


ENDINGS = [  # task, transitions, last discount in the file: terminal, inferred
    ("humanoid_corridor", 3, 1, True, True),
    ("humanoid_walls", 3, 0, True, False),
    ("humanoid_gaps", 4, 1, False, False),
    ("humanoid_gaps", 5, 1, False, False),
    ("rodent_gaps", 3, 1, True, True),
    ("rodent_gaps", 4, 0, True, False),
    ("rodent_mazes", 3, 1, False, False),
    ("rodent_mazes", 3, 0, True, False),
    ("rodent_two_touch", 4, 1, False, False),
    ("rodent_bowl_escape", 3, 0, True, False),
]


@pytest.mark.parametrize(("name", "transitions", "stored", "terminal", "inferred"), ENDINGS)
def test_how_an_episode_of_locomotion_ended(
    tmp_path, monkeypatch, name, transitions, stored, terminal, inferred
):
    """With a time limit of 4 transitions, or 5 by another rounding."""
    task = dataclasses.replace(control.LOCOMOTION[name], full_length=4)
    monkeypatch.setitem(control.LOCOMOTION, name, task)
    rows = transitions + 1
    one = features_of(task, 0, rows, discount=changed(rows, -1, stored))
    dataset = control.locomotion(name)
    (episode,) = read(dataset, write(tmp_path / "shard", shard([one])))
    check_episode(episode, dataset.spec)
    assert episode.is_terminal[-1] == terminal
    assert episode.metadata["is_failure_inferred"] == inferred
    assert episode.metadata["stored_discount"] == stored


def test_time_limits_of_locomotion():
    limits = {name: task.full_length for name, task in control.LOCOMOTION.items()}
    assert limits == {
        **dict.fromkeys(("humanoid_corridor", "humanoid_gaps", "humanoid_walls"), 1000),
        **dict.fromkeys(("rodent_gaps", "rodent_mazes", "rodent_two_touch"), 1500),
        "rodent_bowl_escape": 1000,
    }


@pytest.mark.parametrize(
    ("rows", "changes", "fault"),
    [
        (1003, {}, "it has 1002 transitions, and none of the task has more than 1001"),
        (3, {"egocentric_camera": wire.bytes_list([bytes(9)])}, "is not one string of 36864 bytes"),
        (3, {"egocentric_camera": wire.bytes_list([bytes(12288)] * 3)}, "is not one string of 368"),
        (3, {"egocentric_camera": None}, "no feature 'observation/walker/egocentric_camera'"),
        (3, {"sensors_touch": wire.float_list(NAN[:0])}, "sensors_touch' has 0 values, and 3 x 10"),
    ],
)
def test_a_record_that_is_no_episode_of_locomotion_is_named(tmp_path, rows, changes, fault):
    one = features_of(CORRIDOR, 0, rows, **changes)
    dataset = control.locomotion("humanoid_corridor")
    (bad,) = read(dataset, write(tmp_path / "train-3", shard([one])))
    assert isinstance(bad, EpisodeError)
    assert str(bad).startswith("record 0 of train-3 ")
    assert fault in str(bad)
