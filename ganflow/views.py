"""StepGraph -> text for people: the plan.

    print(plan_text(graph))

``✂`` marks an edge through which no gradient passes although it could.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ganflow import expr as E
from ganflow.codegen import Printer
from ganflow.graph import Evaluate, Node, Phase, Reuse, StepGraph, UpdatePlan


def plan_text(
    graph: StepGraph, costs: Mapping[tuple[str, str], tuple[str, str]] | None = None, footer: str = ""
) -> str:
    """The plan.

    Args:
        costs: (phase, node) -> (shape, cost), both as text, where they were measured.
        footer: lines about the total cost.
    """
    rows: list[tuple[str, str, str, str]] = [("", "shape" if costs else "", "mode", "cost" if costs else "")]
    for phase in graph.phases:
        rows += _phase_rows(graph, phase, costs or {})
    widths = [max((len(r[i]) for r in rows if any(r[1:])), default=0) for i in range(4)]
    lines = [_title(graph)]
    for row in rows:
        cells = [c.ljust(w) for c, w in zip(row, widths, strict=True) if w] if any(row[1:]) else [row[0]]
        lines.append("  ".join(cells).rstrip())
    lines += [f"pruned {p.kind} {p.name}: {p.reason}" for p in graph.pruned]
    return "\n".join([*lines, *([footer] if footer else [])])


def forwards(graph: StepGraph) -> Counter[str]:
    """Network -> forward passes per iteration."""
    return Counter(
        graph.nodes[a.node].target
        for p in graph.phases for a in p.evaluations if graph.nodes[a.node].kind == "call"
    )  # fmt: skip


def _title(graph: StepGraph) -> str:
    counts = forwards(graph)
    parts = [f"{n} {counts[n]} forward{'s' * (counts[n] != 1)}" for n in graph.networks if counts[n]]
    networks, updates = len(graph.networks), len(graph.updates)
    return (
        f"{graph.name} · {networks} network{'s' * (networks != 1)} · {updates} update{'s' * (updates != 1)}"
        f" · per iteration: {', '.join(parts) or 'no forward'}"
    )


def _phase_rows(
    graph: StepGraph, phase: Phase, costs: Mapping[tuple[str, str], tuple[str, str]]
) -> list[tuple[str, str, str, str]]:
    freezes = list(dict.fromkeys(f for u in phase.updates for f in u.freezes))
    trains = list(dict.fromkeys(t for u in phase.updates for t in u.trains))
    kind = "update" if len(phase.updates) == 1 else "group"
    head = f"{kind} {phase.name}   trains {', '.join(trains)}"
    rows = [(head + (f"   freezes {', '.join(freezes)}" if freezes else ""), "", "", "")]
    width = _label_width(graph, phase)
    for action in phase.actions:
        if isinstance(action, Reuse):
            how = "reused, with its graph" if action.graph else "reused"
            stale = f", from before step {', '.join(action.stale)}" if action.stale else ""
            rows.append((f"  {_label(graph.nodes[action.node])}", "", how + stale, ""))
        elif isinstance(action, Evaluate) and graph.nodes[action.node].is_statement:
            shape, cost = costs.get((phase.name, action.node), ("", ""))
            label = _label(graph.nodes[action.node]).ljust(width)
            rows.append((f"  {label} = {_text(graph, action)}", shape, _mode(graph, action), cost))
    roots = {a.node: a for a in phase.evaluations}
    rows += [(_minimize(graph, u, roots.get(u.loss)), "", "", "") for u in phase.updates]
    return rows


def _label_width(graph: StepGraph, phase: Phase) -> int:
    """The equal signs of an update stand below each other, as long as its names are of ordinary length."""
    labels = [_label(graph.nodes[a.node]) for a in phase.evaluations if graph.nodes[a.node].is_statement]
    return max((len(label) for label in labels if len(label) <= 20), default=0)


def _label(node: Node) -> str:
    return node.name or node.id


def _text(graph: StepGraph, action: Evaluate) -> str:
    printer = _PlanPrinter(graph.nodes, {n.id: _label(n) for n in graph.nodes.values()})
    text = printer.text(action.node, action)
    for network in graph.nodes[action.node].networks if graph.nodes[action.node].frozen else ():
        text = text.replace(f"{network}(", f"frozen({network})(", 1)
    return text


class _PlanPrinter(Printer):
    """Expressions with ✂ at cut edges and the language's own names."""

    def read(self, name: str, reader: str, position: int, action: Evaluate | None) -> E.Expr:
        value = super().read(name, reader, position, None)
        if action is not None and (reader, position) in action.cut:
            return E.Name(f"✂ {E.show(value)}")
        node = self.nodes[name]
        return value if node.is_statement or node.kind in ("field", "parameter") else self.inner(name, action)

    def inner(self, name: str, action: Evaluate | None) -> E.Expr:
        n = self.nodes[name]
        if n.kind == "counter":
            return E.Name(n.target)
        if n.kind in ("state", "schedule"):
            return E.Name(n.target)
        if n.kind in ("draw", "grad"):
            parts = tuple(self.read(i, name, p, action) for p, i in enumerate(n.inputs))
            return E.Call(E.Name(n.target or n.kind), parts)
        return super().inner(name, action)


def _mode(graph: StepGraph, action: Evaluate) -> str:
    node = graph.nodes[action.node]
    if action.kept_for:
        return f"graph kept for {', '.join(action.kept_for)}"
    if node.kind == "draw":
        return "draw"
    if action.mode == "graph":
        return ""
    moved = " (evaluated again)" if action.mode == "through" and _evaluated_before(graph, action) else ""
    return action.mode + moved


def _evaluated_before(graph: StepGraph, action: Evaluate) -> bool:
    for phase in graph.phases:
        for other in phase.evaluations:
            if other is action:
                return False
            if other.node == action.node:
                return True
    return False


def _minimize(graph: StepGraph, update: UpdatePlan, action: Evaluate | None) -> str:
    printer = _PlanPrinter(graph.nodes, {n.id: _label(n) for n in graph.nodes.values()})
    root = graph.nodes[update.loss]
    text = _label(root) if root.is_statement else printer.text(update.loss, action)
    gain = f"{update.gain:g} * " if update.gain != 1.0 else ""
    steps = ", ".join(
        f"step {n}" + (f" ({graph.optimizers[n]})" if n in graph.optimizers else "") for n in update.steps
    )
    return f"  minimize {gain}{text}  → grad {', '.join(update.trains)}  → {steps}"
