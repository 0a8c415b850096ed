"""Experiment -> StepGraph.

    graph = schedule(ganflow.load("experiments/pix2pix.gin"))
    plan(graph, {"G": False})                  # the same step in an iteration that skips update G

In order: resolve names, prune zero terms, split losses into terms (``declare.py``), derive the gradient modes of each
update, decide by the snapshot rule what is evaluated and what reused, mark the edges that are cut, and free values
after their last use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product

from ganflow.actions import Context, evaluate, update_plan
from ganflow.checks import check_graph, raise_first_error
from ganflow.declare import declare
from ganflow.declared import check_declared, check_followers
from ganflow.experiment import Experiment
from ganflow.freeing import freed
from ganflow.graph import Action, Arm, Commit, Leaf, Phase, Reuse, StepGraph
from ganflow.reuse import Decision, decide
from ganflow.stages import slice_of


def schedule(experiment: Experiment, *, shared: Mapping[str, tuple[str, ...]] | None = None) -> StepGraph:
    """The step graph of one iteration.

    Args:
        shared: trained network or sub-module -> other networks that hold some of its tensors.

    Raises:
        GanflowError: for a declaration that would train on a wrong gradient or a part that is dead.
    """
    graph = build(experiment, shared=shared)
    raise_first_error(graph.diagnostics)
    return graph


def build(experiment: Experiment, *, shared: Mapping[str, tuple[str, ...]] | None = None) -> StepGraph:
    """Like :func:`schedule`, with errors that a check found as ``graph.diagnostics`` instead of raised."""
    raise_first_error(check_declared(experiment))
    graph = plan(declare(experiment, shared))
    found = (*experiment.diagnostics, *check_followers(experiment), *check_graph(graph, experiment))
    return replace(graph, diagnostics=found)


def plan(graph: StepGraph, active: Mapping[str, bool] | None = None) -> StepGraph:
    """The graph with the phases of an iteration in which these conditions are as given.

    Args:
        active: condition -> its value. Early ones that it leaves out hold; the others are decided on the way, in
            ``when`` phases, unless they are given.
    """
    known = {c.name: True for c in graph.conditions if c.early} | dict(active or {})
    decisions = decide(graph, known)
    children: dict[int, list[Decision]] = {}
    for d in decisions:
        children.setdefault(d.parent, []).append(d)
    context = Context(graph, decisions, children)
    phases = _sequence(context, children.get(-1, []))
    return replace(graph, phases=_collapsed(freed(graph, phases)), active=known)


def _sequence(c: Context, start: list[Decision]) -> tuple[Phase, ...]:
    """One phase after another, as far as it is known which."""
    phases: list[Phase] = []
    while start:
        decision = start[0]
        follow = c.children.get(decision.index, [])
        phase = _phase(c, decision)
        if decision.stage.asks:
            outcomes = product((True, False), repeat=len(decision.stage.asks))
            arms = (Arm(o, _sequence(c, [d for d in follow if d.taken == o])) for o in outcomes)
            return (*phases, replace(phase, arms=tuple(arms)))
        phases.append(phase)
        start = follow
    return tuple(phases)


def _phase(c: Context, decision: Decision) -> Phase:
    stage = decision.stage
    actions: list[Action] = []
    evaluated, reused = set(decision.evaluate), set(decision.reuse)
    leaves = {c.nodes[g].inputs[1] for m in stage.members for g in m.paths if g in evaluated}
    leaves &= {x for m in stage.members for x in m.leaves}
    for name in slice_of(stage.members):
        if name in evaluated:
            actions.append(evaluate(c, decision, name))
        elif name in reused:
            made_in = c.decisions[decision.instances[name].made_in].stage.name
            graph = any(name in m.carrying for m in stage.members)
            actions.append(Reuse(name, made_in, graph, decision.stale[name]))
        if name in leaves and (name in evaluated | reused or not c.nodes[name].is_statement):
            actions.append(Leaf(name))
    roots = dict.fromkeys(r for m in stage.members for r in m.roots)
    actions += [evaluate(c, decision, r) for r in roots if not c.nodes[r].is_statement]
    plans = tuple(update_plan(c, decision, k) for k in range(len(stage.updates)))
    return Phase(
        plans, tuple(actions), kind=stage.kind, run=stage.run, times=decision.times, fetch=stage.refresh.fetch,
        redraws=decision.redraws, redraw=stage.number if decision.redraws else 0,
        microbatches=max((u.microbatches for u in stage.updates), default=1),
        commits=tuple(Commit(s.name, s.next) for s in stage.states),
        averages=tuple(a.network for a in stage.averages), asks=stage.asks,
    )  # fmt: skip


def _collapsed(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """Runs of an update that do the same become one phase that says how often."""
    found: list[Phase] = []
    for phase in phases:
        arms = tuple(replace(arm, phases=_collapsed(arm.phases)) for arm in phase.arms)
        phase = replace(phase, arms=arms)
        before = found[-1] if found else None
        if before is not None and phase.run == before.run + before.times and _same(before, phase):
            found[-1] = replace(before, times=before.times + phase.times)
        else:
            found.append(phase)
    return tuple(found)


def _same(a: Phase, b: Phase) -> bool:
    numbered = {"run": 1, "times": 1, "redraw": 0}
    return b.run > 1 and a.updates and replace(a, **numbered) == replace(b, **numbered)  # type: ignore[arg-type,return-value]
