"""What replaying all of DQN Replay would take, by the games that `benchmarks.replaying` replayed.

A game's rows take as long as the first rows of a random agent there did, on the ROM that DQN Replay
was recorded on. What publishing takes beside the search is what publishing a log takes at all.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rl_datasets.roms import RomSet

ROWS_OF_A_GAME = 5 * 50_000_000
WORKERS = (1, 100, 1_000)
SLOW = 500  # rows/s


def cost_of_all(
    measured: Mapping[str, Any], published_per_second: float, shared: float
) -> Sequence[str]:
    """Lines of `docs/dqn_replay_cost.md`.

    Args:
      measured: `benchmarks/results/replaying/games.json`.
      published_per_second: transitions that a core publishes, without replaying them.
      shared: what a worker does of its work alone where others work beside it, by two.
    """
    on_its_own = [
        log for log in measured["logs"] if log["recorded_on"] == log["replayed_on"] == RomSet.LEGACY
    ]
    rates = {log["game"]: log["rows_per_second"] for log in on_its_own if log["whole"]}
    rows = max(log["rows"] for log in on_its_own)
    lost = [log["game"] for log in on_its_own if not log["whole"]]
    slow = [f"{game} ({rate:,})" for game, rate in rates.items() if rate < SLOW]
    searched = sum(ROWS_OF_A_GAME / rate for rate in rates.values())
    published = len(rates) * ROWS_OF_A_GAME / published_per_second
    lines = [
        f"Of {len(on_its_own)} games the first {rows} rows that a "
        f"random agent played were replayed by `{measured['command']}` on {measured['machine']}, "
        f"code version {measured['code_version']}: {len(rates)} whole, at "
        f"{min(rates.values()):,} to {max(rates.values()):,} rows/s on a core, "
        f"{statistics.median(rates.values()):,.0f} at the median.",
    ]
    if slow:
        lines.append(f"Below {SLOW}: {', '.join(slow)}.")
    if lost:
        lines.append(f"Not whole, and not in what follows: {', '.join(lost)}.")
    lines += [
        "",
        "| | core days |",
        "|---|---:|",
        f"| the search, {len(rates) * ROWS_OF_A_GAME / 1e9:.2f} billion rows | {_days(searched)} |",
        f"| publishing | {_days(published)} |",
        "",
        "| workers, a core each | days |",
        "|---:|---:|",
    ]
    for workers in WORKERS:
        each = (searched + published) / workers / (1 if workers == 1 else shared)
        lines.append(f"| {workers:,} | {_days(each)} |")
    return lines


def _days(seconds: float) -> str:
    days = seconds / 86_400
    return f"{days:,.0f}" if days >= 10 else f"{days:,.1f}"
