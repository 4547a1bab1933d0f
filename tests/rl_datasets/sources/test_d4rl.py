"""D4RL's files: the real slices row by row, and by hand what no slice shows."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from rl_datasets.errors import DatasetError
from rl_datasets.sources import d4rl, d4rl_episodes, d4rl_policy
from rl_datasets.sources.d4rl_tasks import task
from tests.rl_datasets.sources import d4rl_files
from tests.rl_datasets.sources.d4rl_files import (
    content,
    read,
    transitions,
    with_next_observations,
    write,
)


@pytest.mark.parametrize("file", d4rl_files.SLICES)
def test_no_transition_of_a_real_file_is_lost_or_wrongly_joined(shared, file):
    """By row, after what D4RL's fields mean: only what was never stored is missing."""
    path = shared / "d4rl" / file
    real = d4rl_files.load(path)
    terminal, timeout = (real[name].astype(bool) for name in ("terminals", "timeouts"))
    if "next_observations" in real:
        kept, following = np.ones(len(terminal), bool), real["next_observations"]
    else:
        is_cut = timeout | (np.arange(len(terminal)) == len(terminal) - 1)
        kept, following = terminal | ~is_cut, np.roll(real["observations"], -1, axis=0)
        following[terminal] = 0
    found = transitions(read(path, d4rl_files.SLICES[file]))
    rows, observation, action, reward, discount, after = map(
        np.array, zip(*(each[:-1] for each in found), strict=True)
    )
    np.testing.assert_array_equal(rows, np.flatnonzero(kept))
    np.testing.assert_array_equal(observation, real["observations"][kept])
    np.testing.assert_array_equal(action, real["actions"][kept])
    np.testing.assert_array_equal(reward, real["rewards"].ravel()[kept].astype(np.float32))
    np.testing.assert_array_equal(discount, ~terminal[kept])
    np.testing.assert_array_equal(after, following[kept])
    assert observation.dtype == real["observations"].dtype
    assert action.dtype == real["actions"].dtype
    infos = [name for name in real if name.startswith("infos/")]
    for name in infos:
        extra = np.array([each[-1].pop(name.removeprefix("infos/")) for each in found])
        np.testing.assert_array_equal(extra, real[name][kept])
        assert extra.dtype == real[name].dtype
    assert not any(each[-1] for each in found)


def test_the_real_episodes_and_what_the_files_say_of_them(shared):
    folder = shared / "d4rl"
    episodes = read(folder / "hopper_medium-v2.hdf5", "hopper-medium-v2")
    assert [e.num_transitions for e in episodes] == [470, 441]
    assert [round(e.episode_return) for e in episodes] == [1465, 1413]
    assert all(e.is_terminal[-1] and not e.metadata["is_timeout"] for e in episodes)
    episodes = read(folder / "walker2d_medium-v2.hdf5", "walker2d-medium-v2")
    assert [round(e.episode_return) for e in episodes] == [3500, 3663]
    assert not any(e.is_terminal[-1] for e in episodes)
    assert all(e.metadata["is_timeout"] for e in episodes)
    contents = d4rl.read_contents(
        folder / "halfcheetah_medium-v2.hdf5", task("halfcheetah-medium-v2")
    )
    assert contents.metadata["algorithm"] == "SAC"
    assert contents.metadata["iteration"] == 200
    assert contents.metadata["policy/fc0/weight"]["shape"] == [256, 17]
    replay = d4rl.read_contents(
        folder / "halfcheetah_medium_replay-v1.hdf5", task("halfcheetah-medium-replay-v1")
    )
    assert replay.episode_spec().observation.dtype == np.float64


def test_every_episode_has_its_own_final_observation(tmp_path):
    """TFDS's d4rl_mujoco builders give each the last `next_observations` of the file."""
    rows = with_next_observations(content("hopper-medium-v2", 12, terminals=[3], timeouts=[8, 11]))
    path = write(tmp_path / "three.hdf5", rows)
    episodes = read(path, "hopper-medium-v2")
    assert [e.num_transitions for e in episodes] == [4, 5, 3]
    for episode, end in zip(episodes, (3, 8, 11), strict=True):
        np.testing.assert_array_equal(episode.observation[-1], rows["next_observations"][end])
    finals = {episode.observation[-1].tobytes() for episode in episodes}
    assert len(finals) == 3


def test_slices_change_nothing(shared, monkeypatch):
    path, name = shared / "d4rl" / "hopper_medium-v2.hdf5", "hopper-medium-v2"
    whole = read(path, name)
    monkeypatch.setattr(d4rl, "_SLICE_BYTES", 4_000)
    sliced = read(path, name)
    assert len(sliced) == len(whole) == 2
    for ours, theirs in zip(sliced, whole, strict=True):
        assert ours.metadata == theirs.metadata
        for field, rows in theirs.steps().items():
            np.testing.assert_array_equal(ours.steps()[field], rows)


def test_an_unfinished_tail_is_truncated(tmp_path):
    rows = with_next_observations(content("hopper-medium-v2", 10, terminals=[3]))
    _, tail = read(write(tmp_path / "a.hdf5", rows), "hopper-medium-v2")
    assert (tail.num_transitions, bool(tail.is_terminal[-1])) == (6, False)
    assert not tail.metadata["is_timeout"]
    rows = content("pen-human-v1", 10, timeouts=[3], **{"infos/qpos": np.arange(10.0)})
    _, tail = read(write(tmp_path / "b.hdf5", rows), "pen-human-v1")
    assert (tail.num_transitions, bool(tail.is_terminal[-1])) == (5, False)
    np.testing.assert_array_equal(tail.observation, rows["observations"][4:])
    np.testing.assert_array_equal(tail.extras["qpos"], np.arange(4, 10))


def test_a_time_limit_that_a_replay_buffer_did_not_mark(tmp_path):
    """Episodes of 4, cut there without a flag, and one that is cut by a flag after 2."""
    rows = with_next_observations(
        content("hopper-medium-replay-v2", 14, terminals=[13], timeouts=[3, 7, 9])
    )
    rows["timeouts"] = np.arange(14) == 9
    episodes = read(write(tmp_path / "a.hdf5", rows), "hopper-medium-replay-v2")
    assert [e.num_transitions for e in episodes] == [4, 4, 2, 4]
    assert [bool(e.is_terminal[-1]) for e in episodes] == [False, False, False, True]
    assert [bool(e.metadata["is_timeout"]) for e in episodes] == [False, False, True, False]
    for episode, end in zip(episodes, (3, 7, 9, 13), strict=True):
        np.testing.assert_array_equal(episode.observation[-1], rows["next_observations"][end])


def test_a_maze_is_one_trajectory_and_its_timeouts_are_marks(tmp_path):
    """The row after a mark repeats its observation, as by D4RL's script; infos have the state."""
    rows = content("maze2d-umaze-v1", 9, timeouts=[2, 5])
    state = rows["observations"].copy()
    rows["observations"][[3, 6]] = rows["observations"][[2, 5]]
    infos = {
        "infos/qpos": state[:, :2],
        "infos/qvel": state[:, 2:],
        "infos/goal": np.zeros((9, 2), np.float32),
    }
    episodes = read(write(tmp_path / "a.hdf5", rows | infos), "maze2d-umaze-v1")
    assert [e.num_transitions for e in episodes] == [3, 3, 2]
    assert not any(e.is_terminal[-1] for e in episodes)
    np.testing.assert_array_equal(episodes[0].observation[-1], state[3])
    np.testing.assert_array_equal(episodes[1].observation[-1], state[6])
    np.testing.assert_array_equal(episodes[1].observation[0], rows["observations"][3])
    assert set(episodes[0].extras) == {"qpos", "qvel", "goal"}


@pytest.mark.parametrize("slice_bytes", [1 << 20, 5_000])
def test_a_maze_without_timeouts_is_cut_at_the_horizon(tmp_path, monkeypatch, slice_bytes):
    monkeypatch.setattr(d4rl, "_SLICE_BYTES", slice_bytes)
    rows = content("maze2d-umaze-v1", 650) | {"timeouts": None}
    episodes = read(write(tmp_path / "a.hdf5", rows), "maze2d-umaze-v1")
    assert [e.num_transitions for e in episodes] == [300, 300, 49]
    np.testing.assert_array_equal(episodes[0].observation[-1], rows["observations"][300])


def test_a_kitchen_has_terminals_alone_and_one_info(tmp_path):
    rows = content("kitchen-mixed-v0", 7, terminals=[3, 6], infos=np.array([0, 0, 0, 0, 1, 1, 1]))
    rows |= {"timeouts": None, "terminals": rows["terminals"].astype(np.float32)}
    episodes = read(write(tmp_path / "a.hdf5", rows), "kitchen-mixed-v0")
    assert [e.num_transitions for e in episodes] == [4, 3]
    assert all(e.is_terminal[-1] and not e.observation[-1].any() for e in episodes)
    np.testing.assert_array_equal(episodes[1].extras["infos"], [1, 1, 1, 1])


def test_an_ant_goes_on_after_its_goal(tmp_path):
    """Terminals at 2 and 3, a time limit at 5 with a terminal that the next start was near."""
    rows = content("antmaze-umaze-v2", 9, terminals=[2, 3, 5], timeouts=[5])
    episodes = read(write(tmp_path / "a.hdf5", rows), "antmaze-umaze-v2")
    assert [e.num_transitions for e in episodes] == [3, 1, 1, 2]
    assert [bool(e.is_terminal[-1]) for e in episodes] == [True, True, False, False]
    np.testing.assert_array_equal(episodes[0].observation[-1], rows["observations"][3])
    np.testing.assert_array_equal(episodes[2].observation, rows["observations"][4:6])
    assert episodes[2].metadata["is_timeout"]


def test_an_ant_of_v0_ends_where_it_jumps(tmp_path):
    """Timeouts stand two rows late."""
    rows = content("antmaze-medium-play-v0", 9, terminals=[1], timeouts=[6])
    rows["observations"][:, :2] = 0.4 * np.arange(9)[:, None]
    rows["observations"][5:, :2] += 8
    episodes = read(write(tmp_path / "a.hdf5", rows), "antmaze-medium-play-v0")
    assert [e.num_transitions for e in episodes] == [2, 2, 3]
    assert [bool(e.is_terminal[-1]) for e in episodes] == [True, False, False]
    np.testing.assert_array_equal(episodes[1].observation, rows["observations"][2:5])
    np.testing.assert_array_equal(episodes[2].observation, rows["observations"][5:])


def test_episodes_of_one_row(tmp_path):
    """Kept where the file has what came after; else a terminal is, and a cut is no transition."""
    rows = content("hopper-medium-v2", 6, terminals=[0, 3], timeouts=[1, 4])
    stored = read(write(tmp_path / "a.hdf5", with_next_observations(rows)), "hopper-medium-v2")
    assert [e.num_transitions for e in stored] == [1, 1, 2, 1, 1]
    lacking = read(write(tmp_path / "b.hdf5", rows), "hopper-medium-v0")
    assert [(e.metadata["first_row"], e.num_transitions) for e in lacking] == [(0, 1), (2, 2)]


FLAGS = st.lists(st.sampled_from(["", "", "", "terminal", "timeout"]), min_size=2, max_size=30)


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    flags=FLAGS,
    name=st.sampled_from(
        ["hopper-medium-v2", "pen-human-v1", "antmaze-umaze-v2", "maze2d-umaze-v1", "pen-human-v0"]
    ),
    rows_a_slice=st.integers(1, 40),
)
def test_any_flags_give_every_row_once_and_in_order(tmp_path_factory, flags, name, rows_a_slice):
    rows = content(
        name,
        len(flags),
        terminals=[i for i, flag in enumerate(flags) if flag == "terminal"],
        timeouts=[i for i, flag in enumerate(flags) if flag == "timeout"],
    )
    if name == "hopper-medium-v2":
        rows = with_next_observations(rows)
    path = write(tmp_path_factory.mktemp("d4rl") / "a.hdf5", rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(d4rl, "_SLICE_BYTES", rows_a_slice * 200)
        found = transitions(read(path, name))
    order = [row for row, *_ in found]
    assert order == sorted(set(order))
    lost = set(range(len(flags))) - set(order)
    is_stored = "next_observations" in rows
    for row in lost:
        assert not is_stored
        assert flags[row] == "timeout" or row == len(flags) - 1
    for row, observation, action, *_ in found:
        np.testing.assert_array_equal(observation, rows["observations"][row])
        np.testing.assert_array_equal(action, rows["actions"][row])


@pytest.mark.parametrize("name", ["halfcheetah", "hopper", "walker2d"])
def test_the_policy_gives_the_stored_log_probabilities(shared, name):
    """D4RL stored log pi(a | o) of every action: of a tanh-Gaussian, in float32."""
    path = shared / "d4rl" / f"{name}_medium-v2.hdf5"
    real = d4rl_files.load(path)
    hidden = real["observations"].astype(np.float64)
    *layers, (kernel, bias) = d4rl_policy.read_policy(path)
    for each in layers:
        hidden = np.maximum(hidden @ each[0] + each[1], 0)
    mean, log_std = np.split(hidden @ kernel + bias, 2, axis=1)
    log_std = np.clip(log_std, -20, 2)
    action = real["actions"].astype(np.float64)
    normal = (np.arctanh(action) - mean) / np.exp(log_std)
    log_prob = -0.5 * normal**2 - log_std - 0.5 * np.log(2 * np.pi) - np.log(1 - action**2 + 1e-6)
    stored = real["infos/action_log_probs"]
    assert np.corrcoef(log_prob.sum(axis=1), stored)[0, 1] > 0.99999
    assert np.median(np.abs(log_prob.sum(axis=1) - stored)) < 1e-3


@pytest.mark.parametrize("name", ["halfcheetah", "hopper", "walker2d"])
def test_infos_of_medium_v2_are_the_state_after_the_action(shared, name):
    """The defect that the tasks tell of: qpos, less the position forward, and qvel."""
    real = d4rl_files.load(shared / "d4rl" / f"{name}_medium-v2.hdf5")
    velocity = np.clip(real["infos/qvel"], -10, 10)
    state = np.concatenate([real["infos/qpos"][:, 1:], velocity], axis=1)
    for field, is_same in {"next_observations": True, "observations": False}.items():
        seen = real[field].copy()
        seen[:, -velocity.shape[1] :] = np.clip(seen[:, -velocity.shape[1] :], -10, 10)
        assert np.array_equal(seen, state) == is_same
    assert any("behind the action" in each for each in task(f"{name}-medium-v2").known_defects)


def test_a_file_without_a_policy_says_so(shared):
    for file in ("halfcheetah_random-v1.hdf5", "door-expert-v1.hdf5", "door-cloned-v1.hdf5"):
        with pytest.raises(DatasetError, match="name a file of a medium or expert"):
            d4rl_policy.read_policy(shared / "d4rl" / file)


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", "<f2"])
@pytest.mark.parametrize("field", ["observations", "next_observations", "actions", "rewards"])
def test_byte_order_is_not_meaning(tmp_path, dtype, field):
    """What is stored big-endian reads as what is stored little-endian, and float16 as float32."""
    rows = with_next_observations(content("hopper-medium-v2", 12, terminals=[5, 11]))
    for name in ("observations", "next_observations", "actions", "rewards"):
        rows[name] = rows[name].astype(np.float16).astype(np.float32)  # So that no dtype rounds.
    rows["infos/count"] = np.arange(12, dtype=">i4")
    rows[field] = rows[field].astype(dtype)
    plain = rows | {field: rows[field].astype(np.promote_types(dtype, "f4").newbyteorder("="))}
    plain["infos/count"] = np.arange(12, dtype="i4")
    found = read(write(tmp_path / "a.hdf5", rows), "hopper-medium-v2")
    assert [e.num_transitions for e in found] == [6, 6]
    expected = read(write(tmp_path / "b.hdf5", plain), "hopper-medium-v2")
    for ours, theirs in zip(found, expected, strict=True):
        for name, steps in theirs.steps().items():
            np.testing.assert_array_equal(ours.steps()[name], steps)
            assert ours.steps()[name].dtype == steps.dtype
    assert found[0].extras["count"].dtype == np.int32


def rounded(dtype, stored):
    return lambda rows: rows.astype(dtype).astype(stored)


@pytest.mark.parametrize(
    ("seen", "change"),
    [
        (np.float64, rounded(np.float32, np.float32)),
        (np.float64, rounded(np.float32, np.float64)),
        (np.float64, lambda rows: np.nextafter(rows, np.inf)),
        (np.float32, lambda rows: np.nextafter(rows, np.float32(-np.inf))),
        (np.float32, rounded(np.float16, np.float16)),
        (np.float32, lambda rows: rows.astype(np.float64)),
        (np.float64, lambda rows: rows * 1e-42),
    ],
)
def test_rounding_is_no_discontinuity(tmp_path, seen, change):
    """Three episodes of 10, two of whose ends are marked, and one is told by the states alone."""
    rng = np.random.default_rng(0)
    states = [rng.normal(size=(11, 11)).astype(seen) for _ in range(3)]
    if change(states[0])[0, 0] == states[0][0, 0] * 1e-42:  # Subnormal as float32.
        states, change = [each * 1e-42 for each in states], rounded(np.float32, np.float64)
    rows = content("hopper-medium-v2", 30, timeouts=[9, 29])
    rows["observations"] = np.concatenate([each[:-1] for each in states])
    rows["next_observations"] = change(np.concatenate([each[1:] for each in states]))
    episodes = read(write(tmp_path / "a.hdf5", rows), "hopper-medium-v2")
    assert [e.num_transitions for e in episodes] == [10, 10, 10]
    assert [bool(e.metadata["is_timeout"]) for e in episodes] == [True, False, True]
    for episode, states_of in zip(episodes, states, strict=True):
        assert episode.observation.dtype == seen
        np.testing.assert_array_equal(episode.observation[:-1], states_of[:-1])
        final = change(states_of)[-1].astype(seen)
        np.testing.assert_array_equal(episode.observation[-1], final)
    repaired = " ".join(
        d4rl_episodes.repairs(
            d4rl.read_contents(tmp_path / "a.hdf5", task("hopper-medium-v2")),
            task("hopper-medium-v2"),
        )
    )
    stored = min((change(states[0]).dtype, np.dtype(np.float32)), key=lambda of: of.itemsize)
    assert f"rounding (2 eps of {stored})" in repaired


@pytest.mark.parametrize("ulps", [1, 2, 8, 1000])
def test_a_difference_beyond_rounding_is_a_discontinuity(tmp_path, ulps):
    """In one number of one row, of float32; two units in the last place are rounding yet."""
    rows = with_next_observations(content("hopper-medium-v2", 20, terminals=[19]))
    rows["observations"][8, 4] = 1
    rows["next_observations"][7, 4] = 1 + ulps * np.finfo(np.float32).eps
    episodes = read(write(tmp_path / "a.hdf5", rows), "hopper-medium-v2")
    assert [e.num_transitions for e in episodes] == ([20] if ulps <= 2 else [8, 12])


@pytest.mark.parametrize("noise", [0, 1e-3])
def test_a_file_that_breaks_off_nearly_everywhere_is_refused(tmp_path, noise):
    rows = with_next_observations(content("hopper-medium-v2", 30, terminals=[9], timeouts=[29]))
    rows["next_observations"] += np.float32(noise)
    path = write(tmp_path / "a.hdf5", rows)
    if not noise:
        assert [e.num_transitions for e in read(path, "hopper-medium-v2")] == [10, 20]
        return
    with pytest.raises(
        DatasetError, match=r"after 28 of 28 rows that no flag marks.*repair that f"
    ):
        read(path, "hopper-medium-v2")


def test_an_ant_of_v0_that_jumps_at_every_step_is_no_ant(tmp_path):
    rows = content("antmaze-medium-play-v0", 9)
    rows["observations"][:, 0] = 5 * np.arange(9)
    with pytest.raises(DatasetError, match=r"the position moves by more than 1\.0"):
        read(write(tmp_path / "a.hdf5", rows), "antmaze-medium-play-v0")
