"""The work of `rl-datasets replay`; `cli` has its options."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rl_datasets import files, terminal
from rl_datasets.errors import DatasetError
from rl_datasets.published import manifest
from rl_datasets.published.version import Version
from rl_datasets.publishing.builder import PublishedDatasetBuilder
from rl_datasets.publishing.publish import Publication, publish
from rl_datasets.replaying import check
from rl_datasets.replaying.episodes import Replayer
from rl_datasets.replaying.publishing import ReplayedBuilder
from rl_datasets.replaying.source import Source, of_builder, of_version


def open_source(
    source: str,
    dataset: str | None,
    data_dir: str,
    builder_class: Callable[[str], type[PublishedDatasetBuilder]],
) -> Source:
    """Opens the source that a user names.

    Args:
      source: a published version, as `Version.open` takes it, or what a builder publishes.
      dataset: what the builder would publish, such as `rl_unplugged_atari/Pong_run_1`; None where
        the source says it, as versions and logs do.
      data_dir: the folder of published versions.
      builder_class: gives the class of a builder by its name.

    Raises:
      DatasetError: there is no such source, or it does not say what it is.
    """
    if dataset is not None:
        name, _, config = dataset.partition("/")
        builder = builder_class(name)
        config = config or builder.config_of(source)
        return of_builder(builder(source=source, config=config, data_dir=data_dir))
    if "://" not in source and not os.path.exists(source):
        return of_version(Version.open(source, data_dir))
    if "://" not in source and (files.local_path(source) / manifest.FILE_NAME).is_file():
        return of_version(Version.open(source))
    if any(any(pathlib.Path(source, place).glob("*_ckpt.*.gz")) for place in ("", "replay_logs")):
        return open_source(source, "dqn_replay", data_dir, builder_class)
    raise DatasetError(
        f"{source} does not say which dataset it is: name it with --dataset, such as --dataset "
        "rl_unplugged_atari/Pong_run_1"
    )


def replay(
    source: Source,
    replayer: Replayer,
    data_dir: str,
    version: str | None,
    **options: Any,
) -> Publication:
    """Publishes what replaying a source gives; `options` are those of `publish`.

    Raises:
      DatasetError: as `publish`.
    """
    builder = ReplayedBuilder(of=source, replayer=replayer, data_dir=data_dir, version=version)
    return publish(builder, **options)


def show_check(source: Source, replayer: Replayer, episodes: int) -> None:
    """Tries `episodes` episodes of each file, and prints what replays.

    Raises:
      DatasetError: as `check.check`.
    """
    checks = []
    with terminal.progress("checking", len(source.units), "files") as advance:
        for each in check.check(source, replayer, episodes):
            checks.append(each)
            advance(1)
    terminal.show(check.table(checks))
    for sentence in check.sentences(source, replayer, checks):
        print(sentence)


def told(published: Mapping[str, Any]) -> Iterator[str]:
    """Sentences that say how replaying went, from the manifest of the published version."""
    splits: Sequence[Mapping[str, Any]] = list(published["splits"].values())
    episodes = sum(split["episodes"] for split in splits)

    def count(flag: str) -> int:
        return sum(split["flags"][flag] for split in splits)

    whole, in_part = count("replayed_whole"), count("replayed_in_part")
    yield (
        f"{episodes:,} episodes: {whole:,} replayed whole, {in_part:,} in part and "
        f"{episodes - whole - in_part:,} not at all, which keep what was stored"
    )
    if others := count("on_other_roms"):
        named, *other = published["plan"]["lineage"]["roms_sha256"]
        yield (
            f"{others:,} of them replayed on the ROM of {', '.join(other)}, and not on that of "
            f"{named}, which the lineage names: name the other with --roms, and another --version"
        )
