"""Nodes -> expressions of Python over variables.

printer = Printer(graph.nodes, variable_names(graph))
printer.text("pred_fake", action)             # 'D(cat(real_A, detach(fake_B)))'
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from ganflow import expr as E
from ganflow.graph import OPERATORS, Evaluate, Node, Phase, StepGraph, UpdatePlan

HELPERS = frozenset(
    {"batch", "counters", "logs", "log_gradients", "parameters", "optimizers", "schedules", "states", "frozen",
     "no_grad", "draw", "gradient", "gradient_norm", "clip_gradients", "clear_gradients", "observe", "step",
     "set_hyperparameters", "fetch", "redraw", "run", "part", "share", "in_parts", "unrolled", "follow",
     "clamp_weights", "kept_buffers", "constant", "active", "values"}
)  # fmt: skip

# What `observe` is told right before the backward pass of an update, in place of a node: no name has a space.
BEFORE_BACKWARD = "before backward"


@dataclass(frozen=True)
class Source:
    """Generated Python.

    Args:
        text: the module.
        lines: line number -> node that is evaluated there.
        variables: node -> its variable.
    """

    text: str
    lines: Mapping[int, str]
    variables: Mapping[str, str]


def variable_names(graph: StepGraph) -> dict[str, str]:
    """A Python identifier for every node: the definition's name where it can be."""
    taken = set(HELPERS) | set(graph.networks) | {n.target for n in graph.nodes.values() if n.kind == "op"}
    found: dict[str, str] = {}
    for node in sorted(graph.nodes.values(), key=lambda n: not n.name):
        name = re.sub(r"\W", "_", node.id)
        while name in taken or keyword.iskeyword(name):
            name += "_"
        taken.add(name)
        found[node.id] = name
    return found


@dataclass
class Printer:
    """Turns nodes into expressions over variables."""

    shows_sites: ClassVar[bool] = True

    nodes: Mapping[str, Node]
    variables: Mapping[str, str]
    with_graph: set[str] = field(default_factory=set)  # variables that carry an autograd graph now

    def text(self, name: str, action: Evaluate | None = None) -> str:
        """The expression that computes node ``name``."""
        return E.show(self.expression(name, action))

    def read(self, name: str, reader: str, position: int, action: Evaluate | None) -> E.Expr:
        """``name`` as it enters ``reader``."""
        node = self.nodes[name]
        if not (node.is_statement or node.kind in ("field", "parameter")):
            return self.expression(name, action)
        if action and (reader, position) in action.cone:
            return E.Name(f"{self.variables[name]}_leaf")
        value = self.expression(name, action) if node.kind == "parameter" else E.Name(self.variables[name])
        cut = action is not None and (reader, position) in action.cut
        if cut and (name in self.with_graph or node.kind == "parameter"):
            if node.kind == "unroll":  # a network
                return E.Call(E.Attribute(value, "detach"))
            return E.Call(E.Name("detach"), (value,))  # the op: a network may return a list
        return value

    def expression(self, name: str, action: Evaluate | None) -> E.Expr:
        n = self.nodes[name]
        parts = [self.read(i, name, p, action) for p, i in enumerate(n.inputs)]
        args = tuple(parts[: len(parts) - len(n.keywords)])
        keywords = tuple(zip(n.keywords, parts[len(args) :], strict=True))
        match n.kind:
            case "constant":
                return literal(n.value)
            case "field":
                return E.Name(self.variables[name])
            case "counter":
                return E.Attribute(E.Name("counters"), n.target)
            case "state":
                return E.Index(E.Name("states"), E.Const(n.target))
            case "schedule":
                return E.Call(E.Index(E.Name("schedules"), E.Const(n.target)), (E.Name("counters"),))
            case "network":
                return E.Name(n.target)
            case "parameter":
                return _dotted(E.Name(n.target), n.path)
            case "call":
                if n.inputs and self.nodes[n.inputs[0]].kind == "unroll":
                    return E.Call(_dotted(args[0], n.path), args[1:], keywords)
                return E.Call(_dotted(E.Name(n.target), n.path), args, keywords)
            case "draw":
                return E.Call(E.Name("draw"), (E.Const(n.site), E.Const(n.target), *args), keywords)
            case "detach":
                return E.Call(E.Name("detach"), args)
            case "grad":
                flags: tuple[tuple[str, E.Expr], ...] = (
                    ("create_graph", E.Const(bool(action and action.create_graph))),
                )
                if action and not action.create_graph:
                    flags += (("retain_graph", E.Const(action.retain_graph)),)
                return E.Call(E.Name("gradient"), args, flags)
            case "index":
                return E.Index(args[0], args[1])
            case "slice":
                return E.Slice(*(None if self.is_none(i) else p for i, p in zip(n.inputs, args, strict=True)))
            case "pack":
                return E.Pack(n.target, args)
            case "op":
                return self.op(n, args, keywords)
        raise AssertionError(n)

    def is_none(self, name: str) -> bool:
        return self.nodes[name].kind == "constant" and self.nodes[name].value is None

    def op(self, n: Node, args: tuple[E.Expr, ...], keywords: tuple[tuple[str, E.Expr], ...]) -> E.Expr:
        if n.target == "neg":
            return E.Unary("-", args[0])
        if n.target in OPERATORS:
            return args[0] if len(args) == 1 else E.Binary(n.target, args[0], args[1])
        if n.target in ("<", "<=", ">", ">=", "==", "!="):
            return E.Compare(args[0], (n.target,), (args[1],))
        if n.target in ("and", "or"):
            return E.Bool(n.target, args)
        if n.target == "not":
            return E.Unary("not", args[0])
        if n.target == "if":
            return E.If(args[0], args[1], args[2])
        if n.site and self.shows_sites:
            keywords = (*keywords, ("site", E.Const(n.site)))
        return E.Call(E.Name(n.target), args, keywords)


def literal(value: object) -> E.Expr:
    """A constant of the gin file as an expression."""
    if isinstance(value, (tuple, list)):
        return E.Pack("tuple" if isinstance(value, tuple) else "list", tuple(map(literal, value)))
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0:
        return E.Unary("-", E.Const(-value))
    return E.Const(value)  # type: ignore[arg-type]


def _dotted(found: E.Expr, path: str) -> E.Expr:
    for part in path.split(".") if path else ():
        found = E.Index(found, E.Const(int(part))) if part.isdigit() else E.Attribute(found, part)
    return found


# -- names in generated code and logs ------------------------------------------------------------------------


def gradient_tag(update: UpdatePlan, network: str) -> str:
    """``grad_norm/G``, or ``grad_norm/D.r1/D`` where the update's name does not say it."""
    if update.name == network and len(update.networks) == 1:
        return f"grad_norm/{network}"
    return f"grad_norm/{update.name.replace('/', '.')}/{network}"


def runs_text(phase: Phase) -> str:
    """``, runs 2 to 5, each on a new batch``."""
    parts = []
    if phase.run > 1 or phase.times > 1:
        last = phase.run + phase.times - 1
        parts.append(f"run {last}" if phase.times == 1 else f"runs {phase.run} to {last}")
    if phase.fetch:
        parts.append("each on a new batch" if phase.times > 1 else "on a new batch")
    if phase.microbatches > 1:
        parts.append(f"in {phase.microbatches} parts")
    return "".join(f", {p}" for p in parts)


def flag(condition: str) -> str:
    """The variable that holds the outcome of a condition."""
    return f"run_{plain(condition)}"


def plain(name: str) -> str:
    """As part of an identifier."""
    return re.sub(r"\W", "_", name)
