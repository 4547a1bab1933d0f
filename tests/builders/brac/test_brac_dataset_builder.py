"""`brac`: a collected folder and BRAC's own saved data, each held to the contract."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from builders.brac.brac_dataset_builder import Builder
from rl_datasets import files
from rl_datasets.collection import collected_folder
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.sources import brac, collected
from tests.dataset_contract import DatasetContract
from tests.rl_datasets.sources.test_tf_checkpoint import in_shards

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATASET = "halfcheetah-eps1-recollected"
BYTES = {
    "brac-train.tfrecord-00000-of-00002": "4d7ef33988eac2c6",
    "brac-train.tfrecord-00001-of-00002": "24876daafc23d3c7",
    "dataset_info.json": "82b61914ce43cd4a",
    "features.json": "05220ba83ddddeb7",
}


def episode(episode_id: int) -> Episode:
    rng = np.random.default_rng(episode_id)
    length = 5 + episode_id
    return Episode.from_transitions(
        rng.normal(size=(length + 1, 17)).astype(np.float32),
        rng.uniform(-1, 1, size=(length, 6)).astype(np.float32),
        rng.normal(size=length),
        is_terminal=episode_id == 2,
        extras={"policy_id": np.full(length, episode_id % 3, np.int32)},
        metadata={
            "episode_id": np.int64(episode_id),
            "environment_seed": np.int64(-(2**40) * episode_id),
            "is_cut": np.bool_(episode_id == 3),
        },
    )


def collect(folder: pathlib.Path, dataset: str = DATASET) -> str:
    """A collected folder of two units with two episodes each, by hand."""
    folder.mkdir()
    units = [
        collected_folder.write_unit(
            folder / f"unit-{i:05d}.npz", [episode(2 * i), episode(2 * i + 1)]
        )
        for i in range(2)
    ]
    policy = collected.PolicyRecord(
        id=0,
        name="partial",
        kind="tanh_gaussian",
        mode=False,
        sigma=0.0,
        epsilon=0.1,
        source=(("policy.npz", "ab" * 32),),
        transitions=26,
    )
    collection = collected.Collection(
        folder=folder,
        dataset=dataset,
        environment="HalfCheetah-v4",
        mixture="eps1",
        seed=3,
        observation={"shape": [17], "dtype": "float32"},
        action={"shape": [6], "dtype": "float32", "minimum": -1.0, "maximum": 1.0},
        policies=(policy,),
        units=tuple(units),
        versions={"gymnasium": "1.4.0"},
    )
    collected_folder.write_collection(collection)
    return str(folder)


class TestCollected(DatasetContract):
    def make_builder(self, folder):
        source = folder / "collected"
        if not source.exists():
            collect(source)
        return Builder(config=Builder.config_of(str(source)), source=str(source), data_dir=folder)

    def episodes(self):
        return [episode(i) for i in range(4)]

    def test_every_python_and_every_release_of_a_package_writes_these_bytes(self, published):
        """By coreutils' sha256sum, on Python 3.11 with TensorFlow and on 3.13 without it."""
        found = {path.name: files.sha256_of(path)[:16] for path in published.path.iterdir()}
        assert BYTES.items() <= found.items()

    def test_the_manifest_names_the_policies_and_every_file(self, published):
        plan = published.manifest["plan"]
        assert plan["lineage"]["policies"][0]["source"] == [["policy.npz", "ab" * 32]]
        assert plan["lineage"]["seed"] == 3
        assert set(plan["sources"]) == {"collection.json", "unit-00000.npz", "unit-00001.npz"}

    @pytest.mark.tensorflow
    def test_the_builder_itself_reads_it_by_name(self, published, data_dir):
        dataset, info = tfds.load(f"brac/{DATASET}", data_dir=data_dir, with_info=True)
        assert len(dataset["train"]) == 4
        assert "Behavior Regularized" in info.citation
        assert "behavior_policy" not in info.features["steps"]


@pytest.mark.tensorflow
class TestSavedByBrac(DatasetContract):
    """BRAC's own example data: 10,000 real transitions."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _prefix(cls, shared):
        cls.prefix = shared / "brac_testdata" / "data" / "HalfCheetah-v2" / "example" / "0" / "data"

    def make_builder(self, folder):
        return Builder(config="halfcheetah-eps3", source=str(self.prefix), data_dir=folder)

    def episodes(self):
        return list(brac.read_episodes(self.prefix))

    def test_the_real_episodes_and_their_returns(self, published):
        episodes = list(Version.open(published.path).episodes())
        returns = [round(each.episode_return) for each in episodes]
        assert [each.num_transitions for each in episodes] == [1000] * 10
        assert returns == [-190, -298, 4524, 4521, 4283, 4461, 2604, 2361, 2289, 2374]
        assert "policy_id is -1" in published.manifest["plan"]["lineage"]["repaired"][1]

    def test_it_is_no_collection(self, tmp_path):
        with pytest.raises(DatasetError, match="publish BRAC's saved data as brac/hopper-pure"):
            publish(
                Builder(
                    config="hopper-pure-recollected", source=str(self.prefix), data_dir=tmp_path
                )
            )


@pytest.mark.tensorflow
def test_saved_data_of_several_data_files_name_them_all(tmp_path):
    rng = np.random.default_rng(0)
    size, prefix = 6, tmp_path / "data"
    observation = rng.normal(size=(size + 1, 17)).astype(np.float32)
    fields = {
        "s1": observation[:-1],
        "a1": rng.uniform(-1, 1, size=(size, 6)).astype(np.float32),
        "reward": np.ones(size, np.float32),
        "discount": np.ones(size, np.float32),
        "s2": observation[1:],
        "current_size": np.int64(size),
    }
    variables = [(f"data/_{name}", value) for name, value in fields.items()]
    in_shards(prefix, dict(variables[:3]), dict(variables[3:]))
    published = publish(Builder(config="hopper-eps1", source=str(prefix), data_dir=tmp_path))
    shards = {f"data.data-0000{number}-of-00002" for number in range(2)}
    assert published.manifest["plan"]["sources"].keys() == {"data.index", *shards}


def test_configurations_bear_the_fields_names():
    names = list(Builder.builder_configs)
    assert len(names) == 4 * 5 * 3
    assert {"halfcheetah-eps1", "ant-pure-recollected", "hopper-gaussian3-recollected-brac"} <= set(
        names
    )
    assert Builder.name == "brac"


def test_a_collection_keeps_its_name(tmp_path):
    source = collect(tmp_path / "collected", "halfcheetah-mine")
    for taken in ("hopper-eps1", "hopper-eps2-recollected"):
        with pytest.raises(DatasetError, match="publish it as brac/halfcheetah-mine, or under"):
            publish(Builder(config=taken, source=source, data_dir=tmp_path))
    for name in ("halfcheetah-mine", "another"):
        published = publish(Builder(config=name, source=source, data_dir=tmp_path))
        assert published.path == tmp_path / "brac" / name / "2.0.0"


def test_a_version_of_ones_own(tmp_path):
    source = collect(tmp_path / "collected", "halfcheetah-mine")
    builder = Builder(config="halfcheetah-mine", source=source, data_dir=tmp_path, version="2.3.1")
    assert publish(builder).path == tmp_path / "brac" / "halfcheetah-mine" / "2.3.1"
    assert Builder(config="halfcheetah-mine", data_dir=tmp_path, version="2.3.1").as_data_source
    with pytest.raises(DatasetError, match="two is not a version of a dataset: write it as 2"):
        Builder(config="halfcheetah-mine", source=source, data_dir=tmp_path, version="two")


def test_a_damaged_collection_is_refused_by_file(tmp_path):
    source = collect(tmp_path / "collected")
    path = tmp_path / "collected" / "unit-00001.npz"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DatasetError, match=r"unit-00001\.npz"):
        publish(Builder(config=DATASET, source=source, data_dir=tmp_path))


@pytest.mark.tensorflow
def test_no_builder_takes_a_name_of_tfds():
    """TFDS silently drops builders of its own when their name is taken."""
    modules = sorted((ROOT / "builders").glob("*/*_dataset_builder.py"))
    ours = {path.name.removesuffix("_dataset_builder.py") for path in modules}
    assert "brac" in ours
    script = "import tensorflow_datasets as tfds; print(*tfds.list_builders())"
    command = [sys.executable, "-c", script]  # Where none of ours is registered.
    upstream = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "d4rl_mujoco_hopper" in upstream
    assert not ours.intersection(upstream)
