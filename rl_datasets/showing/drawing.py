"""Plots and diagrams as SVG inside a page: their colours are the page's, light or dark.

A drawing has no font, date or hash of its own, so the same numbers give the same bytes.
"""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Sequence

import numpy as np

from rl_datasets.markup import Html, element
from rl_datasets.showing.histogram import Histogram

STYLE = """\
svg text { fill: currentColor; font: 11px system-ui, sans-serif }
svg .title { font-size: 12px; font-weight: 600 }
svg .bar { fill: light-dark(#3b73c4, #7aa7ec) }
svg .line { fill: none; stroke: light-dark(#3b73c4, #7aa7ec); stroke-width: 1.2 }
svg .axis { stroke: currentColor; stroke-opacity: 0.5 }
svg .grid { stroke: var(--line) }
svg .box { fill: var(--shade); stroke: var(--line) }
.plots { display: flex; flex-wrap: wrap; gap: 1em; margin: 1em 0 }
.plots svg { max-width: 100%; height: auto }
"""
WIDTH, HEIGHT = 340, 170  # Of a plot, in pixels.
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 22, 34  # Around what is plotted.
_MOST_LINES = 5  # Of a box's facts.


@dataclasses.dataclass(frozen=True)
class _Frame:
    """What is plotted in: ranges of both axes, and where a point of them lies."""

    low: float
    high: float
    bottom: float
    top: float

    def x(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low or 1)
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 2)

    def y(self, value: float) -> float:
        share = (value - self.bottom) / (self.top - self.bottom or 1)
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 2)


def histogram(title: str, of: Histogram, unit: str) -> Html:
    """How many of what fell into each bin; `unit` names them on the axis."""
    edges = of.edges
    if of.least == of.greatest:  # One bin, which may be too narrow for two ticks.
        edges = [of.least - 0.1, of.least + 0.1]
        frame = _Frame(of.least - 1, of.least + 1, 0, of.total)
    else:
        frame = _Frame(edges[0], edges[-1], 0, max(of.counts))
    bars = [
        _bar(frame, left, right, count)
        for left, right, count in zip(edges, edges[1:], of.counts, strict=False)
        if count
    ]
    alt = (
        f"{title}: {of.total:,} from {_number(of.least)} to {_number(of.greatest)}, most often "
        f"about {_number(edges[int(np.argmax(of.counts))])}"
    )
    return _plot(title, alt, frame, unit, bars)


def choices(title: str, counts: Sequence[int], first: int, unit: str) -> Html:
    """How often each of some whole numbers was chosen, from `first` on."""
    frame = _Frame(first - 0.5, first + len(counts) - 0.5, 0, max(*counts, 1))
    bars = [_bar(frame, n - 0.4, n + 0.4, count) for n, count in enumerate(counts, first) if count]
    told = ", ".join(f"{n}: {count:,}" for n, count in enumerate(counts, first))
    return _plot(title, f"{title}: {told}", frame, unit, bars)


def line(title: str, values: np.ndarray, unit: str) -> Html:
    """Numbers in order, such as those of an episode's steps."""
    least, greatest = float(values.min()), float(values.max())
    room = 0.0 if greatest > least else 0.5
    frame = _Frame(0, max(len(values) - 1, 1), least - room, greatest + room)
    points = " ".join(f"{frame.x(at)},{frame.y(float(v))}" for at, v in enumerate(values))
    alt = f"{title}: from {_number(least)} to {_number(greatest)} over {len(values):,} {unit}s"
    return _plot(title, alt, frame, unit, [element("polyline", class_="line", points=points)])


def flow(boxes: Sequence[tuple[str, Sequence[str]]], alt: str) -> Html:
    """Boxes from top to bottom with arrows between them: a heading, and some lines of text."""
    width, line_height, gap, parts, top = 440, 16, 26, [], 1.0
    for number, (heading, facts) in enumerate(boxes):
        lines = [part for fact in facts for part in textwrap.wrap(fact, 64)]
        if len(lines) > _MOST_LINES:
            lines = [*lines[: _MOST_LINES - 1], f"... {len(lines) - _MOST_LINES + 1} lines more"]
        height = line_height * (len(lines) + 1) + 14
        if number:
            parts.append(_arrow(width / 2, top - gap, top))
        size = {"x": 1, "y": top, "width": width - 2, "height": height, "rx": 6}
        parts.append(element("rect", class_="box", **size))
        parts.append(element("text", heading, class_="title", x=14, y=top + line_height + 2))
        for place, text in enumerate(lines, start=2):
            parts.append(element("text", text, x=14, y=top + line_height * place + 3))
        top += height + gap
    height = round(top - gap + 1)
    return element(
        "svg",
        element("title", alt),
        parts,
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
    )


def _arrow(x: float, above: float, below: float) -> Html:
    head = f"M{x - 4},{below - 7} L{x},{below - 1} L{x + 4},{below - 7}"
    return element("path", class_="axis", fill="none", d=f"M{x},{above} L{x},{below - 1} {head}")


def _bar(frame: _Frame, left: float, right: float, count: float) -> Html:
    x, y = frame.x(left), frame.y(count)
    width, height = max(frame.x(right) - x - 0.5, 0.8), frame.y(0) - y
    size = {"x": x, "y": y, "width": round(width, 2), "height": round(max(height, 0.8), 2)}
    return element("rect", element("title", f"{count:,}"), class_="bar", **size)


def _plot(title: str, alt: str, frame: _Frame, unit: str, drawn: Sequence[Html]) -> Html:
    across = [
        (
            element("line", class_="grid", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y),
            element("text", _number(tick), x=_LEFT - 5, y=y + 4, text_anchor="end"),
        )
        for tick in _ticks(frame.bottom, frame.top, 4)
        for y in [frame.y(tick)]
    ]
    base = HEIGHT - _BOTTOM
    along = [
        element("text", _number(tick), x=frame.x(tick), y=base + 14, text_anchor="middle")
        for tick in _ticks(frame.low, frame.high, 5)
    ]
    return element(
        "svg",
        element("title", alt),
        element("text", title, class_="title", x=2, y=13),
        across,
        drawn,
        element("line", class_="axis", x1=_LEFT, x2=WIDTH - _RIGHT, y1=base, y2=base),
        along,
        element("text", unit, x=(WIDTH + _LEFT) / 2, y=HEIGHT - 4, text_anchor="middle"),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        width=WIDTH,
        height=HEIGHT,
        role="img",
    )


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two others, at most `most` and one more of them."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _number(value: float) -> str:
    """Short: 1,200 is 1.2k."""
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{value / power:.4g}{letter}"
    return f"{value:.4g}"
