"""When a value is dropped: right after its last use, and what is logged or differentiated at the end of its phase.

phases = freed(nodes, phases)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ganflow.graph import Action, Arm, Average, Condition, Evaluate, Free, Leaf, Node, Phase, StepGraph, UpdatePlan
from ganflow.nodes import in_order, statement_inputs


@dataclass
class _Later:
    """What is said after a point: ``mentioned`` read or evaluated, ``needed`` read before it is evaluated again."""

    mentioned: set[str] = field(default_factory=set)
    needed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Reader:
    """What the end of a phase reads."""

    nodes: Mapping[str, Node]
    conditions: Mapping[str, Condition]
    averages: Mapping[str, Average]
    place: Mapping[str, int]  # of first mention, so that names are dropped in the order in which they were made

    def statements(self, root: str) -> list[str]:
        own = [root] if self.nodes[root].is_statement else []
        return own + [i for i in statement_inputs(self.nodes, root) if self.nodes[i].is_statement and not own]

    def at_end(self, phase: Phase) -> set[str]:
        """Losses, terms, next values, predicates, and all that is evaluated under a test."""
        roots = [n for u in phase.updates for n in (u.loss, *(t.node for t in u.terms))]
        found = {n for n in roots if self.nodes[n].is_statement}
        others = [c.node for c in phase.commits] + [self.conditions[a].node for a in phase.asks]
        others += [self.averages[a].beta for a in phase.averages]
        others += [r for u in phase.updates for r in (u.loss, *(t.factor for t in u.terms)) if r is not None]
        found |= {s for root in others for s in self.statements(root)}
        for action in phase.evaluations:
            if action.guard:
                found |= {action.node} & self.made(action) | set(self.reads(action))
        return found

    def made(self, action: Evaluate) -> set[str]:
        return {action.node} if self.nodes[action.node].is_statement else set()

    def reads(self, action: Evaluate) -> list[str]:
        return [i for i in statement_inputs(self.nodes, action.node) if self.nodes[i].is_statement]

    def sorted(self, names: set[str]) -> tuple[str, ...]:
        return tuple(sorted(names, key=lambda n: self.place.get(n, len(self.place))))


def freed(graph: StepGraph, phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """The phases with every value dropped after its last use, whichever way the iteration goes."""
    walked = _all(phases)
    mentioned = [n for p in walked for a in p.evaluations for n in (*statement_inputs(graph.nodes, a.node), a.node)]
    mentioned += [n for p in walked for u in p.updates for n in in_order(graph.nodes, [u.loss])]
    place = {name: k for k, name in enumerate(dict.fromkeys(mentioned))}
    conditions = {c.name: c for c in graph.conditions}
    reader = _Reader(graph.nodes, conditions, {a.network: a for a in graph.averages}, place)
    return _sequence(reader, phases)[0]


def _all(phases: Sequence[Phase]) -> list[Phase]:
    return [p for phase in phases for p in (phase, *_all([q for arm in phase.arms for q in arm.phases]))]


def _sequence(reader: _Reader, phases: Sequence[Phase]) -> tuple[tuple[Phase, ...], _Later]:
    later, done = _Later(), list[Phase]()
    for phase in reversed(phases):
        if phase.arms:
            phase, later = _arms(reader, phase)
        done.append(_phase(reader, phase, later))
    return tuple(reversed(done)), later


def _arms(reader: _Reader, phase: Phase) -> tuple[Phase, _Later]:
    """Each arm first drops what only other arms still need."""
    walked = [(arm, *_sequence(reader, arm.phases)) for arm in phase.arms]
    needed = set().union(*(later.needed for *_, later in walked))
    mentioned = set.intersection(*(later.mentioned for *_, later in walked)) | needed
    arms = tuple(Arm(a.active, p, reader.sorted(needed - later.mentioned)) for a, p, later in walked)
    return replace(phase, arms=arms), _Later(mentioned, needed)


def _phase(reader: _Reader, phase: Phase, later: _Later) -> Phase:
    """Backwards through one phase; ``later`` becomes what is said from its start on."""
    end = reader.at_end(phase)
    frees = reader.sorted(end - later.mentioned)
    merged = reader.sorted(
        {n for a in phase.evaluations for n in reader.made(a)} & (later.needed | _after(reader, phase))
    )
    later.mentioned |= end
    later.needed |= end
    actions: list[Action] = []
    again = phase.run > 1 or phase.fetch  # the next run makes it anew: the old value need not wait for that
    for action in reversed(phase.actions):
        said = set(reader.reads(action)) | reader.made(action) if isinstance(action, Evaluate) else set[str]()
        if isinstance(action, Leaf) and reader.nodes[action.node].is_statement:
            said = {action.node}
        if drops := reader.sorted(said - later.mentioned):
            actions.append(Free(drops))
        actions.append(action)
        if isinstance(action, Evaluate) and not action.guard:
            later.needed -= reader.made(action)
            later.mentioned |= said
            later.mentioned -= reader.made(action) if again else set()
            later.needed |= set(reader.reads(action))
        else:
            later.mentioned |= said
            later.needed |= said
    if phase.microbatches > 1:
        return _in_parts(reader, phase, frees, actions, merged)
    return replace(phase, actions=tuple(reversed(actions)), frees=frees)


def _after(reader: _Reader, phase: Phase) -> set[str]:
    """What the states committed after the phase read."""
    return {s for c in phase.commits for s in reader.statements(c.node)}


def _in_parts(
    reader: _Reader, phase: Phase, frees: tuple[str, ...], actions: list[Action], merged: tuple[str, ...]
) -> Phase:
    """Values of parts are the parts' own; only what was put together, or came from outside, has to be dropped."""
    made = {n for a in phase.evaluations for n in reader.made(a)}
    gone = {n for a in actions if isinstance(a, Free) for n in a.nodes} | set(frees)
    kept = tuple(a for a in reversed(actions) if not isinstance(a, Free))
    return replace(phase, actions=kept, frees=reader.sorted((gone - made) | gone & set(merged)), merged=merged)


def retains(graph: StepGraph, update: UpdatePlan, *, whole: bool) -> bool:
    """The backward pass of ``update`` reaches a graph that a later one needs.

    Args:
        whole: it goes through all that the loss was made of, rather than to what the update trains.
    """
    if update.retain_graph or not whole:
        return update.retain_graph
    phases = list(graph.walk())
    mine = [k for k, phase in enumerate(phases) if any(u.name == update.name for u in phase.updates)]
    members = phases[mine[0]].updates
    beside = members[[u.name for u in members].index(update.name) + 1 :]
    again = (update.name,) if phases[mine[0]].times > 1 or len(mine) > 1 else ()
    later = {*again, *(u.name for u in beside), *(u.name for phase in phases[mine[0] + 1 :] for u in phase.updates)}
    made = {a.node: a for phase in phases[: mine[0] + 1] for a in phase.evaluations}
    reached = _behind(graph, update.loss, made)
    kept = any(later & set(made[name].kept_for) for name in reached)
    return kept or any(made[n].graph for u in beside for n in reached & _behind(graph, u.loss, made))


def _behind(graph: StepGraph, loss: str, made: Mapping[str, Evaluate]) -> set[str]:
    """What is evaluated and a backward pass from ``loss`` to its very beginning reaches."""
    cut = {edge for action in made.values() for edge in action.cut}
    reached = dict.fromkeys([loss])
    stack = [loss]
    while stack:
        name = stack.pop()
        new = [i for p, i in enumerate(graph.nodes[name].inputs) if (name, p) not in cut and i not in reached]
        reached |= dict.fromkeys(new)
        stack += new
    return reached.keys() & made.keys()
