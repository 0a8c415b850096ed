"""Comparison -> JSON for programs.

json.loads(to_json(comparison))["same_graph"]          # True
"""

from __future__ import annotations

import json
from dataclasses import asdict

from ganflow.diff.data import Change, Comparison, Measured
from ganflow.diff.verdict import verdict

VERSION = 1


def to_json(comparison: Comparison, *, labels: tuple[str, str] | None = None, indent: int | None = 1) -> str:
    """All of a comparison; ``version`` names the format. Keys and order are the same every time."""
    a, b = labels or (comparison.a, comparison.b)
    found = {
        "version": VERSION, "a": a, "b": b, "verdict": verdict(comparison), "same": comparison.same,
        "same_graph": comparison.same_graph, "same_draws": comparison.same_draws,
        "renamed": [{"before": x, "after": y} for x, y in comparison.renamed],
        "changes": [_change(c) for c in comparison.changes],
        "cost": {"a": _cost(comparison.costs[0]), "b": _cost(comparison.costs[1])},
    }  # fmt: skip
    return json.dumps(found, indent=indent, ensure_ascii=False, default=repr)


def _change(change: Change) -> dict[str, object]:
    return asdict(change)


def _cost(cost: Measured) -> dict[str, object]:
    return {**asdict(cost), "total": cost.total}
