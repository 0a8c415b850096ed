"""Values, numbers and terms: what their texts say, what only follows, and what nothing reads any more.

value_changes(view)             # pred_fake: D(cat(real_A, fake_B)) → D(fake_B); D_fake, G_GAN follow
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from ganflow import expr as E
from ganflow.diff.data import Change, Kind, Level, Side
from ganflow.diff.matching import Match, reached, reworded
from ganflow.diff.texts import free_names, is_number, same_value, shown, tree_of
from ganflow.experiment import COUNTERS, Experiment, Reference, Text
from ganflow.graph import StepGraph, Term, UpdatePlan, edges
from ganflow.nodes import LEAVES, ancestors


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


# -- terms --------------------------------------------------------------------------------------------------


def term_changes(view: View) -> Iterator[Change]:
    """Terms of updates that both sides have: new, gone, with another weight, or said differently."""
    first, second = ({u.name: u for u in s.graph.updates} for s in (view.a, view.b))
    for name in [n for n in second if n in first]:
        found = list(_terms_of(view, first[name], second[name]))
        yield from found
        before, after = view.a.experiment.updates[name].minimize, view.b.experiment.updates[name].minimize
        texts_differ = view.words(before) != shown(after)
        pruned = [p.name for s in (view.a, view.b) for p in s.graph.pruned if p.kind == "term"]
        if not view.match.exact and texts_differ and not found and not pruned:
            yield Change("terms", name, "text", view.words(before), shown(after), level="graph", update=name,
                         note="the same terms and weights")  # fmt: skip


def _terms_of(view: View, a: UpdatePlan, b: UpdatePlan) -> Iterator[Change]:
    pairs = _term_pairs(view, a, b)
    kept = {id(t) for pair in pairs for t in pair}
    for s, t in pairs:
        yield from _term_changed(view, b.name, s, t)
    yield from (_term_alone(view, b.name, s, "removed") for s in a.terms if id(s) not in kept)
    yield from (_term_alone(view, b.name, t, "added") for t in b.terms if id(t) not in kept)


def _term_alone(view: View, update: str, term: Term, kind: Kind) -> Change:
    """A term that the other side does not have, pruned there or not."""
    side, other = (view.a, view.b) if kind == "removed" else (view.b, view.a)
    name = view.label(term.name) if kind == "removed" else term.name
    zero = next((p for p in other.graph.pruned if p.kind == "term" and _is_pruned(view, term, p.name)), None)
    given = weight(side.graph, term)
    reason = zero.reason if zero is not None and kind == "removed" else f"{zero.reason} no longer" if zero else ""
    note = reason or ("" if _is_named(side, term) else term_text(side, term))
    before, after = (given, None) if kind == "removed" else (None, given)
    return Change("terms", name, "", before, after, kind, "graph", update, _zeros(view) if zero else (), note)


def _zeros(view: View) -> tuple[str, ...]:
    """Numbers that are 0 on one side only."""
    found = [c.subject for c in number_changes(view) if c.before == 0 or c.after == 0]
    return tuple(found) or ("terms",)


def _is_pruned(view: View, term: Term, name: str) -> bool:
    return name in (term.name, view.label(term.name)) or term.name in name.split(" * ") or "." in term.name


def _term_pairs(view: View, a: UpdatePlan, b: UpdatePlan) -> list[tuple[Term, Term]]:
    """By value, by name, then unnamed ones by what they do, in order."""
    words = view.match.names
    tests: tuple[Callable[[Term, Term], bool], ...] = (
        lambda s, t: view.match.nodes.get(s.node) == t.node,
        lambda s, t: _is_named(view.a, s) and _is_named(view.b, t) and view.label(s.name) == t.name,
        lambda s, t: reworded(term_text(view.a, s), words) == term_text(view.b, t),
        lambda s, t: not (_is_named(view.a, s) or _is_named(view.b, t)) and _target(view.a, s) == _target(view.b, t),
    )
    pairs: list[tuple[Term, Term]] = []
    for test in tests:
        for s in a.terms:
            if not any(s is p for p, _ in pairs):
                free = (t for t in b.terms if not any(t is q for _, q in pairs))
                pairs += [(s, t) for t in [next((t for t in free if test(s, t)), None)] if t is not None]
    return pairs


def _is_named(side: Side, term: Term) -> bool:
    return term.name in side.experiment.definitions


def _target(side: Side, term: Term) -> tuple[str, str]:
    node = side.graph.nodes[term.node]
    return node.kind, node.target


def _term_changed(view: View, update: str, s: Term, t: Term) -> Iterator[Change]:
    label = t.name if _is_named(view.b, t) else term_text(view.b, t)
    if not view.match.exact and not _is_named(view.a, s) and not _is_named(view.b, t):
        spelled = reworded(term_text(view.a, s), view.match.names), term_text(view.b, t)
        if spelled[0] != spelled[1]:
            yield Change("terms", t.name, "expression", *spelled, level="graph", update=update)
    before, after = weight(view.a.graph, s, view.match.names), weight(view.b.graph, t)
    if not same_value(before, after):
        numbers = {c.subject for c in number_changes(view)}
        read = {
            *(view.label(n) for n in _read(view.a.graph, s)),
            *_read(view.b.graph, t),
        }  # a weight of 1 reads nothing
        named = sorted(read & numbers)
        yield Change("terms", label, "weight", before, after, update=update, because=tuple(named),
                     level="setting" if is_number(before) and is_number(after) else "graph")  # fmt: skip


def _read(graph: StepGraph, term: Term) -> list[str]:
    found = ancestors(graph.nodes, [term.factor]) if term.factor else set()
    return sorted(graph.nodes[n].name for n in found if graph.nodes[n].name)


def term_text(side: Side, term: Term) -> str:
    """A term as the file spells it."""
    definition = side.experiment.definitions.get(term.name)
    if definition is not None and isinstance(definition.value, Text):
        return shown(definition.value)
    return spelled_terms(side).get(term.node) or side.graph.nodes[term.node].text


def spelled_terms(side: Side) -> dict[str, str]:
    """Node of a term -> its text as the loss spells it: the call of a template, not what it expands to."""
    found: dict[str, str] = {}
    for update in side.graph.updates:
        tree = tree_of(side.experiment.updates[update.name].minimize)
        parts = list(_linear(side.experiment, tree)) if tree is not None else []
        if len(parts) == len(update.terms):  # none was pruned
            found |= {t.node: E.show(p) for t, p in zip(update.terms, parts, strict=True)}
    return found


def _linear(e: Experiment, tree: E.Expr) -> Iterator[E.Expr]:
    """The terms of a loss, as ``terms.py`` splits it."""
    match tree:
        case E.Binary(op="+" | "-", left=left, right=right):
            yield from _linear(e, left)
            yield from _linear(e, right)
        case E.Unary(op="-", operand=operand):
            yield from _linear(e, operand)
        case E.Binary(op="*", left=left, right=right) if _is_factor(e, left):
            yield from _linear(e, right)
        case E.Binary(op="*" | "/", left=left, right=right) if _is_factor(e, right):
            yield from _linear(e, left)
        case _:
            yield tree


def _is_factor(e: Experiment, tree: E.Expr) -> bool:
    """Made of numbers, counters, states and constants."""
    numbers = {n for n, d in e.definitions.items() if not isinstance(d.value, Text)}
    calls = any(isinstance(x, E.Call) for x in E.walk(tree))
    return not calls and all(n in numbers or n in e.states or n in COUNTERS for n in free_names(tree))


def weight(graph: StepGraph, term: Term, names: Mapping[str, str] | None = None) -> object:
    """A number, or the factor as text where it is not constant."""
    if term.weight is not None or term.factor is None:
        return 1.0 if term.weight is None else float(term.weight)
    return reworded(_factor(graph, term.factor), names or {})


def _factor(graph: StepGraph, node: str) -> str:
    n = graph.nodes[node]
    if n.name or n.text:
        return n.name or n.text
    if n.kind == "constant":
        return f"{n.value:g}" if isinstance(n.value, float) else repr(n.value)
    return f" {n.target} ".join(_factor(graph, i) for i in n.inputs)


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
