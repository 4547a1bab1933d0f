"""Minari's own loader reads the export, and finds in it what was published."""

import dataclasses
import json

import dm_env.specs
import h5py
import numpy as np
import pytest
from hypothesis import given, settings

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.exporting.minari import to_minari
from rl_datasets.published import manifest
from rl_datasets.transition import TransitionSpec
from tests.other_libraries.environment import read_with
from tests.rl_datasets.exporting import versions

NAMED = EpisodeSpec(
    observation={
        "position": dm_env.specs.Array((2,), np.float64),
        "camera": dm_env.specs.Array((40, 36, 3), np.uint8),
    },
    action=dm_env.specs.BoundedArray((), np.int64, 2, 4),
    metadata={"environment_seed": dm_env.specs.Array((), np.int64)},
)


def named(seed, length, is_terminal):
    rng = np.random.default_rng(seed)
    return Episode.from_transitions(
        {
            "position": rng.normal(size=(length + 1, 2)),
            "camera": rng.integers(0, 256, (length + 1, 40, 36, 3), np.uint8),
        },
        rng.integers(2, 5, size=length),
        rng.normal(size=length),
        is_terminal=is_terminal,
        metadata={"environment_seed": np.int64(seed)},
    )


def by_minari(tmp_path, version, split="all", name="synthetic-v1"):
    export = to_minari(version, tmp_path / "datasets" / name, split)
    assert f"Minari's id of it is {name}:" in export.differences[0]
    return read_with("minari", "read_minari", tmp_path / "out.npz", tmp_path / "datasets", name)


def agree(found, episodes):
    assert found["total_episodes"] == len(episodes)
    assert found["total_steps"] == sum(each.num_transitions for each in episodes)
    for number, episode in enumerate(episodes):
        observation = episode.observation
        arrays = observation if isinstance(observation, dict) else {"": observation}
        expected = {
            **{f"observations/{name}".rstrip("/"): array for name, array in arrays.items()},
            "actions": episode.action[:-1],
            "rewards": episode.reward[:-1],
            "terminations": episode.is_terminal[1:],
            "truncations": episode.is_last[1:] & ~episode.is_terminal[1:],
            **{f"infos/{name}": array for name, array in episode.extras.items()},
            **{f"attributes/metadata/{name}": each for name, each in episode.metadata.items()},
        }
        for name, array in expected.items():
            theirs = found[f"{number}/{name}"]
            np.testing.assert_array_equal(theirs, np.asarray(array), err_msg=name)
            if not isinstance(array, str):
                assert theirs.dtype == array.dtype, name
        assert found[f"{number}/attributes/id"] == number
        assert found[f"{number}/attributes/total_steps"] == episode.num_transitions


@pytest.mark.parametrize(
    ("spec", "make"), [(versions.VECTORS, versions.vectors), (NAMED, named)], ids=["one", "named"]
)
def test_minari_finds_every_episode(tmp_path, spec, make):
    episodes = [make(seed, 3 + seed, seed % 2 == 0) for seed in range(4)]
    splits = {"train": episodes[:3], "test": episodes[3:]}
    found = by_minari(tmp_path, versions.write(tmp_path / "version", spec, splits))
    agree(found, episodes)
    if spec is NAMED:
        assert found["observation_space"] == (
            "Dict('camera': Box(0, 255, (40, 36, 3), uint8), 'position': Box(-inf, inf, (2,), "
            "float64))"
        )
        assert found["action_space"] == "Discrete(3, start=2)"
        assert [found[f"{number}/attributes/seed"] for number in range(4)] == [0, 1, 2, 3]
    else:
        assert found["action_space"] == "Box(-1.0, 1.0, (2,), float32)"


def test_frames_are_not_changed_and_splits_have_a_name(tmp_path):
    episodes = [versions.frames(seed, 5, True) for seed in range(2)]
    version = versions.write(
        tmp_path / "version", versions.FRAMES, {"train": episodes, "a": episodes}
    )
    found = by_minari(tmp_path, version, "train", "synthetic-train-v1")
    agree(found, episodes)
    assert found["observation_space"] == "Box(0, 255, (84, 84, 1), uint8)"


def of_environment(folder, environment):
    version = versions.write(folder, versions.VECTORS, {"train": [versions.vectors(0, 3, True)]})
    content = manifest.read(version)[0]
    content["plan"] |= {"config": "mine.of-v4", "lineage": {"environment": environment}}
    manifest.write(version, content)
    return version


def test_minari_recovers_an_environment_that_gymnasium_has(tmp_path):
    version = of_environment(tmp_path / "version", "Pendulum-v1")
    found = by_minari(tmp_path, version, name="synthetic/mine-of-v4-v1")
    assert found["environment"] == "Pendulum-v1"
    assert found["recovered"] == "Box(-2.0, 2.0, (1,), float32)"


@pytest.mark.parametrize("environment", ["HalfCheetah-v2", "MyOwn-v0", None])
def test_an_environment_that_gymnasium_cannot_make_is_told(tmp_path, environment):
    export = to_minari(of_environment(tmp_path / "version", environment), tmp_path / "out")
    assert f"cannot recover the environment, {environment or 'which'}" in export.differences[-1]
    assert "env_spec" not in json.loads((tmp_path / "out/data/metadata.json").read_text())


@settings(max_examples=10)
@given(episodes=versions.episodes(versions.vectors))
def test_every_row_is_in_the_file(tmp_path_factory, episodes):
    """As h5py alone finds it, so also where Minari is not installed."""
    folder = tmp_path_factory.mktemp("export")
    version = versions.write(folder / "version", versions.VECTORS, {"train": episodes})
    to_minari(version, folder / "out")
    with h5py.File(folder / "out/data/main_data.hdf5") as file:
        assert len(file) == len(episodes)
        for number, episode in enumerate(episodes):
            group = file[f"episode_{number}"]
            np.testing.assert_array_equal(group["observations"], episode.observation)
            np.testing.assert_array_equal(group["infos/policy_id"], episode.extras["policy_id"])
            assert group.attrs["metadata/agent"] == episode.metadata["agent"]
            assert group["terminations"][-1] != group["truncations"][-1]


def test_lost_discounts_are_counted(tmp_path):
    episode = versions.vectors(0, 4, True)
    discount = episode.discount.copy()
    discount[:2] = 0.5
    episode = dataclasses.replace(episode, discount=discount)
    version = versions.write(tmp_path / "version", versions.VECTORS, {"train": [episode]})
    assert "2 transitions lose their discounts" in to_minari(version, tmp_path / "x").differences[1]


def test_transitions_without_episodes_are_refused(tmp_path):
    version = versions.write(
        tmp_path / "version", versions.VECTORS, {"train": [versions.vectors(0, 3, True)]}
    )
    content = manifest.read(version)[0]
    frame, action = versions.FRAMES.observation, versions.FRAMES.action
    content["plan"]["spec"] = manifest.spec_to_json(TransitionSpec(frame, 4, action))
    manifest.write(version, content)
    with pytest.raises(DatasetError, match="holds transitions that no episode can be made of"):
        to_minari(version, tmp_path / "out")
    assert not (tmp_path / "out").exists()
