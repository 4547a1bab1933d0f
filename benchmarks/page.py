"""A page as `<name>.md` with its figures beside it, and as one `<name>.html` that needs nothing."""

from __future__ import annotations

import base64
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import markdown

from benchmarks.results import write_atomically

STYLE = """\
body { font-family: sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; margin: 1em 0 }
th, td { border: 1px solid #ccc; padding: 0.3em 0.7em; text-align: left }
th { background: #f2f2f2 }
img { max-width: 100% }
code { background: #f2f2f2 }
"""


def write_page(
    folder: pathlib.Path, name: str, title: str, text: str, figures: Mapping[str, str]
) -> pathlib.Path:
    """Writes `<name>.md`, `<name>-<figure>.svg` and `<name>.html`; gives the path of the last.

    Args:
      folder: made if it is not there.
      name: of the files.
      title: of the page.
      text: Markdown without the title; `{figure}` stands where the figure of that name goes.
      figures: SVG by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    linked, embedded = {}, {}
    for figure, svg in figures.items():
        write_atomically(folder / f"{name}-{figure}.svg", svg)
        linked[figure] = f"![{figure}]({name}-{figure}.svg)"
        data = base64.b64encode(svg.encode()).decode()
        embedded[figure] = f'<img alt="{figure}" src="data:image/svg+xml;base64,{data}">'
    text = f"# {title}\n\n{text}"
    write_atomically(folder / f"{name}.md", _fill(text, linked))
    body = _fill(markdown.markdown(text, extensions=["tables"]), embedded)
    path = folder / f"{name}.html"
    write_atomically(
        path,
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>\n{STYLE}</style>\n{body}\n</html>\n",
    )
    return path


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _fill(text: str, figures: Mapping[str, str]) -> str:
    for name, figure in figures.items():
        text = text.replace(f"{{{name}}}", figure)
    return text
