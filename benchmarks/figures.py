"""Plots as SVG text, the same bytes for the same numbers."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

STYLE: Any = {"svg.hashsalt": "rl-datasets", "svg.fonttype": "none", "path.simplify": False}
COLUMNS = 5
PANEL_INCHES = (3.2, 2.6)

Curve = tuple[np.ndarray, np.ndarray]  # steps, returns


@dataclasses.dataclass(frozen=True)
class CurvePanel:
    """Curves of one row: a name for each group, and the group's runs."""

    title: str
    groups: Mapping[str, Sequence[Curve]]
    levels: Mapping[str, float] = dataclasses.field(default_factory=dict)  # horizontal lines


def learning_curves(panels: Sequence[CurvePanel]) -> str:
    """A panel a row: every run thin, and the mean of its group thick."""

    def draw(axes: Any, panel: CurvePanel) -> None:
        for index, (name, runs) in enumerate(panel.groups.items()):
            for steps, returns in runs:
                axes.plot(steps, returns, color=f"C{index}", linewidth=0.5, alpha=0.5)
            whole = [run for run in runs if len(run[0]) == len(runs[0][0])]
            if whole:
                mean = np.mean([returns for _, returns in whole], axis=0)
                axes.plot(whole[0][0], mean, color=f"C{index}", linewidth=1.8, label=name)
        for index, (name, level) in enumerate(panel.levels.items(), start=len(panel.groups)):
            axes.axhline(level, color=f"C{index}", linestyle="--", linewidth=1, label=name)
        axes.set_xlabel("gradient steps")
        axes.set_ylabel("return")

    return _grid(panels, draw)


@dataclasses.dataclass(frozen=True)
class HistogramPanel:
    """Episode returns of a dataset as counts [bins] between edges [bins + 1]."""

    title: str
    counts: Sequence[int]
    edges: Sequence[float]


def histograms(panels: Sequence[HistogramPanel]) -> str:
    """A panel a dataset."""

    def draw(axes: Any, panel: HistogramPanel) -> None:
        axes.stairs(panel.counts, panel.edges, fill=True, color="C2")
        axes.set_xlabel("episode return")
        axes.set_ylabel("episodes")

    return _grid(panels, draw)


@dataclasses.dataclass(frozen=True)
class BarPanel:
    """A number of each part, for each group."""

    title: str
    parts: Sequence[str]
    groups: Mapping[str, Sequence[float]]
    unit: str


def bars(panels: Sequence[BarPanel]) -> str:
    """Horizontal bars, those of a part's groups side by side, the first part on top."""

    def draw(axes: Any, panel: BarPanel) -> None:
        places, height = np.arange(len(panel.parts)), 0.8 / len(panel.groups)
        for index, (name, values) in enumerate(panel.groups.items()):
            axes.barh(places + index * height, values, height, color=f"C{index}", label=name)
        axes.set_yticks(places + 0.4 - height / 2, panel.parts)
        axes.invert_yaxis()
        axes.set_xlabel(panel.unit)

    return _grid(panels, draw)


@dataclasses.dataclass(frozen=True)
class SharePanel:
    """How large errors are: for each group the errors that a share of rows does not exceed."""

    title: str
    groups: Mapping[str, Curve]  # errors, shares in percent
    unit: str


def shares(panels: Sequence[SharePanel]) -> str:
    """A curve a group, over errors by powers of ten."""

    def draw(axes: Any, panel: SharePanel) -> None:
        for index, (name, (error, share)) in enumerate(panel.groups.items()):
            axes.plot(np.maximum(error, 1e-17), share, color=f"C{index}", label=name)
        axes.set_xscale("log")
        axes.set_xlabel(panel.unit)
        axes.set_ylabel("% of rows, at most")

    return _grid(panels, draw)


def _grid(panels: Sequence[Any], draw: Callable[[Any, Any], None]) -> str:
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    with mpl.rc_context(STYLE):
        size = (PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows)
        figure = Figure(figsize=size, layout="constrained")
        all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, panel in zip(all_axes, panels, strict=False):
            draw(axes, panel)
            axes.set_title(panel.title, fontsize=9)
            axes.tick_params(labelsize=7)
        for axes in all_axes[len(panels) :]:
            axes.set_axis_off()
        legend: dict[str, Any] = {}  # of all panels, which may differ in their groups
        for axes in all_axes[: len(panels)]:
            handles, labels = axes.get_legend_handles_labels()
            legend.update(zip(labels, handles, strict=True))
        if legend:
            figure.legend(
                [*legend.values()], [*legend], loc="outside lower center", ncols=len(legend)
            )
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
