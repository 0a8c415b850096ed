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
from ganflow.names import HELPERS

# What `observe` is told right before the backward pass of an update, in place of a node: no name has a space.
BEFORE_BACKWARD = "before backward"
AFTER_BACKWARD = "backward"  # and right after it, with None for the value


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
    taken |= {f"loss_{plain(u.name)}" for group in graph.groups for u in group}
    taken |= {f"next_{plain(s.name)}" for s in graph.states} | {flag(c.name) for c in graph.conditions}
    beside = {n.inputs[1]: "_leaf" for n in graph.nodes.values() if n.kind == "grad"}
    beside |= {n.id: "_loss" for n in graph.nodes.values() if n.kind == "unroll"}
    found: dict[str, str] = {}
    for node in sorted(graph.nodes.values(), key=lambda n: not n.name):
        name, suffix = plain(node.id), beside.get(node.id, "")
        while {name, name + suffix} & taken or keyword.iskeyword(name):
            name += "_"
        taken |= {name, name + suffix}
        found[node.id] = name
    return found


@dataclass
class Printer:
    """Turns nodes into expressions over variables."""

    runs: ClassVar[bool] = True

    nodes: Mapping[str, Node]
    variables: Mapping[str, str]
    with_graph: set[str] = field(default_factory=set)  # variables that carry an autograd graph now

    def text(self, name: str, action: Evaluate | None = None) -> str:
        """The expression that computes node ``name``."""
        return E.show(self.expression(name, action))

    def expression(self, name: str, action: Evaluate | None) -> E.Expr:
        """Inner parts first, for a sum of many terms is deep; each once, wherever it stands."""
        made: dict[str, E.Expr] = {}
        stack = [name]
        while stack:
            missing = [i for i in self.nodes[stack[-1]].inputs if i not in made and self.stands_inside(i)]
            if missing:
                stack += missing
                continue
            if (part := stack.pop()) in made:
                continue
            inputs = enumerate(self.nodes[part].inputs)
            made[part] = self.form(self.nodes[part], [self.read(i, part, p, action, made) for p, i in inputs], action)
        return made[name]

    def stands_inside(self, name: str) -> bool:
        """It is written out where it is read, rather than named."""
        node = self.nodes[name]
        return not (node.is_statement or node.kind in ("field", "parameter"))

    def entering(self, name: str) -> E.Expr:
        """``name`` as a result."""
        return self.expression(name, None) if self.stands_inside(name) else self.read(name, "", 0, None, {})

    def variable(self, name: str) -> E.Name:
        return E.Name(self.variables[name])

    def read(
        self, name: str, reader: str, position: int, action: Evaluate | None, made: Mapping[str, E.Expr]
    ) -> E.Expr:
        """``name`` as it enters ``reader``; ``made``: the parts that stand inside it."""
        if self.stands_inside(name):
            return made[name]
        node = self.nodes[name]
        if action and (reader, position) in action.cone:
            return E.Name(f"{self.variables[name]}_leaf")
        parameter = node.kind == "parameter"
        value = self.form(node, [], action) if parameter else self.variable(name)
        cut = action is not None and (reader, position) in action.cut
        if cut and (name in self.with_graph or parameter):
            if node.kind == "unroll":  # a network
                return E.Call(E.Attribute(value, "detach"))
            return E.Call(E.Name("detach"), (value,))  # the op: a network may return a list
        return value

    def form(self, n: Node, parts: list[E.Expr], action: Evaluate | None) -> E.Expr:
        """A node over the expressions of its inputs."""
        args = tuple(parts[: len(parts) - len(n.keywords)])
        keywords = tuple(zip(n.keywords, parts[len(args) :], strict=True))
        match n.kind:
            case "constant":
                return literal(n.value)
            case "field":
                return self.variable(n.id)
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

    def is_float(self, name: str) -> bool:
        return self.nodes[name].kind == "constant" and isinstance(self.nodes[name].value, float)

    def op(self, n: Node, args: tuple[E.Expr, ...], keywords: tuple[tuple[str, E.Expr], ...]) -> E.Expr:
        if n.target == "neg":
            return E.Unary("-", args[0])
        if n.target == "**" and n.host and self.runs and not any(self.is_float(i) for i in n.inputs):
            return E.Call(E.Name("power"), args)  # of whole numbers: it may be one that no machine can hold
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
        if n.site and self.runs:
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


def gradient_tag(update: UpdatePlan, network: str, *, kind: str = "grad_norm") -> str:
    """``grad_norm/G``, or ``grad_norm/D.r1/D`` where the update's name does not say it."""
    if update.name == network and len(update.networks) == 1:
        return f"{kind}/{network}"
    return f"{kind}/{update.name.replace('/', '.')}/{network}"


def title(graph: StepGraph) -> str:
    """The experiment's name, which is a file's, as part of a docstring."""
    return re.sub(r"[^\w .,()+-]", "_", graph.name)


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
