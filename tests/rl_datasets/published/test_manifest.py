"""A manifest of another form is named and never followed out of its folder."""

import json
import shutil

import pytest

from rl_datasets.errors import DatasetError
from rl_datasets.published import catalog, manifest
from rl_datasets.published.verification import verify
from rl_datasets.published.version import Version
from tests.rl_datasets.publishing import synthetic

DEEP = "[" * 100_000
SHARD = "synthetic-train.tfrecord-00000-of-00001"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return synthetic.published(tmp_path_factory.mktemp("published"), units=1).path


@pytest.fixture
def version(published, tmp_path):
    """A copy to break."""
    return shutil.copytree(published, tmp_path / "data" / "synthetic" / "1.0.0")


def fails(version, message) -> None:
    """Whoever reads the manifest says so, in one sentence that names it."""
    for read in (manifest.read, Version.open):
        with pytest.raises(DatasetError, match=message) as caught:
            read(version)
        assert str(version / manifest.FILE_NAME) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
    versions, (error,) = catalog.list_published(version.parents[1])
    assert versions == []
    assert str(version) in str(error)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"', "", "{", DEEP, "\xff"])
def test_what_is_no_manifest(version, content):
    (version / manifest.FILE_NAME).write_bytes(content.encode("latin-1"))
    fails(version, "MANIFEST.json is damaged")


# Places in a manifest, and values of another form that stood there.
WRONG = {
    "code": [3],
    "plan": [3, []],
    "plan.dataset": [None, 3],
    "plan.config": [3, ["a"]],
    "plan.version": [1.0],
    "plan.spec": [[], {}, {"transition": {}}, {"transition": []}],
    "plan.spec.observation": [None, "image"],
    "plan.spec.observation.shape": [3, "3", ["3"], [1.5], [-1], [10**9, 10**9]],
    "plan.spec.observation.dtype": [3, "object", "complex64", "no such type"],
    "plan.spec.action.minimum": ["low", {"a": 1}, [1, 2, 3]],
    "plan.spec.extras": [[], 3],
    "plan.spec.metadata": [None],
    "plan.sources": [["source.bin"]],
    "plan.lineage": [[], "source"],
    "plan.lineage.environment": [3],
    "plan.lineage.has_timeouts": ["yes"],
    "plan.lineage.sticky_probability": ["0.25", True],
    "plan.lineage.agent": [3],
    "plan.lineage.iterations": [
        [{"episodes": 1}],
        [{"episodes": 1.5, "mean_return": 2.0}],
        [{"episodes": 1, "mean_return": "2"}],
        [{"episodes": 1, "mean_return": float("nan")}],
    ],
    "splits": [[], 3],
    "splits.train": [8],
    "splits.train.transitions": [True, -1, 1.5, "8", 10**15],
    "splits.train.episodes": [None, -1],
    "splits.train.episode_length": [7],
    "splits.train.episode_length.min": [1.5],
    "splits.train.episode_length.max": [None],
    "splits.train.episode_return": [7.0],
    "splits.train.episode_return.min": [None],
    "splits.train.episode_return.max": ["7"],
    "splits.train.episode_return.mean": ["high", None],
    "splits.train.episode_return.standard_deviation": [[]],
    "splits.train.episode_return.histogram": [[]],
    "splits.train.episode_return.histogram.counts": [3],
    "splits.train.episode_return.histogram.edges": [{}],
    "files": [[]],
    "files.features/json": [None],
    "files.features/json.size": ["3", -1],
    "files.features/json.sha256": [3],
}


def change(version, place, *value) -> None:
    """Puts a value in a place of the manifest, or takes away what is there."""
    path = version / manifest.FILE_NAME
    content = json.loads(path.read_text())
    *outer, last = (key.replace("/", ".") for key in place.split("."))
    within = content
    for key in outer:
        within = within[key]
    if value:
        (within[last],) = value
    else:
        del within[last]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(("place", "value"), [(p, v) for p, of in WRONG.items() for v in of])
def test_a_value_of_another_form(version, place, value):
    change(version, place, value)
    fails(version, "MANIFEST.json is damaged")


OPTIONAL = ("files.features/json", "plan.lineage.")


@pytest.mark.parametrize("place", [place for place in WRONG if not place.startswith(OPTIONAL)])
def test_a_key_that_is_missing(version, place):
    if place.endswith(".minimum"):
        change(version, place.replace("minimum", "maximum"))
    elif place != "splits.train":
        change(version, place)
    else:
        change(version, "splits", {"train": {}})
    fails(version, f"MANIFEST.json is damaged.*{place.split('.')[-1].replace('minimum', 'max')}")


NAMES = ["../../secret", "/etc/hostname", "a/b", "..", ".", "", "a\0b", "a\n", ".hidden"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", ["files", "splits", "dataset", "config", "version"])
def test_a_name_that_leads_out_of_the_folder(version, name, place):
    content = manifest.read(version)[0]
    if place in ("files", "splits"):
        content[place][name] = next(iter(content[place].values()))
    else:
        content["plan"][place] = name
    (version / manifest.FILE_NAME).write_text(json.dumps(content))
    if (place, name) == ("config", ""):  # a builder without configurations
        manifest.read(version)
    else:
        fails(version, f"{place} has .*which cannot be the name of a file")


@pytest.mark.parametrize(
    ("name", "value"), [("skipped", []), ("skipped", {"unit": 3}), ("left_out", {"unit": "why"})]
)
def test_what_is_told_in_another_form(version, name, value):
    content = manifest.read(version)[0]
    manifest.write(version, {**content, name: value})
    fails(version, "MANIFEST.json is damaged")


def test_a_file_that_lies_elsewhere_is_not_verified(version):
    """Its size and sum are right, so that only its name tells."""
    secret = version.parents[1] / "secret"
    secret.write_bytes(b"elsewhere")
    content = manifest.read(version)[0]
    content["files"]["../../secret"] = manifest.file_entry(secret)
    manifest.write(version, content)
    with pytest.raises(DatasetError, match=r"files has '\.\./\.\./secret'"):
        verify(Version.open(version))


def test_the_list_names_a_bad_neighbour_and_shows_the_others(version):
    bad = shutil.copytree(version, version.with_name("2.0.0"))
    (bad / manifest.FILE_NAME).write_text("[]")
    directory = version.with_name("3.0.0") / manifest.FILE_NAME
    directory.mkdir(parents=True)
    (good,), errors = catalog.list_published(version.parents[1])
    assert good.folder == version
    assert [path in str(error) for path, error in errors.items()] == [True, True]
    assert list(errors) == [str(bad), str(directory.parent)]


def test_a_split_that_is_named_twice(version):
    opened = Version.open(version)
    assert opened.split_names("train") == opened.split_names("all") == ["train"]
    with pytest.raises(DatasetError, match=r"'train\+train' names split 'train' twice"):
        opened.split_names("train+train")


@pytest.mark.parametrize(
    ("returns", "counts"),
    [
        ([1e17, 1e17], [2]),
        ([-1e17, -1e17 + 16], [2]),
        ([3.0, 3.0], [0] * 25 + [2] + [0] * 24),
        ([0.0, 1e17], [1] + [0] * 48 + [1]),
    ],
)
def test_returns_are_counted_however_large_and_alike(returns, counts):
    histogram = manifest.of_returns(returns)["histogram"]
    assert histogram["counts"] == counts
    assert len(histogram["edges"]) == len(counts) + 1
