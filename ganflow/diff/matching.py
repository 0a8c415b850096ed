"""Which value of one graph is which of the other, whatever they are called.

    match = match_sides(a, b)
    match.exact                     # the two graphs are one, but for names and numbers
    match.names["fake_B"]           # 'y', what the other file calls it

Everything a step does follows from what its roots (losses, next states, predicates, betas) are made of. Inputs have an
order and so have roots, so a walk through both graphs at once decides whether they are one; where they are not, names,
equal meanings and equal places in equal texts say what belongs together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ganflow import expr as E
from ganflow.diff.data import Side
from ganflow.diff.texts import Meaning, is_number, same_value, tree_of
from ganflow.experiment import Experiment, Text
from ganflow.graph import LEAVES, Node, StepGraph, Unroll, constant


@dataclass(frozen=True)
class Match:
    """What belongs together.

    Args:
        exact: everything does, but for names and numbers.
        names: definition of a -> definition of b.
        nodes: node of a -> node of b.
    """

    exact: bool
    names: Mapping[str, str]
    nodes: Mapping[str, str]


def match_sides(a: Side, b: Side) -> Match:
    """The match of everything that both sides have."""
    found = isomorphism(a.graph, b.graph, a.experiment, b.experiment)
    if found is not None:
        names = _named(a, b, found)
        return Match(True, _rest(a.experiment, b.experiment, names), found)
    names = _rest(a.experiment, b.experiment, {})
    _by_place(a, b, names)
    return Match(False, names, _nodes(a, b, names))


def roots(graph: StepGraph) -> dict[str, str]:
    """Parameter -> node, for everything that a step evaluates for its own sake."""
    found = {f"{u.name}.minimize": u.loss for u in graph.updates}
    found |= {f"{s.name}/State.next": s.next for s in graph.states}
    found |= {f"{c.name}.when": c.node for c in graph.conditions}
    return found | {f"{a.network}.ema_beta": a.beta for a in graph.averages}


def parts(node: Node) -> tuple[str, ...]:
    """What a node is made of, the inner loss of an unrolled network included."""
    return (*node.inputs, node.value.loss) if isinstance(node.value, Unroll) else node.inputs


def reached(graph: StepGraph) -> set[str]:
    """Nodes that the roots are made of: what weights of 0 made unnecessary is not among them."""
    seen: set[str] = set()
    stack = list(roots(graph).values())
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(parts(graph.nodes[node]))
    return seen


# -- the same but for names and numbers ---------------------------------------------------------------------


def isomorphism(a: StepGraph, b: StepGraph, ea: Experiment, eb: Experiment) -> dict[str, str] | None:
    """Node of a -> node of b if the roots of both are made of the same, else ``None``.

    Numbers that have a name or are the weight of a term may differ. A value with an effect (a call, a draw) is one
    value on both sides or two on both; what has none may be written twice or once.
    """
    first, second = roots(a), roots(b)
    if first.keys() != second.keys():
        return None
    free = _weights(a), _weights(b)
    forward: dict[str, str] = {}
    single: list[tuple[str, str]] = []
    seen: set[tuple[str, str]] = set()
    stack = [(first[k], second[k]) for k in reversed(first)]
    while stack:
        x, y = stack.pop()
        if (x, y) in seen:
            continue
        seen.add((x, y))
        m, n = a.nodes[x], b.nodes[y]
        if _shape(m) != _shape(n) or not (_equal(m, n) or _may_differ(m, n, ea, eb, free)):
            return None
        if not _equal(m, n) or m.has_effect or n.has_effect or m.kind == "schedule":
            single.append((x, y))
        forward.setdefault(x, y)
        stack.extend(reversed(list(zip(parts(m), parts(n), strict=True))))
    return forward if _one_to_one(single, seen) else None


def _one_to_one(single: Sequence[tuple[str, str]], pairs: Iterable[tuple[str, str]]) -> bool:
    """Values with an effect, objects, and numbers that differ, each stand for one of the other side everywhere."""
    forward, backward = dict(single), {y: x for x, y in single}
    return all(forward.get(x, y) == y and backward.get(y, x) == x for x, y in pairs)


def _shape(n: Node) -> tuple[object, ...]:
    """All of a node but its name, its place and its inputs."""
    target = "" if n.kind in ("schedule", "constant") else n.target
    unrolled = (n.id, n.value.source, n.value.passes) if isinstance(n.value, Unroll) else ()
    return n.kind, target, n.path, n.keywords, n.frozen, n.stateful, bool(n.site), len(n.inputs), unrolled


def _equal(m: Node, n: Node) -> bool:
    if m.kind == "schedule":  # its arguments are settings, compared as such
        return repr(m.value).split("/")[-1] == repr(n.value).split("/")[-1]
    return m.kind != "constant" or same_value(m.value, n.value)


def _may_differ(m: Node, n: Node, a: Experiment, b: Experiment, free: tuple[set[str], set[str]]) -> bool:
    """Two numbers that somebody named, or that are weights, or the constant that a parameter is bound to."""
    named = all(x.name and (x.name in e.definitions or not x.owner) for x, e in ((m, a), (n, b)))
    named = named and (m.name == n.name or (m.name not in b.definitions and n.name not in a.definitions))
    return is_number(m.value) and is_number(n.value) and (named or (m.id in free[0] and n.id in free[1]))


def _weights(graph: StepGraph) -> set[str]:
    """Constants in the factors of terms, as far as the loss itself spells them."""
    found: set[str] = set()
    stack = [u.loss for u in graph.updates]
    while stack:
        n = graph.nodes[stack.pop()]
        if n.kind != "op" or n.host or n.name or n.target not in ("+", "-", "neg", "*", "/"):
            continue
        for i in n.inputs:
            if graph.nodes[i].host and constant(graph.nodes, i) is not None:
                found |= {i, *_below(graph.nodes, i)}
            stack.append(i)
    return found


def _below(nodes: Mapping[str, Node], node: str) -> Iterator[str]:
    for i in nodes[node].inputs:
        yield i
        yield from _below(nodes, i)


def _named(a: Side, b: Side, found: Mapping[str, str]) -> dict[str, str]:
    """Definition of a -> definition of b, from matched nodes."""
    names: dict[str, str] = {}
    backwards = {node: name for name, node in b.graph.names.items() if b.graph.nodes.get(node, _NONE).name == name}
    for name, node in a.graph.names.items():
        other = found.get(node)
        if other in backwards and a.graph.nodes[node].name == name:
            names[name] = backwards[other]
    return names


_NONE = Node("", "constant")


# -- definitions --------------------------------------------------------------------------------------------


def _rest(a: Experiment, b: Experiment, names: dict[str, str]) -> dict[str, str]:
    """What is left of the definitions: the same name and meaning, then one meaning under two names, then one name."""
    first, second = Meaning(a), Meaning(b)
    taken = set(names.values())

    def pair(x: str, y: str) -> None:
        names[x] = y
        taken.add(y)

    for x in a.definitions:
        if x not in names and x in b.definitions and x not in taken and first.of(x) == second.of(x):
            pair(x, x)
    meanings: dict[str, list[str]] = {}
    for y in b.definitions:
        if y not in taken and not _is_constant(b, y):
            meanings.setdefault(second.of(y), []).append(y)
    for x in a.definitions:
        if x not in names and not _is_constant(a, x):
            candidates = [y for y in meanings.get(first.of(x), ()) if y not in taken]
            candidates = [y for y in candidates if (x in b.definitions) == (y in a.definitions)]
            if candidates:
                pair(x, candidates[0])
    for x in a.definitions:
        if x not in names and x in b.definitions and x not in taken:
            pair(x, x)
    for x, y in _macros(a, b):
        if x in a.definitions and y in b.definitions and x not in names and y not in taken:
            pair(x, y)
    return names


def _macros(a: Experiment, b: Experiment) -> Iterator[tuple[str, str]]:
    """Names that the same parameter is bound to with ``%name``."""
    bound = {x.key: x.value for x in b.bindings if x.parameter}
    for x in a.bindings:
        here, there = (re.findall(r"%(\w+)", v) for v in (x.value, bound.get(x.key, "")))
        if x.parameter and len(here) == len(there):
            yield from zip(here, there, strict=True)


def _is_constant(e: Experiment, name: str) -> bool:
    """Two numbers may be equal by chance; a place in a text tells them apart."""
    return not isinstance(e.definitions[name].value, Text)


def _by_place(a: Side, b: Side, names: dict[str, str]) -> None:
    """Names that stand at the same place of texts that belong together."""
    stack: list[tuple[object, object]] = list(_texts(a.experiment, b.experiment))
    stack += [(a.experiment.definitions[x].value, b.experiment.definitions[y].value) for x, y in names.items()]
    taken = set(names.values())
    while stack:
        x, y = stack.pop(0)
        if not (isinstance(x, Text) and isinstance(y, Text)):
            continue
        for m, n in _aligned(tree_of(x), tree_of(y)):
            known = m in a.experiment.definitions and n in b.experiment.definitions
            apart = m not in b.experiment.definitions and n not in a.experiment.definitions
            if known and apart and m not in names and n not in taken:
                names[m] = n
                taken.add(n)
                stack.append((a.experiment.definitions[m].value, b.experiment.definitions[n].value))


def _texts(a: Experiment, b: Experiment) -> Iterator[tuple[Text | None, Text | None]]:
    for name in a.updates.keys() & b.updates.keys():
        yield a.updates[name].minimize, b.updates[name].minimize
        yield a.updates[name].when, b.updates[name].when
    for name in a.states.keys() & b.states.keys():
        yield a.states[name].next, b.states[name].next
        yield a.states[name].when, b.states[name].when


def _aligned(x: E.Expr | None, y: E.Expr | None) -> Iterator[tuple[str, str]]:
    """Pairs of names at the same place, as deep as the two trees are alike."""
    if isinstance(x, E.Name) and isinstance(y, E.Name):
        yield x.id, y.id
    elif x is not None and y is not None and type(x) is type(y):
        below = list(E.children(x)), list(E.children(y))
        if len(below[0]) == len(below[1]):
            for m, n in zip(*below, strict=True):
                yield from _aligned(m, n)


# -- nodes --------------------------------------------------------------------------------------------------


def _nodes(a: Side, b: Side, names: Mapping[str, str]) -> dict[str, str]:
    """Named nodes by name, leaves by what they are, and unnamed parts by their order in texts that belong together."""
    reach = reached(b.graph)
    found = {n: n for n, v in a.graph.nodes.items() if v.kind in LEAVES and n in reach and v.kind != "constant"}
    for name, other in names.items():
        if name in a.graph.names and other in b.graph.names:
            found[a.graph.names[name]] = b.graph.names[other]
    owners = unnamed(b)
    for owner, mine in unnamed(a).items():
        rest = list(owners.get(names.get(owner, owner), ()))
        for same in (_same_text(names), _same_call):
            for x in [m for m in mine if m.id not in found]:
                alike = next((y for y in rest if same(x, y)), None)
                if alike is not None:
                    found[x.id] = alike.id
                    rest.remove(alike)
    return found


def unnamed(side: Side) -> dict[str, list[Node]]:
    """Owner -> the parts of its text that get a line of their own without a definition's name."""
    found: dict[str, list[Node]] = {}
    reach = reached(side.graph)
    for node in side.graph.nodes.values():
        if node.id in reach and node.is_statement and node.name not in side.experiment.definitions:
            found.setdefault(node.owner, []).append(node)
    return found


def _same_text(names: Mapping[str, str]) -> Callable[[Node, Node], bool]:
    return lambda x, y: _same_call(x, y) and reworded(x.text, names) == y.text


def _same_call(x: Node, y: Node) -> bool:
    return (x.kind, x.target, x.path) == (y.kind, y.target, y.path)


def reworded(text: str, names: Mapping[str, str]) -> str:
    """A text with whole words replaced; for the text of a node, whose names are those of its definition."""
    return re.sub(r"[^\W\d]\w*", lambda m: names.get(m[0], m[0]), text)
