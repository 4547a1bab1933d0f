"""The files of a site."""

import re
import shutil

import numpy as np
import PIL.Image
import pytest

from rl_datasets.errors import DatasetError
from rl_datasets.published.version import Version
from rl_datasets.showing import measuring, site
from tests.rl_datasets.cli.users_folder import contents
from tests.rl_datasets.showing.conftest import HOSTILE, scores_on
from tests.rl_datasets.test_markup import Read


def page_of(folder, config):
    (path,) = (folder / "versions").glob(f"synthetic-{config}-*.html")
    return path.read_text(encoding="utf-8")


def test_the_same_command_gives_the_same_bytes(data_dir, made, tmp_path):
    folder, _ = made
    site.write(data_dir, tmp_path / "site", scores_on)
    assert contents(tmp_path / "site") == contents(folder)


def test_what_did_not_change_is_not_read_again(data_dir, made, tmp_path, monkeypatch):
    folder = shutil.copytree(made[0], tmp_path / "site")
    read = []
    monkeypatch.setattr(measuring, "measure", lambda version: read.append(version.name) or 1 / 0)
    (folder / "data" / f"{Version.open('synthetic/many', data_dir).fingerprint}.json").unlink()
    with pytest.raises(ZeroDivisionError):
        site.write(data_dir, folder, scores_on)
    assert "synthetic/few:1.0.0" not in read


def test_pages_of_what_is_gone_go_too(data_dir, made, tmp_path):
    folder = shutil.copytree(made[0], tmp_path / "site")
    fewer = shutil.copytree(data_dir, tmp_path / "data")
    shutil.rmtree(fewer / "synthetic/many")
    written = site.write(fewer, folder, scores_on)
    assert (written.versions, written.reused) == (2, 1)
    pages = sorted(path.name.rpartition("-")[0] for path in (folder / "versions").iterdir())
    assert pages == ["synthetic-broken-1.0.0", "synthetic-few-1.0.0"]
    assert len(list((folder / "data").iterdir())) == 3


def test_what_is_damaged_is_listed_with_the_sentence(made):
    folder, written = made
    told = Read((folder / "index.html").read_text()).text
    assert written.versions == 3
    assert len(written.damaged) == 2
    for sentence in written.damaged:
        assert sentence in told
    assert "synthetic/unreadable/1.0.0cannot be read: " in told
    broken = Read(page_of(folder, "broken")).text
    assert re.search(r"Damaged: .*tfrecord-00001-of-00002.*copy", broken)
    assert "An episode" not in broken


def test_no_text_of_a_manifest_is_markup(made):
    folder, _ = made
    for path in [folder / "index.html", *(folder / "versions").iterdir()]:
        page = path.read_text(encoding="utf-8")
        assert "<b>" not in page
        assert [tag for tag, _ in Read(page).started].count("script") == 1
    assert f"Cite itCite {HOSTILE}" in Read(page_of(folder, "many")).text.replace("\n", "")


def test_a_page_says_what_its_manifest_says(data_dir, made):
    version = Version.open("synthetic/many", data_dir)
    read = Read(page_of(made[0], "many"))
    counts, split = version.counts(), version.splits["train"]
    told = f"train{counts.episodes:,}{counts.transitions:,}3 to 7"
    told += f"{split['episode_return']['mean']:,.1f} ± "
    assert told in read.text
    assert "each stepobservationfloat32[3]" in read.text
    action = np.concatenate([episode.action for episode in version.episodes()])
    found = f"{action.min():.6g} to {action.max():.6g}"
    assert f"each stepactionfloat32[2]-1 to 1{found}" in read.text
    assert "1.0 ± 0.11.2agrees" in read.text
    assert "measured on other data of this name" in read.text
    assert "tfds.load('synthetic/many:1.0.0', data_dir=" in read.text
    assert all(len(attributes["alt"]) > 9 for tag, attributes in read.started if tag == "img")


def test_addresses_lead_to_files_of_the_site(made):
    folder, _ = made
    for path in [folder / "index.html", *(folder / "versions").iterdir()]:
        read = Read(path.read_text(encoding="utf-8"))
        anchors = {f"#{attrs['id']}" for _, attrs in read.started if "id" in attrs}
        for _, attributes in read.started:
            for address in filter(None, map(attributes.get, ("href", "src"))):
                assert address in anchors or (path.parent / address).is_file(), address


def test_the_frames_are_those_of_an_episode(data_dir, made):
    version = Version.open("synthetic/few", data_dir)
    episodes = list(version.episodes())
    longest = max(episodes, key=lambda episode: episode.num_transitions)
    with PIL.Image.open(made[0] / "data" / f"{version.fingerprint}.png") as sheet:
        pixels = np.asarray(sheet)
    first, second = np.asarray(longest.extras["frame"])[:2, ..., 0]
    np.testing.assert_array_equal(pixels[:4, :4], first)
    np.testing.assert_array_equal(pixels[:4, 6:10], second)
    number = episodes.index(longest)
    assert (
        f"Episode {number} of train: {longest.num_transitions} transitions"
        in Read(page_of(made[0], "few")).text
    )


@pytest.mark.parametrize("what", ["file", "other"])
def test_a_folder_of_something_else_is_left_alone(data_dir, tmp_path, what):
    folder = tmp_path / what
    if what == "other":
        folder.mkdir()
        (folder / "thesis.tex").touch()
    else:
        folder.touch()
    before = contents(tmp_path)
    with pytest.raises(DatasetError, match="something else than a catalog: name another folder"):
        site.write(data_dir, folder, scores_on)
    assert contents(tmp_path) == before
    with pytest.raises(DatasetError, match="is not a folder: name the folder of published"):
        site.write(tmp_path / "absent", tmp_path / "site", scores_on)


@pytest.mark.parametrize(
    "folder",
    ["a/b/1.0.0", "a-b/1.0.0", "A/b/1.0.0", "é/<b>&#?%/1.0.0", "a/" + "b" * 250 + "/1", "a\udcff"],
)
def test_page_names_are_plain_short_and_differ(folder):
    name = site.page_name(folder)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,120}\.html", name)
    assert not name.startswith(".")
    others = ["a/b/1.0.1", "a/b-1.0.0", "a/" + "b" * 251 + "/1"]
    assert name.lower() not in {site.page_name(other).lower() for other in others}
