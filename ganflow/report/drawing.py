"""Chart -> SVG, by matplotlib: axes and lines only; words stand beside it, where a page can set them.

drawn(chart, variables=True)       # colours are CSS variables: --text, --quiet, --line, --n0 ...
drawn(chart, variables=False)      # a picture that stands alone, on a light ground
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ganflow.errors import GanflowError
from ganflow.palette import LINE, PAGE, QUIET, TEXT, colour
from ganflow.report.curves import Chart, Line

LARGEST = 1e100  # that matplotlib can put on a scale; what is beyond is drawn there
POINTS = 400  # more are drawn as means of neighbours
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)))
STYLES = ("solid", "dashed", "dotted", "dash-dotted")
_TEXT, _QUIET, _LINE, _NETWORK = "#0b0001", "#0b0002", "#0b0003", "#0a00"  # stand for colours until it is written
SIZE = (4.1, 2.25)  # inches


def library() -> Any:
    """Matplotlib, or what to do without it."""
    try:
        import matplotlib
        import matplotlib.figure
        import matplotlib.ticker
    except ModuleNotFoundError as error:
        raise GanflowError(
            "the curves of a report are drawn by matplotlib, which is not installed", code="missing-package",
            hint="pip install 'ganflow[report]', or pip install matplotlib",
        ) from error  # fmt: skip
    return matplotlib


def drawn(chart: Chart, *, variables: bool, prefix: str = "c", end: int = 0) -> str:
    """The SVG element.

    Args:
        end: the last step of the run, so that all charts have one scale of steps.
        variables: take colours from the page's CSS variables.
        prefix: of the ids in it, so that several can stand on one page.
    """
    matplotlib = library()
    options = {"svg.fonttype": "none", "svg.hashsalt": "ganflow", "font.size": 8.5, "axes.unicode_minus": False,
               "text.parse_math": False, "path.simplify": True}  # fmt: skip
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not what somebody set for other figures
        matplotlib.rcParams.update(options)
        figure = matplotlib.figure.Figure(figsize=SIZE, dpi=72)
        axes = figure.add_axes((0.135, 0.12, 0.845, 0.83))
        _plot(chart, axes, matplotlib)
        if end:
            axes.set_xlim(-0.02 * end, 1.02 * end)
        held = io.StringIO()
        figure.savefig(held, format="svg", transparent=True,
                       metadata={"Date": None, "Creator": None, "Format": None, "Type": None})  # fmt: skip
    svg = held.getvalue()
    return _finish(svg[svg.index("<svg") :], variables, prefix)


def _plot(chart: Chart, axes: Any, matplotlib: Any) -> None:
    if chart.band:
        axes.axhspan(*chart.band, color=_LINE, alpha=0.35, linewidth=0)
    for line in chart.lines:
        _line(line, axes, chart.logarithmic)
    values = [v for line in chart.lines for _, v in line.points if math.isfinite(v)]
    if chart.logarithmic:
        axes.set_yscale("log")
    elif chart.bounds:
        low, high = chart.bounds
        axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    elif values and max(values) - min(values) < 1e-9 * max(map(abs, values)):  # flat: no jitter blown up
        middle = max(-LARGEST, min(LARGEST, values[0])) or 1.0
        axes.set_ylim(*sorted((middle * 0.5, middle * 1.5)))
    ends = axes.get_ylim()
    for mark in chart.marks:
        axes.axhline(mark, color=_QUIET, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    if chart.band:
        axes.set_ylim(ends)
    _axes(axes, chart, matplotlib)


def _line(line: Line, axes: Any, logarithmic: bool) -> None:
    ink = f"{_NETWORK}{line.network % 8:02x}" if line.network >= 0 else _TEXT
    steps, means, low, high = thinned(line)
    style = DASHES[line.dash % len(DASHES)]
    if len(line.points) > POINTS:
        axes.fill_between(steps, low, high, color=ink, alpha=0.15, linewidth=0)
    marker = "o" if len([m for m in means if math.isfinite(m)]) <= 30 else ""
    axes.plot(steps, means, color=ink, linestyle=style, linewidth=1.5, marker=marker, markersize=2.6)
    if lost := [s for s, v in line.points if not math.isfinite(v)]:
        bottom = axes.get_xaxis_transform()
        axes.plot(lost[:POINTS], [0.02] * len(lost[:POINTS]), "x", color=ink, markersize=4, transform=bottom,
                  clip_on=False)  # fmt: skip


def thinned(line: Line) -> tuple[list[float], list[float], list[float], list[float]]:
    """Steps, means, smallest and largest of at most ``POINTS`` runs of neighbours; what is not finite is a gap."""
    width = -(-len(line.points) // POINTS) or 1
    steps, means, low, high = [], [], [], []
    for start in range(0, len(line.points), width):
        some = line.points[start : start + width]
        known = [max(-LARGEST, min(LARGEST, v)) for _, v in some if math.isfinite(v)] or [math.nan]
        steps.append(float(some[-1][0]))
        means.append(math.fsum(v / len(known) for v in known))
        low.append(min(known))
        high.append(max(known))
    return steps, means, low, high


def _axes(axes: Any, chart: Chart, matplotlib: Any) -> None:
    ticker = matplotlib.ticker
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.tick_params(colors=_QUIET, length=0, pad=4)
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: steps_text(x)))
    if chart.logarithmic:
        axes.yaxis.set_major_locator(ticker.LogLocator(numticks=6))
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    else:
        axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
    ticks = [float(t) for t in axes.get_yticks()]
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda y, _: value_text(y, () if chart.logarithmic else ticks)))


def value_text(value: float, ticks: Sequence[float]) -> str:
    """A number on a scale, with as many digits as tell it from its neighbours."""
    apart = min((abs(b - a) for a, b in pairwise(ticks) if b != a), default=0.0)
    largest = max(map(abs, ticks), default=0.0)
    if not 1e-4 <= apart <= largest < 1e5:
        return f"{value:.3g}"
    places = next(p for p in range(6) if p == 5 or math.isclose(apart, round(apart, p), rel_tol=1e-3))
    return f"{value:.{places}f}"


def steps_text(step: float) -> str:
    """``500``, ``20k``, ``1.5M``."""
    for size, unit in ((1e6, "M"), (1e4, "k")):
        if abs(step) >= size:
            return f"{step / (1e6 if unit == 'M' else 1e3):.4g}{unit}"
    return f"{step:g}"


def _finish(svg: str, variables: bool, prefix: str) -> str:
    """Its colours, its ids, its size."""
    colours = {_TEXT: ("text", TEXT.light), _QUIET: ("quiet", QUIET.light), _LINE: ("line", LINE.light)}
    colours |= {f"{_NETWORK}{k:02x}": (f"n{k}", colour(k).ink.light) for k in range(8)}
    for held, (name, fixed) in colours.items():
        svg = svg.replace(held, f"var(--{name})" if variables else fixed)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.S)
    fill = "" if variables else f' style="background: {PAGE.light}; font-family: sans-serif"'
    style = "*{stroke-linejoin: round; stroke-linecap: butt}"
    svg = re.sub(r"<defs>\s*</defs>", "", svg, count=1)
    if variables:
        svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", svg, count=1)
        svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg, count=1)
        return svg.replace("<svg ", '<svg aria-hidden="true" ', 1)
    return svg.replace("<svg ", f"<svg{fill} ", 1).replace(">", f"><style>{style}</style>", 1)
