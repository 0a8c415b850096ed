"""Shapes and FLOPs of a step, measured on meta tensors: nothing is allocated and nothing is computed.

    cost = measure(experiment, schedule(experiment), batch_size=8)
    cost.values["D", "fake_B"]        # Value(shape='8×3×256×256', flops=96_800_000_000)
    cost.updates["G"]                 # FLOPs of update G, forward and backward
    cost.textbook                     # what hand-written code without freezing would have cost

The generated step itself runs, on meta tensors and under torch's FLOP counter, so a plan that does less costs less.
FLOPs are torch's: two per multiply-add of convolutions and matrix products, nothing for the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganflow import build
from ganflow.codegen import generate
from ganflow.errors import GanflowError
from ganflow.experiment import Diagnostic, Experiment
from ganflow.follow import KeptBuffers, copy_of
from ganflow.graph import StepGraph
from ganflow.meta import Flops
from ganflow.parts import in_parts
from ganflow.randomness import Randomness, drawing
from ganflow.scheduler import plan
from ganflow.step import Counters, Frozen, compile_step, gradient
from ganflow.unroll import unrolled

_UNTRACEABLE = ("meta tensor", "'Meta' backend", "meta device", "data-dependent", "FakeTensor")


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
        textbook: FLOPs of the same step when every backward reaches every parameter.
        parameters: network -> number of parameters.
        notes: what could not be measured, and why.
        errors: shapes that do not fit.
    """

    values: Mapping[tuple[str, str], Value] = field(default_factory=dict)
    updates: Mapping[str, int] = field(default_factory=dict)
    textbook: int = 0
    parameters: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[Diagnostic, ...] = ()
    errors: tuple[Diagnostic, ...] = ()

    @property
    def total(self) -> int:
        return sum(self.updates.values())


def measure(experiment: Experiment, graph: StepGraph, *, batch_size: int | None = None) -> Cost:
    """Run the generated step on meta tensors.

    Args:
        batch_size: by default ``Trainer.batch_size``.
    """
    if experiment.fields is None or any(f.shape is None for f in experiment.fields.values()):
        note = Diagnostic("note", "no-shapes", "no shapes: the experiment has no dataset that declares them")
        return Cost(notes=(note,))
    size = int(experiment.trainer.get("batch_size", 1)) if batch_size is None else batch_size  # type: ignore[call-overload]
    graph = plan(graph, {c.name: True for c in graph.conditions})  # nothing can be decided on meta tensors
    networks = _networks(experiment, graph)
    parameters = {n: sum(p.numel() for p in m.parameters() if not is_lazy(p)) for n, m in networks.items()}
    batch = {
        f.name: torch.empty((size, *(f.shape or ())), dtype=getattr(torch, f.dtype), device="meta")
        for f in experiment.fields.values()
    }
    try:
        values, updates = _run(experiment, graph, networks, batch, size, textbook=False)
        _, textbook = _run(experiment, graph, networks, batch, size, textbook=True)
    except GanflowError as error:
        finding = _finding(error)
        known = {"notes": (finding,)} if finding.level == "note" else {"errors": (finding,)}
        return Cost(parameters=parameters, **known)  # type: ignore[arg-type]
    return Cost(values, updates, sum(textbook.values()), parameters)


def _finding(error: GanflowError) -> Diagnostic:
    if any(word in error.message for word in _UNTRACEABLE):
        message = f"shapes and cost are unknown: {error.message}"
        return Diagnostic(
            "note", "untraceable", message, error.location, "it runs all the same; its cost is not counted"
        )
    code = "shape" if error.code in ("", "step") else error.code
    return Diagnostic("error", code, error.message, error.location, error.hint)


def _run(
    experiment: Experiment,
    graph: StepGraph,
    networks: Mapping[str, nn.Module],
    batch: Mapping[str, Tensor],
    size: int,
    *,
    textbook: bool,
) -> tuple[dict[tuple[str, str], Value], dict[str, int]]:
    source = generate(graph, observe=True, textbook=textbook)
    values: dict[tuple[str, str], Value] = {}
    updates: dict[str, int] = {u.name: 0 for u in graph.updates}
    counter = Flops()
    first = {p.name: p.updates[0].name for p in graph.phases if p.updates}
    seen = 0

    def observe(phase: str, node: str, value: object) -> None:
        nonlocal seen
        spent, seen = counter.total - seen, counter.total
        update = first.get(phase, phase)
        updates[update if update in updates else next(iter(updates))] += spent
        if node != "backward":
            values[phase, node] = Value(shape_of(value), spent)

    space = _namespace(experiment, graph, networks) | {"observe": observe, "fetch": lambda: batch}
    run = compile_step(graph, source, space)
    with counter, _kept_buffers(networks):
        run(batch, Counters(batch_size=size), False)
    return values, updates


def _namespace(experiment: Experiment, graph: StepGraph, networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    called = {n.target for n in graph.nodes.values() if n.kind == "op" and not n.stateful}
    stateful = {n.target for n in graph.nodes.values() if n.stateful}
    random = Randomness(_Draws(), seed=0)
    optimizers: dict[str, Any] = {key: _Clears(networks.values()) for u in graph.updates for key in u.steps}
    parameters = {
        u.name: list({id(p): p for n in u.networks for p in networks[n].parameters() if p.requires_grad}.values())
        for u in graph.updates
    }
    space: dict[str, Any] = dict(build.ops(experiment, called | {"detach"}))
    space |= networks
    space |= dict.fromkeys(stateful, lambda x, *_, **__: x.detach())
    space |= {n: drawing(random, n, space[n]) for n in {n.target for n in graph.nodes.values() if n.draws_itself}}
    space |= {
        "parameters": parameters, "optimizers": optimizers, "no_grad": torch.no_grad,
        "frozen": {n: Frozen(m) for n, m in networks.items()}, "draw": _draw, "gradient": gradient,
        "schedules": build.schedules(experiment, graph), "gradient_norm": lambda *_: None,
        "states": {s.name: s.init for s in experiment.states.values()},
        "set_hyperparameters": lambda *_: None, "clip_gradients": lambda *_, **__: None,
        "clear_gradients": lambda optimizer: optimizer.zero_grad(), "redraw": lambda *_: None,
        "kept_buffers": {n: KeptBuffers(m) for n, m in networks.items()}, "constant": lambda value: value,
        "follow": lambda *_: None, "clamp_weights": lambda *_: None, "unrolled": unrolled,
        "in_parts": partial(in_parts, random),
    }  # fmt: skip
    return space


class _Clears:
    """An optimizer that only clears gradients."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        self.networks = tuple(networks)

    def step(self) -> None:
        """Adam's arithmetic is not counted."""

    def zero_grad(self) -> None:
        for p in (p for network in self.networks for p in network.parameters()):
            p.grad = None


class _Draws:
    """A source of draws on meta tensors."""

    def draw(self, site: str, kind: str, *args: Any, **kwargs: Any) -> Any:
        return _draw(site, kind, *args, **kwargs)

    def generator(self, site: str, device: Any = "cpu") -> torch.Generator:
        return torch.Generator()


def _networks(experiment: Experiment, graph: StepGraph) -> dict[str, nn.Module]:
    derived = {a.network: a.source for a in graph.averages}
    found = {n: build.network(experiment, n, device="meta") for n in graph.networks if n not in derived}
    return {n: found[n] if n in found else copy_of(found[derived[n]]) for n in graph.networks}


def _draw(site: str, kind: str, *args: Any, **kwargs: Any) -> Any:
    if kind in ("randn", "uniform"):
        shape = args[0] if len(args) == 1 and isinstance(args[0], (tuple, list)) else args
        return torch.empty(*shape, device="meta")
    if kind in ("randint", "perm"):
        return torch.empty(args[0] if args else kwargs["n"], dtype=torch.int64, device="meta")
    if kind == "perm_like":
        return [_draw(site, kind, x) for x in args[0]] if isinstance(args[0], (list, tuple)) else _draw(
            site, "perm", args[0].shape[-1] * args[0].shape[-2])  # fmt: skip
    return torch.empty_like(args[0], device="meta") if args else torch.empty(0, device="meta")


@contextlib.contextmanager
def _kept_buffers(networks: Mapping[str, nn.Module]) -> Iterator[None]:
    yield
    for n in networks.values():
        n.zero_grad()


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


def cost_footer(cost: Cost) -> str:
    """Cost per update and in all, and what the plan saves."""
    lines = [str(n) for n in (*cost.notes, *cost.errors)]
    if cost.updates and cost.total:
        each = " · ".join(f"{u} {flops_text(f) or '0'}" for u, f in cost.updates.items())
        saved = 1 - cost.total / cost.textbook if cost.textbook else 0.0
        lines.append(f"per iteration {flops_text(cost.total)} (forward and backward): {each}")
        lines.append(f"hand-written without freezing: {flops_text(cost.textbook)}; this plan saves {saved:.1%}")
    if cost.parameters:
        lines.append("parameters: " + " · ".join(f"{n} {p / 1e6:.2f} M" for n, p in cost.parameters.items()))
    return "\n".join(lines)
