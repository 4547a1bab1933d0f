"""Hugging Face's datasets opens the export, typed, and finds in it what was published."""

import io
import shutil

import dm_env.specs
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from rl_datasets.episode import Episode, EpisodeSpec
from rl_datasets.errors import DatasetError
from rl_datasets.exporting import parquet
from rl_datasets.exporting.source import open_source
from rl_datasets.published import manifest
from rl_datasets.transition import TransitionSpec
from tests.other_libraries.environment import read_with
from tests.rl_datasets.exporting import versions

SEVERAL = EpisodeSpec(
    observation={
        "position": dm_env.specs.Array((2, 3), np.float64),
        "camera": dm_env.specs.Array((6, 5, 3), np.uint8),
    },
    action=dm_env.specs.BoundedArray((), np.int64, 0, 3),
    extras={
        "is_done": dm_env.specs.Array((), np.bool_),
        "tiles": dm_env.specs.Array((2, 2), np.uint8),
    },
    metadata={"weights": dm_env.specs.Array((2,), np.float32)},
)


def several(seed, length, is_terminal):
    rng = np.random.default_rng(seed)
    return Episode.from_transitions(
        {
            "position": rng.normal(size=(length + 1, 2, 3)),
            "camera": rng.integers(0, 256, (length + 1, 6, 5, 3), np.uint8),
        },
        rng.integers(4, size=length),
        rng.normal(size=length),
        is_terminal=is_terminal,
        extras={
            "is_done": rng.integers(2, size=length).astype(np.bool_),
            "tiles": rng.integers(0, 256, (length, 2, 2), np.uint8),
        },
        metadata={"weights": rng.normal(size=2).astype(np.float32)},
    )


def expected(episodes):
    """Every column, by name."""
    parts = [
        {
            "episode_index": np.full(each.num_steps, number),
            "step_index": np.arange(each.num_steps),
            **each.steps(),
            **{f"metadata/{n}": np.array([v] * each.num_steps) for n, v in each.metadata.items()},
        }
        for number, each in enumerate(episodes)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize(
    ("spec", "make"),
    [(versions.VECTORS, versions.vectors), (SEVERAL, several), (versions.FRAMES, versions.frames)],
    ids=["vectors", "several", "frames"],
)
def test_datasets_finds_every_step(tmp_path, spec, make, monkeypatch):
    monkeypatch.setattr(parquet, "_FILE_BYTES", 1)  # So that every episode has its own file.
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 1)
    monkeypatch.setattr(parquet, "_SLICE", 4)
    episodes = [make(seed, 3 + seed, seed % 2 == 0) for seed in range(4)]
    splits = {"train": episodes[:3], "test": episodes[3:]}
    version = versions.write(tmp_path / "version", spec, splits)
    export = parquet.to_parquet(version, tmp_path / "out")
    assert len(list((tmp_path / "out/data/train").iterdir())) == 3
    assert (export.episodes, export.differences) == (4, ())
    found = read_with("datasets", "read_parquet", tmp_path / "out.npz", tmp_path / "out")
    assert sorted(found["splits"]) == ["test", "train"]
    for split, of_split in splits.items():
        for name, column in expected(of_split).items():
            theirs = found[f"{split}/{name}"]
            np.testing.assert_array_equal(theirs.reshape(column.shape), column, err_msg=name)
    if spec is SEVERAL:
        assert "Image(" in str(found["feature/observation/camera"])
        assert str(found["feature/observation/position"]) == (
            "List(List(Value('float64'), length=3), length=2)"
        )
        assert str(found["feature/is_done"]) == "Value('bool')"
    elif spec is versions.VECTORS:
        assert str(found["feature/action"]) == "List(Value('float32'), length=2)"
        assert str(found["feature/metadata/agent"]) == "Value('string')"


@settings(max_examples=10)
@given(episodes=versions.episodes(versions.vectors))
def test_every_step_is_in_the_file(tmp_path_factory, episodes):
    """As pyarrow alone finds it, so also where `datasets` is not installed."""
    folder = tmp_path_factory.mktemp("export")
    version = versions.write(folder / "version", versions.VECTORS, {"train": episodes})
    parquet.to_parquet(version, folder / "out")
    table = pq.read_table(folder / "out/data/train")
    for name, column in expected(episodes).items():
        theirs = np.array(table[name].to_pylist(), column.dtype)
        np.testing.assert_array_equal(theirs, column, err_msg=name)


def test_images_are_the_files_of_the_version(tmp_path):
    from PIL import Image

    episode = versions.frames(0, 5, True)
    version = versions.write(tmp_path / "version", versions.FRAMES, {"train": [episode]})
    parquet.to_parquet(version, tmp_path / "out")
    rows = pq.read_table(tmp_path / "out/data/train")["observation"].to_pylist()
    for row, frame in zip(rows, episode.observation, strict=True):
        assert row["path"] is None
        with Image.open(io.BytesIO(row["bytes"])) as image:
            np.testing.assert_array_equal(np.asarray(image), frame[..., 0])


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    episodes = [versions.vectors(seed, 9, True) for seed in range(2)]
    version = versions.write(folder / "version", versions.VECTORS, {"train": episodes})
    parquet.to_parquet(version, folder / "out")
    return folder


@pytest.fixture
def out(exported, tmp_path):
    """A copy to break."""
    return shutil.copytree(exported / "out", tmp_path / "out")


def fails(message, exported, out):
    with pytest.raises(DatasetError, match=message) as caught:
        parquet.read_back(out, open_source(exported / "version", "all"))
    assert "\n" not in str(caught.value)


def rewrite(out, change):
    path = out / "data/train/00000.parquet"
    pq.write_table(change(pq.read_table(path, memory_map=False)), path)


def test_a_column_that_is_missing_or_of_another_type(exported, out):
    rewrite(out, lambda table: table.drop_columns(["reward"]))
    fails("column 'reward' of .*00000.parquet is missing, not float; export again", exported, out)
    rewrite(out, lambda table: table.append_column("reward", table["policy_id"]))
    fails("column 'reward' of .*00000.parquet is int32, not float; export again", exported, out)


def test_a_file_that_is_damaged_or_another_one(exported, out):
    path = out / "data/train/00000.parquet"
    path.write_bytes(path.read_bytes()[:-5])
    fails("00000.parquet is damaged .*; export again", exported, out)


def test_a_card_that_is_not_utf8_or_of_something_else(exported, out):
    card = out / "README.md"
    card.write_bytes(b"---\n\xff\xfe\n---\n")
    fails(r"README.md is not UTF-8 \(.*\); export again", exported, out)
    card.write_text("mine")
    fails("README.md is not the card of this export", exported, out)


def changed(tmp_path, change, split="train"):
    version = versions.write(
        tmp_path / "version", versions.VECTORS, {split: [versions.vectors(0, 3, True)]}
    )
    content = manifest.read(version)[0]
    change(content)
    manifest.write(version, content)
    with pytest.raises(DatasetError) as caught:
        parquet.to_parquet(version, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["version"]
    return str(caught.value)


def test_what_parquet_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    def index(content):
        content["plan"]["spec"]["extras"]["step_index"] = {"shape": [], "dtype": "int64"}

    def transitions(content):
        frame, action = versions.FRAMES.observation, versions.FRAMES.action
        content["plan"]["spec"] = manifest.spec_to_json(TransitionSpec(frame, 4, action))

    assert "split 'a-b' of" in changed(tmp_path / "a", lambda content: None, "a-b")
    assert "has a field 'step_index'" in changed(tmp_path / "b", index)
    assert "holds transitions that no episode can be made of" in changed(
        tmp_path / "c", transitions
    )
