"""The snapshot rule: which values an update evaluates, and which it takes from an earlier one (language.md §4).

A name is one value per batch, unless a gradient has to pass through a network that has moved. ``decide`` walks the
iteration in order and keeps, per value, when it was made, from which inputs, and at which version of its networks.
Where a condition only becomes known during the iteration, it walks every outcome: decisions are a tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

from ganflow.errors import GanflowError
from ganflow.graph import Guard, Node, StepGraph, read_networks, statement_inputs
from ganflow.modes import Modes
from ganflow.stages import Stage, Unit, slice_of, unit_stage, units_of, unknown, when_stage

MAX_LATE = 6  # 64 ways through an iteration


@dataclass(frozen=True)
class Instance:
    """One evaluation of a node, in the decision ``made_in``.

    Args:
        fresh: made because something was refreshed.
        local: its graph, if it has one, ends there: that of an inner derivative, or of a part of a batch.
    """

    serial: int
    node: str
    made_in: int
    versions: Mapping[str, int]
    inputs: Mapping[str, int]
    guard: Guard
    fresh: bool = False
    local: bool = False


@dataclass(frozen=True)
class Decision:
    """What one stage does: nodes to evaluate in order, and for each statement of its slice the instance it reads.

    Args:
        parent: the decision before it, -1 for the first.
        taken: the outcome of the parent's conditions that leads here.
        stale: for a reused node, the networks that have stepped since it was made.
        redraws: sites that draw anew.
    """

    index: int
    parent: int
    stage: Stage
    evaluate: tuple[str, ...]
    reuse: tuple[str, ...]
    instances: Mapping[str, Instance]
    stale: Mapping[str, tuple[str, ...]]
    redraws: tuple[str, ...] = ()
    times: int = 1
    taken: tuple[bool, ...] = ()


@dataclass
class _Cache:
    """What is known of values and networks at one point of one way through the iteration."""

    versions: dict[str, int] = field(default_factory=dict)
    made: dict[str, Instance] = field(default_factory=dict)
    carried: set[int] = field(default_factory=set)  # instances that were differentiated: their graphs are gone
    serial: int = 0

    def copy(self) -> _Cache:
        return _Cache(dict(self.versions), dict(self.made), set(self.carried), self.serial)

    def version(self, network: str) -> int:
        return self.versions.get(network, 0)


def decide(graph: StepGraph, known: Mapping[str, bool]) -> list[Decision]:
    """The decisions of an iteration in which these conditions are known; parents before children."""
    late = [c.name for c in graph.conditions if c.name not in known]
    if len(late) > MAX_LATE:
        raise GanflowError(
            f"{len(late)} conditions are only known during the iteration ({', '.join(late)}); {MAX_LATE} can be",
            hint="those over counters, or states committed in an earlier iteration, do not count", code="too-large",
        )  # fmt: skip
    walker = _Walker(graph)
    walker.go(0, dict(known), _Cache(), -1, ())
    return walker.decisions


class _Walker:
    """Walks every way through an iteration; lives for one call of :func:`decide`."""

    def __init__(self, graph: StepGraph) -> None:
        self.graph = graph
        self.units: tuple[Unit, ...] = units_of(graph)
        self.decisions: list[Decision] = []
        self.networks = {n: read_networks(graph.nodes, n) for n, v in graph.nodes.items() if v.is_statement}

    def go(self, place: int, known: dict[str, bool], cache: _Cache, parent: int, taken: tuple[bool, ...]) -> None:
        while place < len(self.units):
            unit = self.units[place]
            if asks := unknown(self.graph, unit, known):
                asking = self.decide(when_stage(self.graph, asks), cache, parent, taken)
                for outcome in product((True, False), repeat=len(asks)):
                    learnt = known | dict(zip(asks, outcome, strict=True))
                    self.go(place, learnt, cache.copy(), asking, outcome)
                return
            parent, taken = self.unit(unit, known, cache, parent, taken)
            place += 1

    def unit(
        self, unit: Unit, known: Mapping[str, bool], cache: _Cache, parent: int, taken: tuple[bool, ...]
    ) -> tuple[int, tuple[bool, ...]]:
        """Every run of an update or group; once two runs in a row do the same, so do all that follow."""
        repeats = max((u.repeat for u in unit.updates), default=1)
        run = 1
        while run <= repeats:
            stage = unit_stage(self.graph, unit, known, run)
            if stage is None:
                break
            parent, taken = self.decide(stage, cache, parent, taken), ()
            if run >= 3 and run < repeats - 1 and self.steady(run, parent):
                self.decisions[parent] = replace(self.decisions[parent], times=repeats - run)
                run = repeats - 1  # the last run is decided by itself: what it makes may be used later
            run += 1
        return parent, taken

    def steady(self, run: int, index: int) -> bool:
        now, before = self.decisions[index], self.decisions[index - 1]
        same = (now.evaluate, now.reuse, now.stale) == (before.evaluate, before.reuse, before.stale)
        return same and before.stage.run == run - 1 and len(now.stage.members) == len(before.stage.members)

    def decide(self, stage: Stage, cache: _Cache, parent: int, taken: tuple[bool, ...]) -> int:
        index = len(self.decisions)
        if stage.refresh.fetch:
            cache.made.clear()
        self.decisions.append(_decide(self.graph.nodes, self.networks, stage, cache, index, parent, taken))
        for network in stage.moves:
            cache.versions[network] = cache.version(network) + 1
        return index


def _decide(
    nodes: Mapping[str, Node],
    networks: Mapping[str, tuple[str, ...]],
    stage: Stage,
    cache: _Cache,
    index: int,
    parent: int,
    taken: tuple[bool, ...],
) -> Decision:
    members = stage.members
    statements = [n for n in slice_of(members) if nodes[n].is_statement]
    inputs = {n: [i for i in statement_inputs(nodes, n) if nodes[i].is_statement] for n in statements}
    guards = guards_of(nodes, members)
    carrying: frozenset[str] = frozenset().union(*(m.carrying for m in members))
    first = _first(stage, statements, guards, carrying, cache)
    again = _Again(nodes, networks, statements, inputs, cache, _cones(nodes, members)).closed(first, carrying)
    wanted = _wanted(nodes, members, again)
    evaluate = tuple(n for n in statements if n in again and n in wanted)
    reuse = tuple(n for n in statements if n not in again and n in wanted)
    stale = {n: _stepped_since(n, cache) for n in reuse}
    asked_again = (nodes[n].site for n in evaluate if nodes[n].stateful and n in cache.made)
    redraws = tuple(dict.fromkeys((*stage.refresh.sites, *asked_again)))
    for node in evaluate:
        _make(node, networks[node], inputs[node], stage, cache, index, guards.get(node, ()))
    used = {n: cache.made[n] for n in statements if n in cache.made}
    cache.carried |= {used[n].serial for n in carrying & used.keys()}
    return Decision(index, parent, stage, evaluate, reuse, used, stale, redraws, taken=taken)


def _make(
    node: str, networks: Sequence[str], inputs: Sequence[str], stage: Stage, cache: _Cache, index: int, guard: Guard
) -> None:
    cache.serial += 1
    before = cache.made.get(node)
    read = {i: cache.made[i].serial for i in inputs}
    followed = before is not None and any(cache.made[i].fresh and before.inputs.get(i) != read[i] for i in inputs)
    versions = {n: cache.version(n) for n in networks}
    fresh = node in stage.refresh.anew or followed
    local = any(node in m.cone - m.leaves or node in m.paths for m in stage.members)
    local |= any(u.microbatches > 1 for u in stage.updates)
    cache.made[node] = Instance(cache.serial, node, index, versions, read, guard, fresh, local)


def _first(
    stage: Stage, statements: Sequence[str], guards: Mapping[str, Guard], carrying: frozenset[str], cache: _Cache
) -> set[str]:
    """What is evaluated whatever else is: refreshed, missing, or without the graph that is needed."""
    again = set(stage.refresh.anew) & set(statements)
    again |= {s for s in statements if s not in cache.made or not _implied(cache.made[s].guard, guards.get(s, ()))}
    cached = [s for s in statements if s in cache.made and s in carrying]
    again |= {s for s in cached if cache.made[s].local or cache.made[s].serial in cache.carried}
    if any(u.microbatches > 1 for u in stage.updates):  # a graph of the whole batch cannot be differentiated in parts
        again |= carrying & set(statements)
    return again


def _cones(nodes: Mapping[str, Node], members: Sequence[Modes]) -> dict[str, frozenset[str]]:
    """For each ``grad(y, x)`` what is evaluated with it, because its graph is its own.

    Where x is a leaf, that is all between the two: what was made before has a graph that does not begin there.
    """
    found: dict[str, frozenset[str]] = {}
    for m in members:
        for grad, path in m.paths.items():
            kept = frozenset[str]() if nodes[grad].inputs[1] in m.leaves else m.carrying
            found[grad] = found.get(grad, frozenset()) | (path - m.leaves - kept)
    return found


@dataclass(frozen=True)
class _Again:
    """The nodes that the cache cannot serve."""

    nodes: Mapping[str, Node]
    networks: Mapping[str, tuple[str, ...]]
    statements: Sequence[str]
    inputs: Mapping[str, list[str]]
    cache: _Cache
    cones: Mapping[str, frozenset[str]]

    def closed(self, first: set[str], carrying: frozenset[str]) -> set[str]:
        """The smallest set around ``first`` that is closed under the snapshot rule."""
        again = set(first)
        live = {n for s in self.statements if s in carrying for n in self.networks[s]}
        changed = True
        while changed:
            before = len(again)
            for s in self.statements:
                if s not in again and (self.follows(s, again) or self.moved(s, live)):
                    again.add(s)
            for grad in again & self.cones.keys():
                again |= self.cones[grad].intersection(self.statements)
            again.update(self.mixed(live, again))
            changed = len(again) > before
        return again

    def follows(self, node: str, again: set[str]) -> bool:
        """Its input is evaluated again, or was since. A draw does not follow, a stateful op only what is refreshed."""
        made = self.cache.made[node]
        if self.nodes[node].kind == "draw":
            return False
        newer = [i for i in self.inputs[node] if i not in again and self.cache.made[i].serial != made.inputs.get(i)]
        if self.nodes[node].stateful:
            return any(self.cache.made[i].fresh for i in newer)
        return bool(newer) or any(i in again for i in self.inputs[node])

    def moved(self, node: str, live: set[str]) -> bool:
        """Its network is live and has stepped."""
        versions = self.cache.made[node].versions
        return any(n in live and self.cache.version(n) != versions[n] for n in self.networks[node])

    def mixed(self, live: set[str], again: set[str]) -> Iterator[str]:
        """Old values of a network beside one that must be evaluated: all of them are evaluated at one version."""
        for network in {n for s in self.statements for n in self.networks[s]} - live:
            calls = [s for s in self.statements if network in self.networks[s]]
            if any(s in again for s in calls):
                now = self.cache.version(network)
                yield from (s for s in calls if s not in again and self.cache.made[s].versions[network] != now)


def _wanted(nodes: Mapping[str, Node], members: Sequence[Modes], again: set[str]) -> set[str]:
    """What is read here: nothing above a reused value, unless something else reads it."""
    wanted: set[str] = set()
    stack = [r for m in members for r in m.roots]
    while stack:
        node = stack.pop()
        if node in wanted:
            continue
        wanted.add(node)
        reused = nodes[node].is_statement and node not in again
        if not reused:
            stack.extend(nodes[node].inputs)
    return wanted


def _stepped_since(node: str, cache: _Cache) -> tuple[str, ...]:
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
        stale.update(dict.fromkeys(n for n, v in made.versions.items() if cache.version(n) != v))
        stack.extend(made.inputs)
    return tuple(sorted(stale))


def _implied(made: Guard, wanted: Guard) -> bool:
    return wanted[: len(made)] == made


def guards_of(nodes: Mapping[str, Node], members: Sequence[Modes]) -> dict[str, Guard]:
    """The host tests under which each node is evaluated: what all its uses have in common."""
    found: dict[str, Guard] = {}
    stack: list[tuple[str, Guard]] = [(r, ()) for m in members for r in m.roots]
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
