"""The page of a version."""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Mapping, Sequence

import numpy as np

from rl_datasets.markup import Content, Html, document, element
from rl_datasets.published.version import Version
from rl_datasets.showing import drawing, player
from rl_datasets.showing.card import EPISODE, STEP, TRANSITION, Card, Split
from rl_datasets.showing.measuring import MOST_ACTIONS, Measured, Range
from rl_datasets.showing.pictures import Episodes

OWNERS = {
    STEP: "each step",
    EPISODE: "each episode",
    TRANSITION: "each transition",
}
STYLE = """\
h1 { overflow-wrap: anywhere }
pre { background: var(--shade); padding: 0.8em; overflow-x: auto; font-size: 14px }
pre code { background: none }
dl { display: grid; grid-template-columns: fit-content(14em) 1fr; gap: 0.3em 1em; max-width: 60em }
dt { font-weight: 600; overflow-wrap: anywhere }
dd { margin: 0; overflow-wrap: anywhere }
.number { text-align: right }
.damaged { border-left: 4px solid #b3261e; padding-left: 0.8em }
.hash { overflow-wrap: anywhere }
@media (max-width: 40em) { dl { grid-template-columns: 1fr } dd { margin-bottom: 0.5em } }
"""


@dataclasses.dataclass(frozen=True)
class Score:
    """A score of a learner on a version, reported or measured, in words.

    Attributes:
      table: the title of the table that it stands in.
      row: the row's name there.
      reported: as in the table; empty where nothing was reported.
      measured: by this project; empty where nothing was measured.
      status: how the two compare, and why.
      fingerprint: of the version that was measured on; empty where nothing was measured.
    """

    table: str
    row: str
    reported: str
    measured: str
    status: str
    fingerprint: str = ""


@dataclasses.dataclass(frozen=True)
class Contents:
    """What the page of a version shows.

    Attributes:
      version: the version.
      card: its card.
      measured: None where its records cannot be read.
      episodes: None where its records cannot be read.
      damage: the sentence that says why they cannot; empty where they can.
      scores: of learners on it.
    """

    version: Version
    card: Card
    measured: Measured | None
    episodes: Episodes | None
    damage: str
    scores: Sequence[Score]


def page(of: Contents, data_dir: str, sheet: str, pages: Mapping[str, str]) -> str:
    """The document.

    Args:
      of: what it shows.
      data_dir: the folder of published datasets, as the user named it.
      sheet: address of the PNG of frames, from the page.
      pages: addresses of pages of versions by fingerprint, from the page.
    """
    card = of.card
    sections: dict[str, Content] = {
        "Contents": [_splits(card), _flags(card), _plots(of)],
        "An episode": player.section(of.episodes, sheet) if of.episodes else None,
        "Fields": _fields(card, of.measured),
        "Where it comes from": _lineage(card, pages),
        "Repairs and known defects": _defects(card),
        "Scores on it": _scores(of),
        "Load it": _loading(card, data_dir),
        "Cite it": element("pre", element("code", card.citation)) if card.citation else None,
    }
    shown = {heading: content for heading, content in sections.items() if content}
    anchors = {heading: heading.lower().replace(" ", "-") for heading in shown}
    damage = of.damage and element("p", element("strong", "Damaged: "), of.damage, class_="damaged")
    return document(
        card.name,
        drawing.STYLE + player.STYLE + STYLE,
        element("p", element("a", "All versions", href="../index.html")),
        element("h1", card.name),
        damage or None,
        _description(card.description),
        element("nav", "On this page: ", [_link(name, f"#{at}") for name, at in anchors.items()]),
        [(element("h2", name, id=anchors[name]), content) for name, content in shown.items()],
        script=player.SCRIPT,
    )


def _description(text: str) -> list[Content]:
    """The first paragraph, and the others behind it."""
    first, *others = [element("p", _prose(paragraph)) for paragraph in text.split("\n\n")]
    more = element("details", element("summary", "More about these data"), others)
    return [first, more if others else None]


def _prose(text: str) -> list[Content]:
    """Text whose `code` is marked so."""
    return [
        element("code", part) if number % 2 else part for number, part in enumerate(text.split("`"))
    ]


def _link(text: str, address: str) -> Html:
    return element("a", text, href=address)


def _table(header: Sequence[str], rows: Sequence[Sequence[Content]]) -> Html:
    """A table; columns of numbers, whose headings begin with a space, are aligned to the right."""
    kinds = ["number" if heading.startswith(" ") else None for heading in header]
    headings = [
        element("th", heading.strip(), scope="col", class_=kind)
        for heading, kind in zip(header, kinds, strict=True)
    ]
    lines = [
        element("tr", [element("td", c, class_=kind) for c, kind in zip(row, kinds, strict=True)])
        for row in rows
    ]
    return element("table", element("thead", element("tr", headings)), element("tbody", lines))


def _splits(card: Card) -> Html:
    told = "raw return" if card.is_raw else "return"
    header = ["split", " episodes", " transitions", " length", f" {told}", " of an episode"]
    several = [card.together] if len(card.splits) > 1 else []
    return _table(header, [_split(split) for split in (*card.splits, *several)])


def _split(split: Split) -> list[str]:
    lengths, returns = split.lengths, split.returns
    return [
        split.name,
        f"{split.episodes:,}" if split.episodes else "",
        f"{split.transitions:,}",
        f"{lengths[0]:,} to {lengths[1]:,}" if lengths else "",
        f"{returns.mean:,.1f} ± {returns.spread:,.1f}" if returns else "",
        f"{returns.least:,.1f} to {returns.greatest:,.1f}" if returns else "",
    ]


def _flags(card: Card) -> Html | None:
    if not card.flags:
        return None
    told = [f"{name.replace('_', ' ')} {count:,}" for name, count in card.flags.items()]
    return element("p", f"Of {card.together.episodes:,} episodes: {', '.join(told)}.")


_ACTIONS_AT_ONCE = 8


def _plots(of: Contents) -> Content:
    card, measured = of.card, of.measured
    if measured is None:
        return None
    told = "raw return" if card.is_raw else "return"
    plots = [
        drawing.histogram(title, histogram, unit)
        for title, histogram, unit in (
            (f"Episodes by {told}", measured.returns, told),
            ("Episodes by length", measured.lengths, "transitions"),
            ("Transitions by reward", measured.rewards, "reward"),
        )
        if histogram.counts
    ]
    means = [split.returns.mean for split in card.splits if split.returns]
    if len(means) > 1:
        plots.append(drawing.line(f"Mean {told} by split", np.array(means), "split"))
    if measured.choices:
        first = int(next(f.bounds[0] for f in card.fields if f.name == "action" and f.bounds))
        plots.append(drawing.choices("Transitions by action", measured.choices, first, "action"))
    several = len(measured.actions) > 1
    of_actions = []
    for number, histogram in enumerate(measured.actions):
        name = f"action {number}" if several else "action"
        of_actions.append(drawing.histogram(f"Transitions by {name}", histogram, name))
    plots += of_actions[:_ACTIONS_AT_ONCE]
    shape = next(f.shape for f in card.fields if f.name == "action")
    unplotted = max(math.prod(shape) - MOST_ACTIONS, 0)
    more = element(
        "details",
        element("summary", f"{len(of_actions) - _ACTIONS_AT_ONCE} more numbers of an action"),
        element("div", of_actions[_ACTIONS_AT_ONCE:], class_="plots"),
        element("p", f"{unplotted} more are not plotted.") if unplotted else None,
    )
    return [
        element("div", plots, class_="plots"),
        more if len(of_actions) > _ACTIONS_AT_ONCE else None,
    ]


def _fields(card: Card, measured: Measured | None) -> Html:
    ranges = measured.ranges if measured else {}
    rows = [
        [
            OWNERS[field.of],
            element("code", field.name),
            field.dtype,
            str(list(field.shape)),
            _range(field.bounds),
            _range(ranges.get(field.name)),
        ]
        for field in card.fields
    ]
    return _table(["in", "field", "dtype", "shape", "allowed", "found"], rows)


def _range(ends: tuple[float, float] | Range | None) -> str:
    if not ends:
        return ""
    return " to ".join(f"{end:,}" if isinstance(end, int) else f"{end:.6g}" for end in ends)


def _lineage(card: Card, pages: Mapping[str, str]) -> list[Content]:
    facts = dict(card.facts)
    sources = _counted(len(card.sources), "source file")
    made = [f"{name}: {facts[name]}" for name in _HOW if name in facts]
    repairs = _counted(len(card.repaired), "repair") if card.repaired else "no repairs"
    left_out = [f"{len(card.left_out):,} records or units left out"] if card.left_out else []
    boxes = [
        (sources, [facts.get("source", ""), ", ".join(card.sources)]),
        ("collection" if "mixture" in facts else "reader", made or [f"of {card.name}"]),
        (repairs, [*card.repaired, *left_out]),
        (card.name, [_counted(card.together.transitions, "transition"), f"by {card.code}"]),
    ]
    alt = f"From {sources}, with {repairs}, to {card.name}"
    from_page = pages.get(facts.get("source manifest sha256", ""))
    named = {
        "fingerprint": card.fingerprint,
        "files": f"{card.files}, {card.size_told}",
        "written by": card.code,
        **facts,
    }
    return [
        element("figure", drawing.flow(boxes, alt)),
        element("p", "It was made from ", _link(facts["source"], from_page), ".")
        if from_page
        else None,
        element("dl", [(element("dt", name), element("dd", told)) for name, told in named.items()]),
    ]


# The facts of a lineage that say how the episodes came about, the first ones first.
_HOW = (
    "environment", "game", "run", "agent", "mixture", "policy", "policies", "protocol", "task",
    "trajectories", "replayed", "rom set", "sticky probability", "seed",
)  # fmt: skip


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _defects(card: Card) -> list[Content]:
    lists = {
        "Repaired when the source was read": card.repaired,
        "Known to be wrong": card.defects,
        "Left out": card.left_out,
    }
    told = [
        (element("h3", heading), element("ul", [element("li", _prose(text)) for text in texts]))
        for heading, texts in lists.items()
        if texts
    ]
    return [told or element("p", "Nothing was repaired or left out, and no defect is known.")]


def _scores(of: Contents) -> Html:
    if not of.scores:
        return element("p", "No score on it was reported or measured.")
    rows = []
    for score in of.scores:
        status = score.status
        if score.fingerprint and score.fingerprint != of.version.fingerprint:
            status += "; measured on other data of this name, whose fingerprint differs"
        rows.append([score.table, score.row, score.reported, score.measured, status])
    return _table(["table", "row", " reported", " measured", "status"], rows)


def _loading(card: Card, data_dir: str) -> list[Content]:
    name, split = repr(card.name), repr(card.splits[-1].name)
    option = f" --data-dir {shlex.quote(data_dir)}"
    code = {
        "With TFDS, without this project": f"import tensorflow_datasets as tfds\n\n"
        f"episodes = tfds.load({name}, data_dir={data_dir!r}, split={split})",
        "With this project": f"import rl_datasets\n\n"
        f"version = rl_datasets.load({name}, data_dir={data_dir!r})\n"
        f"episodes = version.episodes({split})",
        "On the command line": f"rl-datasets verify {card.name}{option}\n"
        f"rl-datasets serve {card.name} --split {card.splits[-1].name}{option}\n"
        f"rl-datasets export {card.name} arrays exported{option}",
    }
    if not card.together.episodes:
        code["With this project"] = code["With this project"].replace("episodes", "transitions")
    return [
        (element("h3", heading), element("pre", element("code", lines)))
        for heading, lines in code.items()
    ]
