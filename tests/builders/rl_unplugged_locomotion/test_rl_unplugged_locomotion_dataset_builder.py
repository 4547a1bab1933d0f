"""`rl_unplugged_locomotion`: real episodes and shards made by hand, held to the contract."""

import numpy as np
import pytest

from builders.rl_unplugged_locomotion.rl_unplugged_locomotion_dataset_builder import Builder
from rl_datasets import wire
from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.sources.rl_unplugged_control import CONTROL_SUITE, LOCOMOTION, locomotion
from tests.dataset_contract import DatasetContract
from tests.optional import optional
from tests.rl_datasets.sources.rl_unplugged_suite_files import control, shard, write

optional("tensorflow")
ONLY_OURS = {"appendages_pos", "sensors_torque", "sensors_touch"}


class TestReal(DatasetContract):
    """Two real episodes of humanoid_corridor, which end in a fall."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _source(cls, shared):
        cls.source = shared / "rl_unplugged"

    def make_builder(self, folder):
        return Builder(config="humanoid_corridor", source=str(self.source), data_dir=folder)

    def episodes(self):
        dataset = locomotion("humanoid_corridor")
        (path,) = dataset.shards.find(self.source)
        return list(dataset.layout.read(path, dataset.parse))

    def test_the_manifest_tells_what_was_read(self, published):
        told = published.manifest
        assert told["counted"] == {"part_000": {"episodes": 2, "transitions": 171, "truncated": 0}}
        assert told["splits"]["train"]["flags"] == {"is_failure_inferred": 2}
        repaired = told["plan"]["lineage"]["repaired"]
        assert "one step earlier" in repaired[0]
        assert "fewer than 1000 transitions is terminal" in repaired[1]

    def test_the_commands_show_and_verify_it(self, published, run):
        shown = run("show", published.path).stdout
        assert shown.startswith("rl_unplugged_locomotion/humanoid_corridor:1.0.0\n")
        assert run("verify", published.path).status == 0


@pytest.mark.tensorflow
@pytest.mark.parametrize("config", LOCOMOTION)
def test_the_features_are_those_of_tfds_and_more(tmp_path, config):
    suite = pytest.importorskip("tensorflow_datasets.rl_unplugged.rlu_locomotion")
    theirs = suite.rlu_locomotion.RluLocomotion(config=config, data_dir=str(tmp_path))
    ours = Builder(config=config, source=str(tmp_path), data_dir=tmp_path)
    told = ours.info.features.get_tensor_info()
    their = theirs.info.features.get_tensor_info()
    observed = told["steps"].pop("observation")
    assert {name: observed[name] for name in observed.keys() - ONLY_OURS} == {
        name: of
        for name, of in their["steps"].pop("observation")["walker"].items()
        if name not in ONLY_OURS
    }
    assert told.pop("stored_discount").shape == told.pop("is_failure_inferred").shape == ()
    assert told == their
    assert list(Builder.builder_configs) == list(theirs.builder_configs)


def published_from(folder, data_dir, examples, **kwargs):
    shards = folder / "dm_locomotion_episodes" / "rodent_gaps"
    write(shards / "train-00000-of-00002", shard(examples))
    write(shards / "train-00001-of-00002", b"")
    builder = Builder(config="rodent_gaps", source=str(folder), data_dir=data_dir)
    return publish(builder, **kwargs)


def test_what_was_inferred_is_counted(tmp_path):
    task = LOCOMOTION["rodent_gaps"]
    lost = wire.float_list(np.array([np.nan, 1, 0], np.float32))
    examples = [control(task, 0, 4), control(task, 1, 3, discount=lost), control(task, 2, 1501)]
    published = published_from(tmp_path / "bucket", tmp_path, examples)
    assert published.manifest["splits"]["train"]["flags"] == {"is_failure_inferred": 1}
    assert published.manifest["counted"]["part_000"]["truncated"] == 1
    first, *_ = Version.open(published.path).episodes("train")
    raw = examples[0]["observation/walker/egocentric_camera"][-4 * 12288 :]
    assert np.asarray(first.observation["egocentric_camera"]).tobytes() == raw


def test_a_shard_of_another_suite_is_refused_and_nothing_is_published(tmp_path):
    other = control(CONTROL_SUITE["walker_walk"], 0)
    fault = "record 1 of train-00000-of-00002 .*(no feature|has 6006 values)"
    with pytest.raises(DatasetError, match=fault):
        published_from(
            tmp_path / "bucket", tmp_path, [control(LOCOMOTION["rodent_gaps"], 0, 4), other]
        )
    assert not list(tmp_path.rglob("1.0.0"))


def test_a_bad_record_costs_itself(tmp_path):
    task = LOCOMOTION["rodent_gaps"]
    bad = control(task, 1, 4, egocentric_camera=wire.bytes_list([b"short"]))
    examples = [control(task, 0, 4), bad, control(task, 2, 4)]
    published = published_from(tmp_path / "bucket", tmp_path, examples, keep_going=True)
    (reason,) = published.manifest["left_out"]["part_000"]
    assert "record 1 of train-00000-of-00002 " in reason
    assert "egocentric_camera' is not one string of 49152 bytes" in reason
    assert published.manifest["counted"]["part_000"]["episodes"] == 2
