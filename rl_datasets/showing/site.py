"""A site of all published versions: an index, and a page for each.

    index.html
    versions/<name>-<digits>.html     a page
    data/<fingerprint>.json           what was measured, so that it is not read again
    data/<fingerprint>-episode.json   what is shown of an episode, and its frames as a .png
    catalog.json                      says that the folder is such a site

Measuring may take long, and what is measured is kept at once. The pages are written in the end, and
the index last.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rl_datasets import files, staging
from rl_datasets.errors import DatasetError
from rl_datasets.published import catalog
from rl_datasets.published.version import Version
from rl_datasets.showing import card as cards
from rl_datasets.showing import index, measuring, page, pictures
from rl_datasets.showing.measuring import Measured
from rl_datasets.showing.page import Contents, Score
from rl_datasets.showing.pictures import Episodes
from rl_datasets.stores.store import is_address

FORMAT = 1
MARK = "catalog.json"
_PAGES, _DATA = "versions", "data"


class Written(NamedTuple):
    """What a site shows.

    Attributes:
      versions: how many have a page.
      reused: how many of them were not read again.
      damaged: the sentences on what is damaged.
    """

    versions: int
    reused: int
    damaged: Sequence[str]


def write(
    data_dir: str | os.PathLike[str],
    site: pathlib.Path,
    scores_on: Callable[[str], Sequence[Score]],
) -> Written:
    """Writes the site of a folder of published datasets, or brings it up to date.

    Args:
      data_dir: the folder of published datasets, or its address.
      site: a folder that does not exist, is empty, or holds such a site.
      scores_on: the scores of learners on the version of this name.

    Raises:
      DatasetError: there is no such data_dir, or the site's folder holds something else.
    """
    if not is_address(data_dir) and not pathlib.Path(data_dir).is_dir():
        raise DatasetError(
            f"{os.fspath(data_dir)} is not a folder: name the folder of published datasets"
        )
    if site.exists() and not (site / MARK).is_file() and (not site.is_dir() or any(site.iterdir())):
        raise DatasetError(f"{site} holds something else than a catalog: name another folder")
    files.check_can_write(site)
    site.parent.mkdir(parents=True, exist_ok=True)
    with staging.lock(site.with_name(f".{site.name}.lock"), f"writing {site}"):
        for folder in (site, site / _PAGES, site / _DATA):
            folder.mkdir(exist_ok=True)
            files.remove_partial(folder)
        files.write(site / MARK, json.dumps({"format": FORMAT}) + "\n")
        return _write(data_dir, site, scores_on)


def _write(
    data_dir: str | os.PathLike[str],
    site: pathlib.Path,
    scores_on: Callable[[str], Sequence[Score]],
) -> Written:
    versions, errors = catalog.list_published(data_dir)
    unreadable = {location: str(error) for location, error in errors.items()}
    shown: dict[str, Contents] = {}
    reused = 0
    for version in versions:
        try:
            card = cards.of(version)
        except DatasetError as error:
            unreadable[version.location] = str(error)
            continue
        measured, episodes, damage, was_kept = _read(version, site / _DATA)
        reused += was_kept
        scores = scores_on(version.name)
        shown[version.location] = Contents(version, card, measured, episodes, damage, scores)
    _write_pages(data_dir, site, shown, unreadable)
    damaged = [*unreadable.values(), *(of.damage for of in shown.values() if of.damage)]
    return Written(len(shown), reused, damaged)


def _read(
    version: Version, folder: pathlib.Path
) -> tuple[Measured | None, Episodes | None, str, bool]:
    """What the records tell, or the sentence on why they cannot; and whether it was kept."""
    kept, shown, sheet = (folder / f"{version.fingerprint}{end}" for end in _ENDS)
    try:
        measuring.check_sizes(version)
        measured, episodes = measuring.read(kept), pictures.read(shown, sheet)
        if measured and episodes:
            return measured, episodes, "", True
        measured = measuring.measure(version)
        episodes = pictures.make(version, sheet)
    except DatasetError as error:
        return None, None, str(error), False
    pictures.write(shown, episodes)
    measuring.write(kept, measured)
    return measured, episodes, "", False


_ENDS = (".json", "-episode.json", ".png")


def _write_pages(
    data_dir: str | os.PathLike[str],
    site: pathlib.Path,
    shown: Mapping[str, Contents],
    unreadable: Mapping[str, str],
) -> None:
    names = {each: page_name(_below(each, data_dir)) for each in shown}
    addresses = {of.version.fingerprint: names[each] for each, of in shown.items()}
    kept: set[str] = {*names.values()}
    for each, of in shown.items():
        sheet = f"../{_DATA}/{of.version.fingerprint}.png"
        kept |= {of.version.fingerprint + end for end in _ENDS}
        files.write(
            site / _PAGES / names[each], page.page(of, os.fspath(data_dir), sheet, addresses)
        )
    lacking = [
        index.Unreadable(_below(each, data_dir), damage) for each, damage in unreadable.items()
    ]
    rows = [(f"{_PAGES}/{names[each]}", of) for each, of in shown.items()]
    files.write(site / "index.html", index.page(rows, lacking))
    for path in (*(site / _PAGES).iterdir(), *(site / _DATA).iterdir()):
        if path.name not in kept:
            path.unlink()


def _below(location: str, data_dir: str | os.PathLike[str]) -> str:
    """A version's location relative to that of all published datasets."""
    if is_address(location):
        return location.removeprefix(f"{os.fspath(data_dir).rstrip('/')}/")
    return pathlib.Path(location).relative_to(data_dir).as_posix()


def page_name(folder: str) -> str:
    """The file name of a version's page: short, of plain letters, and no other version's."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", folder)[:100].strip(".-")
    return f"{plain}-{hashlib.sha256(folder.encode(errors='surrogateescape')).hexdigest()[:8]}.html"
