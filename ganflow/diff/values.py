"""Values and numbers: what their texts say, what only follows, and what nothing reads any more.

value_changes(view)             # pred_fake: D(cat(real_A, fake_B)) → D(fake_B); D_fake, G_GAN follow
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from ganflow.diff.data import Change, Level, Side
from ganflow.diff.matching import Match, reached
from ganflow.diff.texts import free_names, is_number, same_value, shown, tree_of
from ganflow.experiment import Experiment, Reference, Text
from ganflow.graph import edges
from ganflow.nodes import LEAVES


@dataclass(frozen=True)
class View:
    """Two sides and what of them belongs together."""

    a: Side
    b: Side
    match: Match

    def label(self, name: str) -> str:
        """What b calls a definition of a."""
        return self.match.names.get(name, name)

    def words(self, text: Text | None) -> str:
        """A text of a in the words of b."""
        return shown(text, self.match.names)

    @cached_property
    def live(self) -> tuple[set[str], set[str]]:
        """Definitions that the step evaluates, on either side."""
        return live(self.a), live(self.b)


def texts(e: Experiment, updates: Iterable[str]) -> Iterator[Text]:
    """Expressions at the parameters of these updates, of states and of averages."""
    for update in (e.updates[u] for u in updates):
        yield from (t for t in (update.minimize, update.when) if t is not None)
    for state in e.states.values():
        yield from (t for t in (state.next, state.when) if t is not None)
    for network in e.networks.values():
        yield from (t for t in (network.ema_beta, network.unroll_minimize) if isinstance(t, Text))


def live(side: Side) -> set[str]:
    """Definitions that are evaluated, and templates and numbers that stand in their texts."""
    reach, e = reached(side.graph), side.experiment
    evaluated = {n for n, node in side.graph.names.items() if node in reach}
    stack = list(texts(e, [u.name for u in side.graph.updates]))
    stack += [v for n in evaluated if isinstance(v := e.definitions[n].value, Text)]
    found = set(evaluated)
    while stack:
        for name in free_names(tree_of(stack.pop())):
            if name in e.definitions and name not in found and name not in side.graph.names:  # a template
                found.add(name)
                if isinstance(value := e.definitions[name].value, Text):
                    stack.append(value)
    return found


# -- numbers ------------------------------------------------------------------------------------------------


def number_changes(view: View) -> Iterator[Change]:
    """Definitions that are constants on both sides, pruned weights included."""
    read = (
        set(view.b.graph.names) | view.live[1] | {n for n, d in view.b.experiment.definitions.items() if d.read_by_gin}
    )
    for x, y in view.match.names.items():
        before, after = view.a.experiment.definitions[x].value, view.b.experiment.definitions[y].value
        if y not in read or isinstance(before, Text) or isinstance(after, Text) or same_value(before, after):
            continue
        level: Level = "setting" if is_number(before) and is_number(after) else "graph"
        yield Change("numbers", y, before=_flat(before), after=_flat(after), level=level)


def _flat(value: object) -> object:
    return repr(value) if isinstance(value, Reference) else value


# -- values -------------------------------------------------------------------------------------------------


def value_changes(view: View) -> list[Change]:
    """Texts that say something else, then values that are new, gone, or follow; none where the graphs are one."""
    if view.match.exact:
        return []
    written = list(_texts_changed(view))
    gone = list(_gone(view))
    new = list(_new(view))
    changed = {c.subject for c in (*written, *new)}
    return [*written, *new, *gone, *_affected(view, changed)]


def _both(view: View) -> Iterator[tuple[str, str]]:
    for x, y in view.match.names.items():
        if x in view.live[0] and y in view.live[1]:
            yield x, y


def _texts_changed(view: View) -> Iterator[Change]:
    for x, y in _both(view):
        before, after = view.a.experiment.definitions[x].value, view.b.experiment.definitions[y].value
        if not (isinstance(before, Text) or isinstance(after, Text)):
            continue
        one, other = _value_text(view, before, first=True), _value_text(view, after, first=False)
        if one != other:
            yield Change("values", y, before=one, after=other, level="graph")


def _value_text(view: View, value: object, *, first: bool) -> object:
    if isinstance(value, Text):
        return view.words(value) if first else shown(value)
    return repr(value)


def _gone(view: View) -> Iterator[Change]:
    """Values that b does not evaluate: their definitions are gone, or stand there unread."""
    kept = {x for x, _ in _both(view)}
    for x in view.a.experiment.definitions:
        value = view.a.experiment.definitions[x].value
        if x in view.live[0] - kept and isinstance(value, Text):
            there = view.label(x) in view.b.experiment.definitions and x in view.match.names
            note = "nothing that is left reads it" if there else ""
            yield Change("values", view.label(x), before=view.words(value), kind="removed", level="graph", note=note,
                         because=_pruning(view) if there else ())  # fmt: skip


def _pruning(view: View) -> tuple[str, ...]:
    """What made a value unnecessary: terms and updates that b does not have."""
    updates = {u.name for u in view.a.graph.updates} - {u.name for u in view.b.graph.updates}
    terms = {p.name for p in view.b.graph.pruned if p.kind == "term"}
    return tuple(sorted(updates | terms)) or ("terms",)


def _new(view: View) -> Iterator[Change]:
    kept = {y for _, y in _both(view)}
    for y in view.b.experiment.definitions:
        value = view.b.experiment.definitions[y].value
        if y in view.live[1] - kept and isinstance(value, Text):
            there = y in view.match.names.values()
            note = "it was not evaluated before" if there else ""
            yield Change("values", y, after=shown(value), kind="added", level="graph", note=note,
                         because=("terms",) if there else ())  # fmt: skip


def _affected(view: View, changed: set[str]) -> Iterator[Change]:
    """Values whose text is the same and that read something that changed, with what it was."""
    causes: dict[str, tuple[str, ...]] = {}

    def of(name: str) -> tuple[str, ...]:
        if name in changed:
            return (name,)
        if name not in causes:
            causes[name] = ()
            value = view.b.experiment.definitions[name].value if name in view.b.experiment.definitions else None
            read = dict.fromkeys(free_names(tree_of(value))) if isinstance(value, Text) else {}
            causes[name] = tuple(dict.fromkeys(c for r in read for c in of(r)))
        return causes[name]

    for _, y in _both(view):
        if y not in changed and (because := of(y)):
            text = shown(value) if isinstance(value := view.b.experiment.definitions[y].value, Text) else ""
            yield Change("values", y, "inputs", before=text, after=text, level="graph", because=because,
                         note="the same text; what it reads has changed")  # fmt: skip


# -- edges --------------------------------------------------------------------------------------------------


def edge_changes(view: View) -> Iterator[Change]:
    """What feeds a value on one side only; part of what its text says, for programs that read edges."""
    if view.match.exact:
        return
    for x, y in _both(view):
        before, after = {view.label(n) for n in _sources(view.a, x)}, _sources(view.b, y)
        for name in sorted(before ^ after):
            edge, gone = f"{name} → {y}", name in before
            yield Change("edges", edge, "", edge if gone else None, None if gone else edge,
                         "removed" if gone else "added", "graph", because=(y,))  # fmt: skip


def _sources(side: Side, name: str) -> set[str]:
    """Names of values, fields and states in the text of a definition."""
    nodes, node = side.graph.nodes, side.graph.names.get(name)
    found: set[str] = set()
    stack = [node] if node is not None and node in nodes else []
    while stack:
        for edge in edges(nodes, stack.pop()):
            n = nodes[edge.source]
            if n.name and (n.name in side.experiment.definitions or n.kind in LEAVES):
                found |= {n.name} if n.kind not in ("constant", "counter") else set()
            elif n.kind not in LEAVES:
                stack.append(edge.source)
    return found
