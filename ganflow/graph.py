"""The step graph: for one iteration, what is evaluated, in which mode, what is cut, who steps.

    graph = ganflow.schedule(ganflow.load("experiments/pix2pix.gin"))
    print(graph)                                   # the plan
    graph.phases[0].updates[0].trains              # ('D',)

A :class:`StepGraph` is a frozen value. ``Node`` says what a value *is* (one place in the text, templates expanded,
names resolved); ``Phase`` says what one update, or one group of updates, *does* with the nodes. A pass is a function
``StepGraph -> StepGraph``. Everything downstream (code, plan, checks, cost, pictures) reads this one value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ganflow.errors import Location
from ganflow.experiment import Diagnostic

Kind = Literal[
    "field", "constant", "counter", "state", "schedule", "network",  # leaves
    "draw", "op", "call", "parameter", "detach", "grad", "index", "slice", "pack",
]  # fmt: skip
Mode = Literal["train", "through", "no-grad", "cone", "graph", ""]
Guard = tuple[tuple[str, bool], ...]  # (node of a host test, the branch), outermost first

LEAVES = frozenset({"field", "constant", "counter", "state", "schedule", "network", "parameter"})
OPERATORS = frozenset({"+", "-", "*", "/", "//", "%", "**", "@", "neg"})
NOT_DIFFERENTIABLE = frozenset(
    {"<", "<=", ">", ">=", "==", "!=", "not", "and", "or", "argmax", "one_hot", "sign", "size", "//"}
)


@dataclass(frozen=True)
class Node:
    """One value: a place in the text.

    Args:
        id: the definition's name, or ``owner.k`` for the k-th unnamed part of a text.
        target: what it applies: op, operator, network, field, counter, state, kind of draw, ``tuple``/``list``.
        inputs: node ids, positional arguments first, then those named in ``keywords``.
        value: of a constant, or the :class:`Reference` of a schedule.
        path: entry point or sub-module of a call, path of a parameter.
        frozen: a call written ``frozen(N)(x)``.
        networks: whose parameters evaluating this node reads.
        stateful: an op with a state of its own; runs once per batch.
        host: a number known to Python without looking at a device.
        site: of a draw or a stateful op, language.md §4.
        name: the definition whose value this is, empty for an unnamed part.
        owner: the definition or parameter (``G.minimize``) in whose text it stands.
        text: the expression as written.
    """

    id: str
    kind: Kind
    target: str = ""
    inputs: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    value: object = None
    path: str = ""
    frozen: bool = False
    networks: tuple[str, ...] = ()
    stateful: bool = False
    host: bool = False
    site: str = ""
    name: str = ""
    owner: str = ""
    text: str = ""
    location: Location = field(default=Location("<string>", 1), compare=False)

    @property
    def is_statement(self) -> bool:
        """It gets a line of its own: it has a name, an effect, or is worth keeping."""
        if self.kind in LEAVES or self.host:
            return False
        return bool(self.name) or self.has_effect

    @property
    def has_effect(self) -> bool:
        """Evaluating it twice is not the same as evaluating it once, or costs a network's forward."""
        return self.kind in ("call", "draw", "grad") or self.stateful or bool(self.networks and self.kind == "op")


@dataclass(frozen=True)
class Term:
    """A term of an update's loss: ``factor * node``.

    Args:
        name: as logged: the definition, or ``U.k`` for an unnamed one.
        node: its value, without weight.
        factor: node id of its weight, ``None`` for 1.
        weight: the factor where it is a constant of the file, else ``None``.
    """

    name: str
    node: str
    factor: str | None = None
    weight: float | None = 1.0


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a node here.

    Args:
        mode: of a network call (language.md §5); ``graph`` or ``no-grad`` for anything else that is not a host value.
        graph: the value carries an autograd graph.
        cut: edges ``(node, position of the input)`` through which no gradient passes although it could.
        cone: edges that belong to a ``grad(y, x)``: they read the leaf made of ``x``.
        freezes: networks whose parameters get no gradient from this call.
        kept_for: later updates that use this value with its graph.
        create_graph, retain_graph: of a ``grad``.
        guard: host tests under which it is evaluated.
    """

    node: str
    mode: Mode
    graph: bool = False
    cut: tuple[tuple[str, int], ...] = ()
    cone: tuple[tuple[str, int], ...] = ()
    freezes: tuple[str, ...] = ()
    kept_for: tuple[str, ...] = ()
    create_graph: bool = False
    retain_graph: bool = False
    guard: Guard = ()


@dataclass(frozen=True)
class Reuse:
    """Use the value made in an earlier update, ``graph`` included or not; ``stale``: networks stepped since."""

    node: str
    made_in: str
    graph: bool = False
    stale: tuple[str, ...] = ()


@dataclass(frozen=True)
class Leaf:
    """Make a leaf of a value that no trained network is upstream of, for ``grad(y, x)``."""

    node: str


@dataclass(frozen=True)
class Free:
    """Drop values after their last use."""

    nodes: tuple[str, ...]


Action = Evaluate | Reuse | Leaf | Free


@dataclass(frozen=True)
class UpdatePlan:
    """What one update minimizes, trains and steps.

    Args:
        trains: networks, or sub-modules ``G.head``, whose parameters get gradients.
        freezes: networks that gradient passes through.
        loss: node of what is minimized.
        retain_graph: a later member of the group differentiates the same values.
        steps: networks whose optimizers step after this update's phase.
        optimizer: the update's own, if it has one.
    """

    name: str
    trains: tuple[str, ...]
    freezes: tuple[str, ...]
    terms: tuple[Term, ...]
    loss: str
    gain: float = 1.0
    retain_graph: bool = False
    steps: tuple[str, ...] = ()
    own_optimizer: bool = False
    clip_norm: float | None = None
    clip_value: float | None = None
    nan_to_num: bool = False
    location: Location = field(default=Location("<string>", 1), compare=False)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks it trains, sub-module paths left out."""
        return tuple(dict.fromkeys(t.split(".")[0] for t in self.trains))


@dataclass(frozen=True)
class Phase:
    """One update, or a group: all gradients at the same parameters, then all steps."""

    updates: tuple[UpdatePlan, ...]
    actions: tuple[Action, ...]
    frees: tuple[str, ...] = ()  # after the backward passes

    @property
    def name(self) -> str:
        names = [u.name for u in self.updates]
        return names[0] if len(names) == 1 else f"({', '.join(names)})"

    @property
    def evaluations(self) -> tuple[Evaluate, ...]:
        return tuple(a for a in self.actions if isinstance(a, Evaluate))


@dataclass(frozen=True)
class Pruned:
    """Something that the constant 0 made unnecessary: a term, an update or a network."""

    kind: Literal["term", "update", "network"]
    name: str
    reason: str


@dataclass(frozen=True)
class StepGraph:
    """One iteration.

    Args:
        nodes: by id, inputs before their readers.
        names: definition -> node.
        phases: updates and groups in order.
        networks: used, in order of declaration; ``ops``: called by some expression.
        optimizers: network -> a line such as ``Adam lr 0.0002``.
        scheduled: networks with an optimizer argument that changes from step to step.
    """

    name: str
    nodes: Mapping[str, Node]
    names: Mapping[str, str]
    phases: tuple[Phase, ...]
    networks: tuple[str, ...]
    optimizers: Mapping[str, str] = field(default_factory=dict)
    pruned: tuple[Pruned, ...] = ()
    scheduled: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        from ganflow.views import plan_text  # views read graphs; graphs only know how to ask for one

        return plan_text(self)

    @property
    def source(self) -> str:
        """The Python that runs this step."""
        from ganflow.codegen import generate

        return generate(self).text

    @property
    def updates(self) -> tuple[UpdatePlan, ...]:
        return tuple(u for phase in self.phases for u in phase.updates)


# -- reading nodes ------------------------------------------------------------------------------------------


def statement_inputs(nodes: Mapping[str, Node], node: str) -> list[str]:
    """Statements and leaves that evaluating ``node`` reads, in order, looking through unnamed ops."""
    found: dict[str, None] = {}
    for edge in edges(nodes, node):
        found.setdefault(edge.source)
    return list(found)


@dataclass(frozen=True)
class Edge:
    """``source`` enters ``reader`` at ``position``; ``through``: the unnamed nodes between it and the statement."""

    source: str
    reader: str
    position: int
    through: tuple[str, ...] = ()


def edges(nodes: Mapping[str, Node], node: str) -> Iterator[Edge]:
    """Every place at which a statement or a leaf enters the text of the statement ``node``."""
    yield from _edges(nodes, node, ())


def _edges(nodes: Mapping[str, Node], node: str, through: tuple[str, ...]) -> Iterator[Edge]:
    for position, source in enumerate(nodes[node].inputs):
        inner = nodes[source]
        if inner.is_statement or inner.kind in LEAVES:
            yield Edge(source, node, position, through)
        else:
            yield from _edges(nodes, source, (*through, source))


def ancestors(nodes: Mapping[str, Node], roots: Iterable[str]) -> set[str]:
    """The roots and everything they are made of."""
    seen: set[str] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(nodes[node].inputs)
    return seen


def in_order(nodes: Mapping[str, Node], roots: Iterable[str]) -> list[str]:
    """The roots and everything they are made of, left to right, inputs first."""
    order: dict[str, None] = {}
    for root in roots:
        stack = [(root, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.setdefault(node)
            elif node not in order:
                stack.append((node, True))
                stack.extend((source, False) for source in reversed(nodes[node].inputs))
    return list(order)


def constant(nodes: Mapping[str, Node], node: str) -> object:
    """The value of a host expression made of constants alone, else ``None``."""
    n = nodes[node]
    if n.kind == "constant":
        return n.value
    if n.kind != "op" or not n.host or n.target not in _FOLD:
        return None
    values = [constant(nodes, i) for i in n.inputs]
    if not all(isinstance(v, (int, float)) for v in values):
        return None
    try:
        result = _FOLD[n.target](*values)
    except (ArithmeticError, ValueError, TypeError):
        return None
    return result if isinstance(result, (int, float)) else None


def _power(a: float, b: float) -> float:
    """10**10**10 must not hang."""
    return float(pow(float(a), float(b)) if abs(a) > 64 or abs(b) > 64 else pow(a, b))


_FOLD: Mapping[str, Callable[..., object]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "//": lambda a, b: a // b, "%": lambda a, b: a % b, "**": _power, "neg": lambda a: -a,
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b, "not": lambda a: not a,
    "and": lambda *v: all(v), "or": lambda *v: any(v), "if": lambda c, a, b: a if c else b,
}  # fmt: skip
