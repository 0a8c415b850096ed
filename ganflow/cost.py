"""Shapes and FLOPs of a step, measured on meta tensors: nothing is allocated and nothing is computed.

    cost = measure(experiment, schedule(experiment), batch_size=8)
    cost.values["D", "fake_B"]        # Value(shape='8×3×256×256', flops=96_800_000_000)
    cost.updates["G"]                 # FLOPs of update G, forward and backward
    cost.textbook                     # what hand-written code without freezing would have cost

The generated step itself runs, on meta tensors and under torch's FLOP counter, so a plan that does less costs less.
FLOPs are torch's: two per multiply-add of convolutions and matrix products, nothing for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ganflow import build
from ganflow.codegen import generate
from ganflow.errors import GanflowError
from ganflow.experiment import Diagnostic, Experiment
from ganflow.graph import StepGraph, ancestors
from ganflow.meta import Flops
from ganflow.printing import BEFORE_BACKWARD
from ganflow.quantities import count_text
from ganflow.running import compile_step
from ganflow.scheduler import plan
from ganflow.spending import Ledger, Spent, tensors
from ganflow.step import TrainStep, namespace
from ganflow.traits import Traits

_UNTRACEABLE = re.compile(r"\bmeta\b|data-dependent|FakeTensor", re.IGNORECASE)  # how torch speaks of that device


@dataclass(frozen=True)
class Value:
    """Shape as text and forward FLOPs of one value in one update."""

    shape: str
    flops: int


@dataclass(frozen=True)
class Cost:
    """What a step costs.

    Args:
        values: (phase, node) -> shape and forward FLOPs.
        updates: update -> FLOPs, forward and backward; what a group shares counts for its first member.
        spent: (phase, value) -> FLOPs of its forward and of the backward passes of that phase, and its bytes.
        textbook: FLOPs of the same step when every backward reaches every parameter.
        textbook_spent: the same as ``spent`` of that step.
        parameters: network -> number of parameters.
        notes: what could not be measured, and why.
        errors: shapes that do not fit.
        traits: what the values showed of themselves.
    """

    values: Mapping[tuple[str, str], Value] = field(default_factory=dict)
    updates: Mapping[str, int] = field(default_factory=dict)
    spent: Mapping[tuple[str, str], Spent] = field(default_factory=dict)
    textbook: int = 0
    textbook_spent: Mapping[tuple[str, str], Spent] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[Diagnostic, ...] = ()
    errors: tuple[Diagnostic, ...] = ()
    traits: Traits = field(default_factory=Traits)

    @property
    def total(self) -> int:
        return sum(self.updates.values())


def measure(
    experiment: Experiment,
    graph: StepGraph,
    *,
    batch_size: int | None = None,
    networks: Mapping[str, nn.Module] | None = None,
    active: Mapping[str, bool] | None = None,
) -> Cost:
    """Run the generated step on meta tensors.

    Args:
        batch_size: by default ``Trainer.batch_size``.
        networks: on the meta device, where they are built already.
        active: condition -> its value in the iteration that is measured; those left out hold.
    """
    if experiment.fields is None or any(f.shape is None for f in experiment.fields.values()):
        note = Diagnostic("note", "no-shapes", "no shapes: the experiment has no dataset that declares them")
        return Cost(notes=(note,))
    size = int(experiment.trainer.get("batch_size", 1)) if batch_size is None else batch_size  # type: ignore[call-overload]
    batch = {
        f.name: torch.empty((size, *(f.shape or ())), dtype=getattr(torch, f.dtype), device="meta")
        for f in experiment.fields.values()
    }
    if networks is None:
        declared = (n for n in graph.networks if not experiment.networks[n].derived)
        networks = {n: build.network(experiment, n, device="meta") for n in declared}
    parameters: dict[str, int] = {}
    try:
        step = TrainStep(experiment, [batch], networks=networks, random=MetaRandom(), device="meta", graph=graph)
        graph = plan(graph, {c.name: True for c in graph.conditions if c.early})
        parameters = {n: sum(p.numel() for p in m.parameters()) for n, m in step.networks.items()}
        graph = plan(graph, {**graph.active, **(active or {})})
        found = _run(step, graph, textbook=False)
        textbook = _run(step, graph, textbook=True)
    except GanflowError as error:
        finding = finding_of(error)
        known = {"notes": (finding,)} if finding.level == "note" else {"errors": (finding,)}
        return Cost(parameters=parameters, **known)  # type: ignore[arg-type]
    for name, value in batch.items():
        found.traits.see(name, value)
    return replace(found, textbook=textbook.total, textbook_spent=textbook.spent, parameters=parameters)


def finding_of(error: GanflowError) -> Diagnostic:
    """An error on the meta device: a note where only that device is the reason."""
    if _UNTRACEABLE.search(error.message):
        message = f"shapes and cost are unknown: {error.message}"
        return Diagnostic(
            "note", "untraceable", message, error.location, "it runs all the same; its cost is not counted"
        )
    code = "shape" if error.code in ("", "step") else error.code
    return Diagnostic("error", code, error.message, error.location, error.hint)


def _run(step: TrainStep, graph: StepGraph, *, textbook: bool) -> Cost:
    values: dict[tuple[str, str], Value] = {}
    traits = Traits()
    updates: dict[str, int] = {u.name: 0 for u in graph.updates}
    counter = Flops()
    owners = _owners(graph)
    seen = 0
    batch = step._next_batch(first=True)
    ledger = Ledger(graph, counter, [*tensors(batch), *_weights(step)])

    def observe(phase: str, node: str, value: object) -> None:
        nonlocal seen
        spent, seen = counter.total - seen, counter.total
        update = phase if phase in updates else owners.get((phase, node), next(iter(updates)))
        updates[update] += spent
        if node not in ("backward", BEFORE_BACKWARD):
            values[phase, node] = Value(shape_of(value), spent)
            traits.see(node, value)
        ledger.observe(phase, node, value)

    space = namespace(step, graph) | {
        "observe": observe, "optimizers": {k: _Clears(o) for k, o in step.optimizers.items()},
        "set_hyperparameters": _nothing, "clip_gradients": _nothing, "clamp_weights": _nothing, "follow": _nothing,
        "bool": _holds,
    }  # fmt: skip
    run = compile_step(graph, generate(graph, observe=True, textbook=textbook), space)
    with counter, ledger:
        run(batch, step.counters, False)
    for parameter in (p for network in step.networks.values() for p in network.parameters()):
        parameter.grad = None
    return Cost(values, updates, ledger.spent, traits=traits)


def _weights(step: TrainStep) -> Iterator[Tensor]:
    """What a network holds whether or not it runs."""
    for network in step.networks.values():
        yield from network.parameters()
        yield from network.buffers()


def _owners(graph: StepGraph) -> dict[tuple[str, str], str]:
    """(group, node) -> the first of its members that the node is evaluated for."""
    found: dict[tuple[str, str], str] = {}
    for phase in graph.walk():
        for update in phase.updates:
            for node in ancestors(graph.nodes, [update.loss]):
                found.setdefault((phase.name, node), update.name)
    return found


def _nothing(*_: object, **__: object) -> None:
    """An optimizer's arithmetic, clipping and averaging are not counted."""


def _holds(_: object) -> bool:
    """Every condition does: nothing can be decided on meta tensors."""
    return True


class _Clears:
    """An optimizer that only clears gradients."""

    def __init__(self, optimizer: Any) -> None:
        self.param_groups = optimizer.param_groups

    step = _nothing


class MetaRandom:
    """Draws of the right shape that hold nothing."""

    def draw(self, site: str, kind: str, *args: Any, **kwargs: Any) -> Any:
        """What ``SeededRandom.draw`` gives, on the meta device."""
        if kind in ("randn", "uniform"):
            shape = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
            return torch.empty(*shape, device="meta")
        if kind in ("randint", "perm"):
            return torch.empty(args[0] if args else kwargs["n"], dtype=torch.int64, device="meta")
        if kind == "perm_like":
            if isinstance(args[0], (list, tuple)):
                return [self.draw(site, kind, x) for x in args[0]]
            return self.draw(site, "perm", args[0].shape[-1] * args[0].shape[-2])
        if kind in ("randn_like", "rand_like"):
            return torch.empty_like(args[0] if args else kwargs["x"], device="meta")
        raise GanflowError(f"what `{kind}` draws is not known on the meta device", code="untraceable")

    def generator(self, site: str, device: torch.device | str = "cpu") -> torch.Generator:
        """Meta tensors take one of any device."""
        return torch.Generator()


def shape_of(value: object) -> str:
    """``8×3×256×256``, ``scalar``, or the shapes of a list."""
    if isinstance(value, Tensor):
        return "×".join(map(str, value.shape)) or "scalar"
    if isinstance(value, (tuple, list)):
        shapes = [shape_of(v) for v in value]
        return f"[{', '.join(shapes[:3])}{', …' if len(shapes) > 3 else ''}]"
    return ""


def flops_text(flops: int) -> str:
    """``96.8 GFLOP``; empty for nothing."""
    for unit, scale in (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6), ("kFLOP", 1e3)):
        if flops >= scale:
            return f"{flops / scale:.1f} {unit}" if flops < 100 * scale else f"{flops / scale:.0f} {unit}"
    return f"{flops} FLOP" if flops else ""


def cost_cells(graph: StepGraph, cost: Cost) -> dict[tuple[str, str], tuple[str, str]]:
    """(phase, node) -> (shape, cost) as text, for the plan; ``?`` where a value could not be measured."""
    cells = {k: (v.shape, flops_text(v.flops)) for k, v in cost.values.items()}
    if cost.notes and any(n.code == "untraceable" for n in cost.notes):
        for phase in graph.phases:
            cells |= {(phase.name, a.node): ("?", "") for a in phase.evaluations}
    return cells


def cost_footer(graph: StepGraph, cost: Cost) -> str:
    """Cost per update and in all, and what the plan saves."""
    lines = [str(n) for n in (*cost.notes, *cost.errors)]
    if cost.updates and cost.total:
        each = " · ".join(f"{u} {flops_text(f) or '0'}" for u, f in cost.updates.items())
        saved = 1 - cost.total / cost.textbook if cost.textbook else 0.0
        most = "at most " if graph.conditions else ""
        lines.append(f"per iteration {most}{flops_text(cost.total)} (forward and backward): {each}")
        lines.append(f"hand-written without freezing: {flops_text(cost.textbook)}; this plan saves {saved:.1%}")
    if cost.parameters:
        lines.append("parameters: " + " · ".join(f"{n} {count_text(p)}" for n, p in cost.parameters.items()))
    return "\n".join(lines)
