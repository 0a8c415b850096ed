"""Experiment -> StepGraph.

    graph = schedule(ganflow.load("experiments/pix2pix.gin"))

In order: resolve names, prune zero terms, split losses into terms, derive the gradient modes of each update, decide by
the snapshot rule what is evaluated and what reused, mark the edges that are cut, and free values after their last use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ganflow.checks import check_graph, check_supported, raise_first_error
from ganflow.experiment import Experiment, Reference, Text
from ganflow.graph import (
    Action,
    Edge,
    Evaluate,
    Free,
    Leaf,
    Mode,
    Node,
    Phase,
    Reuse,
    StepGraph,
    Term,
    UpdatePlan,
    edges,
    statement_inputs,
)
from ganflow.modes import Modes, carries, grad_path, modes_of, passes_gradient
from ganflow.resolve import resolve
from ganflow.reuse import Decision, Instance, decide
from ganflow.terms import prune, split


def schedule(experiment: Experiment) -> StepGraph:
    """The step graph of one iteration.

    Raises:
        GanflowError: for a declaration that would train on a wrong gradient or a part that is dead.
    """
    graph = build(experiment)
    raise_first_error(graph.diagnostics)
    return graph


def build(experiment: Experiment) -> StepGraph:
    """Like :func:`schedule`, with errors that a check found as ``graph.diagnostics`` instead of raised."""
    check_supported(experiment)
    pruned = prune(resolve(experiment), experiment)
    nodes = dict(pruned.program.nodes)
    roots = pruned.program.roots
    terms = {name: split(nodes, root, name) for name, root in roots.items()}
    groups = [tuple(u for u in group if u in pruned.updates) for group in experiment.schedule]
    groups = [g for g in groups if g]
    modes = [[modes_of(nodes, [roots[u]], _trained(experiment, u)) for u in group] for group in groups]
    steps = [sorted({n for u in group for n in _trained(experiment, u)}) for group in groups]
    decisions = decide(nodes, modes, steps)
    context = _Context(experiment, nodes, groups, modes, decisions, _could_carry(nodes, experiment))
    phases = [_phase(context, i, roots, terms) for i in range(len(groups))]
    graph = StepGraph(
        experiment.name, nodes, pruned.program.names, tuple(_free(nodes, phases)), _networks(experiment, nodes, modes),
        _optimizer_lines(experiment), pruned.pruned, _scheduled(experiment),
    )  # fmt: skip
    return replace(graph, diagnostics=(*experiment.diagnostics, *check_graph(graph, experiment, modes)))


@dataclass(frozen=True)
class _Context:
    experiment: Experiment
    nodes: Mapping[str, Node]
    groups: Sequence[tuple[str, ...]]
    modes: Sequence[Sequence[Modes]]
    decisions: Sequence[Decision]
    could_carry: frozenset[str]


def _trained(experiment: Experiment, update: str) -> frozenset[str]:
    return frozenset(t.split(".")[0] for t in experiment.updates[update].trains)


def _could_carry(nodes: Mapping[str, Node], experiment: Experiment) -> frozenset[str]:
    """Nodes with a trainable network upstream: reading one without gradient cuts something."""
    trainable = {n.name for n in experiment.networks.values() if n.trainable and not n.derived}
    found: set[str] = set()
    for root in nodes:  # inputs were added before their readers, or are found by the second pass
        _mark(nodes, root, trainable, found, set())
    return frozenset(found)


def _mark(nodes: Mapping[str, Node], root: str, trainable: set[str], found: set[str], seen: set[str]) -> None:
    stack = [(root, False)]
    while stack:
        name, done = stack.pop()
        node = nodes[name]
        if done:
            own = node.kind in ("call", "parameter", "op") and not node.stateful and set(node.networks) & trainable
            if own or any(i in found and passes_gradient(node, p) for p, i in enumerate(node.inputs)):
                found.add(name)
        elif name not in seen:
            seen.add(name)
            stack.append((name, True))
            stack.extend((i, False) for i in node.inputs)


def _phase(c: _Context, index: int, roots: Mapping[str, str], terms: Mapping[str, tuple[Term, ...]]) -> Phase:
    group, members, decision = c.groups[index], c.modes[index], c.decisions[index]
    actions: list[Action] = []
    leaves = {x for m in members for x in m.leaves}
    evaluated, reused = set(decision.evaluate), set(decision.reuse)
    for name in dict.fromkeys(n for m in members for n in m.slice):
        if name in evaluated:
            actions.append(_evaluate(c, index, name))
        elif name in reused:
            made = decision.instances[name]
            in_update = c.groups[made.phase][0] if len(c.groups[made.phase]) == 1 else _group_name(c.groups[made.phase])
            graph = any(name in m.carrying for m in members)
            actions.append(Reuse(name, in_update, graph, decision.stale[name]))
        if name in leaves and (name in evaluated | reused or not c.nodes[name].is_statement):
            actions.append(Leaf(name))
    plans = []
    for k, update in enumerate(group):
        if not c.nodes[roots[update]].is_statement:
            actions.append(_evaluate(c, index, roots[update]))
        plans.append(_update_plan(c, index, k, roots[update], terms[update]))
    return Phase(tuple(plans), tuple(actions))


def _group_name(group: Sequence[str]) -> str:
    return f"({', '.join(group)})"


def _uses(c: _Context, index: int, name: str) -> list[tuple[int, Modes]]:
    """(phase, modes) of every member that gets a graph through the instance of ``name`` made in phase ``index``."""
    made: Instance | None = c.decisions[index].instances.get(name)
    found = []
    for later in range(index, len(c.groups)):
        same = later == index or (made is not None and c.decisions[later].instances.get(name) is made)
        if same:
            found += [(later, m) for m in c.modes[later] if name in m.graph and name in m.slice]
    return found


def _evaluate(c: _Context, index: int, name: str) -> Evaluate:
    node, decision = c.nodes[name], c.decisions[index]
    uses = _uses(c, index, name)
    graph = bool(uses)
    kept_for = _kept_for(c, index, name, uses)
    instance = decision.instances.get(name)
    return Evaluate(
        name,
        _mode(c, index, node, graph),
        graph=graph,
        cut=_cut(c, node, [m for _, m in uses]),
        cone=_cone_edges(c, index, node),
        freezes=_freezes(c, node, [m for _, m in uses]),
        kept_for=kept_for,
        create_graph=node.kind == "grad" and graph,
        retain_graph=node.kind == "grad" and _keeps_path(c, index, name),
        guard=instance.guard if instance else (),
    )


def _kept_for(c: _Context, index: int, name: str, uses: Sequence[tuple[int, Modes]]) -> tuple[str, ...]:
    """Later updates that send gradient through the value made here."""
    later = [(p, m) for p, m in uses if p > index and name in m.carrying]
    return tuple(dict.fromkeys(u for p, m in later for u, n in zip(c.groups[p], c.modes[p], strict=True) if n is m))


_STRENGTH: dict[Mode, int] = {"train": 3, "through": 2, "cone": 1, "no-grad": 0}


def _mode(c: _Context, index: int, node: Node, graph: bool) -> Mode:
    if node.networks and node.kind in ("call", "op"):
        here = [m.call_mode(node) for m in c.modes[index] if node.id in m.slice]
        return max(here, key=lambda mode: _STRENGTH[mode], default="no-grad")
    return "graph" if graph else "no-grad"


def _cut(c: _Context, node: Node, uses: Sequence[Modes]) -> tuple[tuple[str, int], ...]:
    """Edges that could carry gradient and must not. The cut is drawn where the value is named."""
    if not uses:
        return ()
    found = []
    for edge in edges(c.nodes, node.id):
        reader = c.nodes[edge.reader]
        names_x = reader.kind == "grad" and edge.position == 1
        crosses = passes_gradient(reader, edge.position) and edge.source in c.could_carry and not names_x
        if crosses and not any(carries(m, c.nodes, edge) or _in_cone(m, edge) for m in uses):
            found.append((edge.reader, edge.position))
    return tuple(found)


def _in_cone(modes: Modes, edge: Edge) -> bool:
    return edge.reader in modes.cone and edge.source in modes.cone


def _cone_edges(c: _Context, index: int, node: Node) -> tuple[tuple[str, int], ...]:
    """Edges that read the leaf made of a value rather than the value; `grad` itself names the leaf."""
    found = []
    for m in c.modes[index]:
        for edge in edges(c.nodes, node.id):
            names_leaf = c.nodes[edge.reader].kind == "grad" and edge.position == 1
            if edge.source in m.leaves and (names_leaf or edge.reader in m.cone - m.leaves):
                found.append((edge.reader, edge.position))
    return tuple(dict.fromkeys(found))


def _freezes(c: _Context, node: Node, uses: Sequence[Modes]) -> tuple[str, ...]:
    if not uses:
        return ()
    differentiated = {c.nodes[x].target for m in uses for g in m.slice if c.nodes[g].kind == "grad"
                      for x in [c.nodes[g].inputs[1]] if c.nodes[x].kind == "parameter"}  # fmt: skip
    trained = {n for m in uses if node.id in m.carrying for n in m.trained} if not node.frozen else set()
    return tuple(n for n in node.networks if n not in trained | (differentiated if not node.frozen else set()))


def _keeps_path(c: _Context, index: int, grad: str) -> bool:
    """Is the graph between x and y needed after this `grad`?"""
    for m in c.modes[index]:
        if grad not in m.slice:
            continue
        path = {n for n in grad_path(c.nodes, m.slice, grad) if c.nodes[n].kind not in ("field", "parameter")}
        others = [g for g in m.slice if c.nodes[g].kind == "grad" and g != grad]
        if path & m.carrying or any(path & grad_path(c.nodes, m.slice, g) for g in others):
            return True
    return False


def _update_plan(c: _Context, index: int, k: int, root: str, terms: tuple[Term, ...]) -> UpdatePlan:
    group, members = c.groups[index], c.modes[index]
    update = c.experiment.updates[group[k]]
    mine = members[k]
    shared = any(
        c.nodes[n].kind not in ("network", "parameter")
        for later in members[k + 1 :]
        for n in mine.carrying & later.carrying
    )
    through = (c.nodes[n] for n in mine.slice if c.nodes[n].kind == "call" and mine.call_mode(c.nodes[n]) == "through")
    freezes = tuple(dict.fromkeys(n.target for n in through))
    return UpdatePlan(
        update.name, update.trains, freezes, terms, root, update.gain, shared,
        steps=tuple(dict.fromkeys(t.split(".")[0] for t in update.trains)), own_optimizer=update.optimizer is not None,
        clip_norm=update.clip_norm, clip_value=update.clip_value, nan_to_num=update.nan_to_num,
        location=update.location,
    )  # fmt: skip


def _networks(experiment: Experiment, nodes: Mapping[str, Node], modes: Sequence[Sequence[Modes]]) -> tuple[str, ...]:
    read = {n for group in modes for m in group for s in m.slice for n in nodes[s].networks}
    read |= {n for group in modes for m in group for n in m.trained}
    return tuple(n for n in experiment.networks if n in read)


def _optimizer_lines(experiment: Experiment) -> dict[str, str]:
    lines = {}
    for network in experiment.networks.values():
        if network.optimizer is not None and not network.derived:
            lr = network.optimizer.arguments.get("lr")
            shown = "" if lr is None else f" lr {getattr(lr, 'source', lr)}"
            lines[network.name] = f"{network.optimizer.name}{shown}"
    return lines


def _scheduled(experiment: Experiment) -> tuple[str, ...]:
    return tuple(
        n.name for n in experiment.networks.values()
        if n.optimizer is not None and any(_changes(v) for v in n.optimizer.arguments.values())
    )  # fmt: skip


def _changes(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_changes, value))
    return isinstance(value, (Text, Reference))


# -- freeing ------------------------------------------------------------------------------------------------


def _free(nodes: Mapping[str, Node], phases: Sequence[Phase]) -> list[Phase]:
    """Drop every value right after its last use; what is logged or differentiated lives to the end of its phase."""
    last = _last_uses(nodes, phases)
    freed = []
    for index, phase in enumerate(phases):
        actions: list[Action] = []
        ends: list[str] = []
        for position, action in enumerate(phase.actions):
            actions.append(action)
            done = tuple(n for n, at in last.items() if at == (index, position))
            if done:
                actions.append(Free(done))
        ends = [n for n, at in last.items() if at == (index, len(phase.actions))]
        freed.append(replace(phase, actions=tuple(actions), frees=tuple(ends)))
    return freed


def _last_uses(nodes: Mapping[str, Node], phases: Sequence[Phase]) -> dict[str, tuple[int, int]]:
    last: dict[str, tuple[int, int]] = {}
    for index, phase in enumerate(phases):
        end = len(phase.actions)
        for position, action in enumerate(phase.actions):
            match action:
                case Evaluate(node=node, guard=guard):
                    reads = [i for i in statement_inputs(nodes, node) if nodes[i].is_statement]
                    for name in reads:
                        last[name] = (index, end if guard else position)
                    if nodes[node].is_statement:
                        last[node] = (index, end if guard else position)
                case Leaf(node=node) if nodes[node].is_statement:
                    last[node] = (index, position)
        for update in phase.updates:
            for name in [update.loss, *(t.node for t in update.terms)]:
                if nodes[name].is_statement:
                    last[name] = (index, end)
    return last
