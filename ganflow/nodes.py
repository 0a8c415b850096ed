"""What a value *is*: one place in the text, templates expanded, names resolved; and how nodes hang together.

    nodes["pred_fake"].inputs             # ('pred_fake.1',), the cat(...) in its text
    list(edges(nodes, "pred_fake"))       # where real_A and fake_B enter it

Nothing here says what an update does with a value; that is ``graph.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from ganflow.errors import Location

Kind = Literal[
    "field", "constant", "counter", "state", "schedule", "network",  # leaves
    "draw", "op", "call", "parameter", "detach", "grad", "index", "slice", "pack", "unroll",
]  # fmt: skip

WEIGHTS = ("parameter", "network")  # what `grad(y, x)` differentiates in, beside values: a weight, all of a network
LEAVES = frozenset({"field", "constant", "counter", "state", "schedule", "network", "parameter"})
OPERATORS = frozenset({"+", "-", "*", "/", "//", "%", "**", "@", "neg"})
NOT_DIFFERENTIABLE = frozenset(
    {"<", "<=", ">", ">=", "==", "!=", "not", "and", "or", "argmax", "one_hot", "sign", "size", "//"}
)

MAX_BITS = 1023  # of a whole number that is known when a plan is made: any larger one is no float


@dataclass(frozen=True)
class Unroll:
    """How the weights of an unrolled network are made (language.md §4, ``unroll_of``).

    Args:
        source: the network whose current weights they start from.
        loss: node of the inner loss; what of it depends on ``source`` is evaluated anew in every inner step.
        steps, lr: of the inner SGD.
        passes: for each input of the node, whether gradient passes from the inner loss to it.
        first_order: gradient passes to the source's weights as if the steps were constants.
    """

    source: str
    loss: str
    steps: int
    lr: float
    passes: tuple[bool, ...] = ()
    first_order: bool = False


@dataclass(frozen=True)
class Node:
    """One value: a place in the text.

    Args:
        id: the definition's name, or ``owner.k`` for the k-th unnamed part of a text.
        target: what it applies: op, operator, network, field, counter, state, kind of draw, ``tuple``/``list``.
        inputs: node ids, positional arguments first, then those named in ``keywords``.
        value: of a constant, the :class:`Reference` of a schedule, or the :class:`Unroll` of an unrolled network.
        path: entry point or sub-module of a call, path of a parameter.
        frozen: a call written ``frozen(N)(x)``.
        networks: whose parameters evaluating this node reads.
        stateful: an op with a state of its own; runs once per batch.
        host: a number known to Python without looking at a device.
        site: of a draw, a stateful op or an op that draws by itself, language.md §4.
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
    def label(self) -> str:
        """What a message calls it."""
        return self.name or self.text

    @property
    def positional(self) -> tuple[str, ...]:
        """The inputs that are not named in ``keywords``."""
        return self.inputs[: len(self.inputs) - len(self.keywords)]

    @cached_property
    def is_statement(self) -> bool:
        """It gets a line of its own: it has a name, an effect, or is worth keeping."""
        if self.kind in LEAVES or self.host:
            return False
        return bool(self.name) or self.has_effect

    @cached_property
    def has_effect(self) -> bool:
        """Evaluating it twice is not the same as evaluating it once, or costs a network's forward."""
        reads = self.stateful or self.draws_itself or bool(self.networks and self.kind == "op")
        return self.kind in ("call", "draw", "grad", "unroll") or reads

    @property
    def draws_itself(self) -> bool:
        """A user's op with a generator of its own: a draw whose value also depends on what it is given."""
        return self.kind == "op" and bool(self.site) and not self.stateful

    @property
    def is_random(self) -> bool:
        """One draw per batch and site."""
        return self.kind == "draw" or self.draws_itself


def statement_inputs(nodes: Mapping[str, Node], node: str) -> list[str]:
    """Statements and leaves that evaluating ``node`` reads, in order, looking through unnamed ops."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    stack = list(reversed(nodes[node].inputs))
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        if nodes[name].is_statement or nodes[name].kind in LEAVES:
            found[name] = None
        else:
            stack.extend(reversed(nodes[name].inputs))
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
    stack: list[tuple[str, str, int, tuple[str, ...]]]
    stack = [(source, node, position, ()) for position, source in _reversed(nodes[node].inputs)]
    while stack:
        source, reader, position, through = stack.pop()
        inner = nodes[source]
        if inner.is_statement or inner.kind in LEAVES:
            yield Edge(source, reader, position, through)
        else:
            through = (*through, source)
            stack += ((i, source, p, through) for p, i in _reversed(inner.inputs))


def _reversed(inputs: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """(position, input), the last first."""
    return zip(range(len(inputs) - 1, -1, -1), reversed(inputs), strict=True)


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


def read_networks(nodes: Mapping[str, Node], node: str) -> tuple[str, ...]:
    """Networks whose weights the statement ``node`` reads itself: its calls, and parameters in its text."""
    found = dict.fromkeys(nodes[node].networks)
    for edge in edges(nodes, node):
        if nodes[edge.source].kind in WEIGHTS:
            found.update(dict.fromkeys(nodes[edge.source].networks))
    return tuple(found)


def called_networks(nodes: Mapping[str, Node], roots: Iterable[str]) -> set[str]:
    """Networks whose weights the roots are made with, those of frozen calls left out."""
    return {n for i in ancestors(nodes, roots) for n in nodes[i].networks if not nodes[i].frozen}


def tensor_inputs(nodes: Mapping[str, Node], node: Node) -> list[str]:
    """The inputs that are no host numbers."""
    return [i for i in node.inputs if not nodes[i].host]


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
    found = nodes[node]
    return constants(nodes, in_order(nodes, [node]))[node] if _folds(found) else _written(found)


def constants(nodes: Mapping[str, Node], order: Iterable[str]) -> dict[str, object]:
    """:func:`constant` of each of these nodes, which come inputs first."""
    values: dict[str, object] = {}
    for name in order:
        n = nodes[name]
        values[name] = _folded(n.target, [values[i] for i in n.inputs]) if _folds(n) else _written(n)
    return values


def _folds(node: Node) -> bool:
    return node.kind == "op" and node.host and node.target in _FOLD


def _written(node: Node) -> object:
    return node.value if node.kind == "constant" else None


def _folded(op: str, values: list[object]) -> object:
    if not all(isinstance(v, (int, float)) for v in values):
        return None
    try:
        result = _FOLD[op](*values)
    except (ArithmeticError, ValueError, TypeError):
        return None
    if isinstance(result, int) and result.bit_length() > MAX_BITS:
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
