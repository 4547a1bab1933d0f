"""PyTorch's DataLoader takes what the version holds, in any process, and always the same."""

import multiprocessing
import pathlib
import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.serving.cut import Cut
from rl_datasets.serving.loading import load_transitions
from rl_datasets.torch import EpisodeDataset, TransitionDataset, loader
from tests.other_libraries.environment import read_with
from tests.rl_datasets.exporting import versions
from tests.rl_datasets.publishing import synthetic
from tests.rl_datasets.publishing.synthetic import Synthetic, unit

ROOT = pathlib.Path(__file__).resolve().parents[2]
KINDS = ["vectors", "frames"]
STACKS = {"vectors": 1, "frames": 4}
FIELDS = ("observation", "action", "reward", "discount", "next_observation")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A version of each kind, each of 5 episodes."""
    folder = tmp_path_factory.mktemp("versions")
    specs = {"vectors": versions.VECTORS, "frames": versions.FRAMES}
    return {
        kind: versions.write(
            folder / kind,
            specs[kind],
            {"train": [getattr(versions, kind)(seed, 3 + 2 * seed, seed > 2) for seed in range(5)]},
        )
        for kind in KINDS
    }


def of(kind, folders, **kwargs):
    cut = Cut(n_step=2, gamma=0.9, frame_stack=STACKS[kind])
    return TransitionDataset(folders[kind], cut=cut, **kwargs), load_transitions(
        folders[kind], cut=cut
    )


def agree(batch, transitions, numbers):
    for name in FIELDS:
        found, expected = getattr(batch, name), getattr(transitions, name)[numbers]
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert batch.extras.keys() == transitions.extras.keys()
    for name, field in transitions.extras.items():
        np.testing.assert_array_equal(batch.extras[name], field[numbers])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(data=st.data())
def test_any_numbers_in_any_order(folders, kind, data):
    """With any cache: what is kept between batches does not change them."""
    size = data.draw(st.sampled_from([0, 2_000, 1 << 20]))
    dataset, transitions = of(kind, folders, cache_bytes=size)
    assert len(dataset) == len(transitions.reward) == 35
    for _ in range(3):
        numbers = data.draw(st.lists(st.integers(-35, 34), min_size=1, max_size=40))
        agree(dataset[numbers], transitions, numbers)
        agree(dataset[numbers[0]], transitions, numbers[0])
        for number, one in zip(numbers, dataset.__getitems__(numbers), strict=True):
            agree(one, transitions, number)


@pytest.mark.parametrize("number", [35, -36, [0, 35]])
def test_a_number_out_of_range(folders, number):
    with pytest.raises(IndexError, match="is not within the 35 transitions"):
        TransitionDataset(folders["vectors"])[number]


def test_a_cache_holds_no_more_than_it_may(folders):
    def kept(cache_bytes):
        dataset, _ = of("frames", folders, cache_bytes=cache_bytes)
        dataset[np.arange(35)]
        sizes = [size for _, size in dataset._take.__self__._kept.values()]
        assert dataset._take.__self__._bytes == sum(sizes)
        return sizes

    every = kept(1 << 20)
    assert len(every) == 5
    half = kept(sum(every) // 2)
    assert sum(half) <= sum(every) // 2
    assert half == every[-len(half) :]  # The ones that were read last.
    assert kept(0) == every[-1:]


def test_loaders_give_every_transition_once(folders, tmp_path):
    """Several loaders, which the script compares, with and without workers."""
    named = [each for kind in KINDS for each in (folders[kind], STACKS[kind])]
    out = read_with("torch", "torch_batches", tmp_path / "out.npz", ROOT, 7, *named)
    for place, kind in enumerate(KINDS):
        found = {
            name.partition("/")[2]: array
            for name, array in out.items()
            if name.startswith(f"{place}/")
        }
        transitions = load_transitions(folders[kind], cut=Cut(frame_stack=STACKS[kind]))
        assert sorted(found["order"]) == list(range(35))
        fields = {name: getattr(transitions, name) for name in FIELDS} | dict(transitions.extras)
        for name, field in fields.items():
            np.testing.assert_array_equal(found[name], field[found["order"]], err_msg=name)
            assert found[name].dtype == field.dtype
        assert found["one"].tolist() == transitions.reward[[3, -1]].tolist()
        for number, episode in enumerate(Version.open(folders[kind]).episodes()):
            for name, field in episode.steps().items():
                np.testing.assert_array_equal(found[f"{number}/{name}"], np.asarray(field))
            assert found[f"{number}/metadata/episode_id"] == episode.metadata["episode_id"]


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_forked_process_reads_for_itself(tmp_path, file_format):
    """At the same time as its parent, which has opened the files."""
    source = tmp_path / "source.bin"
    source.write_bytes(b"raw logs")
    builder = Synthetic(
        units=[unit(0, str(source), count=8)], data_dir=tmp_path / "data", file_format=file_format
    )
    episodes = EpisodeDataset(publish(builder).path)
    expected = [synthetic.episode(number).observation for number in range(8)]
    np.testing.assert_array_equal(episodes[5]["observation"], expected[5])
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for number, found in zip(range(8), pool.map(episodes.__getitem__, range(8)), strict=True):
            np.testing.assert_array_equal(found["observation"], expected[number])
            assert found["metadata/agent"] == f"agent é {number}"


def test_a_pickle_holds_the_path_and_not_the_data(folders):
    for dataset in (TransitionDataset(folders["vectors"]), EpisodeDataset(folders["vectors"])):
        dataset[0]
        assert len(pickle.dumps(dataset)) < 1_000
        again = pickle.loads(pickle.dumps(dataset))
        assert len(again) == len(dataset)


def test_what_cannot_be_served_is_refused_at_once(folders):
    for kind in (TransitionDataset, EpisodeDataset):
        with pytest.raises(DatasetError, match="no split 'test'"):
            kind(folders["vectors"], "test")
        with pytest.raises(DatasetError, match="'nowhere' is not published in"):
            kind("nowhere", data_dir=folders["vectors"])


def test_a_loader_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # As if it were not installed.
    with pytest.raises(DatasetError, match="a loader needs PyTorch, which is not installed"):
        loader(None, 256, seed=0)
