"""Markup that is escaped by construction, and HTML documents of one look that fetch nothing.

    element("p", "a < b", element("a", "more", href="more.html"))

Text is escaped wherever it comes from; only what `element` made, or `Html` marks, is markup.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

STYLE = """\
:root { color-scheme: light dark; --line: light-dark(#d4d8dd, #41464d) }
:root { --shade: light-dark(#f1f3f5, #25282d) }
body { color: light-dark(#1f2328, #e3e6ea); background: light-dark(#fff, #121212) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75em; margin: 2em auto; padding: 0 1em }
h1, h2 { line-height: 1.25 }
h2 { margin: 2em 0 0.6em }
p, li { max-width: 44em; overflow-wrap: anywhere }
a { color: light-dark(#0b57d0, #8ab4f8) }
nav { padding: 0.5em 0; border-block: 1px solid var(--line) }
nav a { display: inline-block; margin-right: 1em }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px }
table, figure { display: block; overflow-x: auto }
th, td { border: 1px solid var(--line); padding: 0.3em 0.7em; text-align: left }
th { vertical-align: bottom }
th, code { background: var(--shade) }
td { font-variant-numeric: tabular-nums; white-space: nowrap }
td:last-child:not([style]) { white-space: normal; min-width: 14em }
figure { margin: 1em 0 }
"""


class Html(str):
    """Markup; every other string is text."""


Content: TypeAlias = str | int | float | Iterable["Content"] | None
_EMPTY = frozenset({"br", "img", "input", "link", "meta"})  # Elements that have no end.


def element(name: str, *content: Content, **attributes: str | int | float | bool | None) -> Html:
    """An element with its content.

    Args:
      name: its name, such as `td`.
      *content: markup as it is, text and numbers escaped, what is nested one after the other, and
        nothing for None.
      **attributes: by name, with `_` for `-`, and a last one that keeps Python's words apart:
        `class_`. None and False leave an attribute out; True gives it no value.
    """
    told = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_text(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{told}>" + ("" if name in _EMPTY else f"{joined(*content)}</{name}>"))


def joined(*content: Content) -> Html:
    """Content one after the other, as `element` takes it."""
    return Html("".join(map(_rendered, content)))


def document(title: str, style: str, *body: Content, script: str = "") -> str:
    """A document of UTF-8, as wide as its screen.

    Args:
      title: the document's.
      style: CSS in addition to `STYLE`; neither it nor the script may hold text of others.
      *body: content.
      script: JavaScript that runs once the body is there.
    """
    code = f"<script>\n{script}</script>\n" if script else ""
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>\n{STYLE}{style}</style>\n{joined(*body)}\n"
        f"{code}</html>\n"
    )


def _rendered(content: Content) -> str:
    if content is None:
        return ""
    if isinstance(content, Html):
        return content
    if isinstance(content, str | int | float):
        return _text(content)
    return "".join(map(_rendered, content))


def _text(value: object) -> str:
    return html.escape(str(value))
