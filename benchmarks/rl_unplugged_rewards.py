"""`python -m benchmarks.rl_unplugged_rewards SHARD...`: measures what docs/atari_rewards.md states.

Every episode of RL Unplugged's episode shards is replayed in the emulator, using only its frames
and actions, not its stored rewards. The rewards that its actions earned are then clipped and
compared with the stored ones. SHARD is a file of `atari_episodes_ordered/<Game>`.

Writes `benchmarks/results/rl_unplugged_rewards.json`, and from it the table and the picture of
docs/atari_rewards.md. The picture shows a game of a random agent of this project. The same files
give the same bytes.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import ale_py
import matplotlib as mpl
import numpy as np
import typer
from matplotlib.figure import Figure

from benchmarks.tables import figures, page
from rl_datasets import files, roms
from rl_datasets.collection.atari import AtariEnvironment
from rl_datasets.replaying.replay import Emulator, LoggedEpisode, replay
from rl_datasets.sources import rl_unplugged

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "rl_unplugged_rewards.json"
PAGE = ROOT / "docs" / "atari_rewards.md"
PICTURE = ROOT / "docs" / "images" / "atari_rewards.svg"

SEED = 4  # of the game in the picture
BEFORE, ROWS = 2, 6  # rows in the picture before the first reward, and in all

Results = Mapping[str, Any]


def measure(shard: pathlib.Path) -> Results:
    """Finds the rows in which a shard has its rewards, episode by episode.

    Raises:
      DatasetError: the file is not an episode shard, or the game's ROM is not installed.
    """
    game = shard.absolute().parent.name
    emulator = Emulator(roms.rom_path(game, roms.RomSet.LEGACY))
    episodes = rl_unplugged.read_episodes(shard, checkpoint=0)
    return {
        "game": game,
        "sha256": files.sha256_of(shard),
        "episodes": [_measure(emulator, episode) for episode in episodes],
    }


def _measure(emulator: Emulator, episode: Any) -> dict[str, Any]:
    """Counts an episode's rewards that its own row's action earned, and that the next row's did."""
    rows = len(episode.observation) - 1
    stored = episode.extras[rl_unplugged.STORED_REWARD][:rows]
    unknown = np.full(rows, np.nan)
    logged = LoggedEpisode(
        episode.observation[:rows], episode.action[:rows], unknown, bool(episode.is_terminal[-1])
    )
    replayed = replay(emulator, logged)
    earned = np.clip(replayed.reward, -1, 1)
    return {
        "rows": rows,
        "replayed_whole": replayed.whole,
        "of_the_same_row": int(np.sum(stored == earned)),
        "of_the_next_row": int(np.sum(stored[:-1] == earned[1:])),
        "earned_by_first_action": float(earned[0]),
        "stored_in_last_row": float(stored[-1]),
        "raw_return": float(replayed.raw_return),
    }


def table(measured: Results) -> str:
    """The table of the page, as Markdown."""
    lines = []
    for shard in measured.values():
        for number, episode in enumerate(shard["episodes"]):
            rows = episode["rows"]
            lines.append(
                [
                    f"{shard['game']}, {number}",
                    f"{rows:,}",
                    f"{episode['of_the_same_row']:,} of {rows:,}",
                    f"{episode['of_the_next_row']:,} of {rows - 1:,}",
                    f"{episode['earned_by_first_action']:g}",
                    f"{episode['stored_in_last_row']:g}",
                ]
            )
    return page.table(
        [
            *("episode", "rows", "what its own action earned", "what the next row's earned"),
            *("earned by the first action", "stored in the last row"),
        ],
        lines,
    )


class Played(NamedTuple):
    """Rows of a game that was played here.

    Attributes:
      frames: [R, 84, 84] uint8.
      actions: [R], names of the actions.
      earned: [R], clipped rewards in the rows of the actions that earned them.
      stored: [R], clipped rewards in the rows in which RL Unplugged's files would have them.
      first: the number of the first row.
    """

    frames: np.ndarray
    actions: list[str]
    earned: np.ndarray
    stored: np.ndarray
    first: int


def played() -> Played:
    """The rows around the first reward of a random agent's game of Asterix."""
    rom = roms.rom_path("Asterix", roms.RomSet.ALE)
    environment, rng = AtariEnvironment(rom), np.random.default_rng(SEED)
    game = ale_py.ALEInterface()
    game.loadROM(rom)
    names = [action.name for action in game.getMinimalActionSet()]
    frames: list[np.ndarray] = []
    actions: list[str] = []
    earned: list[float] = []
    timestep = environment.reset_with(SEED)
    while not any(earned[:-ROWS]):
        action = int(rng.integers(len(names)))
        frames.append(timestep.observation[..., 0])
        timestep = environment.step(action)
        actions.append(names[action])
        earned.append(float(np.clip(timestep.reward, -1, 1)))
    first = int(np.flatnonzero(earned)[0]) - BEFORE
    shown = slice(first, first + ROWS)
    return Played(
        np.stack(frames[shown]),
        actions[shown],
        np.array(earned[shown]),
        np.array(earned[first + 1 : first + 1 + ROWS]),
        first,
    )


def picture(rows: Played) -> Figure:
    """Draws rows with their actions and their rewards, as stored and as earned."""
    lines = {"action": 3.0, "reward, as stored": 2.0, "reward, as earned": 1.0}
    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(figures.WIDTH, 4.0))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(-1.6, ROWS - 0.4), ylim=(0.6, 6.3))
        axes.set_axis_off()
        for name, height in {"row": 6.0, "frame": 4.6, **lines}.items():
            axes.text(-1.5, height, name, va="center", weight="bold")
        for column, frame in enumerate(rows.frames):
            axes.text(column, 6.0, f"{rows.first + column}", ha="center", va="center")
            inset = axes.inset_axes((column - 0.45, 3.6, 0.9, 2.0), transform=axes.transData)
            inset.imshow(frame, cmap="gray", vmin=0, vmax=255)
            inset.set_axis_off()
            texts = (rows.actions[column], rows.stored[column], rows.earned[column])
            for height, value in zip(lines.values(), texts, strict=True):
                is_reward = not isinstance(value, str)
                axes.text(
                    column,
                    height,
                    f"{value:g}" if is_reward else value,
                    ha="center",
                    va="center",
                    bbox={
                        "boxstyle": "round,pad=0.4",
                        "facecolor": "#ffd9a0" if is_reward and value else "#f2f2f2",
                        "edgecolor": "#999999",
                    },
                )
        (earned,) = np.flatnonzero(rows.earned)[:1]
        axes.annotate(
            "",
            (earned - 0.1, lines["reward, as earned"] + 0.28),
            (earned - 0.9, lines["reward, as stored"] - 0.28),
            arrowprops={"arrowstyle": "->", "color": "#b3261e", "linewidth": 1.5},
        )
        axes.text(
            earned + 1,
            5.74,
            "shows the score",
            ha="center",
            va="center",
            color="#b3261e",
            fontsize=8,
        )
    return figure


def main(
    shards: Annotated[list[pathlib.Path], typer.Argument(help="RL Unplugged's episode shards.")],
) -> None:
    """Measures and writes the results, and then the page's table and picture from them."""
    measured = {f"{shard.parent.name}/{shard.name}": measure(shard) for shard in shards}
    files.write(RESULTS, json.dumps(measured, indent=1) + "\n")
    files.write(PICTURE, figures.svg(picture(played())))
    files.write(PAGE, page.filled(PAGE.read_text(encoding="utf-8"), {"rewards": table(measured)}))


if __name__ == "__main__":
    typer.run(main)
