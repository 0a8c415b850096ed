"""Run directories -> numbers with their uncertainty.

results = results_of(ablation, runs, reference="cGAN + L1", metrics=("l1", "psnr"))
results.rows[0].cells["psnr"].summary.mean
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganflow.ablation.data import Ablation, Run
from ganflow.ablation.states import state_of
from ganflow.ablation.statistics import LEVEL, Paired, Summary, least_p, paired, summary
from ganflow.metrics import LARGER_IS_BETTER
from ganflow.report.reading import read as read_run
from ganflow.settings import settings_of


@dataclass(frozen=True)
class Cell:
    """One metric of one variant.

    Args:
        values: seed -> the metric after the last iteration.
        difference: from the reference, over the seeds that both have; None for the reference itself.
        best: better than every other variant by a difference that is supported.
    """

    values: Mapping[int, float]
    summary: Summary
    difference: Paired | None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One variant."""

    name: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Results:
    """The table.

    Args:
        larger: metric -> is more of it better; None where ganflow does not know.
        missing: runs that have no result, and why.
        notes: what a reader must know of the numbers.
    """

    name: str
    reference: str
    metrics: tuple[str, ...]
    larger: Mapping[str, bool | None]
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def results_of(ablation: Ablation, runs: Sequence[Run], *, reference: str, metrics: Sequence[str]) -> Results:
    """What the finished runs measured; the others are missing, and said to be."""
    found: dict[str, dict[str, dict[int, float]]] = {v.name: {m: {} for m in metrics} for v in ablation.variants}
    missing = []
    for run in runs:
        why, measured = _measured(run, metrics)
        if why:
            missing.append(f"{run}: {why}")
        for name, value in measured.items():
            found[run.variant.name][name][run.seed] = value
    larger = _directions(runs, metrics)
    rows = tuple(Row(v.name, {m: _cell(found, v.name, m, reference, larger[m]) for m in metrics})
                 for v in ablation.variants)  # fmt: skip
    return Results(ablation.name, reference, tuple(metrics), larger, rows, tuple(missing), tuple(_notes(rows, metrics)))


def _measured(run: Run, metrics: Sequence[str]) -> tuple[str, dict[str, float]]:
    state = state_of(run)
    if state.kind != "finished":
        words = {"new": "not begun", "other": "what lies there is another experiment"}
        return words.get(state.kind, f"not finished, at step {state.step}"), {}
    rows = [r for r in read_run(run.path).rows if r["step"] == state.total]
    values = {m: r[f"metric/{m}"] for r in rows for m in metrics if f"metric/{m}" in r}
    lost = [m for m in metrics if m not in values]
    return (f"no {', '.join(lost)} after its last iteration" if lost else ""), values


def _directions(runs: Sequence[Run], metrics: Sequence[str]) -> dict[str, bool | None]:
    texts = settings_of(runs[0].experiment).metrics if runs else {}
    return {m: LARGER_IS_BETTER.get(texts[m].source.partition("(")[0].strip()) if m in texts else None for m in metrics}


def _cell(
    found: Mapping[str, Mapping[str, Mapping[int, float]]], name: str, metric: str, reference: str, larger: bool | None
) -> Cell:
    mine = found[name][metric]
    difference = None if name == reference else difference_of(mine, found[reference][metric])
    others = [v[metric] for n, v in found.items() if n != name]
    return Cell(mine, summary(list(mine.values())), difference, is_best(mine, others, larger))


def difference_of(a: Mapping[int, float], b: Mapping[int, float]) -> Paired:
    """``a`` minus ``b``, over the seeds of both."""
    seeds = [s for s in a if s in b]
    return paired([a[s] for s in seeds], [b[s] for s in seeds])


def is_best(mine: Mapping[int, float], others: Sequence[Mapping[int, float]], larger: bool | None) -> bool:
    """Better than each of the others, every one of these differences supported: then no correction is needed."""
    if larger is None or not others:
        return False
    differences = [difference_of(mine, other) for other in others]
    return all(d.supported and (d.difference.mean > 0) == larger for d in differences)


def _notes(rows: Sequence[Row], metrics: Sequence[str]) -> list[str]:
    """Plain words about what the numbers cannot say."""
    cells = [c for row in rows for c in row.cells.values()]
    counts = [c.difference.difference.n for c in cells if c.difference is not None]
    notes = []
    if any(c.summary.n and math.isnan(c.summary.mean) for c in cells):
        notes.append("a variant with a run that ended in a number that is not finite has no mean")
    if any(c.summary.n == 1 for c in cells):
        notes.append("one seed shows nothing of how much chance there is in a number: no interval, no comparison")
    least = max((n for n in counts if n), default=0)
    if least > 1 and least_p(least) > LEVEL:
        notes.append(
            f"n = {least} is too small to say: even if all seeds agree, the sign-flip test gives "
            f"p = {least_p(least):g}, so no difference here is called significant; from 6 seeds on it could be"
        )
    supported = sum(c.difference is not None and c.difference.supported for c in cells)
    if supported and len(counts) > 1:
        notes.append(f"p is of one comparison each; of {len(counts)}, about {LEVEL * len(counts):.1g} would be below "
                     f"{LEVEL} by chance alone")  # fmt: skip
    return notes
