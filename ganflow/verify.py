"""What every plan must satisfy, whoever made it: an executable specification (step_graph.md).

    verify(graph)                 # raises AssertionError, and says which rule which phase breaks

It walks every way through the iteration and keeps only what execution would have: which values are there, with or
without a graph, at which version of the networks they were made of. These rules are its own. A plan that breaks none
of them has to be, besides, the one that follows from what the graph declares: the language leaves no choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from ganflow.declare import state_condition
from ganflow.graph import (
    Evaluate,
    Free,
    Leaf,
    Node,
    Phase,
    Reuse,
    StepGraph,
    UpdatePlan,
    ancestors,
    edges,
    in_order,
    read_networks,
    statement_inputs,
)
from ganflow.modes import Modes, carries, modes_of, passes_gradient
from ganflow.nodes import WEIGHTS
from ganflow.scheduler import plan


@dataclass(frozen=True)
class _Value:
    """A value that exists: with a graph, made at these versions of all networks upstream, after which it is kept."""

    graph: bool
    versions: Mapping[str, int]
    kept_for: tuple[str, ...] = ()


@dataclass
class _Now:
    """What exists at one point of one way through the iteration."""

    values: dict[str, _Value] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    differentiated: set[str] = field(default_factory=set)  # values whose graph a backward pass has freed
    reaching: frozenset[str] = frozenset()  # values from which gradient could reach a weight; always the same

    def copy(self) -> _Now:
        return _Now(dict(self.values), dict(self.versions), set(self.differentiated), self.reaching)


def verify(graph: StepGraph) -> None:
    """Check the rules of a plan.

    Raises:
        AssertionError: for a plan that is not one; this is a fault of whoever made it, not of the user.
    """
    _check_nodes(graph)
    used: dict[tuple[str, tuple[str, ...]], bool] = {}
    _walk(graph, graph.phases, _Now(reaching=_reaching_weights(graph)), used)
    for (name, updates), was_used in used.items():
        assert was_used, f"the graph of {name} is kept for {', '.join(updates)}, which never uses it"
    _check_declared(graph)


def _check_declared(graph: StepGraph) -> None:
    """What the graph says of itself agrees, and nothing else could have been planned of it."""
    known = {*graph.networks, *graph.plans}
    called = {n for u in graph.updates for i in ancestors(graph.nodes, [u.loss]) for n in graph.nodes[i].networks}
    assert called <= known, f"networks are called that are not in the plan: {sorted(called - known)}"
    for update in graph.updates:
        _check_update(graph, update)
    for average in graph.averages:
        assert average.source in known and average.network in known, f"{average.network} follows a stranger"
        assert average.buffers in ("copy", "average", "own"), f"{average.network} has {average.buffers} buffers"
    owners = {u.name for u in graph.updates} | {state_condition(s.name) for s in graph.states}
    strangers = [c.name for c in graph.conditions if c.name not in owners]
    assert not strangers, f"conditions of nothing: {strangers}"
    planned = plan(graph, graph.active).phases
    pairs = zip_longest(graph.phases, planned)
    where = next((f"{(a or b).name}" for a, b in pairs if a != b and (a or b)), "")
    assert graph.phases == planned, f"{where} is not what the graph declares"


def _check_update(graph: StepGraph, update: UpdatePlan) -> None:
    inside = f"in update {update.name}"
    trained = set(update.networks)
    assert trained <= set(update.moves), f"{inside} {sorted(trained - set(update.moves))} is trained and does not move"
    for network in trained & graph.plans.keys():
        plan_of = graph.plans[network]
        assert plan_of.trainable and not plan_of.derived, f"{inside} {network} is trained and not trainable"
    if update.own_optimizer:
        assert update.steps == (update.name,), f"{inside} {update.steps} step instead of its own optimizer"
    else:
        assert set(update.steps) <= set(update.moves), f"{inside} {update.steps} step, and {update.moves} move"
        assert trained <= set(update.steps), (
            f"{inside} {sorted(trained - set(update.steps))} is trained and does not step"
        )
    inputs = ancestors(graph.nodes, [update.loss])
    strangers = [t.name for t in update.terms if t.node not in inputs]
    assert update.terms and not strangers, f"{inside} the terms are not those of its loss: {strangers}"


def _check_nodes(graph: StepGraph) -> None:
    for name, node in graph.nodes.items():
        assert node.id == name, f"node {name} calls itself {node.id}"
        assert all(i in graph.nodes for i in node.inputs), f"{name} reads a node that does not exist"
    assert len(in_order(graph.nodes, graph.nodes)) == len(graph.nodes)
    for name, node_id in graph.names.items():
        assert node_id in graph.nodes, f"the definition {name} has no node"


def _walk(graph: StepGraph, phases: Sequence[Phase], now: _Now, used: dict[tuple[str, tuple[str, ...]], bool]) -> None:
    for place, phase in enumerate(phases):
        assert phase.times >= 1, f"{phase.name} runs {phase.times} times"
        for _ in range(min(phase.times, 2)):  # the second run of a loop sees what the first has left
            _phase(graph, phase, now, used)
        if phase.arms:
            assert place == len(phases) - 1, f"something follows the arms of {phase.name}"
            assert len({a.active for a in phase.arms}) == len(phase.arms) == 2 ** len(phase.asks)
            for arm in phase.arms:
                inside = now.copy()
                _free(inside, arm.frees, phase)
                _walk(graph, arm.phases, inside, used)
            return
    assert not now.values, f"never freed: {', '.join(now.values)}"


def _phase(graph: StepGraph, phase: Phase, now: _Now, used: dict[tuple[str, tuple[str, ...]], bool]) -> None:
    inside = f"in {phase.name}"
    modes = _modes(graph, phase)
    for action in phase.actions:
        match action:
            case Evaluate():
                _evaluate(graph, action, phase, modes, now, used)
            case Reuse(node=node, graph=with_graph, stale=stale):
                assert node in now.values, f"{inside} {node} is reused but not there"
                _check_reuse(graph, node, with_graph, stale, phase, modes, now, used)
            case Leaf(node=node):
                assert node in now.values or not graph.nodes[node].is_statement, f"{inside} a leaf is made of nothing"
            case Free(nodes=nodes):
                _free(now, nodes, phase)
    for update in phase.updates:
        _backward(graph, update, phase, now)
    for root in [c.node for c in phase.commits] + [c.node for c in graph.conditions if c.name in phase.asks]:
        _check_read(graph.nodes, root, now, inside)
    if phase.microbatches > 1:  # what parts made is gone with them, unless it was put together
        made = {a.node for a in phase.evaluations} & now.values.keys()
        now.values = {n: v for n, v in now.values.items() if n not in made or n in phase.merged}
    _free(now, phase.frees, phase)
    for network in phase.moves:
        now.versions[network] = now.versions.get(network, 0) + 1


def _evaluate(
    graph: StepGraph, action: Evaluate, phase: Phase, modes: Sequence[Modes], now: _Now,
    used: dict[tuple[str, tuple[str, ...]], bool],
) -> None:  # fmt: skip
    node = graph.nodes[action.node]
    _check_read(graph.nodes, node.id, now, f"in {phase.name}", own=False)
    for reader, position in (*action.cut, *action.cone):
        source = graph.nodes[reader].inputs[position]
        here = {(e.reader, e.position) for e in edges(graph.nodes, node.id)}
        assert (reader, position) in here, f"in {phase.name} {node.id} cuts {source}, which does not enter it"
    for edge in edges(graph.nodes, node.id):
        if edge.source in now.values and any(carries(m, graph.nodes, edge) for m in modes):
            _check_passes(graph.nodes, edge.source, now, f"in {phase.name}")
    _check_gradient(graph, action, [*modes, *_kept_for(graph, action)], now.reaching, f"in {phase.name} {node.id}")
    if not node.is_statement:
        return
    versions = {n: now.versions.get(n, 0) for n in read_networks(graph.nodes, node.id)}
    for i in statement_inputs(graph.nodes, node.id):
        if i in now.values:
            versions = {**now.values[i].versions, **versions}
    now.values[node.id] = _Value(action.graph, versions, action.kept_for)
    now.differentiated.discard(node.id)
    if action.kept_for:
        assert action.graph, f"in {phase.name} {node.id} is kept with a graph that it does not have"
        used.setdefault((node.id, action.kept_for), False)


def _kept_for(graph: StepGraph, action: Evaluate) -> list[Modes]:
    updates = [u for g in graph.groups for u in g if u.name in action.kept_for]
    return [modes_of(graph.nodes, [u.loss], frozenset(u.moves)) for u in updates]


def _check_gradient(
    graph: StepGraph, action: Evaluate, users: Sequence[Modes], reaching: frozenset[str], what: str
) -> None:
    """Gradient enters a value where an update sends it, and nowhere else; weights get it that are trained."""
    if not action.graph:
        assert not action.freezes and not action.cut, f"{what} has no graph to cut or freeze"
        return
    nodes = graph.nodes
    node = nodes[action.node]
    users = [m for m in users if node.id in m.graph]
    assert users or node.networks, f"{what} has a graph, and no update sends gradient through it"
    named = {nodes[nodes[g].inputs[1]].target for m in users for g in m.paths}  # of which a `grad` names parameters
    trained = {n for m in users if node.id in m.carrying for n in m.trained}
    if not node.frozen and not named & set(node.networks):
        frozen = set(node.networks) - trained
        assert set(action.freezes) == frozen, f"{what} freezes {list(action.freezes)}, not {sorted(frozen)}"
    for edge in edges(nodes, node.id):
        reader = nodes[edge.reader]
        sent = any(carries(m, nodes, edge) for m in users)
        inner = (
            any({edge.reader, edge.source} <= path for m in users for path in m.paths.values()) or reader.kind == "grad"
        )
        cut = (edge.reader, edge.position) in action.cut
        assert not (cut and sent), f"{what} cuts {edge.source}, through which gradient has to pass"
        if passes_gradient(reader, edge.position) and edge.source in reaching and not inner:
            assert cut or sent, f"{what} lets gradient into {edge.source}, where no update sends it"


def _reaching_weights(graph: StepGraph) -> frozenset[str]:
    """Values from which gradient could reach a weight that may be trained."""
    return modes_of(graph.nodes, graph.nodes, {n for n, p in graph.plans.items() if p.trainable}).needs


def _check_reuse(
    graph: StepGraph, node: str, with_graph: bool, stale: tuple[str, ...], phase: Phase, modes: Sequence[Modes],
    now: _Now, used: dict[tuple[str, tuple[str, ...]], bool],
) -> None:  # fmt: skip
    value = now.values[node]
    moved = tuple(sorted(n for n, v in value.versions.items() if now.versions.get(n, 0) != v))
    assert moved == tuple(sorted(stale)), f"in {phase.name} {node} is said to be from before {stale}, not {moved}"
    if with_graph:
        assert value.graph, f"in {phase.name} {node} is reused with a graph that it does not have"
        assert node not in now.differentiated, f"in {phase.name} the graph of {node} is gone"
        upstream = ancestors(graph.nodes, [node])  # the graph of a value is that of all it is made of
        passed = {n for m in modes for a in upstream & m.carrying for n in graph.nodes[a].networks}
        through = sorted(passed & set(moved))
        assert not through, f"in {phase.name} gradient passes {node}, whose networks {through} have stepped"
        for key in used:
            if key[0] in upstream and {u.name for u in phase.updates} & set(key[1]):
                used[key] = True


def _check_read(nodes: Mapping[str, Node], root: str, now: _Now, inside: str, own: bool = True) -> None:
    reads = [root] if own and nodes[root].is_statement else statement_inputs(nodes, root)
    for name in reads:
        if nodes[name].is_statement:
            assert name in now.values, f"{inside} {root} reads {name}, which is not there"


def _backward(graph: StepGraph, update: UpdatePlan, phase: Phase, now: _Now) -> None:
    inside = f"in update {update.name}"
    _check_read(graph.nodes, update.loss, now, inside)
    modes = modes_of(graph.nodes, [update.loss], frozenset(update.moves))
    reached = {n for s in modes.carrying for n in graph.nodes[s].networks if not graph.nodes[s].frozen}
    for network in update.networks:
        parts = [t for t in update.trains if t.split(".")[0] == network]
        holders = {network, *(n for t in parts for n in graph.shared.get(t, ()))}
        assert reached & holders, f"{inside} {network} is trained and gets no gradient"
    for name in modes.carrying & now.values.keys():
        _check_passes(graph.nodes, name, now, inside)
    later = phase.updates[phase.updates.index(update) + 1 :]
    if not update.retain_graph:
        others = [modes_of(graph.nodes, [u.loss], frozenset(u.moves)).carrying for u in later]
        shared = {n for o in others for n in o & modes.carrying if graph.nodes[n].kind not in WEIGHTS}
        assert not shared, f"{inside} the graph of {', '.join(sorted(shared))} is not retained for a later member"
    if update is phase.updates[-1]:
        all_carrying = [modes_of(graph.nodes, [u.loss], frozenset(u.moves)).carrying for u in phase.updates]
        now.differentiated |= set().union(*all_carrying) & now.values.keys()
    assert update.steps, f"{inside} nothing steps"
    assert ancestors(graph.nodes, [update.loss]), inside


def _modes(graph: StepGraph, phase: Phase) -> list[Modes]:
    """Of its updates, and of what it evaluates besides: next values, averages' betas, predicates."""
    besides = [c.node for c in phase.commits] + [a.beta for a in graph.averages if a.network in phase.averages]
    besides += [c.node for c in graph.conditions if c.name in phase.asks]
    members = [modes_of(graph.nodes, [u.loss], frozenset(u.moves)) for u in phase.updates]
    return [*members, modes_of(graph.nodes, (), frozenset(), besides)]


def _check_passes(nodes: Mapping[str, Node], name: str, now: _Now, inside: str) -> None:
    """Gradient can pass this value: it has a graph, which is whole, of networks as they are."""
    assert now.values[name].graph, f"{inside} gradient passes {name}, which has no graph"
    assert name not in now.differentiated, f"{inside} the graph of {name} is gone"
    own = read_networks(nodes, name)
    moved = [n for n in own if now.values[name].versions[n] != now.versions.get(n, 0)]
    assert not moved, f"{inside} gradient passes {name}, whose networks {moved} have stepped"


def _free(now: _Now, names: Sequence[str], phase: Phase) -> None:
    for name in names:
        assert name in now.values, f"in {phase.name} {name} is freed but not there"
        del now.values[name]
