"""What is wrong with a user's own data is told in one sentence, and nothing is half-written."""

import json
import pathlib

import h5py
import numpy as np
import pytest

from builders.custom.custom_dataset_builder import Builder
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from tests.builders.custom.users_data import (
    VECTOR,
    arrays_of,
    random_episode,
    write_d4rl,
    write_minari,
    write_npz,
)
from tests.rl_datasets.sources import minari_files


def three_episodes():
    rng = np.random.default_rng(0)
    return [random_episode(rng, VECTOR, length, length == 4) for length in (4, 2, 3)]


def publish_it(source: pathlib.Path, folder: pathlib.Path, **options):
    return publish(Builder(config="mine", source=str(source), data_dir=folder), **options)


def is_refused(source: pathlib.Path, folder: pathlib.Path, sentence: str) -> None:
    with pytest.raises(DatasetError, match=sentence) as caught:
        publish_it(source, folder)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not list(folder.glob("custom/mine/1.0.0"))


def nan_in(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[-1] = np.nan
    return array


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"actions": None}, "'actions' is missing, and every episode must have it"),
        ({"observations": None}, "'observations' is missing"),
        ({"rewards": np.ones(3)}, "'rewards' has 3 rows beside 2 actions, and 2 are needed"),
        ({"observations": np.ones((2, 3), "f")}, "2 rows beside 2 actions, .*: add the final obs"),
        ({"observations": np.ones((1, 3), "f")}, "has 1 rows beside 2 actions, and 3 are needed$"),
        ({"observations": np.ones((3, 4), "f")}, r"observation must be float32 of shape \(3,\), g"),
        ({"observations": np.ones((3, 3))}, r"observation must be float32 of shape \(3,\), got"),
        ({"observations": np.full((3, 3), np.nan, "f")}, "every number must be finite .*'observat"),
        ({"rewards": np.array([1, np.inf])}, "every number must be finite .field 'reward', step 1"),
        ({"rewards": np.array([1, 1e300])}, "every number must be finite .field 'reward', step 1"),
        ({"rewards": np.ones((2, 1))}, r"'rewards' has shape \(2, 1\): give it one axis"),
        ({"actions": np.float32(1)}, "'actions' is a single value: give it one row for each step"),
        ({"terminations": [True, False]}, "'terminations' is True in row 0 of 2: end the episode"),
        ({"truncations": [True, False]}, "'truncations' is True in row 0 of 2: end the episode in"),
        ({"terminations": [0, 2]}, "'terminations' has values that are neither 0 nor 1"),
        ({"observation": np.ones(3)}, "'observation' is no array .*: did you mean 'observations'"),
        ({"infos/../../secret": np.ones(2)}, "'infos/../../secret' is no array of an episode"),
        ({"infos/goal": np.ones(2)}, "an episode must have exactly the fields"),
        ({"infos/goal": np.ones(4)}, "'infos/goal' has 4 rows beside 2 actions, and 2 or 3 are ne"),
        ({"metadata/seed": np.ones(2)}, "an episode must have exactly the metadata"),
        ({"observations/x": np.ones((3, 1))}, "there are both 'observations' and 'observations/x'"),
        ({"actions": np.array([{}, {}])}, "it holds|Object arrays cannot be loaded"),
        ({"actions": np.array(["a", "b"])}, "'actions' has dtype <U1, and only numbers of at most"),
        ({"actions": np.ones((2, 2), np.complex64)}, "'actions' has dtype complex64, and only"),
        ({"observations": np.zeros((1, 3), "f"), "actions": np.zeros((0, 2), "f"),
          "rewards": np.zeros(0), "terminations": np.zeros(0)}, "at least one transition"),
    ],
)  # fmt: skip
def test_a_bad_npz_file_is_named_or_left_out(changes, told, tmp_path):
    source, episodes = tmp_path / "mine", three_episodes()
    write_npz(source, episodes)
    changed = arrays_of(episodes[1])
    del changed["truncations"]
    changed |= changes
    changed = {name: array for name, array in changed.items() if array is not None}
    np.savez(source / "episode_001.npz", **changed)
    is_refused(source, tmp_path, f"episode 1 of .* because episode_001.npz: .*{told.rstrip('$')}")
    manifest = publish_it(source, tmp_path, keep_going=True).manifest
    ((reason,),) = manifest["left_out"].values()
    assert reason.startswith("episode 1: episode_001.npz: ")
    assert str(tmp_path) not in json.dumps(manifest)
    assert manifest["splits"]["train"]["episodes"] == 2


def test_a_bad_file_of_many_is_named_in_a_short_sentence(tmp_path):
    episodes = [random_episode(np.random.default_rng(0), VECTOR, 1, True)] * 30
    source = write_npz(tmp_path / "mine", episodes)
    (source / "episode_029.npz").write_bytes(b"")
    is_refused(source, tmp_path, "episode_000.npz and 29 other files cannot .* episode_029.npz: ")


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", None])
def test_what_is_no_npz_file(content, tmp_path):
    source = write_npz(tmp_path / "mine", three_episodes())
    first = source / "episode_000.npz"
    first.write_bytes(first.read_bytes()[:-30] if content is None else content)
    is_refused(source, tmp_path, "episode_000.npz: episode_000.npz is truncated, damaged or holds")
    assert (
        publish_it(source, tmp_path, keep_going=True).manifest["splits"]["train"]["episodes"] == 2
    )


def test_sources_that_hold_no_dataset_or_several(tmp_path):
    is_refused(tmp_path / "absent", tmp_path, "absent is neither a folder nor a file named")
    empty = tmp_path / "empty"
    empty.mkdir()
    is_refused(empty, tmp_path, "empty holds 0 datasets: name a folder of npz files, a file in D4")
    write_npz(empty, three_episodes())
    write_d4rl(empty / "mine.hdf5", three_episodes())
    is_refused(empty, tmp_path, "empty holds 2 datasets")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "a.npz").write_bytes(b"")
    is_refused(damaged, tmp_path, "damaged has no episode that can be read, the first because of a")
    with pytest.raises(DatasetError, match=r"'\.\./mine' cannot be the name of a dataset's config"):
        Builder(config="../mine", source=str(empty), data_dir=tmp_path)
    with pytest.raises(DatasetError, match="gs://bucket cannot be used, because only local"):
        Builder(config="mine", source="gs://bucket", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("environment = 3", "environment must be a text that is not empty or false, got 3"),
        ("enviroment = 'Hopper-v5'", "has no field 'enviroment': did you mean 'environment'?"),
        ("environment", "is not a TOML file, correct it"),
        (b"policy = '\xff'", "is not a TOML file, correct it: .*utf-8"),
        ("action_minimum = 0", "give both action_minimum and action_maximum, or neither"),
        ("action_minimum = [0, 0, 0]\naction_maximum = 1", "do not fit actions of shape .2,."),
        ("action_minimum = 3\naction_maximum = 1", "do not fit actions of shape .2,."),
        ("action_minimum = 3\naction_maximum = 4", "every action must lie within the bounds"),
    ],
)
def test_a_bad_dataset_toml(content, told, tmp_path):
    source = write_npz(tmp_path / "mine", three_episodes())
    toml = source / "dataset.toml"
    toml.write_bytes(content if isinstance(content, bytes) else content.encode())
    is_refused(source, tmp_path, told)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rewards": None}, "has no 'rewards', so it is not a file of D4RL's layout"),
        ({"observations": np.ones((9, 3, 2))}, "no 'observations' of two axes"),
        ({"actions": np.ones((9, 3, 2))}, "no 'actions' of one or two axes"),
        ({"actions": np.ones((8, 2))}, r"'actions' of shape \(8, 2\) where others have 9 rows"),
        ({"rewards": nan_in(np.ones(9))}, "row 8 has 'rewards' that break a rule: every number"),
        ({"next_observations": None, "timeouts": None}, "has no 'timeouts', so it is not a file"),
        ({"actions": np.array([b"a"] * 9)}, "'actions' of dtype .S1, and only numbers"),
        ({name: np.ones((0, 3)) for name in ("observations", "next_observations", "actions")}
         | {name: np.ones(0) for name in ("rewards", "terminals", "timeouts")}, "at least one"),
    ],
)  # fmt: skip
def test_a_bad_file_in_d4rls_layout(changes, told, tmp_path):
    source = write_d4rl(tmp_path / "mine.hdf5", three_episodes())
    with h5py.File(source, "a") as file:
        for name, array in changes.items():
            del file[name]
            if array is not None:
                file[name] = array
    is_refused(source, tmp_path, told)


def change_metadata(source, **changes):
    path = source / "data" / "metadata.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def replace(name, value):
    def change(file):
        del file[name]
        if value is not None:
            file[name] = value

    return change


@pytest.mark.parametrize(
    ("metadata", "change", "told"),
    [
        ({"data_format": "arrow"}, None, "format 'arrow', and only 'hdf5' is read: make it with"),
        ({"total_episodes": 0}, None, "has no episodes: name a dataset that has some"),
        ({"total_episodes": 2}, None, "has 'episode_2', and its description counts 2 episodes"),
        ({"total_episodes": 4}, None, "lacks 'episode_3', and its description counts 4 episodes"),
        ({"total_episodes": "many"}, None, "is not the description of a dataset of Minari 0.5"),
        ({"action_space": None}, None, "of Minari 0.5 .'action_space' is missing.: copy"),
        ({"action_space": "[]"}, None, "of Minari 0.5 .a value is of another kind"),
        ({"action_space": '{"type": "Tuple"}'}, None, "actions in a 'Tuple' space, and only Box"),
        ({"action_space": '{"type": "Discrete", "n": 2}'}, None, "action_space that does not fit"),
        ({"action_space": '{"type": "Box", "low": [0], "high": 1}'}, None, "that does not fit its"),
        ({"env_spec": "{}"}, None, "of Minari 0.5 .'id' is missing.: copy"),
        ({}, replace("episode_1/rewards", None), "because episode_1: 'rewards' is missing"),
        ({}, replace("episode_1/rewards", np.ones(5)), "episode_1: 'rewards' has 5 rows beside 2"),
        ({}, replace("episode_1/observations", np.ones((2, 3), "f")), "episode_1: .*: add the"),
        ({}, replace("episode_1/observations", np.full((3, 3), np.nan, "f")), "episode_1: every "),
        ({}, replace("episode_1/actions", np.full((2, 2), 6, "f")), "episode_1: every action"),
        ({}, replace("episode_1/actions", np.array([b"a", b"b"], object)), "episode_1: 'actions'"),
        ({}, replace("episode_1", np.ones(3)), "episode_1: main_data.hdf5 has 'episode_1' that"),
        ({}, replace("episode_1", h5py.ExternalLink("/etc/passwd", "/")), "'episode_1' as a link"),
        ({}, replace("episode_1/rewards", h5py.SoftLink("/episode_0/rewards")), "as a link"),
    ],
)  # fmt: skip
def test_a_bad_dataset_of_minari(metadata, change, told, tmp_path):
    source = write_minari(tmp_path / "mine", three_episodes(), VECTOR)
    change_metadata(source, **metadata)
    if change:
        with h5py.File(source / "data" / "main_data.hdf5", "a") as file:
            change(file)
    is_refused(source, tmp_path, told)
    if change:
        found = publish_it(source, tmp_path, keep_going=True)
        assert [each.metadata["episode_id"] for each in Version.open(found.path).episodes()] == [
            0,
            2,
        ]
        assert str(tmp_path) not in json.dumps(found.manifest)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": "\xff"}', b"[" * 100_000, None])
def test_a_bad_description_of_minari(content, tmp_path):
    source = write_minari(tmp_path / "mine", three_episodes(), VECTOR)
    path = source / "data" / "metadata.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    is_refused(
        source, tmp_path, "metadata.json is not the description of a dataset of Minari 0.5 ."
    )


def test_a_reference_score_of_minari_that_is_no_number_is_told_as_text(tmp_path):
    source = write_minari(tmp_path / "mine", three_episodes(), VECTOR)
    change_metadata(source, ref_min_score=float("nan"), ref_max_score=3.5)
    facts = publish_it(source, tmp_path).manifest["plan"]["lineage"]["minari"]
    assert facts == {"ref_min_score": "NaN", "ref_max_score": 3.5}


def test_a_dataset_of_minari_without_data(tmp_path):
    source = write_minari(tmp_path / "mine", three_episodes(), VECTOR)
    data = source / "data" / "main_data.hdf5"
    data.write_bytes(data.read_bytes()[:3000])
    is_refused(source, tmp_path, "main_data.hdf5 cannot be read as HDF5")
    data.unlink()
    is_refused(source, tmp_path, "there is no file .*main_data.hdf5: name one that exists")


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        ("text", "no episode that can be read, .* episode_0: 'observations' has dtype object"),
        ("several_actions", "actions in a 'MultiDiscrete' space, and only Box and Discrete ones"),
    ],
)
def test_datasets_that_minari_writes_and_this_project_cannot_hold(dataset, told, tmp_path):
    is_refused(minari_files.write(tmp_path, dataset), tmp_path, told)


def test_a_frame_of_minari_that_is_no_jpeg_file(tmp_path):
    source = minari_files.write(tmp_path, "jpeg")
    with h5py.File(source / "data" / "main_data.hdf5", "a") as file:
        file["episode_0/observations"][2] = np.zeros(9, np.uint8)
    is_refused(source, tmp_path, "episode_0: 'observations' has a frame that is no JPEG file")
