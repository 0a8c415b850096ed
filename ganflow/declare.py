"""Experiment -> StepGraph without phases: what is declared, over resolved nodes.

graph = declare(experiment)
graph.groups              # (("D",), ("G",)) as UpdatePlans; states, averages and conditions beside them
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ganflow.errors import GanflowError
from ganflow.experiment import Experiment, Optimizer, Reference, State, Text, Update
from ganflow.graph import (
    Average,
    Condition,
    NetworkPlan,
    Node,
    Pruned,
    StatePlan,
    StepGraph,
    UpdatePlan,
    in_order,
)
from ganflow.resolve import Program, beta_key, first_values, next_key, resolve, state_when_key, when_key
from ganflow.terms import prune, split


def declare(experiment: Experiment, shared: Mapping[str, tuple[str, ...]] | None = None) -> StepGraph:
    """Names resolved, zero terms pruned, losses split into terms.

    Args:
        shared: trained network or sub-module -> other networks that hold some of its tensors.
    """
    found = prune(resolve(experiment), experiment)
    first_values(experiment)  # said now, not when a step is built
    nodes = dict(found.program.nodes)
    updates = {name: _update(experiment, nodes, name, root, shared or {}) for name, root in found.program.roots.items()}
    groups = [tuple(updates[u] for u in group if u in found.updates) for group in experiment.schedule]
    kept = [u.name for g in groups for u in g]
    states, dropped = _states(experiment, found.program, kept)
    conditions = tuple(_conditions(experiment, found.program, nodes, groups, states))
    read = [u.loss for g in groups for u in g] + [s.next for s in states] + [c.node for c in conditions]
    networks = _networks(experiment, nodes, read, [u for g in groups for u in g])
    return StepGraph(
        experiment.name, nodes, found.program.names, (), networks,
        optimizers=_optimizer_lines(experiment, kept), pruned=(*found.pruned, *dropped),
        scheduled=_scheduled(experiment, kept), groups=tuple(g for g in groups if g), states=tuple(states),
        averages=tuple(_averages(experiment, found.program, networks)),
        conditions=conditions,
        plans={n: _network(experiment, n) for n in (*networks, *(m for m in experiment.networks if m in nodes))},
        shared=dict(shared or {}),
    )  # fmt: skip


def _update(
    experiment: Experiment, nodes: dict[str, Node], name: str, root: str, shared: Mapping[str, tuple[str, ...]]
) -> UpdatePlan:
    update = experiment.updates[name]
    trained = dict.fromkeys(t.split(".")[0] for t in update.trains)
    own = update.optimizer is not None
    return UpdatePlan(
        name, update.trains, (), split(nodes, root, name), root, update.gain,
        steps=(own_key(experiment, name),) if own else tuple(trained), own_optimizer=own,
        clip_norm=update.clip_norm, clip_value=update.clip_value, nan_to_num=update.nan_to_num,
        moves=tuple(dict.fromkeys((*trained, *(n for t in update.trains for n in shared.get(t, ()))))),
        repeat=update.repeat, fresh=update.fresh, repeat_fresh=update.repeat_fresh, microbatches=update.microbatches,
        location=update.location,
    )  # fmt: skip


def own_key(experiment: Experiment, update: str) -> str:
    """The key of an update's own optimizer; a network of that name has one of its own."""
    return f"{update}/Update" if update in experiment.networks else update


def _states(experiment: Experiment, program: Program, kept: list[str]) -> tuple[list[StatePlan], list[Pruned]]:
    states, dropped = [], []
    for state in experiment.states.values():
        if state.next is None:
            continue
        if state.after is not None and state.after not in kept:
            dropped.append(_orphan(experiment, state))
            continue
        node = program.others[next_key(experiment, state.name)]
        init = getattr(state.init, "source", state.init)
        states.append(StatePlan(state.name, init, node, state.after or "", state.location))
    return states, dropped


def _orphan(experiment: Experiment, state: State) -> Pruned:
    if state.after not in experiment.updates:
        raise GanflowError(
            f"the state {state.name} is committed after `{state.after}`, which is not an update",
            location=state.where.get("after", state.location), code="unknown-name",
            hint=f"updates: {', '.join(experiment.updates)}",
        )  # fmt: skip
    return Pruned("state", state.name, f"update {state.after} is not run: it keeps its first value")


def _averages(experiment: Experiment, program: Program, networks: tuple[str, ...]) -> Iterator[Average]:
    for n in experiment.networks.values():
        if n.ema_of is not None and n.name in networks:
            yield Average(n.name, n.ema_of, program.others[beta_key(n.name)], n.ema_buffers)


def _conditions(
    experiment: Experiment,
    program: Program,
    nodes: Mapping[str, Node],
    groups: list[tuple[UpdatePlan, ...]],
    states: list[StatePlan],
) -> Iterator[Condition]:
    """In the order in which they are needed; early where nothing that they read changes before."""
    committed: set[str] = set()
    for group in groups:
        names = [u.name for u in group]
        after = [s for s in states if s.after in names]
        for key, name in [(when_key(u), u) for u in names] + _state_keys(experiment, after):
            if key in program.others:
                yield _condition(nodes, name, program.others[key], committed)
        committed |= {s.name for s in after}
    for key, name in _state_keys(experiment, [s for s in states if not s.after]):
        if key in program.others:
            yield _condition(nodes, name, program.others[key], committed)


def _state_keys(experiment: Experiment, states: list[StatePlan]) -> list[tuple[str, str]]:
    return [(state_when_key(experiment, s.name), state_condition(s.name)) for s in states]


def state_condition(state: str) -> str:
    """The name of the condition under which a state is committed."""
    return f"{state}/State"


def _condition(nodes: Mapping[str, Node], name: str, node: str, committed: set[str]) -> Condition:
    parts = [nodes[n] for n in in_order(nodes, [node])]
    reads = {n.target for n in parts if n.kind == "state"}
    tensors = any(n.kind in ("field", "parameter", "network", "call", "draw") or n.site for n in parts)
    return Condition(name, node, early=not tensors and not reads & committed, syncs=tensors or bool(reads))


def _network(experiment: Experiment, name: str) -> NetworkPlan:
    n = experiment.networks[name]
    derived = "ema" if n.ema_of is not None else "unroll" if n.unroll_of is not None else ""
    clamp = None if n.clamp is None else (float(n.clamp[0]), float(n.clamp[1]))
    return NetworkPlan(n.trainable and not derived, derived, clamp, n.buffers_in)


def _networks(
    experiment: Experiment, nodes: Mapping[str, Node], roots: list[str], updates: list[UpdatePlan]
) -> tuple[str, ...]:
    """Networks that something reads, those that are trained, and those that follow one of them."""
    read = {n for s in in_order(nodes, roots) for n in nodes[s].networks}
    read |= {n for u in updates for n in u.networks}
    following = {n.name for n in experiment.networks.values() if n.ema_of in read}
    betas = [beta_key(n) for n in following if beta_key(n) in nodes]
    read |= {n for s in in_order(nodes, betas) for n in nodes[s].networks}
    read |= {experiment.networks[n].ema_of or n for n in read}
    return tuple(n.name for n in experiment.networks.values() if n.name in read | following and n.unroll_of is None)


# -- optimizers ---------------------------------------------------------------------------------------------


def _owned(experiment: Experiment, kept: list[str]) -> Iterator[tuple[str, Optimizer]]:
    """Every optimizer by its key."""
    for network in experiment.networks.values():
        if network.optimizer is not None and not network.derived:
            yield network.name, network.optimizer
    for name in kept:
        own: Update = experiment.updates[name]
        if own.optimizer is not None:
            yield own_key(experiment, name), own.optimizer


def _optimizer_lines(experiment: Experiment, kept: list[str]) -> dict[str, str]:
    lines = {}
    for key, optimizer in _owned(experiment, kept):
        lr = optimizer.arguments.get("lr")
        lines[key] = optimizer.name + ("" if lr is None else f" lr {getattr(lr, 'source', lr)}")
    return lines


def _scheduled(experiment: Experiment, kept: list[str]) -> tuple[str, ...]:
    return tuple(k for k, o in _owned(experiment, kept) if any(_changes(v) for v in o.arguments.values()))


def _changes(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return any(map(_changes, value))
    return isinstance(value, (Text, Reference))
