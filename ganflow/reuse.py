"""The snapshot rule: which values an update evaluates, and which it takes from an earlier one (language.md §4).

A name is one value per batch, unless a gradient has to pass through a network that has moved. ``decide`` walks the
phases in order and keeps, per value, when it was made, from which inputs, and at which version of its networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ganflow.graph import Guard, Node, edges, statement_inputs
from ganflow.modes import Modes


@dataclass
class Instance:
    """One evaluation of a node. ``carried``: phases that differentiated it."""

    serial: int
    node: str
    phase: int
    versions: Mapping[str, int]
    inputs: Mapping[str, int]
    guard: Guard
    carried: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Decision:
    """What one phase does: nodes to evaluate in order, and for each statement of its slice the instance it reads.

    ``stale`` names, for a reused node, the networks that have stepped since it was made.
    """

    evaluate: tuple[str, ...]
    reuse: tuple[str, ...]
    instances: Mapping[str, Instance]
    stale: Mapping[str, tuple[str, ...]]


@dataclass
class _Cache:
    versions: dict[str, int] = field(default_factory=dict)
    made: dict[str, Instance] = field(default_factory=dict)
    serial: int = 0


def decide(
    nodes: Mapping[str, Node], phases: Sequence[Sequence[Modes]], steps: Sequence[Sequence[str]]
) -> list[Decision]:
    """One decision per phase; ``steps[i]`` are the networks that phase ``i`` steps."""
    cache = _Cache()
    decisions = []
    for index, members in enumerate(phases):
        decisions.append(_decide_phase(nodes, members, cache, index))
        for network in steps[index]:
            cache.versions[network] = cache.versions.get(network, 0) + 1
    return decisions


def slice_of(members: Sequence[Modes]) -> list[str]:
    """Everything that the members' losses are made of, in order of evaluation."""
    return list(dict.fromkeys(n for m in members for n in m.slice))


def _decide_phase(nodes: Mapping[str, Node], members: Sequence[Modes], cache: _Cache, index: int) -> Decision:
    order = slice_of(members)
    statements = [n for n in order if nodes[n].is_statement]
    inputs = {n: [i for i in statement_inputs(nodes, n) if nodes[i].is_statement] for n in statements}
    guards = guards_of(nodes, members)
    carrying = frozenset().union(*(m.carrying for m in members))
    cone = frozenset().union(*(m.cone - m.leaves for m in members))
    again = _evaluated(nodes, statements, inputs, guards, carrying, cone, cache)
    wanted = _wanted(nodes, members, again)
    evaluate = tuple(n for n in statements if n in again and n in wanted)
    reuse = tuple(n for n in statements if n not in again and n in wanted)
    stale = {n: _stepped_since(nodes, n, cache) for n in reuse}
    for node in evaluate:
        cache.serial += 1
        read = {i: cache.made[i].serial for i in inputs[node]}
        versions = {n: cache.versions.get(n, 0) for n in nodes[node].networks}
        cache.made[node] = Instance(cache.serial, node, index, versions, read, guards.get(node, ()))
    used = {n: cache.made[n] for n in statements if n in cache.made}
    for node in carrying & used.keys():
        used[node].carried.add(index)
    return Decision(evaluate, reuse, used, stale)


def _evaluated(
    nodes: Mapping[str, Node],
    statements: Sequence[str],
    inputs: Mapping[str, list[str]],
    guards: Mapping[str, Guard],
    carrying: frozenset[str],
    cone: frozenset[str],
    cache: _Cache,
) -> set[str]:
    """The nodes that the cache cannot serve: the smallest set closed under the snapshot rule."""
    live = {n for s in statements if s in carrying for n in nodes[s].networks}
    again = {s for s in statements if s not in cache.made or not _implied(cache.made[s].guard, guards.get(s, ()))}
    # a value that an earlier update differentiated has lost its graph; a cone builds its own
    again |= {s for s in statements if s in cache.made and s in carrying and cache.made[s].carried}
    again |= {s for s in statements if s in cone and s not in carrying}
    changed = True
    while changed:
        before = len(again)
        for s in statements:
            if s not in again and _moved(nodes, s, inputs, live, again, cache):
                again.add(s)
        again |= _mixed(nodes, statements, live, again, cache)
        changed = len(again) > before
    return again


def _moved(
    nodes: Mapping[str, Node],
    node: str,
    inputs: Mapping[str, list[str]],
    live: set[str],
    again: set[str],
    cache: _Cache,
) -> bool:
    """Its input is evaluated again (or was, since), or its network is live and has stepped."""
    made = cache.made[node]
    if any(i in again or cache.made[i].serial != made.inputs.get(i) for i in inputs[node]):
        return True
    return any(n in live and cache.versions.get(n, 0) != made.versions[n] for n in nodes[node].networks)


def _mixed(
    nodes: Mapping[str, Node], statements: Sequence[str], live: set[str], again: set[str], cache: _Cache
) -> set[str]:
    """Old values of a network beside one that must be evaluated: all of them are evaluated at one version."""
    more = set()
    for network in {n for s in statements for n in nodes[s].networks} - live:
        calls = [s for s in statements if network in nodes[s].networks]
        if any(s in again for s in calls):
            now = cache.versions.get(network, 0)
            more |= {s for s in calls if s not in again and cache.made[s].versions[network] != now}
    return more


def _wanted(nodes: Mapping[str, Node], members: Sequence[Modes], again: set[str]) -> set[str]:
    """What is read here: nothing above a reused value, unless something else reads it."""
    wanted: set[str] = set()
    stack = [m.slice[-1] for m in members if m.slice]
    while stack:
        node = stack.pop()
        if node in wanted:
            continue
        wanted.add(node)
        reused = nodes[node].is_statement and node not in again
        if not reused:
            stack.extend(e.source for e in edges(nodes, node))
            stack.extend(i for i in nodes[node].inputs)
    return wanted


def _stepped_since(nodes: Mapping[str, Node], node: str, cache: _Cache) -> tuple[str, ...]:
    """Networks upstream of a reused value that have stepped since it was made."""
    stale: dict[str, None] = {}
    stack = [node]
    seen = set()
    while stack:
        current = stack.pop()
        if current in seen or current not in cache.made:
            continue
        seen.add(current)
        made = cache.made[current]
        stale.update(dict.fromkeys(n for n, v in made.versions.items() if cache.versions.get(n, 0) != v))
        stack.extend(made.inputs)
    return tuple(sorted(stale))


def _implied(made: Guard, wanted: Guard) -> bool:
    return wanted[: len(made)] == made


def guards_of(nodes: Mapping[str, Node], members: Sequence[Modes]) -> dict[str, Guard]:
    """The host tests under which each node is evaluated: what all its uses have in common."""
    found: dict[str, Guard] = {}
    stack: list[tuple[str, Guard]] = [(m.slice[-1], ()) for m in members if m.slice]
    while stack:
        node, guard = stack.pop()
        if node in found:
            common = _common(found[node], guard)
            if common == found[node]:
                continue
            guard = common
        found[node] = guard
        n = nodes[node]
        for position, source in enumerate(n.inputs):
            branch = n.kind == "op" and n.target == "if" and position > 0 and nodes[n.inputs[0]].host
            stack.append((source, (*guard, (n.inputs[0], position == 1)) if branch else guard))
    return found


def _common(a: Guard, b: Guard) -> Guard:
    shared = 0
    while shared < min(len(a), len(b)) and a[shared] == b[shared]:
        shared += 1
    return a[:shared]
