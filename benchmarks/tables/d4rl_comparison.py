"""`python -m benchmarks.tables.d4rl_comparison VERSION FILE`: compares collected data with D4RL's.

Often only a few of D4RL's episodes are at hand. So their means are compared with the distribution
of the recollected episodes: of returns, of lengths, and of the mean and standard deviation of each
dimension of the observation.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Annotated

import numpy as np
import typer

from builders.d4rl.d4rl_dataset_builder import Builder
from rl_datasets.episode import Episode
from rl_datasets.published.version import Version
from rl_datasets.sources import d4rl
from rl_datasets.sources.d4rl_tasks import normalized_score, task


def statistics(episode: Episode) -> dict[str, np.ndarray]:
    """The compared quantities: one number, or one for each dimension of the observation."""
    observation = np.asarray(episode.observation, np.float64)
    return {
        "return": np.array(episode.episode_return),
        "length": np.array(episode.num_transitions),
        "mean of observations": observation.mean(axis=0),
        "spread of observations": observation.std(axis=0),
    }


def compare(again: Sequence[Episode], published: Sequence[Episode]) -> list[list[str]]:
    """One row of text for each statistic: name, recollected, published, and distance.

    The distance is that of the means, in standard deviations of the recollected episodes. For
    observations it is the greatest and the median distance of the dimensions.
    """
    ours, theirs = ([statistics(each) for each in some] for some in (again, published))
    rows = [["episodes", str(len(ours)), str(len(theirs)), ""]]
    for name in theirs[0]:
        here, there = (np.array([each[name] for each in some]) for some in (ours, theirs))
        deviation = here.std(axis=0)
        apart = np.abs(there.mean(axis=0) - here.mean(axis=0))
        apart /= np.where(deviation > 0, deviation, 1)
        if here.ndim == 1:
            rows.append([name, _spread(here), _spread(there), f"{apart:.2f}"])
        else:
            distances = f"{apart.max():.2f} at most, {np.median(apart):.2f} in the median"
            rows.append([name, "", "", distances])
    return rows


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():,.1f} ± {values.std():,.1f}"


def main(
    version: Annotated[pathlib.Path, typer.Argument(help="Folder of the recollected version.")],
    file: Annotated[pathlib.Path, typer.Argument(help="D4RL's HDF5 file, or a slice of it.")],
) -> None:
    """Compares returns, lengths and observations of a recollected dataset with D4RL's own.

    Episodes that were cut when the data were collected are left out.
    """
    of = task(Builder.config_of(str(file)))
    published = list(d4rl.read_episodes(file, of))
    whole = [each for each in Version.open(version).episodes() if not each.metadata.get("is_cut")]
    scores = [
        f"{100 * normalized_score(of.id, np.mean([each.episode_return for each in some])):.1f}"
        for some in (whole, published)
    ]
    header = ["", "recollected", "published", "standard deviations apart"]
    rows = [header, ["---"] * 4, *compare(whole, published), ["normalised score", *scores, ""]]
    for row in rows:
        typer.echo(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    typer.run(main)
