"""The terms of a loss, and what a constant 0 makes unnecessary.

    0.5 * (D_fake + D_real)      ->  D_fake (weight 0.5), D_real (weight 0.5)
    lambda_GAN * G_GAN + G_L1    ->  G_L1, with lambda_GAN = 0: G_GAN and all that only it needed is gone

A loss is split over ``+``, ``-`` and factors that are numbers, constants, counters or states (language.md §4). Names
are opened for pruning, not for logging.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ganflow.errors import GanflowError
from ganflow.experiment import Experiment
from ganflow.graph import Node, Pruned, Term, ancestors, constant
from ganflow.nodes import constants, in_order
from ganflow.resolve import Program


@dataclass(frozen=True)
class PrunedProgram:
    """A program without its zero terms: which updates are left, and what was dropped and why."""

    program: Program
    updates: tuple[str, ...]
    pruned: tuple[Pruned, ...]


def prune(program: Program, experiment: Experiment) -> PrunedProgram:
    """Drop terms whose weight is the constant 0, and updates that nothing needs any more."""
    zeros = _Zeros(dict(program.nodes))
    simple = {name: zeros.simplify(root) for name, root in program.roots.items()}
    roots = {name: root for name, root in simple.items() if root is not None}
    lighter = replace(program, nodes=zeros.nodes, roots=roots)
    if len(roots) == len(simple) and not zeros.dropped:
        return PrunedProgram(lighter, tuple(roots), ())
    if not roots:
        raise _nothing_left(experiment, list(simple))
    pruned = [_dropped_term(program, node) for node in zeros.dropped]
    pruned += [Pruned("update", n, "all that it minimizes has the weight 0") for n in simple if n not in roots]
    kept, more = _needed_updates(program, lighter, experiment)
    before = _networks(program, list(program.roots), experiment)
    after = _networks(lighter, kept, experiment)
    gone = [Pruned("network", n, "nothing that is left uses it") for n in sorted(before - after)]
    roots = {name: root for name, root in roots.items() if name in kept}
    return PrunedProgram(replace(lighter, roots=roots), tuple(kept), (*pruned, *more, *gone))


def _nothing_left(experiment: Experiment, updates: list[str]) -> GanflowError:
    first = experiment.updates[updates[0]]
    return GanflowError(
        f"nothing is left to train: all that {', '.join(updates)} minimize{'s' * (len(updates) == 1)} has the weight 0",
        location=first.where.get("minimize", first.location), code="no-loss",
        hint="give one term a weight other than 0",
    )  # fmt: skip


def _dropped_term(program: Program, node: str) -> Pruned:
    product = program.nodes[node]
    factors = [program.nodes[i] for i in product.inputs]
    zero = next((f for f in factors if f.host and always_zero(program.nodes, f.id)), None)
    tensors = [f for f in factors if f is not zero and not f.host and f.kind != "state"]
    rest = [f.label for f in tensors or factors if f is not zero]
    why = f"`{zero.name}` is 0" if zero is not None and zero.name else "its weight is 0"
    return Pruned("term", " * ".join(rest) or product.text, why)


def always_zero(nodes: Mapping[str, Node], name: str) -> bool:
    """Is this number 0 whatever the counters and schedules in it are?"""
    zero: dict[str, bool] = {}
    order = in_order(nodes, [name])
    values = constants(nodes, order)
    for i in order:
        n = nodes[i]
        inputs = [zero[k] for k in n.inputs] if n.kind == "op" and n.host else []
        match n.target if inputs else "":
            case "*":
                zero[i] = any(inputs)
            case "/":
                zero[i] = inputs[0]
            case "if":
                zero[i] = all(inputs[1:])
            case "+" | "-" | "neg" | "abs" | "relu" | "sqrt" | "square" | "sign" | "minimum" | "maximum":
                zero[i] = all(inputs)
            case _:
                zero[i] = False
        zero[i] = zero[i] or (n.host and values[i] == 0)
    return zero[name]


class _Zeros:
    """Rewrites the linear part of each loss; a node that becomes 0 has no replacement (``None``)."""

    def __init__(self, nodes: dict[str, Node]) -> None:
        self.nodes = nodes
        self.dropped: list[str] = []
        self.done: dict[str, str | None] = {}

    def simplify(self, node: str) -> str | None:
        stack = [node]
        while stack:
            missing = [i for i in self.opened(stack[-1]) if i not in self.done]
            if missing:
                stack += reversed(missing)
            elif (name := stack.pop()) not in self.done:
                self.done[name] = self._simplify(name)
        return self.done[node]

    def opened(self, node: str) -> tuple[str, ...]:
        """The inputs through which a 0 would pass on."""
        n = self.nodes[node]
        if n.host or n.kind != "op" or node in self.done:
            return ()
        if n.target == "*" and self.is_zero(n):
            return ()
        return {"+": n.inputs, "-": n.inputs, "*": n.inputs, "/": n.inputs[:1], "neg": n.inputs}.get(n.target, ())

    def is_zero(self, product: Node) -> bool:
        return any(self.nodes[i].host and always_zero(self.nodes, i) for i in product.inputs)

    def _simplify(self, node: str) -> str | None:
        n = self.nodes[node]
        if n.host:
            return None if always_zero(self.nodes, node) else node
        if n.kind != "op" or n.target not in ("+", "-", "*", "/", "neg"):
            return node
        if n.target == "neg":
            return self.rewired(node, (self.simplify(n.inputs[0]),))
        left, right = n.inputs
        if n.target == "*":
            if self.is_zero(n):
                self.dropped.append(node)
                return None
            return self.rewired(node, (self.simplify(left), self.simplify(right)))
        if n.target == "/":
            return self.rewired(node, (self.simplify(left), right))
        return self.sum(node, self.simplify(left), self.simplify(right))

    def rewired(self, node: str, inputs: tuple[str | None, ...]) -> str | None:
        """The product with simplified factors; 0 if one of them is."""
        if any(i is None for i in inputs):
            return None
        self.nodes[node] = replace(self.nodes[node], inputs=tuple(i for i in inputs if i is not None))
        return node

    def sum(self, node: str, left: str | None, right: str | None) -> str | None:
        n = self.nodes[node]
        if left is not None and right is not None:
            return self.rewired(node, (left, right))
        if left is None and right is not None and n.target == "-":
            self.nodes[node] = replace(n, target="neg", inputs=(right,))
            return node
        rest = left if right is None else right
        if rest is not None and n.name:  # the name stays a value of its own: other texts read it
            self.nodes[node] = replace(n, target="+", inputs=(rest,))
            return node
        return rest


def _networks(program: Program, updates: list[str], experiment: Experiment) -> set[str]:
    found = {n for u in updates for n in _reached(program, u)}
    return found | {t.split(".")[0] for u in updates for t in experiment.updates[u].trains}


def _reached(program: Program, update: str) -> set[str]:
    """Networks that the loss of an update reads."""
    return _networks_in(program, [program.roots[update]])


def _networks_in(program: Program, roots: list[str]) -> set[str]:
    return {n for node in ancestors(program.nodes, roots) for n in program.nodes[node].networks}


def _read_besides(program: Program, kept: list[str], but: str) -> set[str]:
    """Networks that other updates read to decide whether they run, averages, and states that any of these read."""
    besides: dict[str, list[str]] = {key.rsplit(".", 1)[0]: [] for key in program.others}
    for key, node in program.others.items():
        besides[key.rsplit(".", 1)[0]].append(node)
    states = {n.target for n in program.nodes.values() if n.kind == "state"}
    updates = [u for u in kept if u != but]
    roots = [program.roots[u] for u in updates] + [n for u in updates for n in besides.get(u, ())]
    roots += [n for o, nodes in besides.items() if o not in program.roots and o not in states for n in nodes]
    while True:
        read = {program.nodes[i].target for i in ancestors(program.nodes, roots) if program.nodes[i].kind == "state"}
        more = [n for s in read for n in besides.pop(s, ())]
        if not more:
            return _networks_in(program, roots)
        roots += more


def _needed_updates(before: Program, after: Program, experiment: Experiment) -> tuple[list[str], list[Pruned]]:
    """Updates left when those are dropped whose networks others reached only through pruned terms."""
    trains = {u: {t.split(".")[0] for t in experiment.updates[u].trains} for u in before.roots}
    reached = {u: _reached(before, u) for u in before.roots}
    reached_now = {u: _reached(after, u) for u in after.roots}
    counts = Counter(n for found in reached.values() for n in found)
    counts_now = Counter(n for found in reached_now.values() for n in found)
    kept, gone = list(after.roots), []
    changed = True
    while changed:
        changed = False
        for update in list(kept):
            was_needed = any(counts[n] > (n in reached[update]) for n in trains[update])  # by another update
            if not was_needed or len(kept) < 2:
                continue
            is_needed = any(counts_now[n] > (n in reached_now[update]) for n in trains[update])
            if not is_needed and not trains[update] & _read_besides(after, kept, update):
                kept.remove(update)
                counts_now.subtract(reached_now[update])
                names = ", ".join(sorted(trains[update]))
                gone.append(Pruned("update", update, f"only pruned terms used what it trains ({names})"))
                changed = True
    return kept, gone


# -- splitting ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    node: str
    factors: tuple[tuple[str, str], ...] = ()  # ("*" | "/", node of a host value or state)
    sign: int = 1


def split(nodes: dict[str, Node], root: str, update: str) -> tuple[Term, ...]:
    """The terms of a loss; nodes of weights that are not written as such are added to ``nodes``."""
    terms: list[Term] = []
    unnamed = 0
    for part in _parts(nodes, root):
        name = nodes[part.node].name
        if not name:
            unnamed += 1
            name = f"{update}.{unnamed}"
            if not nodes[part.node].host:  # it is logged as well as summed: a line of its own
                nodes[part.node] = replace(nodes[part.node], name=name)
        terms.append(_term(nodes, name, part))
    alike: dict[str, list[Term]] = {}
    for term in terms:
        alike.setdefault(term.name, []).append(term)
    return tuple(_together(nodes, same) for same in alike.values())


def _together(nodes: dict[str, Node], same: list[Term]) -> Term:
    """One term for a value that stands in the loss several times: its weight is the sum of theirs."""
    first, *others = same
    if not others:
        return first
    location = nodes[first.node].location
    sums = _free(nodes, f"{first.name}.weights")
    one = _literal(nodes, f"{sums}.0", 1.0, location)
    key = first.factor or one
    for k, term in enumerate(others, 1):
        factor = term.factor or one
        host = nodes[key].host and nodes[factor].host
        total = f"{sums}.{k}"
        nodes[total] = Node(total, "op", target="+", inputs=(key, factor), host=host, location=location)
        key = total
    value = constant(nodes, key)
    return Term(first.name, first.node, key, float(value) if isinstance(value, (int, float)) else None)


def _is_factor(nodes: Mapping[str, Node], node: str) -> bool:
    return nodes[node].host or nodes[node].kind == "state"


def _parts(nodes: Mapping[str, Node], root: str) -> list[_Part]:
    """The terms of a loss, left to right."""
    found: list[_Part] = []
    stack = [_Part(root)]
    while stack:
        part = stack.pop()
        inside = _opened(nodes, part)
        if inside is None:
            found.append(part)
        else:
            stack += reversed(inside)
    return found


def _opened(nodes: Mapping[str, Node], part: _Part) -> list[_Part] | None:
    """The terms that a sum or a product stands for; ``None``: it is a term itself."""
    n, factors, sign = nodes[part.node], part.factors, part.sign
    if n.kind != "op" or n.host or n.name:
        return None
    if n.target == "+":
        return [_Part(i, factors, sign) for i in n.inputs]
    if n.target == "-":
        left, right = n.inputs
        return [_Part(left, factors, sign), _Part(right, factors, -sign)]
    if n.target == "neg":
        return [_Part(n.inputs[0], factors, -sign)]
    if n.target == "*":
        left, right = n.inputs
        if _is_factor(nodes, left):
            return [_Part(right, (*factors, ("*", left)), sign)]
        if _is_factor(nodes, right):
            return [_Part(left, (*factors, ("*", right)), sign)]
    if n.target == "/" and _is_factor(nodes, n.inputs[1]):
        return [_Part(n.inputs[0], (*factors, ("/", n.inputs[1])), sign)]
    return None


def _term(nodes: dict[str, Node], name: str, part: _Part) -> Term:
    if not part.factors and part.sign == 1:
        return Term(name, part.node)
    location = nodes[part.node].location
    factor = _free(nodes, f"{name}.weight")
    current = _literal(nodes, f"{factor}.0", float(part.sign), location)
    for k, (op, node) in enumerate(part.factors, 1):
        first = k == 1 and op == "*" and part.sign == 1
        if first:
            current = node
            continue
        key = f"{factor}.{k}"
        host = nodes[current].host and nodes[node].host
        nodes[key] = Node(key, "op", target=op, inputs=(current, node), host=host, location=location)
        current = key
    value = constant(nodes, current)
    if value == 1:
        return Term(name, part.node)
    return Term(name, part.node, current, float(value) if isinstance(value, (int, float)) else None)


def _free(nodes: Mapping[str, Node], key: str) -> str:
    """For the parts of one weight: a value may be a term of several updates, and of one several times."""
    return next(k for k in itertools.chain([key], (f"{key}{n}" for n in itertools.count(2))) if f"{k}.0" not in nodes)


def _literal(nodes: dict[str, Node], key: str, value: float, location: object) -> str:
    nodes[key] = Node(key, "constant", value=value, host=True, text=repr(value), location=location)  # type: ignore[arg-type]
    return key
