"""The index of a site: all versions in one table that can be searched and sorted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rl_datasets.markup import Content, Html, document, element
from rl_datasets.showing.page import Contents

STYLE = """\
.find { display: flex; flex-wrap: wrap; gap: 0.5em 1em; align-items: baseline; margin: 1em 0 }
input { font: inherit; padding: 0.3em 0.6em; width: min(30em, 100%); box-sizing: border-box }
th button { font: inherit; font-weight: 600; border: 0; background: none; color: inherit }
th button { padding: 0; cursor: pointer; text-align: inherit }
th[aria-sort=ascending] button::after { content: ' ▲' }
th[aria-sort=descending] button::after { content: ' ▼' }
.number { text-align: right }
td:last-child:not([style], [colspan]) { min-width: 0 }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 12em }
.damaged { color: light-dark(#b3261e, #f2857d) }
"""
SCRIPT = """\
const search = document.querySelector('input'), told = document.querySelector('output');
const body = document.querySelector('tbody'), rows = [...body.rows];
const find = () => {
  const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
  }
  const left = rows.filter(row => !row.hidden).length;
  told.textContent = `${left} of ${rows.length} versions`;
};
const key = (row, column) => {
  const cell = row.cells[column];
  return cell === undefined ? null : 'value' in cell.dataset ? +cell.dataset.value
    : cell.textContent.toLowerCase();
};
const compare = (a, b) => a < b ? -1 : +(a > b);
for (const heading of document.querySelectorAll('th')) {
  heading.querySelector('button').addEventListener('click', () => {
    const column = heading.cellIndex, was = heading.getAttribute('aria-sort');
    const order = was === 'ascending' ? 'descending' : 'ascending';
    for (const other of document.querySelectorAll('th')) other.removeAttribute('aria-sort');
    heading.setAttribute('aria-sort', order);
    const empty = value => value === null || value === '';
    rows.sort((one, two) => {
      const [a, b] = [key(one, column), key(two, column)];
      if (empty(a) || empty(b)) return empty(a) - empty(b);
      return order === 'ascending' ? compare(a, b) : compare(b, a);
    });
    body.append(...rows);
  });
}
search.addEventListener('input', find);
find();
"""


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """A version that cannot be opened.

    Attributes:
      name: its folder, below the folder of published datasets.
      damage: the sentence that says why.
    """

    name: str
    damage: str


def page(versions: Sequence[tuple[str, Contents]], unreadable: Sequence[Unreadable]) -> str:
    """The document.

    Args:
      versions: address and contents of every page, in the order of the table.
      unreadable: versions that have no page.
    """
    total = len(versions) + len(unreadable)
    headings = ["version", "environment", "observation", "action", "episodes", "transitions"]
    headings += ["MB", "mean return", "scores", "known defects"]
    numbers = {"episodes", "transitions", "MB", "mean return", "scores", "known defects"}
    head = [
        element(
            "th",
            element("button", heading, type="button"),
            scope="col",
            class_="number" if heading in numbers else None,
        )
        for heading in headings
    ]
    body = [_row(address, of) for address, of in versions]
    body += [
        element(
            "tr",
            element("td", each.name),
            element("td", "cannot be read: ", each.damage, class_="damaged", colspan=9),
        )
        for each in unreadable
    ]
    return document(
        "Data sets",
        STYLE,
        element("h1", "Data sets"),
        element(
            "div",
            element("label", "Search ", for_="search"),
            element("input", id="search", type="search", autofocus=True, autocomplete="off"),
            element("output", f"{total} versions", aria_live="polite"),
            class_="find",
        ),
        element("table", element("thead", element("tr", head)), element("tbody", body))
        if total
        else element("p", "Nothing is published here."),
        script=SCRIPT if total else "",
    )


def _row(address: str, of: Contents) -> Html:
    card, lineage = of.card, of.version.lineage
    action = next(field for field in card.fields if field.name == "action")
    seen = [field for field in card.fields if field.name.startswith("observation")]
    returns = card.together.returns
    damage = element("div", "damaged: ", of.damage, class_="damaged") if of.damage else None
    return element(
        "tr",
        element("td", element("a", card.name, href=address), damage),
        element("td", lineage.environment or lineage.game or ""),
        element("td", " + ".join(f"{f.dtype} {list(f.shape)}" for f in seen)),
        element("td", action.told),
        _number(card.together.episodes),
        _number(card.together.transitions),
        _number(card.size / 1e6, 1),
        _number(returns.mean, 1) if returns else element("td", class_="number"),
        _number(len(of.scores)),
        _number(len(card.defects)),
    )


def _number(value: float, digits: int = 0) -> Content:
    return element("td", f"{value:,.{digits}f}", class_="number", data_value=value)
