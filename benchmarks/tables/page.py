"""A page as `<name>.md` with its figures beside it, and as one `<name>.html` that needs nothing.

In the HTML page a contents line leads to its sections, and a status has the colour of its kind.
"""

from __future__ import annotations

import base64
import itertools
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import markdown
from matplotlib.figure import Figure

from benchmarks.tables.figures import svg
from rl_datasets import files

COLOURS = {  # of a status, which a report sets in bold at the start of a cell
    "agrees": "#1a7f37",
    "differs": "#b3261e",
    "cannot tell": "#8a5a00",
    "stands apart": "#6941c6",
    "run in part": "#1f5fae",
    "not run": "#5f6368",
}
STYLE = """\
body { font: 16px/1.5 sans-serif; color: #1f2328 }
body { max-width: 75em; margin: 2em auto; padding: 0 1em }
nav { padding: 0.6em 0; border-block: 1px solid #ccc }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px }
table { display: block; overflow-x: auto }
th, td { border: 1px solid #ccc; padding: 0.3em 0.7em; text-align: left }
th { background: #f2f2f2 }
td { font-variant-numeric: tabular-nums }
td:not(:first-child, :last-child) { white-space: nowrap }
img { max-width: 100% }
code { background: #f2f2f2 }
.status { color: white; padding: 0.1em 0.5em; border-radius: 0.3em; white-space: nowrap }
"""


def write_page(
    folder: pathlib.Path, name: str, title: str, text: str, figures: Mapping[str, Figure]
) -> pathlib.Path:
    """Writes `<name>.md`, `<name>-<figure>.svg` and `<name>.html`; gives the path of the last.

    Args:
      folder: made if it is not there.
      name: of the files.
      title: of the page.
      text: Markdown without the title; `{figure}` stands where the figure of that name goes.
      figures: by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    linked, embedded = {}, {}
    for figure, drawn in figures.items():
        drawing = svg(drawn)
        files.write(folder / f"{name}-{figure}.svg", drawing)
        linked[figure] = f"![{figure}]({name}-{figure}.svg)"
        data = base64.b64encode(drawing.encode()).decode()
        embedded[figure] = f'<img alt="{figure}" src="data:image/svg+xml;base64,{data}">'
    text = f"# {title}\n\n{text}"
    files.write(folder / f"{name}.md", _fill(text, linked))
    path = folder / f"{name}.html"
    files.write(
        path,
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>\n{STYLE}</style>\n{_fill(_html(text), embedded)}\n</html>\n",
    )
    return path


def _html(text: str) -> str:
    """Markdown as HTML, with a contents line below the title and statuses in colour."""
    converter = markdown.Markdown(extensions=["tables", "toc"])
    body = converter.convert(text)
    (title,) = converter.toc_tokens
    links = [f'<a href="#{of["id"]}">{of["name"]}</a>' for of in title["children"]]
    body = body.replace("</h1>", f"</h1>\n<nav>Contents: {' · '.join(links)}</nav>", 1)
    for status, colour in COLOURS.items():
        body = body.replace(
            f"<td><strong>{status}</strong>",
            f'<td><strong class="status" style="background: {colour}">{status}</strong>',
        )
    return body


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, without the columns that no row has anything in."""
    rows = list(rows)
    filled = [any(column) for column in zip(*rows, strict=True)] or [True] * len(header)
    lines = [list(itertools.compress(line, filled)) for line in (header, *rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def filled(text: str, content: Mapping[str, str]) -> str:
    """A page with these tables between `<!-- name -->` and `<!-- /name -->`."""
    for name, table in content.items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->\n")
        assert end, f"the page has no marks of {name}"
        text = before + begin + table + end + after
    return text


def _fill(text: str, figures: Mapping[str, str]) -> str:
    for name, figure in figures.items():
        text = text.replace(f"{{{name}}}", figure)
    return text
