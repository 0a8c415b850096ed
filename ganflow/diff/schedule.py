"""Updates, states and modes: who steps when, and what each update does with the values that both sides have.

list(schedule_changes(view))      # the order of the updates, D.every 1 → 4, ...
list(mode_changes(view))          # pred_fake in update G: through → no-grad
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ganflow.diff.data import Change, Kind, Level, Side
from ganflow.diff.matching import reached
from ganflow.diff.texts import is_number, same_value, shown
from ganflow.diff.values import View
from ganflow.experiment import Text, Update
from ganflow.graph import Evaluate, Phase, Reuse, StepGraph
from ganflow.nodes import LEAVES, Node, edges

# Of an update; numbers among them that leave the graph as it is are settings.
STRUCTURE = ("trains", "when", "every", "repeat", "fresh", "repeat_fresh", "nan_to_num", "microbatches")
NUMBERS = ("gain", "clip_norm", "clip_value")


def schedule_changes(view: View) -> Iterator[Change]:
    """Updates that are new or gone, their order, their parameters."""
    first, second = ([u.name for u in s.graph.updates] for s in (view.a, view.b))
    for name in [n for n in first if n not in second]:
        yield removed(view, "update", name, "schedule")
    for name in [n for n in second if n not in first]:
        minimize = view.b.experiment.updates[name].minimize
        yield Change(
            "schedule", name, "update", after=shown(minimize), kind="added", level="graph", note="a new update"
        )
    before, after = _order(view.a.graph), _order(view.b.graph)
    if [u for u in first if u in second] != [u for u in second if u in first] or _grouped(before) != _grouped(after):
        yield Change("schedule", "order", before=_order_text(before), after=_order_text(after), level="graph")
    for name in [n for n in second if n in first]:
        yield from _update(view, view.a.experiment.updates[name], view.b.experiment.updates[name])


def removed(view: View, kind: str, name: str, section: str) -> Change:
    """Something that b does not have; pruned, if its plan says so."""
    found = next((p for p in view.b.graph.pruned if p.kind == kind and p.name == name), None)
    causes = [p.name for p in view.b.graph.pruned if p.kind == "term"]
    causes += [u.name for u in view.a.graph.updates if u.name not in view.b.experiment.updates or kind == "state"]
    zeros = tuple(c for c in causes if c != name) if found else ()
    return Change(section, name, kind, before=name, kind="removed", level="graph", because=zeros,  # type: ignore[arg-type]
                  note=found.reason if found else "")  # fmt: skip


def _order(graph: StepGraph) -> list[tuple[str, ...]]:
    return [tuple(u.name for u in group) for group in graph.groups]


def _grouped(order: Sequence[tuple[str, ...]]) -> set[frozenset[str]]:
    return {frozenset(g) for g in order if len(g) > 1}


def _order_text(order: Sequence[tuple[str, ...]]) -> str:
    return ", ".join(g[0] if len(g) == 1 else f"({', '.join(g)})" for g in order)


def _update(view: View, a: Update, b: Update) -> Iterator[Change]:
    for what in (*STRUCTURE, *NUMBERS):
        before, after = plain(view, getattr(a, what), first=True), plain(view, getattr(b, what), first=False)
        if not same_value(before, after):
            small = what in NUMBERS and is_number(before) and is_number(after)
            yield Change("schedule", b.name, what, before, after, level="setting" if small else "graph",
                         because=through_gin(view, f"{b.name}/Update.{what}"))  # fmt: skip
    if (a.optimizer is None) != (b.optimizer is None):
        names = ", ".join(dict.fromkeys(t.split(".")[0] for t in b.trains))
        one, other = ("that of " + names if u.optimizer is None else f"its own {u.optimizer.name}" for u in (a, b))
        yield Change("schedule", b.name, "optimizer", one, other, level="graph")


def through_gin(view: View, key: str) -> tuple[str, ...]:
    """The number that a parameter is bound to with ``%name``, if it is the number that differs."""
    bound = {x.key: x.value for x in view.b.experiment.bindings}.get(key, "")
    first = {view.label(n): d.value for n, d in view.a.experiment.definitions.items()}
    second = view.b.experiment.definitions
    names = re.findall(r"%(\w+)", bound)
    return tuple(n for n in names if n in first and n in second and not same_value(first[n], second[n].value))


def plain(view: View, value: object, *, first: bool) -> object:
    if isinstance(value, Text):
        return view.words(value) if first else shown(value)
    if isinstance(value, tuple):
        return tuple(view.label(v) if first and isinstance(v, str) else v for v in value)
    return value


def state_changes(view: View) -> Iterator[Change]:
    """States that are new or gone, and their parameters."""
    first, second = ({s.name for s in side.graph.states} for side in (view.a, view.b))
    for name in sorted(first - second):
        yield removed(view, "state", name, "states")
    for name in sorted(second - first):
        yield Change("states", name, "state", after=name, kind="added", level="graph")
    for name in sorted(first & second):
        a, b = view.a.experiment.states[name], view.b.experiment.states[name]
        for what in ("init", "next", "after", "when"):
            before, after = plain(view, getattr(a, what), first=True), plain(view, getattr(b, what), first=False)
            if view.match.exact and what in ("next", "when"):  # the same values, however they are written
                continue
            if not same_value(before, after):
                level: Level = "setting" if what == "init" else "graph"
                yield Change("states", name, what, before, after, level=level)


# -- modes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Doing:
    """What an update does with a value: how it gets it, and the edges through which no gradient passes."""

    how: str
    cut: frozenset[str] = frozenset()


def mode_changes(view: View, because: tuple[str, ...]) -> Iterator[Change]:
    """How values that both sides have are come by, in updates that both sides have."""
    first, second = _phases(view.a.graph), _phases(view.b.graph)
    back = {y: x for x, y in view.match.nodes.items()}
    names = {x: label(view.b, view.b.graph.nodes[y]) for x, y in view.match.nodes.items() if y in view.b.graph.nodes}
    told: set[tuple[int, int]] = set()
    for key in [k for k in second if k in first]:
        p, q = first[key], second[key]
        if (id(p), id(q)) in told:  # a group on both sides
            continue
        told.add((id(p), id(q)))
        place = _place(q)
        yield from _freezes(p, q, place, because)
        before, after = _doings(view.a, p, names), _doings(view.b, q, {})
        for y in after:
            x = back.get(y)
            if x in before:
                yield from _done(label(view.b, view.b.graph.nodes[y]), place, before[x], after[y], because)


def _phases(graph: StepGraph) -> dict[tuple[object, ...], Phase]:
    """Every phase by its place: update, run, and the outcomes of conditions that lead there."""
    found: dict[tuple[object, ...], Phase] = {}

    def walk(phases: Sequence[Phase], path: tuple[object, ...]) -> None:
        for phase in phases:
            for name in [u.name for u in phase.updates] or [phase.name]:
                key = (*path, name, phase.run)
                found[key] = phase
            for arm in phase.arms:
                walk(arm.phases, (*path, phase.asks, arm.active))

    walk(graph.phases, ())
    return found


def _place(phase: Phase) -> str:
    return phase.name if phase.run == 1 else f"{phase.name}, run {phase.run}"


def _freezes(p: Phase, q: Phase, place: str, because: tuple[str, ...]) -> Iterator[Change]:
    before = {f for u in p.updates for f in u.freezes}
    after = {f for u in q.updates for f in u.freezes}
    for name in sorted(before ^ after):
        kind: Kind = "removed" if name in before else "added"
        yield Change("modes", name, "frozen", name in before, name in after, kind=kind, level="graph", update=place,
                     because=because)  # fmt: skip


def _done(name: str, place: str, before: Doing, after: Doing, because: tuple[str, ...]) -> Iterator[Change]:
    if before.how != after.how:
        yield Change("modes", name, "mode", before.how, after.how, level="graph", update=place, because=because)
    for source in sorted(before.cut ^ after.cut):
        kind: Kind = "removed" if source in before.cut else "added"
        yield Change("edges", f"{source} → {name}", "detached", source in before.cut, source in after.cut, kind=kind,
                     level="graph", update=place, because=because)  # fmt: skip


def _doings(side: Side, phase: Phase, names: Mapping[str, str]) -> dict[str, Doing]:
    """Node -> what is done with it; of values that cost nothing only their cut edges are told."""
    nodes = side.graph.nodes
    found: dict[str, Doing] = {}
    for action in phase.actions:
        if isinstance(action, Reuse) and nodes[action.node].has_effect:
            graph = ", with its graph" if action.graph else ""
            stale = f", from before step {', '.join(action.stale)}" if action.stale else ""
            found[action.node] = Doing(f"reused from {action.made_in}{graph}{stale}")
        elif isinstance(action, Evaluate) and nodes[action.node].is_statement:
            cut = {_source(side, *edge, names) for edge in action.cut}
            cut |= _detached(side, action, names) if action.graph else set()
            found[action.node] = Doing(_how(nodes[action.node], action), frozenset(cut))
    return found


def _detached(side: Side, action: Evaluate, names: Mapping[str, str]) -> set[str]:
    """What a ``detach`` in the text of a value cuts: computed values, which could carry gradient."""
    nodes = side.graph.nodes
    found = set()
    for edge in edges(nodes, action.node):
        source = nodes[edge.source]
        cuts = any(nodes[n].kind == "detach" for n in (edge.reader, *edge.through))
        if cuts and (source.kind not in LEAVES or source.kind == "parameter"):
            found.add(names.get(source.id) or label(side, source))
    return found


def _how(node: Node, action: Evaluate) -> str:
    if not node.has_effect:
        return ""
    if node.is_random:
        return "draw"
    kept = f", graph kept for {', '.join(action.kept_for)}" if action.kept_for else ""
    return f"{action.mode or 'evaluated'}{kept}"


def _source(side: Side, reader: str, position: int, names: Mapping[str, str]) -> str:
    source = side.graph.nodes[side.graph.nodes[reader].inputs[position]]
    return names.get(source.id) or label(side, source)


def label(side: Side, node: Node) -> str:
    """A value as people call it: its definition, or the text of an unnamed part."""
    if node.name in side.experiment.definitions or not node.text:
        return node.name or node.id
    return node.text


# -- draws --------------------------------------------------------------------------------------------------


def draw_changes(view: View) -> Iterator[Change]:
    """Draws that are the same value on both sides and come from another stream: sites are named after definitions."""
    kept = reached(view.a.graph), reached(view.b.graph)
    for x, y in view.match.nodes.items():
        if x in kept[0] and y in kept[1]:
            m, n = view.a.graph.nodes[x], view.b.graph.nodes[y]
            if m.site and n.site and m.site != n.site:
                yield Change("draws", label(view.b, n), "site", m.site, n.site,
                             note="seeded from its place in the text, which has another name")  # fmt: skip
