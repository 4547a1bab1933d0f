"""A figure is wide enough to read, and nothing in it is cut off or lies over something else."""

import itertools
import re
import xml.etree.ElementTree as ET

import matplotlib.text
import numpy as np
import pytest
from matplotlib.figure import Figure

from benchmarks.tables import figures
from benchmarks.tables.atari_scores import Profile
from benchmarks.training.recipe import load_recipe, recipe_names
from rl_datasets.sources.atari import ATARI_GAMES

STEPS = np.array([50_000, 500_000, 1_000_000])


def curves(titles, groups=("reported", "measured on this project's own data")):
    runs = [(STEPS, np.linspace(-300.5, 10_000 + seed, len(STEPS))) for seed in range(3)]
    return figures.learning_curves(
        [figures.CurvePanel(title, dict.fromkeys(groups, runs)) for title in titles]
    )


def histograms(titles):
    edges = np.linspace(-400, 12_000, 21)
    return figures.histograms(
        [figures.HistogramPanel(title, [1_000_000] * 20, edges) for title in titles]
    )


def bars(games, groups):
    values = {group: [-50.0, *[99.0] * (len(games) - 2), 3_000.0] for group in groups}
    panel = figures.BarPanel(f"{games[0]} to {games[-1]}", games, values, "%", linear_to=100)
    return figures.bars([panel] * 3)


def profiles(titles, groups):
    at = np.linspace(0, 200, 21)
    share = 1 - at / 200
    profile = Profile(at, share, np.stack([0.9 * share, np.minimum(1, 1.1 * share)]))
    return figures.profiles(
        [figures.ProfilePanel(title, dict.fromkeys(groups, profile), "%") for title in titles]
    )


def texts(figure):
    """Every text that is drawn, and the box it takes, [x0, y0, x1, y1] in pixels."""
    figure.draw_without_rendering()
    beyond = {  # Labels of ticks outside an axis' limits are objects, but not drawn.
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for label, place in zip(axis.get_majorticklabels(), axis.get_majorticklocs(), strict=True)
        if not (axes.axison and in_view(axis, place))
    }
    return [
        (text.get_text(), text.get_window_extent())
        for text in figure.findobj(matplotlib.text.Text)
        if text.get_visible() and text.get_text() and text not in beyond
    ]


def in_view(axis, place):
    low, high = sorted(axis.get_view_interval())
    return low <= place <= high


def is_inside(box, around):
    return (
        around.x0 <= box.x0 and around.y0 <= box.y0 and box.x1 <= around.x1 and box.y1 <= around.y1
    )


TITLES = [row.name for name in recipe_names() for row in load_recipe(name).rows]
LONGEST = sorted(TITLES, key=len)[-7:]


@pytest.mark.parametrize(
    ("draw", "arguments"),
    [
        (curves, [["HalfCheetah-v2, pure"], ["BC", "TD3+BC", "behaviour policy", "BC, reported"]]),
        (curves, [LONGEST[:2]]),
        (curves, [LONGEST]),
        (curves, [LONGEST, [f"runs of a group with a long name, {i}" for i in range(6)]]),
        (histograms, [["brac/halfcheetah-pure-recollected-n200000"]]),
        (histograms, [["d4rl/halfcheetah-medium-replay-v2-recollected-sac-1a2b3c4d"] * 4]),
        (bars, [[*ATARI_GAMES][:15], ["BC", "DQN", "IQN", "BCQ", "REM"]]),
        (profiles, [["1%, 5 games", "10%, 5 games"], ["QR-DQN", "CQL(H)"]]),
    ],
    ids=[
        *("alone", "two", "seven", "many groups", "one histogram", "four histograms"),
        *("tall bars", "two profiles"),
    ],
)
def test_texts_lie_inside_and_apart(draw, arguments):
    figure = draw(*arguments)
    boxes = texts(figure)
    assert len(boxes) > 5
    for text, box in boxes:
        assert is_inside(box, figure.bbox), text
    for (one, box), (other, other_box) in itertools.combinations(boxes, 2):
        assert not box.overlaps(other_box), (one, other)
    assert len(figure.legends) == (draw is not histograms)
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert is_inside(box, figure.bbox)
        assert all(not box.overlaps(axes.get_tightbbox()) for axes in figure.axes)


@pytest.mark.parametrize("panels", [1, 2, 3, 7])
def test_a_figure_is_at_least_600_pixels_wide(panels):
    width = curves(LONGEST[:panels]).get_figwidth()  # in inches, of 96 of a browser's pixels
    assert width * 96 >= 600


def test_four_panels_leave_no_place_empty():
    figure = curves(LONGEST[:4])
    assert len(figure.axes) == 4
    assert all(axes.axison for axes in figure.axes)


def test_the_svg_is_as_wide_as_the_figure():
    figure = histograms(["brac/halfcheetah-pure-recollected-n200000"])
    points = ET.fromstring(figures.svg(figure)).attrib["width"]
    assert points == f"{figure.get_figwidth() * 72:g}pt"


def test_a_group_has_one_colour_in_every_panel():
    runs = [(STEPS, STEPS.astype(float))]
    panels = [
        figures.CurvePanel("one", {"reported": runs, "measured": runs}),
        figures.CurvePanel("two", {"reported": runs, "of other data": runs}, {"data": 1.0}),
    ]
    (legend,) = figures.learning_curves(panels).legends
    assert [text.get_text() for text in legend.texts] == [
        "reported",
        "measured",
        "of other data",
        "data",
    ]
    assert len({line.get_color() for line in legend.get_lines()}) == 4


def test_every_bar_has_room():
    games, groups = [*ATARI_GAMES][:15], ["BC", "DQN", "IQN", "BCQ", "REM"]
    few, many = bars(games[:3], groups[:1]), bars(games, groups)
    assert many.get_figheight() > 1.5 * few.get_figheight()
    bar = many.axes[0].patches[0].get_window_extent()
    assert bar.height >= 3  # pixels, of 100 to an inch


def test_a_profiles_curve_lies_in_its_band():
    (axes,) = profiles(["5 games"], ["CQL(H)"]).axes
    (curve,), (band,) = axes.get_lines(), axes.collections
    assert curve.get_ydata()[[0, 10, 20]] == pytest.approx([100, 50, 0])
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0, 100))


def test_a_drawing_does_not_depend_on_the_last_digits_of_its_coordinates():
    def drawn(left):
        figure = Figure()
        figure.add_axes((left, 0.125, 0.75, 0.75)).plot([0, 1], [0, 1])
        return figures.svg(figure)

    assert drawn(0.125) == drawn(0.125 + 1e-13) != drawn(0.25)
    (name,) = {*re.findall(r"url\(#(.+?)\)", drawn(0.125))}
    assert f'<clipPath id="{name}">' in drawn(0.125)
    assert name not in drawn(0.25)
