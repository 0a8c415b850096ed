"""StepGraph -> the Python that runs it, as a careful engineer would have written it by hand.

    print(generate(graph).text)

The text defines ``step(batch, counters, log_gradients)``. It names networks, ops, ``parameters``, ``optimizers`` and a
few helpers (``frozen``, ``no_grad``, ``draw``, ``gradient``); ``step.py`` provides them. The step holds no branch that
the plan has already decided.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ganflow import expr as E
from ganflow.graph import OPERATORS, Evaluate, Free, Leaf, Node, Phase, Reuse, StepGraph, UpdatePlan, edges, in_order

HELPERS = frozenset(
    {"batch", "counters", "logs", "log_gradients", "parameters", "optimizers", "schedules", "states", "frozen",
     "no_grad", "draw", "gradient", "gradient_norm", "clip_gradients", "clear_gradients", "observe", "step",
     "set_hyperparameters"}
)  # fmt: skip


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


def generate(graph: StepGraph, *, observe: bool = False, textbook: bool = False) -> Source:
    """The step as Python.

    Args:
        observe: call ``observe(update, node, value)`` after every value, to measure shapes and cost.
        textbook: what hand-written code does without freezing: every backward reaches every parameter.
    """
    return _Writer(graph, observe, textbook).module()


def generate_values(graph: StepGraph, roots: Mapping[str, str]) -> Source:
    """``values(batch, counters)``: the roots evaluated without gradients, left to right, inputs first."""
    writer = _Writer(graph, observe=False, textbook=False)
    order = in_order(graph.nodes, roots.values())
    writer.out += [
        f'"""{graph.name}, written by ganflow; this text is what runs."""',
        "",
        "",
        "def values(batch, counters):",
    ]
    for name in order:
        if graph.nodes[name].kind == "field":
            writer.line(f"{writer.variables[name]} = batch[{name!r}]")
    for name in order:
        if graph.nodes[name].is_statement:
            writer.line(f"{writer.variables[name]} = {writer.printer.text(name)}", node=name)
    found = [f"{key!r}: {E.show(writer.printer.read(node, '', 0, None))}" for key, node in roots.items()]
    writer.line("return {" + ", ".join(found) + "}")
    return Source("\n".join(writer.out) + "\n", writer.lines, writer.variables)


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

    nodes: Mapping[str, Node]
    variables: Mapping[str, str]
    with_graph: set[str] = field(default_factory=set)  # variables that carry an autograd graph now

    def text(self, name: str, action: Evaluate | None = None) -> str:
        """The expression that computes node ``name``."""
        return E.show(self.inner(name, action))

    def read(self, name: str, reader: str, position: int, action: Evaluate | None) -> E.Expr:
        """``name`` as it enters ``reader``."""
        node = self.nodes[name]
        if not (node.is_statement or node.kind in ("field", "parameter")):
            return self.inner(name, action)
        if action and (reader, position) in action.cone:
            return E.Name(f"{self.variables[name]}_leaf")
        value = self.inner(name, action) if node.kind == "parameter" else E.Name(self.variables[name])
        cut = action is not None and (reader, position) in action.cut
        if cut and (name in self.with_graph or node.kind == "parameter"):
            return E.Call(E.Attribute(value, "detach"))
        return value

    def inner(self, name: str, action: Evaluate | None) -> E.Expr:
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
                return _dotted(n.target, n.path)
            case "call":
                return E.Call(_dotted(n.target, n.path), args, keywords)
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
        if n.stateful:
            keywords = (*keywords, ("site", E.Const(n.site)))
        return E.Call(E.Name(n.target), args, keywords)


def literal(value: object) -> E.Expr:
    """A constant of the gin file as an expression."""
    if isinstance(value, (tuple, list)):
        return E.Pack("tuple" if isinstance(value, tuple) else "list", tuple(map(literal, value)))
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 0:
        return E.Unary("-", E.Const(-value))
    return E.Const(value)  # type: ignore[arg-type]


def _dotted(network: str, path: str) -> E.Expr:
    found: E.Expr = E.Name(network)
    for attr in path.split(".") if path else ():
        found = E.Attribute(found, attr)
    return found


class _Writer:
    """Writes one module; lives for one call of :func:`generate`."""

    def __init__(self, graph: StepGraph, observe: bool, textbook: bool) -> None:
        self.graph, self.observe, self.textbook = graph, observe, textbook
        self.variables = variable_names(graph)
        self.printer = Printer(graph.nodes, self.variables)
        self.out: list[str] = []
        self.lines: dict[int, str] = {}
        self.context: tuple[str, ...] = ()

    # -- text --

    def line(self, text: str, context: tuple[str, ...] = (), node: str = "", comment: str = "") -> None:
        """One line inside its ``with``/``if`` blocks; neighbours with the same blocks share them."""
        shared = 0
        while shared < min(len(context), len(self.context)) and context[shared] == self.context[shared]:
            shared += 1
        for depth in range(shared, len(context)):
            self.out.append("    " * (depth + 1) + context[depth])
        self.context = context
        code = "    " * (len(context) + 1) + text
        self.out.append(f"{code:<76}  # {comment}" if comment else code)
        if node:
            self.lines[len(self.out)] = node

    def blank(self, text: str = "") -> None:
        self.context = ()
        self.out.append(f"    {text}" if text else "")

    # -- module --

    def module(self) -> Source:
        names = ", ".join(p.name for p in self.graph.phases)
        self.out += [
            f'"""One iteration of {self.graph.name}, written by ganflow; this text is what runs."""', "", "",
            "def step(batch, counters, log_gradients=False):",
        ]  # fmt: skip
        self.line(f'"""Updates in order: {names}."""')
        self.line("logs = {}")
        for name in self.fields():
            self.line(f"{self.variables[name]} = batch[{name!r}]")
        for phase in self.graph.phases:
            self.phase(phase)
        self.blank()
        self.line("return logs")
        return Source("\n".join(self.out) + "\n", self.lines, self.variables)

    def fields(self) -> Iterator[str]:
        read: dict[str, None] = {}
        for phase in self.graph.phases:
            for action in phase.actions:
                if isinstance(action, Evaluate):
                    read.update(dict.fromkeys(e.source for e in edges(self.graph.nodes, action.node)))
                if isinstance(action, Leaf):
                    read[action.node] = None
            read.update(dict.fromkeys(t.node for u in phase.updates for t in u.terms))
        return (n for n in self.graph.nodes if n in read and self.graph.nodes[n].kind == "field")

    def phase(self, phase: Phase) -> None:
        trains = "; ".join(f"update {u.name} trains {', '.join(u.trains)}" for u in phase.updates)
        freezes = list(dict.fromkeys(f for u in phase.updates for f in u.freezes))
        self.blank()
        self.blank(f"# {trains}" + (f", freezes {', '.join(freezes)}" if freezes else ""))
        leaves = []
        for action in phase.actions:
            match action:
                case Evaluate() if self.graph.nodes[action.node].is_statement:
                    self.evaluate(action, phase)
                case Leaf(node=node):
                    leaves.append(f"{self.variables[node]}_leaf")
                    self.line(f"{leaves[-1]} = {self.variables[node]}.detach().requires_grad_()", node=node)
                case Reuse():
                    pass  # the variable still holds it
                case Free(nodes=nodes):
                    self.drop(nodes)
        roots = {a.node: a for a in phase.actions if isinstance(a, Evaluate)}
        for update in phase.updates:
            self.backward(update, roots.get(update.loss))
        for update in phase.updates:
            self.log(update)
        self.step(phase)
        self.drop((*phase.frees,), leaves, [f"loss_{_plain(u.name)}" for u in phase.updates])

    def evaluate(self, action: Evaluate, phase: Phase) -> None:
        node = self.graph.nodes[action.node]
        text = self.printer.text(action.node, action)
        reads = {e.source for e in edges(self.graph.nodes, action.node)}
        has_graph = bool(node.networks or reads & self.printer.with_graph or self.reads_parameter(reads))
        blocks = [f"if {self.guard(t, b)}:" for t, b in action.guard]
        frozen = [] if self.textbook else [f"with frozen[{n!r}]:" for n in action.freezes]
        no_grad = ["with no_grad():"] if not action.graph and has_graph and node.kind not in ("draw", "grad") else []
        comment = f"{node.location}" if node.location.file else ""
        self.line(f"{self.variables[node.id]} = {text}", (*blocks, *no_grad, *frozen), node.id, comment)
        if action.graph:
            self.printer.with_graph.add(node.id)
        else:
            self.printer.with_graph.discard(node.id)
        if self.observe:
            self.line(f"observe({phase.name!r}, {node.id!r}, {self.variables[node.id]})", (*blocks,))

    def reads_parameter(self, reads: set[str]) -> bool:
        return any(self.graph.nodes[r].kind in ("parameter", "network") for r in reads)

    def guard(self, test: str, branch: bool) -> str:
        text = self.printer.text(test)
        return text if branch else f"not ({text})"

    def drop(self, nodes: tuple[str, ...], leaves: list[str] = (), more: list[str] = ()) -> None:  # type: ignore[assignment]
        names = [self.variables[n] for n in nodes] + list(leaves) + list(more)
        guarded = {a.node for p in self.graph.phases for a in p.evaluations if a.guard}
        maybe = [self.variables[n] for n in nodes if n in guarded]
        if maybe:
            self.line(" = ".join(maybe) + " = None")
        if names := [n for n in names if n not in maybe]:
            self.line(f"del {', '.join(names)}")

    # -- gradients and steps --

    def backward(self, update: UpdatePlan, action: Evaluate | None) -> None:
        loss, root = f"loss_{_plain(update.name)}", self.graph.nodes[update.loss]
        text = self.variables[root.id] if root.is_statement else self.printer.text(root.id, action)
        if update.gain != 1.0:
            text = f"{update.gain!r} * ({text})"
        self.line(f"{loss} = {text}", (), root.id, f"{update.location}")
        if self.observe:
            self.line(f"observe({update.name!r}, {root.id!r}, {loss})")
        targets = "" if self.textbook else f"inputs=parameters[{update.name!r}]"
        keep = "retain_graph=True" if update.retain_graph else ""
        self.line(f"{loss}.backward({', '.join(t for t in (targets, keep) if t)})", (), root.id)
        if self.observe:
            self.line(f"observe({update.name!r}, 'backward', None)")

    def log(self, update: UpdatePlan) -> None:
        for term in update.terms:
            value = self.graph.nodes[term.node]
            shown = self.variables[term.node] if value.is_statement else f"({self.printer.text(term.node)})"
            self.line(f"logs['loss/{term.name}'] = {shown}.detach()")
            if term.factor is not None:
                weight = repr(term.weight) if term.weight is not None else self.printer.text(term.factor)
                self.line(f"logs['weight/{term.name}'] = {weight}")
        self.line(f"logs['loss/{update.name}'] = loss_{_plain(update.name)}.detach()")

    def step(self, phase: Phase) -> None:
        for update in phase.updates:
            target = f"parameters[{update.name!r}]"
            if update.nan_to_num or update.clip_value is not None or update.clip_norm is not None:
                limits = f"nan_to_num={update.nan_to_num}, value={update.clip_value}, norm={update.clip_norm}"
                self.line(f"clip_gradients({target}, {limits})")
        if not self.textbook:
            self.line("if log_gradients:")
            for update in phase.updates:
                for network in update.networks:
                    tag = gradient_tag(update, network)
                    self.out.append(f"        logs['{tag}'] = gradient_norm({update.name!r}, {network!r})")
        for network in dict.fromkeys(n for u in phase.updates for n in u.steps):
            if network in self.graph.scheduled:
                self.line(f"set_hyperparameters({network!r}, counters)")
            self.line(f"optimizers[{network!r}].step()")
            self.line(f"clear_gradients(optimizers[{network!r}])")


def gradient_tag(update: UpdatePlan, network: str) -> str:
    """``grad_norm/G``, or ``grad_norm/D.r1/D`` where the update's name does not say it."""
    if update.name == network and len(update.networks) == 1:
        return f"grad_norm/{network}"
    return f"grad_norm/{update.name.replace('/', '.')}/{network}"


def _plain(name: str) -> str:
    return re.sub(r"\W", "_", name)
