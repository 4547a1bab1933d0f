"""D4RL's files: the real slices row by row, and by hand what no slice shows."""

import json
import warnings

import h5py
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from rl_datasets.episode import STEP_FIELDS, EpisodeError
from rl_datasets.episode_check import check_episode
from rl_datasets.errors import DatasetError
from rl_datasets.published import encoding
from rl_datasets.published.features import features_dict
from rl_datasets.sources import d4rl, d4rl_episodes, d4rl_policy, hdf5
from rl_datasets.sources.d4rl_tasks import task
from tests.rl_datasets.sources import d4rl_files
from tests.rl_datasets.sources.d4rl_files import content, with_next_observations, write


def read(path, name):
    """The episodes of a file, each checked."""
    of = task(name)
    spec = d4rl.read_contents(path, of).episode_spec()
    episodes = list(d4rl.read_episodes(path, of))
    for episode in episodes:
        check_episode(episode, spec)
    return episodes


def transitions(episodes):
    """(row, observation, action, reward, discount, next observation, extras) of each."""
    found = []
    for episode in episodes:
        for t in range(episode.num_transitions):
            row = episode.metadata["first_row"] + t
            found.append(
                (
                    int(row),
                    episode.observation[t],
                    episode.action[t],
                    episode.reward[t],
                    episode.discount[t],
                    episode.observation[t + 1],
                    {name: extra[t] for name, extra in episode.extras.items()},
                )
            )
    return found


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
    """The row behind a mark repeats its observation, as by D4RL's script; infos have the state."""
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


def test_an_ant_goes_on_behind_its_goal(tmp_path):
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
def test_infos_of_medium_v2_are_the_state_behind_the_action(shared, name):
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


BAD = {
    "no observations": ({"observations": None}, "has no 'observations'"),
    "no terminals": ({"terminals": None}, "has no 'terminals'"),
    "no timeouts": ({"timeouts": None}, "has no 'timeouts'"),
    "other lengths": ({"actions": np.zeros((9, 3), np.float32)}, "one row for each step"),
    "no rows": ({"rewards": np.zeros(0)}, "at least one"),
    "a scalar": ({"rewards": 1.0}, "one row for each step"),
    "another length of infos": ({"infos/qpos": np.zeros((9, 6))}, "'infos/qpos' of shape"),
    "text": (
        {"infos/name": np.array([b"a"] * 10)},
        "only numbers of at most 64 bits are supported",
    ),
    "short observations": ({"observations": np.zeros((9, 11))}, "'observations' of shape"),
    "short rewards": ({"rewards": np.zeros(9)}, "'rewards' of shape"),
    "named as a core field": ({"infos/reward": np.zeros(10)}, "'infos/reward'.*rename it"),
    "one name twice": (
        {"infos/goal": np.zeros(10), "goal": np.ones(10)},
        "both 'goal' and 'infos/goal'.*rename one",
    ),
    "longdouble": ({"infos/qpos": np.zeros(10, "g")}, "'infos/qpos' of dtype float128"),
    "complex": ({"rewards": np.zeros(10, "c8")}, "'rewards' of dtype complex64"),
    "integer actions": ({"actions": np.ones((10, 3), "u1")}, "'actions' of dtype uint8"),
    "integers with a fraction": (
        {"observations": np.zeros((10, 11), int), "next_observations": np.zeros((10, 11))},
        "'next_observations' of dtype float64 beside 'observations' of int64",
    ),
    "no number": ({"infos/qpos": np.full(10, np.nan)}, "row 0 has 'infos/qpos'.*finite"),
    "too large": ({"rewards": np.full(10, 1e300)}, "row 0 has 'rewards'.*finite"),
    "out of bounds": ({"actions": np.full((10, 3), -1.5)}, "row 0 has 'actions'.*bounds"),
    "metadata of objects": (
        {"metadata/refs": np.array([h5py.Reference()], h5py.ref_dtype)},
        "metadata/refs' of dtype object",
    ),
    "other observations": ({"observations": np.zeros((10, 17))}, "name the task"),
    "two rewards": ({"rewards": np.zeros((10, 2))}, "'rewards' of shape"),
    "other actions": ({"actions": np.zeros((10, 6))}, "name the task"),
    "other next observations": ({"next_observations": np.zeros((10, 5))}, "name the task"),
    "both": ({"terminals": np.arange(10) == 4}, "row 4 has both a terminal and a time limit"),
    "half a flag": ({"terminals": np.full(10, 0.5)}, "row 0 has 'terminals' of neither 0 nor 1"),
    "a flag that is no number": (
        {"terminals": np.full(10, np.nan)},
        "row 0 has 'terminals' of neither 0 nor 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named_in_one_sentence(tmp_path, case):
    changes, says = BAD[case]
    path = write(tmp_path / "bad.hdf5", content("hopper-medium-v0", 10, timeouts=[4]) | changes)
    with pytest.raises(DatasetError, match=says) as error:
        read(path, "hopper-medium-v0")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("field", [f"infos/{name}" for name in STEP_FIELDS] + ["is_last"])
def test_no_info_replaces_a_core_field(tmp_path, field):
    rows = content("hopper-medium-v0", 10, timeouts=[4]) | {field: np.arange(10.0)}
    with pytest.raises(DatasetError, match=f"'{field}', which would replace"):
        d4rl.read_contents(write(tmp_path / "a.hdf5", rows), task("hopper-medium-v0"))


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


FAULTY = {
    "not a number": ("observations", 6, np.nan, [(0, 4), (8, 4)]),
    "a next observation": ("next_observations", 6, np.inf, [(0, 4), (8, 4)]),
    "out of bounds": ("actions", 1, 2, [(4, 4), (8, 4)]),
    "a flag": ("terminals", 9, 7, [(0, 4), (4, 4)]),
    "a flag at an end": ("terminals", 3, 7, [(8, 4)]),
    "both flags": ("timeouts", 3, 1, [(4, 4), (8, 4)]),
}


@pytest.mark.parametrize("rows_a_slice", [1, 3, 100])
@pytest.mark.parametrize("case", FAULTY)
def test_a_bad_row_costs_its_episode_alone(tmp_path, monkeypatch, case, rows_a_slice):
    """A flag that cannot be read may have been an end or not, so both sides of it are left out."""
    field, row, value, kept = FAULTY[case]
    rows = with_next_observations(content("hopper-medium-v2", 12, terminals=[3, 11], timeouts=[7]))
    if field in ("terminals", "timeouts"):
        rows[field] = rows[field].astype(np.float32)
    if case == "a flag at an end":  # What follows it tells of no end there.
        rows["next_observations"][3] = rows["observations"][4]
    rows[field][row] = value
    path = write(tmp_path / "bad.hdf5", rows)
    monkeypatch.setattr(d4rl, "_SLICE_BYTES", rows_a_slice * 110)
    found = list(d4rl.read_episodes_and_faults(path, task("hopper-medium-v2")))
    (fault,) = (each for each in found if isinstance(each, EpisodeError))
    assert str(fault).startswith(f"row {row} has ")
    assert (field if case != "both flags" else "terminal and a time") in str(fault)
    good = [each for each in found if each is not fault]
    assert [(e.metadata["first_row"], e.num_transitions) for e in good] == kept
    with pytest.raises(DatasetError, match=f"bad.hdf5 has a faulty row: row {row} has "):
        read(path, "hopper-medium-v2")


def test_an_error_of_another_place_is_not_the_files(tmp_path):
    """What a caller raises while it has an episode in hand is its own."""
    rows = content("hopper-medium-v0", 10, timeouts=[4])
    episodes = d4rl.read_episodes(write(tmp_path / "a.hdf5", rows), task("hopper-medium-v0"))
    next(episodes)
    with pytest.raises(ValueError, match="a caller's own"):
        episodes.throw(ValueError("a caller's own"))


def test_what_lies_elsewhere_is_refused(tmp_path):
    """External links and storage, virtual datasets, and soft links: the sha256 is of one file."""
    of = task("hopper-medium-v0")
    rows = content(of, 10, timeouts=[4])
    other = write(tmp_path / "other.hdf5", rows)
    (tmp_path / "raw").write_bytes(rows["rewards"].tobytes())
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource(str(other), "rewards", (10,))
    elsewhere = {
        "external": lambda file: file.create_dataset(
            "rewards", (10,), "f4", external=[(str(tmp_path / "raw"), 0, 40)]
        ),
        "virtual": lambda file: file.create_virtual_dataset("rewards", layout),
        "link": lambda file: file.__setitem__("rewards", h5py.ExternalLink(other, "rewards")),
        "soft": lambda file: file.__setitem__("rewards", h5py.SoftLink("/actions")),
        "folder": lambda file: file.__setitem__("infos", h5py.ExternalLink(other, "/")),
    }
    for case, add in elsewhere.items():
        path = write(
            tmp_path / f"{case}.hdf5",
            rows | {"rewards": None} | ({"rewards": rows["rewards"]} if case == "folder" else {}),
        )
        with h5py.File(path, "a") as file:
            add(file)
        name = "infos" if case == "folder" else "rewards"
        with pytest.raises(DatasetError, match=f"{case}.hdf5 has '{name}' as a link or in"):
            d4rl.read_contents(path, of)
        with pytest.raises(DatasetError, match=f"{case}.hdf5 has '{name}' as a link or in"):
            d4rl_policy.read_policy(path)


def test_two_names_of_one_dataset_are_both_read(tmp_path):
    path = write(tmp_path / "a.hdf5", content("hopper-medium-v0", 10, timeouts=[4]))
    with h5py.File(path, "a") as file:
        file["infos/again"] = file["rewards"]
    (first, _) = read(path, "hopper-medium-v0")
    np.testing.assert_array_equal(first.extras["again"][:-1], first.reward[:-1])


@pytest.mark.parametrize("field", ["observations", "infos/qpos", "metadata/weights"])
@pytest.mark.parametrize("options", [{"chunks": (1000, 11)}, {}, {"chunks": True, "maxshape": 1}])
def test_a_shape_that_the_file_cannot_hold_is_refused_by_its_header(tmp_path, field, options):
    """A million million rows, of which nothing or a chunk was written."""
    rows = 10**12
    path = write(tmp_path / "a.hdf5", content("hopper-medium-v0", 10, timeouts=[4]) | {field: None})
    with h5py.File(path, "a") as file:
        if options.pop("maxshape", 0):
            options |= {"maxshape": (None, 11), "compression": "gzip"}
        dataset = file.create_dataset(field, (rows, 11), "f4", **options)
        if dataset.maxshape[0] is None:
            dataset[:10] = 1
    says = f"a.hdf5 says that '{field}' has shape .1000000000000, 11., and holds"
    with pytest.raises(DatasetError, match=says):
        d4rl.read_contents(path, task("hopper-medium-v0"))


def test_rows_that_were_never_written_are_refused(tmp_path):
    rows = content("hopper-medium-v0", 100, timeouts=[4]) | {"rewards": None}
    path = write(tmp_path / "a.hdf5", rows)
    with h5py.File(path, "a") as file:
        file.create_dataset("rewards", (100,), "f4", chunks=(10,))[:90] = 1
    with pytest.raises(DatasetError, match="'rewards' has 10 chunks, and holds 9 of them"):
        d4rl.read_contents(path, task("hopper-medium-v0"))


def test_the_best_compression_is_not_taken_for_a_lie(tmp_path):
    """Zeros by the megabyte, a chunk each, at gzip's best."""
    rows = content("hopper-medium-v0", 1 << 20, timeouts=[4]) | {"terminals": None}
    path = write(tmp_path / "a.hdf5", {name: rows[name] for name in ("rewards", "timeouts")})
    with h5py.File(path, "a") as file:
        zeros = np.zeros(1 << 20, bool)
        file.create_dataset("terminals", data=zeros, chunks=(1 << 20,), compression=9, shuffle=True)
        assert file["terminals"].id.get_storage_size() < 1100
        assert set(hdf5.datasets(file, path)) == {"rewards", "terminals", "timeouts"}


def test_metadata_are_plain_and_repeat(tmp_path):
    path = tmp_path / "a.hdf5"
    values = {
        "text": "SAC",
        "texts": ["a", "b"],
        "number": np.float64(np.nan),
        "wide": np.longdouble(1),
        "flag": np.bool_(True),
        "nothing": h5py.Empty("f4"),
        "array": np.arange(3),
    }
    write(path, content("hopper-medium-v0", 10) | {f"metadata/{n}": v for n, v in values.items()})
    metadata = dict(d4rl.read_contents(path, task("hopper-medium-v0")).metadata)
    assert metadata.pop("array")["shape"] == [3]
    assert json.loads(json.dumps(metadata, allow_nan=False)) == {
        "text": "SAC",
        "texts": ["a", "b"],
        "number": "nan",
        "wide": 1.0,
        "flag": True,
        "nothing": None,
    }


def test_a_file_that_is_cut_short_or_is_none(tmp_path, shared):
    real = (shared / "d4rl" / "hopper_medium.hdf5").read_bytes()
    path = tmp_path / "cut.hdf5"
    for some in (real[: len(real) // 2], real[:-1], b"", b"no HDF5 at all"):
        path.write_bytes(some)
        with pytest.raises(DatasetError, match=r"cut\.hdf5 cannot be read as HDF5"):
            read(path, "hopper-medium-v0")
    with pytest.raises(DatasetError, match=r"there is no file .*none\.hdf5: name one"):
        read(tmp_path / "none.hdf5", "hopper-medium-v0")


def test_a_file_with_damaged_rows(tmp_path):
    rows = content("hopper-medium-v0", 1000, timeouts=[499])
    path = tmp_path / "damaged.hdf5"
    with h5py.File(path, "w") as file:
        for name, field in rows.items():
            file.create_dataset(name, data=field, compression="gzip")
        place = file["observations"].id.get_chunk_info(0).byte_offset
    damaged = bytearray(path.read_bytes())
    damaged[place + 10 : place + 200] = bytes(190)
    path.write_bytes(damaged)
    with pytest.raises(DatasetError, match=r"damaged\.hdf5 cannot be read"):
        read(path, "hopper-medium-v0")


def test_a_damaged_byte_is_no_crash(tmp_path, shared):
    """Anywhere in a real file: what is read then may be other numbers, or is refused."""
    real, of = (shared / "d4rl" / "hopper_random-v1.hdf5").read_bytes(), task("hopper-random-v1")
    rng, refused = np.random.default_rng(0), 0
    path = tmp_path / "damaged.hdf5"
    for _ in range(200):
        damaged = bytearray(real)
        damaged[rng.integers(len(real) // 3)] ^= rng.integers(1, 256)
        path.write_bytes(damaged)
        try:
            list(d4rl.read_episodes(path, of))
        except DatasetError:
            refused += 1
    assert refused > 20


DTYPES = ["<f4", ">f4", "<f8", ">f8", "<f2", "<i4", ">i8", "u1", "<u8", "?", "c8", "g", "S3", "V4"]
NAMES = ["infos/qpos", "infos/qvel", "infos/a/b", "infos/reward", "goal", "infos/goal", "infos"]
TASKS = ["hopper-medium-v2", "kitchen-mixed-v0", "antmaze-umaze-v2", "antmaze-umaze-v0"]
TASKS += ["maze2d-umaze-v1", "pen-human-v1"]
VALUES = st.sampled_from([0, 1, -1, 0.5, 2, 300, 1e300, np.nan, np.inf])


@st.composite
def any_content(draw):
    """A file of some task, with some of its fields as no file should have them."""
    of = task(draw(st.sampled_from(TASKS)))
    rows = draw(st.integers(1, 8))
    flags = st.lists(st.integers(0, rows - 1), max_size=3)
    found = content(of, rows, draw(flags), draw(flags))
    if draw(st.booleans()):
        found = with_next_observations(found)
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)):
        if name != "infos" and "infos" not in found:
            found[name] = np.arange(rows * 2.0).reshape(rows, 2)
        elif not any(each.startswith("infos") for each in found):
            found[name] = np.arange(rows)
    for name in draw(st.lists(st.sampled_from(sorted(found)), max_size=2, unique=True)):
        field, how = found[name], draw(st.sampled_from(["dtype", "value", "shape", "none"]))
        if how == "dtype":
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dtype = np.dtype(draw(st.sampled_from(DTYPES)))
                field = np.zeros(field.shape, dtype) if dtype.kind == "V" else field.astype(dtype)
        elif how == "value":
            field = field.astype(np.float64)
            field.reshape(-1)[draw(st.integers(0, field.size - 1))] = draw(VALUES)
        elif how == "shape":
            shapes = [field[:-1], field[:0], field[..., None], field.reshape(-1), np.float32(1)]
            field = draw(st.sampled_from([*shapes, h5py.Empty("f4")]))
        found[name] = None if how == "none" else field
    return of, {name: field for name, field in found.items() if field is not None}


@hypothesis.settings(max_examples=100)
@hypothesis.given(case=any_content(), rows_a_slice=st.integers(1, 9))
def test_any_file_gives_right_episodes_or_one_sentence(tmp_path_factory, case, rows_a_slice):
    of, rows = case
    path = write(tmp_path_factory.mktemp("d4rl") / "a.hdf5", rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(d4rl, "_SLICE_BYTES", rows_a_slice * 200)
        try:
            spec = d4rl.read_contents(path, of).episode_spec()
            found = list(d4rl.read_episodes_and_faults(path, of))
        except DatasetError as error:
            message = str(error)
        else:
            message = None
    if message is not None:
        assert str(path) in message
        assert "\n" not in message
        return
    features_dict(spec)
    good = [each for each in found if not isinstance(each, EpisodeError)]
    for episode in good:
        check_episode(episode, spec)
        again = encoding.decode_episode(encoding.encode_episode(episode, spec), spec)
        for name, steps in episode.steps().items():
            np.testing.assert_array_equal(again.steps()[name], steps)
    order = [row for row, *_ in transitions(good)]
    assert order == sorted(set(order))
    for row, observation, action, reward, _, _, extras in transitions(good):
        np.testing.assert_array_equal(observation, rows["observations"][row])
        np.testing.assert_array_equal(action, rows["actions"][row])
        assert reward == np.float32(rows["rewards"].reshape(-1)[row])
        for name, extra in extras.items():
            stored = rows.get(f"infos/{name}", rows.get(name))
            np.testing.assert_array_equal(extra, stored[row])
