"""`d4rl`: D4RL's files and collected folders, each held to the contract."""

import contextlib
import functools
import http.server
import pathlib
import shutil
import threading

import numpy as np
import pytest
import tensorflow_datasets as tfds

from builders.d4rl.d4rl_dataset_builder import Builder
from rl_datasets import files
from rl_datasets.collection import collected_folder
from rl_datasets.episode import Episode
from rl_datasets.errors import DatasetError
from rl_datasets.published import catalog
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing.publish import publish
from rl_datasets.sources import collected, d4rl, downloads
from rl_datasets.sources.d4rl_tasks import task
from tests.dataset_contract import DatasetContract
from tests.rl_datasets.sources import d4rl_files
from tests.rl_datasets.sources.d4rl_files import content, with_next_observations, write


class TestMediumV2(DatasetContract):
    """Real episodes that end by themselves, with next observations, infos and a policy."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _file(cls, shared):
        cls.file = shared / "d4rl" / "hopper_medium-v2.hdf5"

    def make_builder(self, folder):
        return Builder(config="hopper-medium-v2", source=str(self.file), data_dir=folder)

    def episodes(self):
        return list(d4rl.read_episodes(self.file, task("hopper-medium-v2")))

    def test_the_manifest_says_where_it_comes_from(self, published):
        plan = published.manifest["plan"]
        assert plan["sources"] == {"hopper_medium-v2.hdf5": files.sha256_of(self.file)}
        assert plan["lineage"]["metadata"]["algorithm"] == "SAC"
        assert plan["lineage"]["metadata"]["iteration"] == 400
        assert plan["lineage"]["rows"] == 911
        assert plan["lineage"]["known_defects"] == list(task("hopper-medium-v2").known_defects)
        assert published.manifest["counted"]["hopper-medium-v2"]["transitions"] == 911

    @pytest.mark.tensorflow
    def test_tfds_reads_it_by_name(self, published, data_dir):
        dataset, info = tfds.load("d4rl/hopper-medium-v2", data_dir=data_dir, with_info=True)
        assert len(dataset["train"]) == 2
        assert "D4RL" in info.citation
        assert set(info.features) == {"steps", "first_row", "is_timeout", "is_done"}


def test_repairs_and_defects_are_told(shared, tmp_path):
    """A real demonstration without next observations, cut in two, whose end is a terminal."""
    source = str(shared / "d4rl" / "door-human-v0.hdf5")
    published = publish(Builder(config="door-human-v0", source=source, data_dir=tmp_path))
    lineage = Version.open(published.path).manifest["plan"]["lineage"]
    assert lineage["known_defects"] == list(task("door-human-v0").known_defects)
    assert any("issue 137" in defect for defect in lineage["known_defects"])
    assert any("left out" in repair for repair in lineage["repaired"])
    assert any("vector of zeros" in repair for repair in lineage["repaired"])
    described = Builder.builder_configs["door-human-v0"].description
    assert all(defect in described for defect in lineage["known_defects"])


def collect(folder: pathlib.Path, dataset: str, protocol: str = "d4rl") -> list[Episode]:
    """A collected folder by hand, of the episodes that it gives."""
    rng = np.random.default_rng(0)
    episodes = [
        Episode.from_transitions(
            rng.normal(size=(length + 1, 11)).astype(np.float32),
            rng.uniform(-1, 1, size=(length, 3)).astype(np.float32),
            rng.normal(size=length),
            is_terminal=length == 4,
            extras={"policy_id": np.zeros(length, np.int32)},
            metadata={
                "episode_id": np.int64(i),
                "environment_seed": np.int64(7 * i),
                "is_cut": np.bool_(length == 2),
            },
        )
        for i, length in enumerate((4, 5, 2))
    ]
    folder.mkdir()
    unit = collected_folder.write_unit(folder / "unit-00000.npz", episodes)
    bounds = {"minimum": -1.0, "maximum": 1.0}
    collected_folder.write_collection(
        collected.Collection(
            folder=folder,
            dataset=dataset,
            environment="Hopper-v4",
            mixture="medium-v2",
            seed=0,
            observation={"shape": [11], "dtype": "float32"},
            action={"shape": [3], "dtype": "float32", **bounds},
            policies=(),
            units=(unit,),
            versions={},
            protocol=protocol,
        )
    )
    return episodes


def test_a_collection_is_published_under_its_own_name_alone(tmp_path):
    name, source = "hopper-medium-v2-recollected", tmp_path / "collected"
    episodes = collect(source, name)
    assert Builder.config_of(str(source)) == name
    published = publish(Builder(config=name, source=str(source), data_dir=tmp_path))
    for ours, theirs in zip(Version.open(published.path).episodes(), episodes, strict=True):
        np.testing.assert_array_equal(ours.observation, theirs.observation)
        assert ours.metadata == theirs.metadata
    assert published.manifest["plan"]["lineage"]["environment"] == "Hopper-v4"
    with pytest.raises(
        DatasetError, match=f"publish it as d4rl/{name}, or under a name of your own"
    ):
        Builder(config="hopper-medium-v2", source=str(source), data_dir=tmp_path)


def test_a_collection_that_changes_since_its_first_look_is_refused(tmp_path):
    """In what no count tells: its lineage would be the first look's, and its data the last's."""
    name, source = "hopper-medium-v2-recollected", tmp_path / "collected"
    collect(source, name)
    builder = Builder(config=name, source=str(source), data_dir=tmp_path)
    file = source / collected.COLLECTION_FILE
    file.write_text(file.read_text().replace("Hopper-v4", "Hopper-v5"))
    with pytest.raises(DatasetError, match=r"changed while it was being read; publish again"):
        publish(builder)
    assert not (tmp_path / "d4rl").exists()
    published = publish(Builder(config=name, source=str(source), data_dir=tmp_path))
    assert published.manifest["plan"]["lineage"]["environment"] == "Hopper-v5"


def test_a_collection_of_brac_is_no_dataset_of_d4rl(tmp_path):
    collect(tmp_path / "collected", "hopper-eps1-recollected", protocol="brac")
    source = str(tmp_path / "collected")
    builder = functools.partial(Builder, source=source, data_dir=tmp_path)
    with pytest.raises(DatasetError, match=r"by the protocol 'brac'.*publish it as brac"):
        builder(config=Builder.config_of(source))


def test_one_bad_row_costs_one_episode_of_the_file(tmp_path):
    rows = with_next_observations(content("hopper-medium-v2", 12, terminals=[3, 11], timeouts=[7]))
    rows["rewards"][5] = np.nan
    source = str(write(tmp_path / "bad.hdf5", rows))
    builder = Builder(config="hopper-medium-v2", source=source, data_dir=tmp_path)
    published = publish(builder, keep_going=True)
    (reason,) = published.manifest["left_out"]["hopper-medium-v2"]
    assert reason == "episode 1: row 5 has 'rewards' that break a rule: every number must be finite"
    assert [e.metadata["first_row"] for e in Version.open(published.path).episodes()] == [0, 8]
    assert published.manifest["splits"]["train"]["transitions"] == 8
    verify(Version.open(published.path))


@pytest.mark.parametrize("name", ["infos/observation", "infos/is_terminal", "discount"])
def test_an_info_named_as_a_core_field_is_refused(tmp_path, name):
    rows = content("hopper-medium-v0", 12, terminals=[5, 11]) | {name: np.arange(12.0)}
    source = str(write(tmp_path / "bad.hdf5", rows))
    with pytest.raises(DatasetError, match=f"'{name}', which would replace"):
        Builder(config="hopper-medium-v0", source=source, data_dir=tmp_path)


def test_big_endian_numbers_are_published_as_any(tmp_path):
    rows = with_next_observations(content("hopper-medium-v2", 12, terminals=[5, 11]))
    rows["infos/qpos"], rows["infos/t"] = rows["observations"].astype("f8"), np.arange(12)
    manifests = []
    for order in "<>":
        swapped = {
            name: field.astype(field.dtype.newbyteorder(order)) for name, field in rows.items()
        }
        source = str(write(tmp_path / f"{ord(order)}.hdf5", swapped))
        folder = tmp_path / str(ord(order))
        builder = Builder(config="hopper-medium-v2", source=source, data_dir=folder)
        manifests.append(publish(builder).manifest)
        verify(Version.open(folder / "d4rl" / "hopper-medium-v2" / "2.0.0"))
    assert manifests[0]["files"] == manifests[1]["files"]


@pytest.mark.parametrize("file", d4rl_files.SLICES)
def test_every_real_slice_is_published_whole(shared, tmp_path, file):
    path, name = shared / "d4rl" / file, d4rl_files.SLICES[file]
    version = publish(Builder(config=name, source=str(path), data_dir=tmp_path)).path
    assert version == tmp_path / "d4rl" / name / "2.0.0"
    published = Version.open(version).episodes()
    for ours, theirs in zip(published, d4rl.read_episodes(path, task(name)), strict=True):
        assert ours.metadata == theirs.metadata
        for field, rows in theirs.steps().items():
            np.testing.assert_array_equal(ours.steps()[field], rows)
            assert ours.steps()[field].dtype == rows.dtype


BAD = {
    "not a number": ("observations", (7, 3), np.nan, "every number must be finite"),
    "infinite": ("rewards", (8,), np.inf, "every number must be finite"),
    "infinite next": ("next_observations", (3, 0), -np.inf, "every number must be finite"),
    "infinite info": ("infos/qpos", (2, 1), np.inf, "every number must be finite"),
    "out of bounds": ("actions", (5, 2), 1.25, "within the bounds of the action spec"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_numbers_are_refused_and_nothing_is_published(tmp_path, case):
    field, place, value, says = BAD[case]
    rows = with_next_observations(content("hopper-medium-v2", 12, terminals=[5, 11]))
    rows["infos/qpos"] = np.zeros((12, 6))
    rows[field][place] = value
    source = str(write(tmp_path / "bad.hdf5", rows))
    with pytest.raises(DatasetError, match=says) as error:
        publish(Builder(config="hopper-medium-v2", source=source, data_dir=tmp_path))
    assert source in str(error.value)
    assert catalog.list_published(tmp_path) == ([], {})


@pytest.mark.parametrize(
    ("config", "changes", "says"),
    [
        ("hopper-medium-v2", {"actions": None}, "has no 'actions'"),
        ("hopper-medium-v2", {"rewards": np.zeros(11)}, "one row for each step"),
        ("hopper-medium-v2", {"timeouts": np.arange(12) == 5}, "both a terminal and a time limit"),
        ("walker2d-medium-v2", {}, "name the task that the file belongs to"),
        ("hoper-medium-v2", {}, "no task 'hoper-medium-v2': did you mean hopper-medium-v2"),
        ("hopper-medium-v2-recollected", {}, "D4RL's own file as d4rl/hopper-medium-v2"),
    ],
)
def test_bad_files_are_refused_and_nothing_is_published(tmp_path, config, changes, says):
    rows = content("hopper-medium-v2", 12, terminals=[5, 11]) | changes
    source = str(write(tmp_path / "bad.hdf5", rows))
    with pytest.raises(DatasetError, match=says):
        publish(Builder(config=config, source=source, data_dir=tmp_path))
    assert catalog.list_published(tmp_path) == ([], {})


def test_a_file_that_is_cut_short_is_refused(shared, tmp_path):
    path = tmp_path / "cut.hdf5"
    path.write_bytes((shared / "d4rl" / "hopper_medium.hdf5").read_bytes()[:-500])
    with pytest.raises(DatasetError, match="truncated"):
        Builder(config="hopper-medium-v0", source=str(path), data_dir=tmp_path)


def test_a_file_may_say_which_task_it_is(shared, tmp_path):
    assert Builder.config_of("/a/walker_mixed.hdf5") == "walker2d-medium-replay-v0"
    assert Builder.config_of("http://b/hopper_medium-v2.hdf5") == "hopper-medium-v2"
    for ambiguous in ("/a/pen-human-v1.hdf5", "/a/mine.hdf5"):
        with pytest.raises(DatasetError, match="name one, such as d4rl/"):
            Builder.config_of(ambiguous)


def test_a_folder_may_mirror_d4rls(shared, tmp_path):
    real = shared / "d4rl" / "pen-human-v1.hdf5"
    mirror = tmp_path / "mirror" / "hand_dapg_v1"
    mirror.mkdir(parents=True)
    shutil.copy(real, mirror)
    sources = [tmp_path / "mirror", mirror, mirror / "pen-human-v1.hdf5"]
    manifests = [
        publish(Builder(config="pen-human-v1", source=str(s), data_dir=tmp_path / str(i))).manifest
        for i, s in enumerate(sources)
    ]
    assert manifests[0] == manifests[1] == manifests[2]
    with pytest.raises(DatasetError, match="neither a file nor a folder with hand_dapg/pen-v0"):
        Builder(config="pen-human-v0", source=str(tmp_path / "mirror"), data_dir=tmp_path)


@contextlib.contextmanager
def serving(folder: pathlib.Path):
    """The address of a server of a folder, and the list of what was asked of it."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

        def do_GET(self):
            if not self.path.startswith("/cut"):
                return super().do_GET()
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"too little")

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def test_an_address_may_mirror_d4rls(shared, tmp_path):
    """Downloaded once, whole, and published with the bytes that a local file gives."""
    real = shared / "d4rl" / "pen-human-v1.hdf5"
    mirror = tmp_path / "mirror" / "hand_dapg_v1"
    mirror.mkdir(parents=True)
    shutil.copy(real, mirror)
    local = publish(Builder(config="pen-human-v1", source=str(real), data_dir=tmp_path / "a"))
    with serving(tmp_path / "mirror") as (address, asked):
        for source in (address, f"{address}/", f"{address}/hand_dapg_v1/pen-human-v1.hdf5"):
            builder = Builder(config="pen-human-v1", source=source, data_dir=tmp_path / "b")
            assert publish(builder).manifest == local.manifest
        assert asked == ["/hand_dapg_v1/pen-human-v1.hdf5"]
    (version,), _ = catalog.list_published(tmp_path / "b")
    assert version.name == "d4rl/pen-human-v1:2.0.0"


def test_an_address_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 2.0)
    with serving(tmp_path) as (address, _):
        for source, reason in {
            f"{address}/nowhere": "HTTP status 404",
            f"{address}/cut": "it ended after 10 of 1000 bytes",
        }.items():
            with pytest.raises(DatasetError, match=f"{reason}.*name a mirror's address"):
                Builder(config="pen-human-v1", source=source, data_dir=tmp_path)
    with pytest.raises(DatasetError, match=r"cannot be downloaded.*name a mirror's address"):
        Builder(config="pen-human-v1", source=address, data_dir=tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_configurations_bear_d4rls_ids():
    names = set(Builder.builder_configs)
    assert {"halfcheetah-medium-v2", "antmaze-umaze-v2", "door-human-v1", "maze2d-large-v1"} < names
    assert {"halfcheetah-medium-v2-recollected", "hopper-random-v2-recollected"} < names
    assert len(names) == 148 + 8
    assert Builder.name == "d4rl"
