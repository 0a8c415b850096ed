"""Times and costs of values -> rows in the order in which the step runs, and what the plan saves.

for section in sections(graph, cost, times, memory):
    for row in section.rows:
        print(row.label, row.time)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ganflow.cost import Cost
from ganflow.graph import Evaluate, Phase, Reuse, StepGraph, UpdatePlan
from ganflow.pictures.words import mode_of
from ganflow.profile.attribution import Attributed, Key
from ganflow.profile.memory import Peaks
from ganflow.profile.model import Kind, Row, Saving, Section
from ganflow.profile.stepping import DATA
from ganflow.spending import Spent
from ganflow.views import root_text

_WORDS: dict[str, tuple[Kind, str]] = {
    "loss": ("loss", "loss {}"), "backward": ("backward", "autograd itself"), "clip": ("clip", "clip gradients {}"),
    "step": ("step", "step {}"), "clamp": ("clamp", "clamp {}"), "average": ("average", "{} follows"),
    "state": ("state", "state {}"), "decide": ("decide", "decide {}"),
}  # fmt: skip


def sections(graph: StepGraph, cost: Cost, times: Attributed, memory: Peaks | None) -> tuple[Section, ...]:
    """One for each phase, one for what belongs to none."""
    found: list[Section] = []
    for name, phases in _by_name(graph).items():
        own = [k for k in (*_expected(graph, phases), *times.times, *cost.spent) if k[0] == name]
        rows = [_row(graph, phases, key, cost, times) for key in dict.fromkeys(own)]
        runs = max((r.runs for r in rows), default=0.0)
        peak = memory.phases.get(name) if memory else None
        found.append(Section(name, _title(phases[0]), tuple(r for r in rows if _matters(r)), runs, peak))
    data = times.times.get(DATA)
    rest = [Row("data", "next batch", "data", runs=data.runs, forward=data.forward)] if data else []
    rest.append(Row("elsewhere", "elsewhere", "elsewhere", runs=1, forward=times.elsewhere))
    return (*found, Section("", "beside the updates", tuple(rest)))


def _by_name(graph: StepGraph) -> dict[str, list[Phase]]:
    found: dict[str, list[Phase]] = {}
    for phase in graph.walk():
        found.setdefault(phase.name, []).append(phase)
    return found


def _expected(graph: StepGraph, phases: Sequence[Phase]) -> Iterator[Key]:
    """Everything that happens in a phase, in this order."""
    for phase in phases:
        for action in phase.actions:
            if isinstance(action, (Evaluate, Reuse)) and graph.nodes[action.node].is_statement:
                yield phase.name, action.node
        whats = [f"{word} {u.name}" for word in ("loss", "backward") for u in phase.updates]
        whats += [f"decide {a}" for a in phase.asks] + [f"state {c.state}" for c in phase.commits]
        whats += [f"clip {u.name}" for u in phase.updates] + [f"step {key}" for key in phase.steps]
        whats += [f"clamp {n}" for n in phase.moves] + [f"average {n}" for n in phase.averages]
        yield from ((phase.name, what) for what in whats)


def _matters(row: Row) -> bool:
    """It ran, or cost something, or would when its condition holds."""
    return bool(row.runs or row.time or row.flops or row.mode)


def _title(phase: Phase) -> str:
    if phase.kind != "update":
        return {"when": "decide", "average": "after the last update", "states": "at the end"}[phase.kind]
    return f"{'update' if len(phase.updates) == 1 else 'group'} {phase.name}"


def _row(graph: StepGraph, phases: Sequence[Phase], key: Key, cost: Cost, times: Attributed) -> Row:
    what = key[1]
    row = _named(graph, phases, what)
    time, spent = times.times.get(key), cost.spent.get(key)
    if time is not None:
        row = replace(row, runs=time.runs, forward=time.forward, backward=time.backward)
    if not cost.spent:
        return replace(row, forward_flops=None, backward_flops=None, value_bytes=None, kept_bytes=None)
    if spent is None:
        return row
    part = _part(spent, row.runs, phases, times)
    value = cost.values.get(key)
    return replace(row, shape=value.shape if value else "", forward_flops=spent.forward * part,
                   backward_flops=spent.backward * part, value_bytes=spent.value, kept_bytes=spent.kept)  # fmt: skip


def _part(spent: Spent, runs: float, phases: Sequence[Phase], times: Attributed) -> float:
    """FLOPs were counted in an iteration in which every condition holds."""
    if spent.runs:
        return runs / spent.runs
    passes = [times.times.get((p.name, f"backward {u.name}")) for p in phases for u in p.updates]
    often = sum(p.times * p.microbatches * len(p.updates) for p in phases)
    return sum(t.runs for t in passes if t) / often if often else 1.0


def _named(graph: StepGraph, phases: Sequence[Phase], what: str) -> Row:
    word, _, rest = what.partition(" ")
    if rest:
        kind, label = _WORDS[word]
        updates: dict[str, UpdatePlan] = {u.name: u for p in phases for u in p.updates}
        where = str(updates[rest].location) if rest in updates else ""
        return Row(what, label.format(rest), kind, where=where)
    node = graph.nodes[what]
    actions = [a for p in phases for a in p.actions if isinstance(a, (Evaluate, Reuse)) and a.node == what]
    reused = bool(actions) and isinstance(actions[0], Reuse)
    mode = mode_of(node, actions[0]) if actions and isinstance(actions[0], Evaluate) else "graph"
    label = node.name or node.text or root_text(graph, what)
    return Row(what, label, "reused" if reused or not actions else "value", mode, where=str(node.location))


# -- what is saved ---------------------------------------------------------------------------------------------


def savings(graph: StepGraph, cost: Cost) -> tuple[Saving, ...]:
    """FLOPs that the plan does not spend, by reason."""
    return (*_frozen(graph, cost), *_reused(graph, cost))


def _frozen(graph: StepGraph, cost: Cost) -> Iterator[Saving]:
    saved: dict[tuple[str, str], float] = {}
    freezes = {(p.name, a.node): ", ".join(a.freezes) for p in graph.walk() for a in p.evaluations}
    for key, spent in cost.textbook_spent.items():
        less = spent.backward - cost.spent.get(key, Spent()).backward
        if less > 0:
            place = key[0], freezes.get(key, "")
            saved[place] = saved.get(place, 0) + less
    for (phase, networks), flops in saved.items():
        whose = (
            f"{networks} frozen: no gradient of its weights" if networks else "no gradient of what it does not train"
        )
        yield Saving(f"update {phase}: {whose}", flops)


def _reused(graph: StepGraph, cost: Cost) -> Iterator[Saving]:
    made: dict[str, float] = {}
    for phase in graph.walk():
        for action in phase.actions:
            if isinstance(action, Evaluate):
                spent = cost.spent.get((phase.name, action.node), Spent())
                made[action.node] = spent.forward / max(spent.runs, 1)
            elif isinstance(action, Reuse) and made.get(action.node):
                label = graph.nodes[action.node].name or action.node
                yield Saving(f"update {phase.name}: {label} reused, its forward is not repeated", made[action.node],
                             counted=False)  # fmt: skip
