"""`python -m benchmarks.replaying_page`: writes the tables of docs/replaying.md from results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.replaying import FOLDER
from rl_datasets import files
from rl_datasets.roms import RomSet

PAGE = FOLDER.parents[2] / "docs" / "replaying.md"
MARK = "<!-- `python -m benchmarks.replaying_page` overwrites everything below this line. -->\n"

Log = Mapping[str, Any]


def truth(logs: Sequence[Log]) -> Iterator[str]:
    """What replaying recovers of logs with a known truth, one line for each log."""
    values, right = (sum(log["rewards"][of] for log in logs) for of in ("told", "right"))
    ends = [log["final_observation"] for log in logs if log["whole"]]
    executed = [log["executed"] for log in logs if log["executed"]]
    proved_actions, right_actions = (sum(each[of] for each in executed) for of in ("told", "right"))
    yield "## Compared with the truth"
    yield ""
    yield (
        f"{len(logs)} logs of {len({log['game'] for log in logs})} games on the ROMs of "
        f"{RomSet.LEGACY}, up to 2,000 rows each; {sum(log['whole'] for log in logs)} are replayed "
        f"whole. Of the values that replaying recovers, {right:,} of {values:,} raw rewards, "
        f"{ends.count('right')} of {len(ends) - ends.count('not known')} final observations and "
        f"{right_actions:,} of {proved_actions:,} proved executed actions are right."
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
    """The ROMs on which a random agent's first rows are replayed, one line for each game."""
    names = list(dict.fromkeys(log["game"] for log in logs))
    yield "## Every game, on every ROM"
    yield ""
    yield (
        f"The first 500 rows of a random agent in {len(names)} games, or all rows of a shorter "
        "game. If both sets have the same ROM, there is one log. Otherwise there is one log for "
        "each ROM, and both are replayed on both ROMs. A cell says how many rows were reached."
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
        f"{sum(log['whole'] for log in own)} of {len(own)} logs are replayed whole on their own "
        f"ROM, and {sum(log['whole'] for log in other)} of {len(other)} on the other one. Of the "
        f"{values:,} raw rewards that replaying recovers, {right:,} are right."
    )


def _reached(log: Log | None) -> str:
    if log is None:
        return ""
    return f"whole, {log['rows']:,}" if log["whole"] else f"{log['reached']:,} of {log['rows']:,}"


def written_by(name: str, measured: Log) -> str:
    """The command that measured a table, the code version and the limits of the search."""
    codes = " and ".join(dict.fromkeys(log["code_version"] for log in measured["logs"]))
    return (
        f"Measured by `{measured['command']}` ({name}.json), code version {codes}. A log counts as "
        f"lost after {measured['patience']:,} steps without progress. A proof is abandoned when "
        f"more than {measured['most_states']} states are open at once, or more than a twentieth of "
        "that on average."
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
