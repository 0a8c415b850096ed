"""Results as text: cells for people, and table.md, table.csv, table.tex.

write(results, folder)                 # [Path('runs/table1/table.md'), ...]
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from ganflow.ablation.results import Cell, Results, Row
from ganflow.ablation.statistics import Paired, Summary
from ganflow.files import write_whole

DASH = "–"
_TEX = {c: f"\\{c}" for c in "&%$#_{}"}
_TEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}",
         "<": r"\textless{}", ">": r"\textgreater{}"}  # fmt: skip


def write(results: Results, folder: Path) -> list[Path]:
    """The three files, each as it was before or whole."""
    texts = {"table.md": markdown(results), "table.csv": comma_separated(results), "table.tex": latex(results)}
    return [write_whole(folder / name, text, status=1) for name, text in texts.items()]


# -- cells ---------------------------------------------------------------------------------------------------


def decimals(spread: float | None) -> int:
    """Two digits of the spread are as many as it deserves."""
    if not spread or not math.isfinite(spread):
        return 4
    return min(8, max(0, 1 - math.floor(math.log10(abs(spread)))))


def mean_text(s: Summary, sign: str = " ± ") -> str:
    """``23.41 ± 0.12``: mean and standard deviation; without a spread, the number."""
    if not s.n:
        return DASH
    if s.sd is None:
        return f"{s.mean:.4g}"
    return f"{s.mean:.{decimals(s.sd)}f}{sign}{s.sd:.{decimals(s.sd)}f}"


def interval_text(s: Summary) -> str:
    """``23.1 to 23.7``."""
    if s.low is None or s.high is None:
        return DASH
    places = decimals(s.high - s.low)
    return f"{s.low:.{places}f} to {s.high:.{places}f}"


def difference_text(d: Paired | None) -> str:
    """``-1.2 (-1.5 to -0.9)``."""
    if d is None or not d.difference.n:
        return DASH
    s = d.difference
    if s.low is None or s.high is None:
        return f"{s.mean:+.3g}" if not math.isnan(s.mean) else "nan"
    places = decimals(s.high - s.low)
    return f"{s.mean:+.{places}f} ({s.low:+.{places}f} to {s.high:+.{places}f})"


def p_text(d: Paired | None) -> str:
    """``0.25``."""
    return DASH if d is None or d.p is None else f"{d.p:.2g}" if d.p >= 0.001 else "<0.001"


def head(results: Results, metric: str, up: str = "↑", down: str = "↓") -> str:
    """``psnr ↑``."""
    return {True: f"{metric} {up}", False: f"{metric} {down}", None: metric}[results.larger[metric]]


def foot(results: Results) -> list[str]:
    """What stands below every table."""
    what = ["mean ± standard deviation over n seeds; 95% intervals by Student's t",
            f"differences from {results.reference} seed by seed; p: exact sign-flip test, two-sided",
            "marked best: better than each other variant, with an interval that excludes 0 and p ≤ 0.05"]  # fmt: skip
    return [*what, *(f"warning: {n}" for n in results.notes), *(f"missing: {m}" for m in results.missing)]


# -- files ---------------------------------------------------------------------------------------------------


def markdown(results: Results) -> str:
    """Two tables: the metrics, and the differences."""
    first = _markdown_table(
        ["variant", "n", *(head(results, m) for m in results.metrics)],
        [
            [_md(row.name), str(seeds_of(row)), *(_md_cell(row.cells[m]) for m in results.metrics)]
            for row in results.rows
        ],
    )
    second = [
        [_md(row.name), _md(m), interval_text(c.summary), difference_text(c.difference), p_text(c.difference)]
        for m in results.metrics for row in results.rows for c in [row.cells[m]]
    ]  # fmt: skip
    heads = ["variant", "metric", "95% interval", f"difference from {_md(results.reference)}", "p"]
    notes = "\n".join(f"* {_md(line)}" for line in foot(results))
    return f"# {_md(results.name)}\n\n{first}\n{_markdown_table(heads, second)}\n{notes}\n"


def seeds_of(row: Row) -> int:
    """The most that a metric has."""
    return max((c.summary.n for c in row.cells.values()), default=0)


def _md(text: str) -> str:
    return "".join(f"\\{c}" if c in "|*_`<[\\" else c for c in text)


def _md_cell(cell: Cell) -> str:
    return f"**{mean_text(cell.summary)}**" if cell.best else mean_text(cell.summary)


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


FIELDS = ("variant", "metric", "n", "mean", "sd", "low", "high", "pairs", "difference", "difference_low",
          "difference_high", "p", "best", "values")  # fmt: skip


def comma_separated(results: Results) -> str:
    """A row for each variant and metric, numbers in full; ``values``: seed=number, in order."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in results.rows:
        for metric, cell in row.cells.items():
            writer.writerow(["" if v is None else v for v in _fields(row.name, metric, cell)])
    return out.getvalue()


def _fields(name: str, metric: str, cell: Cell) -> list[object]:
    s, d = cell.summary, cell.difference
    values = " ".join(f"{seed}={value!r}" for seed, value in cell.values.items())
    mean = s.mean if s.n else None
    more = [None] * 5
    if d is not None:
        x = d.difference
        more = [x.n, x.mean if x.n else None, x.low, x.high, d.p]  # type: ignore[list-item]
    return [name, metric, s.n, mean, s.sd, s.low, s.high, *more, int(cell.best), values]


def latex(results: Results) -> str:
    r"""A booktabs table; ``\usepackage{booktabs}``. What the reader must know stands above it as comments."""
    heads = [_tex(head(results, m, "UP", "DOWN")) for m in results.metrics]
    heads = [h.replace("UP", r"$\uparrow$").replace("DOWN", r"$\downarrow$") for h in heads]
    lines = [f"% {line}" for line in foot(results)]
    first = " & ".join(["variant", "$n$", *heads])
    lines += [rf"\begin{{tabular}}{{lr{'r' * len(heads)}}}", r"\toprule", rf"{first} \\", r"\midrule"]
    for row in results.rows:
        cells = [_tex_cell(row.cells[m]) for m in results.metrics]
        lines.append(" & ".join([_tex(row.name), str(seeds_of(row)), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _tex(text: str) -> str:
    return "".join(_TEX.get(c, c) for c in text)


def _tex_cell(cell: Cell) -> str:
    text = mean_text(cell.summary, r" \pm ").replace(DASH, r"\text{--}")
    if not cell.summary.n:
        return "--"
    return rf"$\mathbf{{{text}}}$" if cell.best else f"${text}$"
