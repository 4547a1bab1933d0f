"""D4RL's files with fields, rows or bytes as no file should have them."""

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
from rl_datasets.sources import d4rl, d4rl_policy, hdf5
from rl_datasets.sources.d4rl_tasks import task
from tests.rl_datasets.sources.d4rl_files import (
    content,
    read,
    transitions,
    with_next_observations,
    write,
)

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
