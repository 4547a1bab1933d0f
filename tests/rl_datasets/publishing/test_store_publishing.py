"""A version in a store: the bytes of one in a folder, whole or not there, whoever dies when."""

import concurrent.futures
import contextlib
import pathlib

import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_info import DatasetInfoFileError

from rl_datasets.errors import DatasetError
from rl_datasets.published import catalog
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from rl_datasets.publishing import pipeline
from rl_datasets.publishing.publish import finish, publish
from rl_datasets.stores.folder import FolderStore
from rl_datasets.stores.gcs import GcsStore
from rl_datasets.stores.s3 import S3Store
from rl_datasets.stores.store import open_store
from tests.rl_datasets.publishing import synthetic
from tests.rl_datasets.publishing.synthetic import Synthetic

UNITS = 2
STORES = (FolderStore, GcsStore, S3Store)


@pytest.fixture
def units(tmp_path):
    source = tmp_path / "source.bin"
    source.write_bytes(b"source")
    return [synthetic.unit(number, str(source)) for number in range(UNITS)]


@pytest.fixture
def expected(tmp_path, units) -> dict[str, bytes]:
    """The files of the version in a folder."""
    folder = publish(Synthetic(units=units, data_dir=tmp_path / "local")).path
    return {f"synthetic/1.0.0/{path.name}": path.read_bytes() for path in folder.iterdir()}


def contents(url: str) -> dict[str, bytes]:
    store = open_store(url)
    return {name: store.read(name) for name in store.names()}


def test_the_bytes_are_those_of_a_folder(address, units, expected):
    publication = publish(Synthetic(units=units, data_dir=address))
    assert publication.is_new
    assert publication.target == f"{address}/synthetic/1.0.0"
    assert contents(address) == expected
    assert not publish(Synthetic(units=units, data_dir=address)).is_new
    assert contents(address) == expected


def test_several_processes_write_the_same_bytes(address, units, expected):
    publish(Synthetic(units=units, data_dir=address), num_workers=2)
    assert contents(address) == expected


def test_a_bad_unit_is_skipped(address, tmp_path, units):
    units[1] = synthetic.unit(1, str(tmp_path / "source.bin"), reader=synthetic.read_nan)
    local = publish(Synthetic(units=units, data_dir=tmp_path / "b"), keep_going=True)
    there = publish(Synthetic(units=units, data_dir=address), keep_going=True)
    assert there.manifest == local.manifest
    assert contents(there.target) == {path.name: path.read_bytes() for path in local.path.iterdir()}


def test_a_version_in_a_store_is_read_like_any_other(address, units):
    publish(Synthetic(units=units, data_dir=address))
    for opened in (
        Version.open("synthetic", address),
        Version.open(f"{address}/synthetic/1.0.0"),
    ):
        found = [episode.metadata["episode_id"] for episode in opened.episodes()]
        assert found == list(range(len(found)))
        assert len(found) == opened.counts().episodes
        assert len(opened.episode_files()) == len(found)
        verify(opened)
    (listed,), errors = catalog.list_published(address)
    assert (listed.name, errors) == ("synthetic:1.0.0", {})
    with pytest.raises(DatasetError, match=r"'brac/x' is not published in .*: the nearest"):
        Version.open("brac/x", address)
    with pytest.raises(DatasetError, match=r"/synthetic/2\.0\.0 has no MANIFEST\.json"):
        Version.open(f"{address}/synthetic/2.0.0")


def test_damage_in_a_store_is_found(address, units):
    publish(Synthetic(units=units, data_dir=address))
    store = open_store(f"{address}/synthetic/1.0.0")
    shard = next(name for name in store.names() if "tfrecord" in name)
    whole = store.read(shard)
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-1]):
        store.delete(shard)
        store.write(shard, damaged)
        with pytest.raises(DatasetError, match=f"{shard} is not what was published"):
            verify(Version.open(store.url))
        with pytest.raises(DatasetError, match=f"{shard} is not what was published"):
            list(Version.open(store.url).episodes())
    store.delete(shard)
    with pytest.raises(DatasetError, match=f"{shard} is missing"):
        verify(Version.open(store.url))
    with pytest.raises(DatasetError, match=f"{shard} is missing"):
        list(Version.open(store.url).episodes())
    store.write(shard, whole)
    store.write("stranger", "x")
    with pytest.raises(DatasetError, match="/stranger does not belong to this version"):
        verify(Version.open(store.url))


class Died(BaseException):
    """A launcher that was killed: nothing catches it."""


@contextlib.contextmanager
def dying_before(step: int):
    """Raises `Died` before the n-th change of a store, and at every later one."""
    steps = iter(range(10_000))

    def dying(method):
        def act(self, *args):
            if next(steps) >= step:
                raise Died
            return method(self, *args)

        return act

    with pytest.MonkeyPatch.context() as patch:
        for kind in STORES:
            for name in ("put", "copy", "delete"):
                patch.setattr(kind, name, dying(getattr(kind, name)))
        yield


def changes(url: str, units) -> int:
    """The number of changes that a whole publication makes."""
    made = 0

    def counting(method):
        def act(self, *args):
            nonlocal made
            made += 1
            return method(self, *args)

        return act

    with pytest.MonkeyPatch.context() as patch:
        for kind in STORES:
            for name in ("put", "copy", "delete"):
                patch.setattr(kind, name, counting(getattr(kind, name)))
        publish(Synthetic(units=units, data_dir=url))
    return made


def test_a_launcher_dies_before_each_step(address, units, expected):
    """Another one completes it: from the receipts if the workers are done, else from the source."""
    every = changes(f"{address}/whole", units)
    assert every > 2 * UNITS + UNITS + 4  # Shards, receipts; copies; claim and metadata.
    finished = 0
    for step in range(every):
        url = f"{address}/{step}"
        with pytest.raises(Died), dying_before(step):
            publish(Synthetic(units=units, data_dir=url))
        versions, errors = catalog.list_published(url) if contents(url) else ([], {})
        assert not errors
        for version in versions:  # All of it, or nothing.
            assert len(list(version.episodes())) == version.counts().episodes
        if is_visible(url):
            assert expected.items() <= contents(url).items()
        workers_are_done = sum("/receipts/" in name for name in contents(url)) == UNITS
        if workers_are_done:
            finish(Synthetic, config=None, data_dir=url, version=None)
            finished += 1
        else:
            publish(Synthetic(units=units, data_dir=url))
        assert contents(url) == expected
    assert finished > UNITS + 4


def is_visible(url: str) -> bool:
    """Whether TFDS sees the version: it looks for its dataset_info.json."""
    return open_store(url).stat("synthetic/1.0.0/dataset_info.json") is not None


def test_plain_tfds_sees_all_or_nothing(tmp_path, units, expected):
    """On a shared file system, where TFDS can look without a client of a store."""
    url = f"file://{tmp_path}/store"
    for step in range(changes(f"{url}/whole", units)):
        with pytest.raises(Died), dying_before(step):
            publish(Synthetic(units=units, data_dir=f"{url}/{step}"))
        folder = tmp_path / "store" / str(step) / "synthetic" / "1.0.0"
        try:
            builder = tfds.builder_from_directory(folder)
        except DatasetInfoFileError:
            assert not (folder / "dataset_info.json").exists()
            continue
        assert builder.info.splits["train"].num_examples == 4 * UNITS
        assert {path.name for path in folder.iterdir()} == {
            pathlib.PurePath(name).name for name in expected
        }


def test_two_launchers_of_one_plan(address, units, expected):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        launched = [
            pool.submit(publish, Synthetic(units=units, data_dir=address)) for _ in range(2)
        ]
        for each in launched:
            each.result()
    publish(Synthetic(units=units, data_dir=address))  # Clears what the slower one left.
    assert contents(address) == expected


def test_two_launchers_of_two_plans(address, units, expected, monkeypatch):
    """The second is refused while the first one works, and after it."""
    sentence = "synthetic/1.0.0 is being published from another plan: wait for that, complete it"
    run = pipeline.run

    def while_working(tasks, **options):
        monkeypatch.setattr(pipeline, "run", run)
        with pytest.raises(DatasetError, match=sentence):
            publish(Synthetic(units=units[:1], data_dir=address))
        run(tasks, **options)

    monkeypatch.setattr(pipeline, "run", while_working)
    publish(Synthetic(units=units, data_dir=address))
    assert contents(address) == expected
    with pytest.raises(DatasetError, match=r"is already published and its .*units would differ"):
        publish(Synthetic(units=units[:1], data_dir=address))


def test_nothing_can_be_finished_that_was_not_begun(address, units):
    with pytest.raises(DatasetError, match=r"nothing is staged for .*/synthetic/1\.0\.0: publish"):
        finish(Synthetic, config=None, data_dir=address, version=None)
    with pytest.raises(Died), dying_before(2):
        publish(Synthetic(units=units, data_dir=address))
    with pytest.raises(DatasetError, match="the runner lost unit 'unit-0'"):
        finish(Synthetic, config=None, data_dir=address, version=None)


def test_a_folder_is_finished_without_its_source(tmp_path, units, expected, monkeypatch):
    """Its stage is a folder, and the rest is the same."""
    from rl_datasets.publishing import publish as publishing

    def die(*_):
        raise Died

    monkeypatch.setattr(publishing, "_commit", die)
    with pytest.raises(Died):
        publish(Synthetic(units=units, data_dir=tmp_path / "b"))
    monkeypatch.undo()
    (tmp_path / "source.bin").unlink()
    folder = finish(Synthetic, config=None, data_dir=tmp_path / "b", version=None).path
    assert {f"synthetic/1.0.0/{path.name}": path.read_bytes() for path in folder.iterdir()} == (
        expected
    )
    assert [path.name for path in folder.parent.iterdir()] == ["1.0.0"]
