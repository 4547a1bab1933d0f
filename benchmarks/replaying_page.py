"""`python -m benchmarks.replaying_page`: the tables of docs/replaying.md, from saved results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.replaying import FOLDER
from rl_datasets import files
from rl_datasets.roms import RomSet

PAGE = FOLDER.parents[2] / "docs" / "replaying.md"
MARK = "<!-- Written by `python -m benchmarks.replaying_page`; what follows is not kept. -->\n"

Log = Mapping[str, Any]


def truth(logs: Sequence[Log]) -> Iterator[str]:
    """Logs whose truth is known: what replaying recovers, one line a log."""
    values, right = (sum(log["rewards"][of] for log in logs) for of in ("told", "right"))
    ends = [log["final_observation"] for log in logs if log["whole"]]
    executed = [log["executed"] for log in logs if log["executed"]]
    told_actions, right_actions = (sum(each[of] for each in executed) for of in ("told", "right"))
    yield "## Compared with the truth"
    yield ""
    yield (
        f"{len(logs)} logs of {len({log['game'] for log in logs})} games on the ROMs of "
        f"{RomSet.LEGACY}, up to 2,000 rows each; {sum(log['whole'] for log in logs)} are replayed "
        f"whole. Right are {right:,} of the {values:,} raw rewards that replaying recovers, "
        f"{ends.count('right')} of {len(ends) - ends.count('not known')} final observations, and "
        f"{right_actions:,} of {told_actions:,} executed actions that are proved."
    )
    yield ""
    yield "| game | action every | rows | reached | steps a row | raw return: recovered, truth |"
    yield "|---|---:|---:|---:|---:|---|"
    for log in logs:
        returns = "not recovered" if log["found_return"] is None else f"{log['found_return']:,.0f}"
        yield (
            f"| {log['game']} | {log['action_steps']} | {log['rows']:,} | {log['reached']:,} | "
            f"{log['steps'] / max(log['reached'], 1):.2f} | {returns}, {log['raw_return']:,.0f} |"
        )
    yield ""
    yield "| game | action every | final observation | only return | executed actions proved |"
    yield "|---|---:|---|---|---|"
    for log in logs:
        proved = log["executed"]
        yield (
            f"| {log['game']} | {log['action_steps']} | {log['final_observation']} | "
            f"{_only(log)} | "
            + (f"{proved['told']:,} of {4 * log['rows']:,} |" if proved else "none |")
        )


def _only(log: Log) -> str:
    return {True: "yes", False: "no", None: "too many ways to tell"}[log["only_return"]]


def games(logs: Sequence[Log]) -> Iterator[str]:
    """On which ROM a random agent's first rows are replayed, a line a game."""
    names = list(dict.fromkeys(log["game"] for log in logs))
    yield "## Every game, on every ROM"
    yield ""
    yield (
        f"The first 500 rows of a random agent in {len(names)} games, or the whole of a shorter "
        "game. Where the two sets have the same ROM there is one log; elsewhere there is one log "
        "of each ROM, replayed on both. A cell says how many rows were reached."
    )
    yield ""
    yield "| game | its own ROM, old | its own ROM, new | old on the new | new on the old |"
    yield "|---|---:|---:|---:|---:|"
    old, new = RomSet.LEGACY, RomSet.ALE
    for name in names:
        of_game = {
            (log["recorded_on"], log["replayed_on"]): log for log in logs if log["game"] == name
        }
        cells = [of_game.get(key) for key in ((old, old), (new, new), (old, new), (new, old))]
        yield f"| {name} | {' | '.join(map(_reached, cells))} |"
    own = [log for log in logs if log["recorded_on"] == log["replayed_on"]]
    other = [log for log in logs if log["recorded_on"] != log["replayed_on"]]
    values, right = (sum(log["rewards"][of] for log in own) for of in ("told", "right"))
    yield ""
    yield (
        f"On its own ROM {sum(log['whole'] for log in own)} of {len(own)} logs are replayed whole, "
        f"on the other {sum(log['whole'] for log in other)} of {len(other)}. Of "
        f"{values:,} raw rewards that are told {right:,} are the truth."
    )


def _reached(log: Log | None) -> str:
    if log is None:
        return ""
    return f"whole, {log['rows']:,}" if log["whole"] else f"{log['reached']:,} of {log['rows']:,}"


def written_by(name: str, measured: Log) -> str:
    """Which command measured what, on what."""
    codes = " and ".join(dict.fromkeys(log["code_version"] for log in measured["logs"]))
    return (
        f"Measured by `{measured['command']}` ({name}.json), code version {codes}. A log is lost "
        f"after {measured['patience']:,} steps without progress. A proof is given up where more "
        f"than {measured['most_states']} states are open at once, or a twentieth on average."
    )


def page(parts: Mapping[str, Log]) -> Iterable[str]:
    """The lines of both tables."""
    for name, of in (("truth", truth), ("games", games)):
        yield from of(parts[name]["logs"])
        yield ""
        yield written_by(name, parts[name])
        yield ""


def main() -> None:
    """Writes the tables into their page."""
    parts = {
        name: json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("truth", "games")
    }
    kept, mark, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    files.write(PAGE, kept + mark + "\n" + "\n".join(page(parts)).rstrip() + "\n")


if __name__ == "__main__":
    main()
