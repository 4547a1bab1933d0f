"""Pages as a browser gets them, and pages that are filled in from results."""

import re

import numpy as np
import pytest

from benchmarks.tables import figures, page

TEXT = """\
Text.

## Scores

{scores}

## Curves

{curves}
"""


@pytest.fixture
def html(tmp_path):
    steps = np.array([1, 2])
    panels = [figures.CurvePanel(name, {"runs": [(steps, steps)]}) for name in ("A<B", "C", "D")]
    table = page.table(
        ["row", "score", "interval", "status"],
        [["A<B", "1,000 ± 2", "[-1, 2]", "**agrees** (p = 0.1)"], ["C", "", "[3, 4]", "none"]],
    )
    drawn = {"curves": figures.learning_curves(panels)}
    path = page.write_page(tmp_path, "report", "A & B", TEXT.replace("{scores}", table), drawn)
    return path.read_text(encoding="utf-8")


def test_a_phone_shows_a_page_at_its_own_width(html):
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in html


def test_a_figure_says_what_it_shows(html):
    assert re.findall('alt="(.*?)"', html) == ["Learning curves: A&lt;B to D"]


def test_a_figure_keeps_its_size_and_scrolls_where_it_does_not_fit(html):
    assert "<figure><img " in html
    assert re.search(r"figure { [^}]*overflow-x: auto", html)
    assert not re.search(r"img { [^}]*width", html)


def test_numbers_stand_on_the_right(html):
    headings = re.findall(r"<th(.*?)>(.*?)</th>", html)
    right = [heading for style, heading in headings if style == ' style="text-align: right;"']
    assert right == ["score", "interval"]


def test_the_title_is_text(html):
    assert "<title>A &amp; B</title>" in html


def luminance(colour):
    """Relative, as WCAG 2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("status", page.COLOURS)
def test_a_status_can_be_read_on_its_colour(status):
    white = 1.0
    assert (white + 0.05) / (luminance(page.COLOURS[status]) + 0.05) >= 4.5  # WCAG 2, AA


def test_a_page_is_filled_between_its_marks():
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert page.filled(text, {"x": "| new |\n"}) == "a\n<!-- x -->\n| new |\n<!-- /x -->\nb\n"
