"""Terms of losses: which are new, gone, weighted or said differently.

list(term_changes(view))        # G_L1 in update G: weight 100 → 10, because of lambda_A
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ganflow import expr as E
from ganflow.diff.data import Change, Kind, Side
from ganflow.diff.matching import reworded
from ganflow.diff.texts import free_names, is_number, same_value, shown, tree_of
from ganflow.diff.values import View, number_changes
from ganflow.experiment import COUNTERS, Experiment, Text
from ganflow.graph import StepGraph, Term, UpdatePlan
from ganflow.nodes import ancestors


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
