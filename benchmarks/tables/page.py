"""Writes a page as `<name>.md` with its figures beside it, and as a self-contained `<name>.html`.

The HTML page has links to its sections at the top, and shows each status in its own colour.
"""

from __future__ import annotations

import base64
import html
import itertools
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

import markdown
from matplotlib.figure import Figure

from benchmarks.tables.figures import svg
from rl_datasets import files
from rl_datasets.markup import Html, document

COLOURS = {  # by status; a report sets a status in bold at the start of a cell
    "agrees": "#1a7f37",
    "differs": "#b3261e",
    "cannot tell": "#8a5a00",
    "stands apart": "#6941c6",
    "run in part": "#1f5fae",
    "not run": "#5f6368",
}
NUMBER = re.compile(r"[-+±\[]*\d|$").match  # or an empty cell
STYLE = """\
.status { color: white; padding: 0.1em 0.5em; border-radius: 0.3em; white-space: nowrap }
@media (prefers-color-scheme: dark) { img { filter: invert(0.93) hue-rotate(180deg) } }
"""


def write_page(
    folder: pathlib.Path, name: str, title: str, text: str, figures: Mapping[str, Figure]
) -> pathlib.Path:
    """Writes `<name>.md`, `<name>-<figure>.svg` and `<name>.html`; returns the path of the last.

    Args:
      folder: created if it does not exist.
      name: the files' name without its ending.
      title: the page's title.
      text: Markdown without the title; `{figure}` marks the place of the figure of that name.
      figures: the figures by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = f"# {title}\n\n{text}"
    body = _html(text)
    for figure, drawn in figures.items():
        drawing, alt = svg(drawn), str(drawn.get_label())
        files.write(folder / f"{name}-{figure}.svg", drawing)
        text = text.replace(f"{{{figure}}}", f"![{alt}]({name}-{figure}.svg)")
        data = base64.b64encode(drawing.encode()).decode()
        image = f'<img alt="{html.escape(alt)}" src="data:image/svg+xml;base64,{data}">'
        body = body.replace(f"<p>{{{figure}}}</p>", f"<figure>{image}</figure>")
    files.write(folder / f"{name}.md", text)
    path = folder / f"{name}.html"
    files.write(path, document(title, STYLE, Html(body)))
    return path


def _html(text: str) -> str:
    """Markdown as HTML, with links to sections below the title and statuses in colour."""
    converter = markdown.Markdown(extensions=["tables", "toc"])
    body = converter.convert(text)
    (title,) = converter.toc_tokens
    links = [f'<a href="#{of["id"]}">{of["name"]}</a>' for of in title["children"]]
    body = body.replace("</h1>", f"</h1>\n<nav>Contents: {' '.join(links)}</nav>", 1)
    for status, colour in COLOURS.items():
        body = body.replace(
            f"<td><strong>{status}</strong>",
            f'<td><strong class="status" style="background: {colour}">{status}</strong>',
        )
    return body


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table without its empty columns; columns of numbers are aligned to the right."""
    rows = list(rows)
    columns = list(zip(*rows, strict=True)) or [("-",)] * len(header)
    filled = [any(column) for column in columns]
    rules = ["---:" if all(map(NUMBER, column)) else "---" for column in columns]
    lines = [list(itertools.compress(line, filled)) for line in (header, rules, *rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def filled(text: str, content: Mapping[str, str]) -> str:
    """The page with each table inserted between `<!-- name -->` and `<!-- /name -->`."""
    for name, table in content.items():
        before, begin, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->\n")
        assert end, f"the page has no marks of {name}"
        text = before + begin + table + end + after
    return text
