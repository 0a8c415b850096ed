"""StepGraph -> text for people: the plan.

    print(plan_text(graph))

``✂`` marks an edge through which no gradient passes although it could.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ganflow import expr as E
from ganflow.graph import Arm, Evaluate, Node, Phase, Reuse, StepGraph, Unroll, UpdatePlan
from ganflow.printing import Printer, runs_text
from ganflow.unrolling import inner_nodes


def plan_text(
    graph: StepGraph, costs: Mapping[tuple[str, str], tuple[str, str]] | None = None, footer: str = ""
) -> str:
    """The plan.

    Args:
        costs: (phase, node) -> (shape, cost), both as text, where they were measured.
        footer: lines about the total cost.
    """
    rows: list[tuple[str, str, str, str]] = [("", "shape" if costs else "", "mode", "cost" if costs else "")]
    rows += _sequence_rows(graph, graph.phases, costs or {}, "")
    rows += _skipped_rows(graph)
    widths = [max((len(r[i]) for r in rows if any(r[1:])), default=0) for i in range(4)]
    lines = [title(graph)]
    for row in rows:
        cells = [c.ljust(w) for c, w in zip(row, widths, strict=True) if w] if any(row[1:]) else [row[0]]
        lines.append("  ".join(cells).rstrip())
    lines += [f"pruned {p.kind} {p.name}: {p.reason}" for p in graph.pruned]
    return "\n".join([*lines, *([footer] if footer else [])])


def forwards(graph: StepGraph) -> Counter[str]:
    """Network -> forward passes per iteration, where every condition holds."""
    found: Counter[str] = Counter()
    for phase in _taken(graph.phases):
        for action in phase.evaluations:
            for network, times in _calls(graph, graph.nodes[action.node]).items():
                found[network] += times * phase.times * phase.microbatches
    return found


def _calls(graph: StepGraph, node: Node) -> Counter[str]:
    if node.kind == "call":
        return Counter({node.target: 1})
    if isinstance(node.value, Unroll):
        inner = inner_nodes(graph.nodes, node.value.loss, node.value.source)
        calls = [graph.nodes[n].target for n in inner if graph.nodes[n].kind == "call"]
        return Counter({n: k * node.value.steps for n, k in Counter(calls).items()})
    return Counter()


def _taken(phases: Sequence[Phase]) -> Iterator[Phase]:
    for phase in phases:
        yield phase
        if phase.arms:
            yield from _taken(phase.arms[0].phases)


def title(graph: StepGraph) -> str:
    """The first line of the plan."""
    counts = forwards(graph)
    parts = [f"{n} {counts[n]} forward{'s' * (counts[n] != 1)}" for n in graph.networks if counts[n]]
    networks, updates = len(graph.networks), len(graph.updates)
    return (
        f"{graph.name} · {networks} network{'s' * (networks != 1)} · {updates} update{'s' * (updates != 1)}"
        f" · per iteration: {', '.join(parts) or 'no forward'}"
    )


Row = tuple[str, str, str, str]
Costs = Mapping[tuple[str, str], tuple[str, str]]


def _sequence_rows(graph: StepGraph, phases: Sequence[Phase], costs: Costs, indent: str) -> list[Row]:
    rows: list[Row] = []
    for phase in phases:
        rows += [(indent + first, *rest) for first, *rest in _phase_rows(graph, phase, costs)]  # type: ignore[misc]
        for arm in phase.arms:
            rows.append((f"{indent}{outcome(phase, arm)}", "", "", ""))
            rows += _sequence_rows(graph, arm.phases, costs, indent + "  ")
    return rows


def outcome(phase: Phase, arm: Arm) -> str:
    """``if G and without D:``, the conditions under which an arm is taken."""
    on = [a for a, yes in zip(phase.asks, arm.active, strict=True) if yes]
    off = [a for a, yes in zip(phase.asks, arm.active, strict=True) if not yes]
    return " and ".join(([f"if {', '.join(on)}"] if on else []) + ([f"without {', '.join(off)}"] if off else [])) + ":"


def _skipped_rows(graph: StepGraph) -> list[Row]:
    rows: list[Row] = []
    for skipped, other, changed in without(graph):
        rows.append((f"without {', '.join(skipped)}:", "", "", ""))
        rows += _sequence_rows(other, changed, {}, "  ")
    return rows


def without(graph: StepGraph) -> Iterator[tuple[list[str], StepGraph, list[Phase]]]:
    """What is done differently where a condition that is known before the iteration does not hold.

    Yields:
        The conditions that do not hold, the graph as it is then, and those of its phases that are others.
    """
    from ganflow.codegen import variants

    usual = {_phase_key(p): p for p in graph.phases}
    for other in variants(graph) if any(c.early for c in graph.conditions) else ():
        skipped = [n for n, on in other.active.items() if not on]
        changed = [
            p for p in other.phases if p != usual.get(_phase_key(p)) and _reads(p) != _reads(usual.get(_phase_key(p)))
        ]
        if skipped and changed:
            yield skipped, other, changed


def _phase_key(phase: Phase) -> tuple[str, int]:
    return phase.name, phase.run


def _reads(phase: Phase | None) -> tuple[object, ...]:
    return () if phase is None else (*(a for a in phase.actions if isinstance(a, (Evaluate, Reuse))), phase.updates)


def _phase_rows(graph: StepGraph, phase: Phase, costs: Costs) -> list[Row]:
    rows = [(_head(graph, phase), "", "", "")]
    width = _label_width(graph, phase)
    for action in phase.actions:
        if isinstance(action, Reuse):
            how = "reused, with its graph" if action.graph else "reused"
            stale = f", from before step {', '.join(action.stale)}" if action.stale else ""
            rows.append((f"  {_label(graph.nodes[action.node])}", "", how + stale, ""))
        elif isinstance(action, Evaluate) and graph.nodes[action.node].is_statement:
            shape, cost = costs.get((phase.name, action.node), ("", ""))
            label = _label(graph.nodes[action.node]).ljust(width)
            rows.append((f"  {label} = {statement_text(graph, action)}", shape, _mode(graph, action), cost))
    roots = {a.node: a for a in phase.evaluations}
    rows += [(_minimize(graph, u, roots.get(u.loss)), "", "", "") for u in phase.updates]
    for c in phase.commits:
        when = _when(graph, f"{c.state}/State") if phase.kind == "states" else ""
        rows.append((f"  state {c.state} = {root_text(graph, c.node, roots.get(c.node))}{when}", "", "", ""))
    averages = {a.network: a for a in graph.averages}
    for name in phase.averages:
        a = averages[name]
        beta = root_text(graph, a.beta, roots.get(a.beta))
        rows.append((f"  {name} follows {a.source}, beta {beta}, buffers {a.buffers}", "", "", ""))
    return rows


def _head(graph: StepGraph, phase: Phase) -> str:
    conditions = {c.name: root_text(graph, c.node) for c in graph.conditions}
    match phase.kind:
        case "when":
            return "when " + "; ".join(f"{a} if {conditions[a]}" for a in phase.asks) + "   (waits for the device)"
        case "average":
            return "after the last update"
        case "states":
            return "at the end"
    freezes = list(dict.fromkeys(f for u in phase.updates for f in u.freezes))
    trains = list(dict.fromkeys(t for u in phase.updates for t in u.trains))
    kind = "update" if len(phase.updates) == 1 else "group"
    head = f"{kind} {phase.name}{runs_text(phase)}   trains {', '.join(trains)}"
    head += f"   freezes {', '.join(freezes)}" if freezes else ""
    for name in [u.name for u in phase.updates] + [f"{c.state}/State" for c in phase.commits]:
        head += _when(graph, name, "" if len(phase.updates) == 1 and name == phase.name else f"{name} ")
    return head + (f"   draws {', '.join(phase.redraws)} anew" if phase.redraws else "")


def _when(graph: StepGraph, name: str, which: str = "") -> str:
    """``   when step % 4 == 3``, of a condition that is known before the iteration."""
    early = next((c for c in graph.conditions if c.name == name and c.early), None)
    waits = " (waits for the device)" if early is not None and early.syncs else ""
    return f"   {which}when {root_text(graph, early.node)}{waits}" if early is not None else ""


def root_text(graph: StepGraph, name: str, action: Evaluate | None = None) -> str:
    """The expression of a node, or its name where it has a line of its own."""
    printer = PlanPrinter(graph.nodes, {})
    node = graph.nodes[name]
    return _label(node) if node.is_statement else printer.text(name, action)


def _label_width(graph: StepGraph, phase: Phase) -> int:
    """The equal signs of an update stand below each other, as long as its names are of ordinary length."""
    labels = [_label(graph.nodes[a.node]) for a in phase.evaluations if graph.nodes[a.node].is_statement]
    return max((len(label) for label in labels if len(label) <= 20), default=0)


def _label(node: Node) -> str:
    return node.name or node.id


def statement_text(graph: StepGraph, action: Evaluate) -> str:
    """What is evaluated, in the language's own names, with ✂ at cut edges."""
    printer = PlanPrinter(graph.nodes, {})
    text = printer.text(action.node, action)
    for network in graph.nodes[action.node].networks if graph.nodes[action.node].frozen else ():
        text = text.replace(f"{network}(", f"frozen({network})(", 1)
    return text


class PlanPrinter(Printer):
    """Expressions with ✂ at cut edges and the language's own names."""

    runs = False

    def variable(self, name: str) -> E.Name:
        return E.Name(_label(self.nodes[name]))

    def read(
        self, name: str, reader: str, position: int, action: Evaluate | None, made: Mapping[str, E.Expr]
    ) -> E.Expr:
        if action is None or (reader, position) not in action.cut:
            return super().read(name, reader, position, None, made)
        return E.Name(f"✂ {E.show(self.entering(name))}")

    def form(self, n: Node, parts: list[E.Expr], action: Evaluate | None) -> E.Expr:
        if n.kind in ("counter", "state", "schedule"):
            return E.Name(n.target)
        if n.kind in ("draw", "grad"):
            return E.Call(E.Name(n.target or n.kind), tuple(parts))
        if n.kind == "unroll":
            return E.Name(n.text)
        return super().form(n, parts, action)


def _mode(graph: StepGraph, action: Evaluate) -> str:
    node = graph.nodes[action.node]
    if action.kept_for:
        return f"graph kept for {', '.join(action.kept_for)}"
    if node.is_random:
        return "draw"
    if action.mode == "graph":
        return ""
    moved = " (evaluated again)" if action.mode == "through" and evaluated_before(graph, action) else ""
    return action.mode + moved


def evaluated_before(graph: StepGraph, action: Evaluate) -> bool:
    """The same node was evaluated earlier in the iteration, with other weights."""
    for phase in graph.walk():
        for other in phase.evaluations:
            if other is action:
                return False
            if other.node == action.node:
                return True
    return False


def _minimize(graph: StepGraph, update: UpdatePlan, action: Evaluate | None) -> str:
    text = root_text(graph, update.loss, action)
    gain = f"{update.gain:g} * " if update.gain != 1.0 else ""
    steps = ", ".join(
        f"step {n}" + (f" ({graph.optimizers[n]})" if n in graph.optimizers else "") for n in update.steps
    )
    return f"  minimize {gain}{text}  → grad {', '.join(update.trains)}  → {steps}"
