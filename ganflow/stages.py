"""What an iteration does, one stage after another, before it is decided what of it is evaluated.

    units = units_of(graph)               # groups of updates, then averages, then states without `after`
    stage = update_stage(graph, units[0], 0, known, run=1)

A stage is one update or group (one of its repeats), predicates that only now become known, the moving averages, or
the states committed at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ganflow.declare import state_condition
from ganflow.graph import Average, Node, StatePlan, StepGraph, UpdatePlan, statement_inputs
from ganflow.modes import Modes, modes_of, together

StageKind = Literal["update", "when", "average", "states"]


@dataclass(frozen=True)
class Unit:
    """A place in the schedule: a group of updates with the states committed after it, or what ends the iteration.

    ``number`` is the place of its first run among all runs of the schedule.
    """

    kind: StageKind
    updates: tuple[UpdatePlan, ...] = ()
    states: tuple[StatePlan, ...] = ()
    averages: tuple[Average, ...] = ()
    number: int = 1


@dataclass(frozen=True)
class Refresh:
    """What is made anew for a stage: a new batch, or nodes whose sites draw again."""

    fetch: bool = False
    anew: frozenset[str] = frozenset()
    sites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """One thing that the iteration does; ``members`` are the modes of its updates, or of what it evaluates."""

    kind: StageKind
    members: tuple[Modes, ...]
    updates: tuple[UpdatePlan, ...] = ()
    states: tuple[StatePlan, ...] = ()
    averages: tuple[Average, ...] = ()
    asks: tuple[str, ...] = ()
    refresh: Refresh = Refresh()
    run: int = 1
    number: int = 0

    @property
    def name(self) -> str:
        """As a plan says where a value was made."""
        if self.kind == "update":
            names = [u.name for u in self.updates]
            return names[0] if len(names) == 1 else f"({', '.join(names)})"
        return f"when {', '.join(self.asks)}" if self.asks else self.kind

    @property
    def moves(self) -> tuple[str, ...]:
        """Networks whose weights are others afterwards."""
        found = [n for u in self.updates for n in u.moves] + [a.network for a in self.averages]
        return tuple(dict.fromkeys(found))


def units_of(graph: StepGraph) -> tuple[Unit, ...]:
    """The schedule, then the averages, then the states without ``after``."""
    units, number = [], 1
    for group in graph.groups:
        names = {u.name for u in group}
        units.append(Unit("update", group, tuple(s for s in graph.states if s.after in names), number=number))
        number += max(u.repeat for u in group)
    if graph.averages:
        units.append(Unit("average", averages=graph.averages))
    if ends := tuple(s for s in graph.states if not s.after):
        units.append(Unit("states", states=ends))
    return tuple(units)


def unknown(graph: StepGraph, unit: Unit, known: Mapping[str, bool]) -> tuple[str, ...]:
    """Conditions that have to be decided before this unit: its updates', then those of the states of active ones."""
    declared = {c.name for c in graph.conditions}
    if asks := tuple(u.name for u in unit.updates if u.name in declared and u.name not in known):
        return asks
    states = (state_condition(s.name) for s in _committed_after(unit, _active(unit, known)))
    return tuple(s for s in states if s in declared and s not in known)


def _active(unit: Unit, known: Mapping[str, bool]) -> tuple[UpdatePlan, ...]:
    return tuple(u for u in unit.updates if known.get(u.name, True))


def _committed_after(unit: Unit, active: Sequence[UpdatePlan]) -> tuple[StatePlan, ...]:
    return tuple(s for s in unit.states if not s.after or s.after in {u.name for u in active})


def when_stage(graph: StepGraph, asks: tuple[str, ...]) -> Stage:
    """The predicates of these conditions: nothing is differentiated."""
    nodes = [c.node for c in graph.conditions if c.name in asks]
    return Stage("when", (modes_of(graph.nodes, (), frozenset(), nodes),), asks=asks)


def unit_stage(graph: StepGraph, unit: Unit, known: Mapping[str, bool], run: int) -> Stage | None:
    """What this unit does in its ``run``-th run, ``None`` if nothing."""
    active = tuple(u for u in _active(unit, known) if run <= u.repeat)
    states = tuple(s for s in _committed_after(unit, active) if known.get(state_condition(s.name), True))
    if not (active or states or unit.averages):
        return None
    if unit.kind != "update":
        also = [a.beta for a in unit.averages] or [s.next for s in states]
        modes = modes_of(graph.nodes, (), frozenset(), also)
        return Stage(unit.kind, (modes,), states=states, averages=unit.averages)
    members = together(graph.nodes, [_member(graph, u, states) for u in active])
    names = {n for u in active for n in (u.fresh if run == 1 else u.repeat_fresh)}
    refresh = refresh_of(graph.nodes, graph.names, slice_of(members), names)
    return Stage("update", members, active, states, refresh=refresh, run=run, number=unit.number + run - 1)


def _member(graph: StepGraph, update: UpdatePlan, states: Sequence[StatePlan]) -> Modes:
    also = [s.next for s in states if s.after == update.name]
    return modes_of(graph.nodes, [update.loss], frozenset(update.moves), also)


def slice_of(members: Sequence[Modes]) -> list[str]:
    """Everything that the members' values are made of, in order of evaluation."""
    return list(dict.fromkeys(n for m in members for n in m.slice))


def refresh_of(nodes: Mapping[str, Node], names: Mapping[str, str], order: Sequence[str], fresh: set[str]) -> Refresh:
    """What ``fresh`` makes anew of these nodes: the names in it, the draws in their own text, and what follows."""
    if fresh & {"batch", "*"}:
        return Refresh(fetch=True)
    listed = {n for n in order if nodes[n].is_random and "draws" in fresh}
    listed |= {n for n in order if nodes[n].owner in fresh and nodes[n].is_statement}
    aliases = {names[f] for f in fresh if names.get(f) in order}
    listed |= {
        n for n in aliases if not nodes[n].is_random or nodes[n].owner in fresh
    }  # a draw belongs to its own text
    anew: set[str] = set()
    for name in (n for n in order if nodes[n].is_statement):
        follows = nodes[name].kind != "draw" and any(i in anew for i in statement_inputs(nodes, name))
        if name in listed or follows:
            anew.add(name)
    sites = tuple(dict.fromkeys(nodes[n].site for n in order if n in listed and nodes[n].is_random))
    return Refresh(False, frozenset(anew), sites)
