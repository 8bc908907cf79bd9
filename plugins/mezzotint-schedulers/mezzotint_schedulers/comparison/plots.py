"""Error against cost, as SVG."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from .running import Outcome

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7f7f7f",
    "#000000",
    "#8c564b",
    "#6a3d9a",
)
"""Okabe & Ito's, told apart also by the colour-blind, and three more."""
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v")


def error_plots(outcomes: Sequence[Outcome]) -> Mapping[str, str]:
    """`evaluations` and `seconds` → an SVG: a colour for each solver, a line style for each spacing.

    Empty where no run has a distance.
    """
    measured = [one for one in outcomes if one.distance is not None]
    if not measured:
        return {}
    labels = {"evaluations": "model evaluations", "seconds": "seconds of sampling"}
    return {name: _plot(measured, name, label) for name, label in labels.items()}


def _plot(outcomes: Sequence[Outcome], quantity: str, label: str) -> str:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    solvers = list(dict.fromkeys(one.cell.solver for one in outcomes))
    spacings = list(dict.fromkeys(one.cell.spacing for one in outcomes))
    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    axes = figure.add_subplot()
    for row in dict.fromkeys((one.cell.solver, one.cell.spacing) for one in outcomes):
        runs = sorted(
            (one for one in outcomes if (one.cell.solver, one.cell.spacing) == row),
            key=lambda one: one.cell.steps,
        )
        spacing = spacings.index(row[1])
        axes.plot(
            [getattr(one, quantity) for one in runs],
            [one.distance for one in runs],
            color=COLOURS[solvers.index(row[0]) % len(COLOURS)],
            linestyle=LINES[spacing % len(LINES)],
            marker=MARKERS[spacing % len(MARKERS)],
            markersize=4,
            linewidth=1.4,
            label=runs[0].cell.row,
        )
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="distance from the reference")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
    if quantity == "evaluations":
        # Of numbers that are asked for, those themselves, as far as there is room.
        ticks: list[int] = []
        for tick in sorted({one.evaluations for one in outcomes}):
            if not ticks or tick > 1.15 * ticks[-1]:
                ticks.append(tick)
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.grid(which="both", linewidth=0.3, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return _svg(figure)


def _svg(figure: Any) -> str:
    file = io.StringIO()
    # Without a date the same numbers give the same file.
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
