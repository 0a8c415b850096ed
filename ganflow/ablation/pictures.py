"""Pictures of an ablation: metrics with intervals, curves over time, samples side by side. By matplotlib and Pillow.

draw(results, runs, folder)               # [Path('metrics.png'), Path('metrics.svg'), Path('curves.png'), ...]
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganflow import images
from ganflow.ablation.data import Run
from ganflow.ablation.results import Results
from ganflow.ablation.states import state_of
from ganflow.ablation.tables import head
from ganflow.files import write_whole
from ganflow.palette import HUES, LINE, QUIET, TEXT
from ganflow.report.drawing import DASHES, library
from ganflow.report.reading import read as read_run
from ganflow.settings import settings_of

PANEL = (4.6, 2.6)  # inches
Points = Sequence[tuple[int, float]]


def draw(results: Results, runs: Sequence[Run], folder: Path) -> list[Path]:
    """Everything that can be drawn of what has run.

    Raises:
        GanflowError: ``missing-package``: there is no matplotlib.
    """
    ran = [run for run in runs if state_of(run).kind in ("begun", "finished")]
    written = [*_figure(results, folder / "metrics", _metric)]
    curves = {run: read_run(run.path).rows for run in ran}
    written += _figure(results, folder / "curves", lambda axes, r, m: _curves(axes, r, m, curves))
    done = [run for run in ran if state_of(run).kind == "finished"]  # others' samples are of other iterations
    sheet = samples([run for run in done if run.seed == done[0].seed]) if done else None
    return [*written, *([images.save(sheet, folder / "samples.png", status=1)] if sheet is not None else [])]


def _figure(results: Results, stem: Path, plot: Callable[[Any, Results, str], None]) -> list[Path]:
    """A panel for each metric, as PNG and SVG."""
    matplotlib = library()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not what somebody set for other figures
        matplotlib.rcParams.update({"svg.hashsalt": "ganflow", "font.size": 9, "text.parse_math": False,
                                    "axes.spines.top": False, "axes.spines.right": False})  # fmt: skip
        count = len(results.metrics)
        figure = matplotlib.figure.Figure(figsize=(PANEL[0] * count, PANEL[1] + 0.25 * len(results.rows)), dpi=150,
                                          layout="constrained")  # fmt: skip
        for axes, metric in zip(figure.subplots(1, count, squeeze=False)[0], results.metrics, strict=True):
            axes.set_title(head(results, metric), fontsize=9, color=TEXT.light)
            axes.grid(color=LINE.light, linewidth=0.5)
            plot(axes, results, metric)
        return [_saved(figure, stem.with_suffix(ending)) for ending in (".png", ".svg")]


def _saved(figure: Any, path: Path) -> Path:
    held = io.BytesIO()
    form = path.suffix[1:]
    figure.savefig(held, format=form, metadata={"Date": None} if form == "svg" else {"Software": None})
    return write_whole(path, held.getvalue(), status=1)


def _metric(axes: Any, results: Results, metric: str) -> None:
    """Every seed as a dot, the mean and its 95% interval."""
    for k, row in enumerate(results.rows):
        cell, colour = row.cells[metric], HUES[k % len(HUES)]
        values = [v for v in cell.values.values() if math.isfinite(v)]
        axes.plot(values, [k] * len(values), "o", color=colour, alpha=0.45, markersize=4, markeredgewidth=0)
        s = cell.summary
        if s.n and math.isfinite(s.mean):
            low, high = (s.mean, s.mean) if s.low is None or s.high is None else (s.low, s.high)
            axes.errorbar([s.mean], [k + 0.18], xerr=[[s.mean - low], [high - s.mean]], fmt="D", color=colour,
                          markersize=4, capsize=3, linewidth=1.4)  # fmt: skip
    axes.set_yticks(range(len(results.rows)), [row.name for row in results.rows])
    axes.set_ylim(len(results.rows) - 0.5, -0.5)
    axes.set_xlabel("dots: seeds; mean and 95% interval", color=QUIET.light, fontsize=8)


def _curves(axes: Any, results: Results, metric: str, rows: Mapping[Run, Sequence[Mapping[str, float]]]) -> None:
    """Every seed as a thin line, their mean as a thick one where all of them were measured."""
    for k, row in enumerate(results.rows):
        lines = [_points(found, metric) for run, found in rows.items() if run.variant.name == row.name]
        style = {"color": HUES[k % len(HUES)], "linestyle": DASHES[k // len(HUES) % len(DASHES)]}
        for line in lines:
            axes.plot(*zip(*line, strict=True), linewidth=0.6, alpha=0.5, **style) if line else None
        if mean := mean_line(lines):
            axes.plot(*zip(*mean, strict=True), linewidth=1.8, label=row.name, marker="." if len(mean) == 1 else "",
                      **style)  # fmt: skip
    axes.set_xlabel("iterations", color=QUIET.light, fontsize=8)
    axes.xaxis.set_major_locator(library().ticker.MaxNLocator(nbins="auto", integer=True))
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=7, frameon=False)


def _points(rows: Sequence[Mapping[str, float]], metric: str) -> Points:
    tag = f"metric/{metric}"
    return [(int(r["step"]), r[tag]) for r in rows if tag in r and math.isfinite(r[tag])]


def mean_line(lines: Sequence[Points]) -> Points:
    """Over the seeds, at the steps that all of them have."""
    held = [dict(line) for line in lines if line]
    shared = sorted(set.intersection(*map(set, held))) if held else []
    return [(step, math.fsum(h[step] for h in held) / len(held)) for step in shared]


# -- samples -------------------------------------------------------------------------------------------------


def samples(runs: Sequence[Run]) -> Any:
    """Rows are the fixed inputs; columns that are the same in all variants once, the others for each variant.

    Of one seed, so that the inputs are the same; None where there is nothing to lay side by side, as without
    ``Trainer.show``, which names the columns.
    """
    sheets = {run.variant.name: found for run in runs if (found := _columns(run)) is not None}
    sizes = {column.size for found in sheets.values() for column in found.values()}
    if not sheets or len(sizes) != 1:
        return None
    first = next(iter(sheets.values()))
    names = list(dict.fromkeys(n for found in sheets.values() for n in found))
    alike = [n for n in names if all(n in f and f[n].tobytes() == first[n].tobytes() for f in sheets.values())]
    shown = {n: first[n] for n in alike}
    several = sum(n not in alike for n in names) > 1
    for variant, found in sheets.items():
        shown |= {f"{variant}: {n}" if several else variant: c for n, c in found.items() if n not in alike}
    return images.beside(shown)


def _columns(run: Run) -> dict[str, Any] | None:
    """Of the last grid of samples, by their names."""
    from PIL import Image

    names = [text.source for text in settings_of(run.experiment).show]
    pictures = sorted((run.path / "samples").glob("*.png"))
    if not names or not pictures:
        return None
    with Image.open(pictures[-1]) as sheet:
        return images.apart(sheet.convert("RGB"), names)
