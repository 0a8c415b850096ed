"""The language, interpreted naively: what a step does by the words of language.md, with nothing planned ahead.

    Naive(declared, networks, batches, random, lr=0.1).iteration()

Every value that a gradient passes is computed anew, with a graph of its own; gradients are taken with respect to
what an update trains and to nothing else; a value is remembered with the version of its network and the inputs that
it was made of. It shares the parser with ganflow, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ganflow import expr as E
from ganflow.parsing import parse

OPS: Mapping[str, Callable[..., Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, ">": lambda a, b: a > b,
    "==": lambda a, b: a == b, "%": lambda a, b: a % b, "neg": lambda a: -a, "mean": lambda a: a.mean(),
    "square": lambda a: a * a, "tanh": lambda a: torch.tanh(a) if isinstance(a, Tensor) else math.tanh(a),
    "detach": lambda a: a.detach(),
}  # fmt: skip
NO_GRADIENT = ("detach", ">", "==", "%")


@dataclass(frozen=True)
class Part:
    """A place in the text."""

    key: str
    kind: str  # const, counter, state, field, draw, call, op, grad
    target: Any = None
    inputs: tuple[str, ...] = ()
    owner: str = ""
    frozen: bool = False

    @property
    def passes(self) -> bool:
        return self.kind in ("call", "op", "grad") and self.target not in NO_GRADIENT


@dataclass
class Made:
    value: Any
    serial: int
    inputs: tuple[int, ...]
    version: int
    states: Mapping[str, Any]  # as they were read
    spent: bool = False  # its graph has served, or was that of an inner derivative


@dataclass(frozen=True)
class Declared:
    """An experiment in plain Python: texts, and updates as dicts of the language's parameters."""

    definitions: Mapping[str, str]
    updates: Mapping[str, Mapping[str, Any]]
    schedule: Sequence[tuple[str, ...]]
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    averages: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # name -> (source, beta)


def leaf(value: Tensor) -> Tensor:
    """The value itself if it has a graph."""
    return value if value.requires_grad else value.detach().requires_grad_()


class Naive:
    """Networks, optimizers and memory; ``iteration()`` runs one."""

    def __init__(
        self, declared: Declared, networks: Mapping[str, nn.Module], batches: Iterable[Any], random: Any, *, lr: float
    ) -> None:
        self.d, self.networks, self.random = declared, networks, random
        self.batches = iter(batches)
        self.optimizers = {n: torch.optim.SGD(m.parameters(), lr=lr) for n, m in networks.items()}
        self.averages = {n: {k: v.detach().clone() for k, v in networks[s].named_parameters()}
                         for n, (s, _) in declared.averages.items()}  # fmt: skip
        self.states: dict[str, Any] = {n: s.get("init", 0.0) for n, s in declared.states.items()}
        self.parts: dict[str, Part] = {}
        self.names: dict[str, str] = {}
        self.count: dict[str, int] = {}
        self.versions = dict.fromkeys(networks, 0)
        self.step, self.serial = 0, 0
        self.memory: dict[str, Made] = {}
        self.roots = {owner: self.read_root(owner, text) for owner, text in self.texts()}

    def texts(self) -> Iterable[tuple[str, str]]:
        for u, v in self.d.updates.items():
            yield f"{u}.minimize", v["minimize"]
        for name, v in (*self.d.updates.items(), *self.d.states.items()):
            if v.get("when"):
                yield f"{name}.when", v["when"]
        yield from ((f"{s}.next", v["next"]) for s, v in self.d.states.items())
        yield from ((f"{a}.beta", beta) for a, (_, beta) in self.d.averages.items())

    # -- text --

    def read_root(self, owner: str, text: str) -> str:
        key = self.read(parse(text), owner)
        draws = [k for k, p in self.parts.items() if p.kind == "draw" and p.owner == owner]
        for i, k in enumerate(draws, 1):
            site = owner if len(draws) == 1 else f"{owner}#{i}"
            self.parts[k] = Part(k, "draw", (site, self.parts[k].target), (), owner)
        return key

    def read(self, tree: E.Expr, owner: str) -> str:
        match tree:
            case E.Name(id=name):
                return self.name(name)
            case E.Const(value=value):
                return self.add(owner, "const", value)
            case E.Unary(operand=operand):
                return self.add(owner, "op", "neg", (self.read(operand, owner),))
            case E.Binary(op=op, left=a, right=b) | E.Compare(left=a, ops=(op,), rights=(b,)):
                return self.add(owner, "op", op, (self.read(a, owner), self.read(b, owner)))
            case E.Call(function=E.Name(id="randn"), args=args):
                return self.add(owner, "draw", tuple(a.value for a in args))  # type: ignore[attr-defined]
            case E.Call(function=E.Name(id="grad"), args=(y, x)):
                return self.add(owner, "grad", "grad", (self.read(y, owner), self.read(x, owner)))
            case E.Call(function=E.Call(args=(E.Name(id=network),)), args=args):
                return self.add(owner, "call", network, tuple(self.read(a, owner) for a in args), frozen=True)
            case E.Call(function=E.Name(id=name), args=args):
                kind = "call" if name in self.networks else "op"
                return self.add(owner, kind, name, tuple(self.read(a, owner) for a in args))
        raise AssertionError(tree)

    def add(self, owner: str, kind: str, target: Any, inputs: tuple[str, ...] = (), frozen: bool = False) -> str:
        self.count[owner] = self.count.get(owner, 0) + 1
        key = f"{owner}@{self.count[owner]}"
        self.parts[key] = Part(key, kind, target, inputs, owner, frozen)
        return key

    def name(self, name: str) -> str:
        if name not in self.names and name in self.d.definitions:
            self.names[name] = self.read_root(name, self.d.definitions[name])
        if name in self.names:
            return self.names[name]
        kind = "counter" if name == "step" else "state" if name in self.states else "field"
        self.parts[name] = Part(name, kind, name)
        return name

    # -- values --

    def order(self, roots: Iterable[str]) -> list[str]:
        found: dict[str, None] = {}

        def visit(key: str) -> None:
            for i in self.parts[key].inputs:
                visit(i)
            found.setdefault(key)

        for root in roots:
            visit(root)
        return list(found)

    def carrying(self, loss: str, trained: set[str]) -> set[str]:
        needs: set[str] = set()
        for key in self.order([loss]):
            p = self.parts[key]
            own = p.kind == "call" and p.target in trained and not p.frozen
            if own or (p.passes and any(i in needs for i in p.inputs)):
                needs.add(key)
        live, stack = {loss}, [loss]
        while stack:
            p = self.parts[stack.pop()]
            new = [i for i in p.inputs if p.passes and i not in live]
            live.update(new)
            stack.extend(new)
        return needs & live

    def remembered(self, key: str) -> bool:
        """Names share; of unnamed text draws, calls and gradients. A state is read where it stands."""
        p = self.parts[key]
        named = p.kind == "op" and key in self.names.values()
        return p.kind in ("draw", "call", "grad") or (named and not self.host(key))

    def feeds(self, p: Part) -> list[str]:
        """What of the memory this value reads, through unnamed text."""
        return [k for i in p.inputs for k in ([i] if self.remembered(i) else self.feeds(self.parts[i]))]

    def host(self, key: str) -> bool:
        p = self.parts[key]
        return p.kind in ("const", "counter") or (p.kind == "op" and all(map(self.host, p.inputs)))

    def refresh(self, order: list[str], fresh: Iterable[str]) -> None:
        fresh = set(fresh)
        if fresh & {"batch", "*"}:
            self.fetch()
            return
        roots = {self.names.get(f) for f in fresh}
        gone = {k for k in order if self.parts[k].owner in fresh or k in roots and self.parts[k].kind != "draw"}
        gone |= {k for k in order if self.parts[k].kind == "draw" and "draws" in fresh}
        for key in order:
            if any(i in gone for i in self.parts[key].inputs):
                gone.add(key)
        for key in gone:
            self.memory.pop(key, None)

    def fetch(self) -> None:
        self.batch = next(self.batches)
        self.memory.clear()

    def evaluate(self, roots: Sequence[str], carrying: set[str]) -> None:
        """Bring the memory to what these roots are worth now: the snapshot rule."""
        keys = [k for k in self.order(roots) if self.remembered(k)]
        now = self.outdated(keys, carrying)
        inner = self.inside(now, set())
        for key in (k for k in keys if k in now):
            p = self.parts[key]
            self.serial += 1
            with torch.no_grad():
                value = self.compute(p, self.look).detach()
            spent = key in inner or p.kind == "grad"
            self.memory[key] = Made(value, self.serial, self.serials(p), self.version(p), dict(self.states), spent)

    def outdated(self, keys: list[str], carrying: set[str]) -> set[str]:
        now = {k for k in keys if k not in self.memory or (k in carrying and self.memory[k].spent)}
        live = {self.parts[k].target for k in carrying if self.parts[k].kind == "call"}
        before = -1
        while len(now) > before:
            before = len(now)
            for key in (k for k in keys if k not in now and self.parts[k].kind != "draw"):
                p, made = self.parts[key], self.memory[key]
                follows = any(i in now for i in self.feeds(p)) or made.inputs != self.serials(p)
                if follows or (p.kind == "call" and p.target in live and made.version != self.version(p)):
                    now.add(key)
            now |= {k for k in self.inside(now, carrying) if self.remembered(k)}
            for network in self.networks.keys() - live:
                calls = [k for k in keys if self.parts[k].kind == "call" and self.parts[k].target == network]
                if now & set(calls):
                    now |= {k for k in calls if k not in now and self.memory[k].version != self.versions[network]}
        return now

    def inside(self, keys: Iterable[str], carrying: set[str]) -> set[str]:
        """What the gradients among these differentiate, which has a graph of its own there.

        From an x that carries gradient, what does too has the graph that it needs.
        """
        found: set[str] = set()
        for p in (self.parts[k] for k in keys if self.parts[k].kind == "grad"):
            y, x = p.inputs
            found |= self.between(y, x) - {x} - (carrying if x in carrying else set())
        return found

    def version(self, p: Part) -> int:
        return self.versions[p.target] if p.kind == "call" else 0

    def serials(self, p: Part) -> tuple[int, ...]:
        return tuple(self.memory[i].serial for i in self.feeds(p) if i in self.memory)

    def look(self, key: str) -> Any:
        return self.memory[key].value if key in self.memory else self.compute(self.parts[key], self.look)

    def compute(self, p: Part, value: Callable[[str], Any]) -> Any:
        inputs = [value(i) for i in p.inputs]
        match p.kind:
            case "const":
                return p.target
            case "counter":
                return self.step
            case "state":
                return self.states[p.target]
            case "field":
                return self.batch[p.target]
            case "draw":
                return self.random.draw(p.target[0], "randn", *p.target[1])
            case "grad":
                return self.gradient(p, value)
        return self.apply(p, inputs)

    def apply(self, p: Part, inputs: Sequence[Any]) -> Any:
        if p.kind == "call" and p.frozen:
            weights = {k: v.detach() for k, v in self.networks[p.target].named_parameters()}
            return torch.func.functional_call(self.networks[p.target], weights, tuple(inputs))
        return self.networks[p.target](*inputs) if p.kind == "call" else OPS[p.target](*inputs)

    def gradient(self, p: Part, value: Callable[[str], Any], made: dict[str, Any] | None = None) -> Any:
        """dy/dx of a ``grad(y, x)``: all that lies between is made again, from an x that is a leaf or has a graph.

        Gradients inside one another see one graph (``made``), as they would in a loop written by hand.
        """
        y, x = p.inputs
        made = {} if made is None else made
        between = self.between(y, x)

        def again(key: str) -> Any:
            if key not in made and key not in between:
                return value(key)
            if key not in made:
                q = self.parts[key]
                inner = q.kind == "grad"
                made[key] = self.gradient(q, again, made) if inner else self.apply(q, [again(i) for i in q.inputs])
            return made[key]

        with torch.enable_grad():
            for h in (self.parts[k] for k in self.order([y]) if self.parts[k].kind == "grad"):
                if h.inputs[1] != x and x in (way := self.between(*h.inputs)):
                    made.setdefault(h.inputs[1], leaf(value(h.inputs[1])))
                    between = between | way
            if x not in made:
                made[x] = again(x) if any(i in made for i in self.parts[x].inputs) else leaf(value(x))
            return torch.autograd.grad(again(y).sum(), made[x], create_graph=True)[0]

    def between(self, y: str, x: str) -> set[str]:
        """What y is made of that is made of x, gradient passing all the way."""
        below = {x}
        for key in self.order([y]):
            p = self.parts[key]
            if p.passes and any(i in below for i in p.inputs):
                below.add(key)
        return below

    def with_graph(self, root: str, carrying: set[str]) -> Any:
        """The value again, with a graph; a state inside it reads as it did when the value was made."""
        done: dict[str, Any] = {}

        def value(key: str, states: Mapping[str, Any]) -> Any:
            p = self.parts[key]
            states = self.memory[key].states if key in self.memory else states
            if key not in carrying and key in self.memory:
                return self.memory[key].value
            if key not in done:
                if p.kind == "state":
                    return states[p.target]
                made = self.compute(p, lambda i: value(i, states))
                done[key] = made if key in carrying or not isinstance(made, Tensor) else made.detach()
            return done[key]

        return value(root, self.states)

    # -- an iteration --

    def iteration(self) -> None:
        self.fetch()
        for group in self.d.schedule:
            self.group(group)
        self.evaluate([self.roots[f"{a}.beta"] for a in self.averages], set())
        for name, (source, _) in self.d.averages.items():
            beta = self.look(self.roots[f"{name}.beta"])
            for key, p in self.networks[source].named_parameters():
                self.averages[name][key] = beta * self.averages[name][key] + (1 - beta) * p.detach()
        self.commit([s for s, v in self.d.states.items() if not v.get("after")])
        self.step += 1

    def true(self, names: Sequence[str]) -> list[str]:
        """Which of these updates or states run: all predicates at once, nothing differentiated."""
        tests = [self.roots[f"{n}.when"] for n in names if f"{n}.when" in self.roots]
        self.evaluate(tests, set())
        return [n for n in names if f"{n}.when" not in self.roots or bool(self.look(self.roots[f"{n}.when"]))]

    def group(self, group: Sequence[str]) -> None:
        active = self.true(group)
        states = self.true([s for s, v in self.d.states.items() if v.get("after") in active])
        for run in range(1, 1 + max((self.d.updates[u].get("repeat", 1) for u in active), default=0)):
            self.run(active, states, run)

    def run(self, active: Sequence[str], states: Sequence[str], run: int) -> None:
        updates = {u: self.d.updates[u] for u in active}
        losses = {u: self.roots[f"{u}.minimize"] for u in active}
        nexts = [self.roots[f"{s}.next"] for s in states]
        for v in updates.values():
            key, default = ("fresh", ()) if run == 1 else ("repeat_fresh", ("*",))
            self.refresh(self.order([*losses.values(), *nexts]), v.get(key, default))
        carrying = {u: self.carrying(losses[u], set(updates[u]["trains"])) for u in active}
        self.evaluate([*losses.values(), *nexts], set().union(*carrying.values()))
        for key in set().union(*carrying.values()) & self.memory.keys():
            self.memory[key].spent = True
        gradients: dict[int, Tensor] = {}
        for u, v in updates.items():
            parameters = [p for n in v["trains"] for p in self.networks[n].parameters()]
            loss = v.get("gain", 1.0) * self.with_graph(losses[u], carrying[u])
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                if g is not None:
                    gradients[id(p)] = gradients.get(id(p), torch.zeros_like(g)) + g
        ready = {s: self.look(n) for s, n in zip(states, nexts, strict=True)}
        for network in dict.fromkeys(n for v in updates.values() for n in v["trains"]):
            for p in self.networks[network].parameters():
                p.grad = gradients.get(id(p))
            self.optimizers[network].step()
            self.versions[network] += 1
        self.states |= ready

    def commit(self, states: Sequence[str]) -> None:
        states = self.true(states)
        nexts = [self.roots[f"{s}.next"] for s in states]
        self.evaluate(nexts, set())
        self.states |= {s: self.look(n) for s, n in zip(states, nexts, strict=True)}
