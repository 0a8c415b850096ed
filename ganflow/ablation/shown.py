"""Tables for people: what the variants are and cost, and how the runs came out.

print_plan(plan)
print_results(results)
"""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ganflow.ablation.planning import Plan, Planned
from ganflow.ablation.results import Results
from ganflow.ablation.tables import difference_text, foot, head, interval_text, mean_text, p_text, seeds_of
from ganflow.diff import verdict
from ganflow.quantities import count_text

PIPE = 120  # columns, where nothing says how many there are


def console() -> Any:
    """Stdout; a pipe is as wide as a page."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=PIPE)


def print_plan(plan: Plan) -> None:
    """A row for each variant: how its step graph differs from the reference's, FLOPs, parameters."""
    table = _table("variant", "differs in", "FLOP/iteration", "", "parameters")
    for row in plan_rows(plan):
        table.add_row(*map(Text, row))
    out = console()
    out.print(table)
    for line in warnings(plan):
        out.print(line, markup=False, soft_wrap=True)


def warnings(plan: Plan) -> list[str]:
    """Each once, with the variants that it is about where these are not all."""
    found: dict[str, list[str]] = {}
    for planned in plan.variants:
        for finding in planned.inspection.findings:
            if finding.level == "warning":
                found.setdefault(str(finding), []).append(planned.variant.name)
    return [
        text if len(names) == len(plan.variants) else f"{', '.join(names)}: {text}" for text, names in found.items()
    ]


def plan_rows(plan: Plan) -> list[tuple[str, ...]]:
    """Cells as text."""
    reference = next(p for p in plan.variants if p.comparison is None)
    return [_row(p, reference) for p in plan.variants]


def _row(planned: Planned, reference: Planned) -> tuple[str, ...]:
    cost, base = planned.side.cost, reference.side.cost
    parameters = " ".join(f"{n} {count_text(size)}" for n, size in cost.parameters.items())
    flops = count_text(cost.total, "FLOP").removesuffix("FLOP") if cost.total else "?"
    ratio = f"×{cost.total / base.total:.2f}" if cost.total and base.total and planned is not reference else ""
    return planned.variant.name, differs(planned, reference), flops.strip(), ratio, parameters


def differs(planned: Planned, reference: Planned) -> str:
    """``different step graphs: lambda_GAN 1 → 0; without D``."""
    if planned.comparison is None:
        return "the reference"
    before, now = (set(p.inspection.graph.plans) for p in (reference, planned))
    words = {"without": before - now, "with": now - before}
    told = [f"{word} {', '.join(sorted(names))}" for word, names in words.items() if names]
    return "; ".join([verdict(planned.comparison), *told])


def print_results(results: Results) -> None:
    """The metrics, the differences from the reference, and what must be known of them."""
    out = console()
    first = _table("variant", "n", *(head(results, m) for m in results.metrics))
    for row in results.rows:
        cells = [Text(mean_text(c.summary), "bold" if c.best else "") for c in row.cells.values()]
        first.add_row(Text(row.name), str(seeds_of(row)), *cells)
    out.print(first)
    second = _table("metric", "variant", "95% interval", f"difference from {results.reference}", "p")
    for metric in results.metrics:
        for row in results.rows:
            cell = row.cells[metric]
            second.add_row(*map(Text, (metric, row.name, interval_text(cell.summary), difference_text(cell.difference),
                                       p_text(cell.difference))))  # fmt: skip
    out.print(second)
    for line in foot(results):
        out.print(line, markup=False, soft_wrap=True)


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head_ in heads:
        table.add_column(Text(head_), overflow="fold")
    return table
