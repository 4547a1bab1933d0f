"""Describes how the runs of a report were made, from their lines of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.training.recipe import Recipe, learners
from benchmarks.training.results import FIELDS

# Fields of a line that are described elsewhere, or that belong to single runs. The others
# distinguish its row.
DESCRIBED = (
    *FIELDS,
    *("table", "metrics", "policies", "returns_of"),
    *("rom_set", "rom_md5", "sticky_probability", "evaluation_epsilon", "max_episode_steps"),
    *("evaluation_steps", "most_no_ops", "presses_fire"),
)


def policy(name: str, learner: str, config: Mapping[str, Any]) -> str:
    """What a scored policy does.

    Args:
      name: the policy's name.
      learner: the name of its learner.
      config: the learner's configuration, as in lines of results.
    """
    return learners()[learner].policies[name].format(**config)


def measured(recipe: Recipe, results: Sequence[Mapping[str, Any]]) -> str:
    """How the results were measured, as a list in Markdown."""
    versions = ", ".join(sorted({result["code_version"] for result in results}))
    hours = sum(sum(result["seconds"].values()) for result in results) / 3600
    lines = [
        *_learners(recipe, results),
        f"- Environments: {', '.join(sorted({result['environment'] for result in results}))}",
        *_distinct(
            f"- Protocol: {result['steps']:,} steps, evaluated every {result['evaluate_every']:,} "
            f"on {_played(result)}"
            for result in results
        ),
        *_games(results),
        f"- Feed: {', '.join(sorted({result['feed'] for result in results}))}",
        f"- Code: {versions}",
        f"- Time: {hours:.1f} hours of training and evaluation",
    ]
    return "\n".join(lines)


def _learners(recipe: Recipe, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each way of learning and scoring, with the algorithms that use it."""
    algorithms = {row.name: row.learning.algorithm for row in recipe.rows}
    ways: dict[str, dict[str, None]] = {}
    for result in results:
        ways.setdefault(_way(result), {})[algorithms[result["row"]]] = None
    return [
        f"- Learner: {way}" + f" (of {', '.join(filter(None, of))})" * any(of)
        for way, of in ways.items()
    ]


def _way(result: Mapping[str, Any]) -> str:
    learner, config = result["learner"], result["config"]
    scored = [policy(name, learner, config) for name in result.get("policies", ["act"])]
    own = [f"{name.replace('_', ' ')} {result[name]}" for name in result if name not in DESCRIBED]
    of_config = ", ".join(f"{name} {value}" for name, value in config.items())
    return (
        f"`{learner}` ({of_config}), batch size {result['batch_size']:,}, "
        + "".join(f"{each}, " for each in own)
        + f"scored by {', and by '.join(scored)}"
    )


def _games(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """How games were played, one line for each way."""
    return _distinct(
        f"- Games: {result['environment']} on the ROM of {result['rom_set']}, sticky actions "
        f"{result['sticky_probability']:g}, random actions {result['evaluation_epsilon']:g}, "
        f"at most {result['max_episode_steps']:,} steps an episode, {_beginning(result)}"
        "rewards not clipped"
        for result in results
        if "rom_set" in result
    )


def _played(result: Mapping[str, Any]) -> str:
    """How much an evaluation plays."""
    if steps := result.get("evaluation_steps"):
        return f"as many whole episodes as have {steps:,} steps together"
    return f"{result['episodes']:,} episodes"


def _beginning(result: Mapping[str, Any]) -> str:
    """The actions that begin an episode of a game; "" where there are none."""
    parts = []
    if most := result.get("most_no_ops"):
        parts.append(f"1 to {most} no-ops first")
    if result.get("presses_fire"):
        parts.append("FIRE first where the game has it")
    return "".join(f"{part}, " for part in parts)


def _distinct(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))
