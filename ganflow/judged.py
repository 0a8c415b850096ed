"""What discriminators are shown, and which of it is generated: read off the losses, so that a run can count it.

    verdicts(graph, experiment)
    # [Verdict(update='D', judge='D', call='pred_real', real=True, threshold=0.0, path=()), ...]
    made(graph, verdicts(graph, experiment))
    # [Made(update='D', call='fake_B', shown='fake_B', reference='real_B')]

Only what an update says to a judge that it trains counts: the generator wants the opposite of the same call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ganflow.domains import shown_parts
from ganflow.experiment import Experiment
from ganflow.games import MONOTONE, Pull, mode_of, pulls
from ganflow.graph import StepGraph, UpdatePlan
from ganflow.nodes import Node, constant, in_order

MIDDLE = {"bce": 0.5, "bcel": 0.0}  # of the two classes; that of mse and l1 lies between their targets
SIDES = {"vanilla": 0.0, "softplus": 0.0, "hinge": 0.0, "lsgan": 0.5}  # modes that judge a sample by itself


@dataclass(frozen=True)
class Verdict:
    """What one call of a judge should say.

    Args:
        update: it trains ``judge``; ``call`` is the node of the judge's call.
        real: it should call what it is shown real.
        threshold: above it, it does; ``None`` where only differences between real and generated count.
        path: which part of what the judge returns is meant: ``(0,)`` of ``D(x)[0]``.
    """

    update: str
    judge: str
    call: str
    real: bool
    threshold: float | None
    path: tuple[int, ...] = ()


@dataclass(frozen=True)
class Made:
    """A generated value.

    Args:
        update: by the time of its backward pass the value is there.
        call: node of the generator's call; ``path``: which part of what it returns.
        shown: node of what the judge is shown, made of it: where a vector is made an image only there, say.
        reference: node of what is real in its place, empty where any field of its shape will do.
    """

    update: str
    call: str
    path: tuple[int, ...] = ()
    shown: str = ""
    reference: str = ""


def verdicts(graph: StepGraph, experiment: Experiment) -> list[Verdict]:
    """Of every judge that is told both what is real and what is not, in the order of the updates."""
    found: list[Verdict] = []
    for update in graph.updates:
        wanted = pulls(graph.nodes, update.loss, experiment)
        for judge in update.networks:
            mine = [p for p in wanted if p.judge == judge]
            said = list(_said(graph.nodes, experiment, update, mine))
            both = {v.call for v in said if v.real} & {v.call for v in said if not v.real}  # a penalty on its size
            kept = list(dict.fromkeys(v for v in said if v.call not in both))
            found += kept if {v.real for v in kept} == {True, False} else []
    return found


def _said(
    nodes: Mapping[str, Node], experiment: Experiment, update: UpdatePlan, mine: Sequence[Pull]
) -> Iterator[Verdict]:
    ways = {p: _way(nodes, p.by, p.call) for p in mine}
    targets = [p.value for p in mine if p.kind == "target"]
    middle = (min(targets) + max(targets)) / 2 if targets else 0.5
    bends = {p: next((n.id for n in reversed(ways[p]) if n.target in MONOTONE), "") for p in mine}
    for p in mine:
        by, towards = nodes[p.by], p.sign > 0
        threshold: float | None = None
        if p.kind == "side":
            real = (p.value == 1) == towards
            threshold = SIDES.get(str(mode_of(nodes, experiment, by) or "vanilla"))
        elif p.kind == "target":
            threshold = MIDDLE.get(by.target, middle)
            real = (p.value > (0.5 if by.target in MIDDLE else middle)) == towards
        else:
            real = not towards
            paired = any(bends[q] == bends[p] and q.sign != p.sign for q in mine)
            if p.kind == "slope" and not paired:
                ops = {n.target for n in ways[p]}
                threshold = 0.5 if "log" in ops and "sigmoid" not in ops else 0.0
        yield Verdict(update.name, p.judge, p.call, real, threshold, _parts(nodes, ways[p]))


def _way(nodes: Mapping[str, Node], start: str, end: str) -> list[Node]:
    """One way from a node down to one that it is made of, both included."""
    before: dict[str, str] = {start: ""}
    stack = [start]
    while stack and end not in before:
        name = stack.pop()
        for i in nodes[name].inputs:
            if i not in before:
                before[i] = name
                stack.append(i)
    found, name = [], end if end in before else ""
    while name:
        found.append(nodes[name])
        name = before[name]
    return found[::-1]


def _parts(nodes: Mapping[str, Node], way: Sequence[Node]) -> tuple[int, ...]:
    """The indices on a way, the first that is applied first."""
    found = [constant(nodes, n.inputs[1]) for n in reversed(way) if n.kind == "index"]
    return tuple(i for i in found if isinstance(i, int) and not isinstance(i, bool))


def rivals(graph: StepGraph, experiment: Experiment, said: Sequence[Verdict]) -> list[tuple[str, str]]:
    """(update of a judge, update that plays against it without training it)."""
    found: dict[tuple[str, str], None] = {}
    for other in graph.updates:
        judges = {p.judge for p in pulls(graph.nodes, other.loss, experiment)} - set(other.networks)
        found.update({(v.update, other.name): None for v in said if v.judge in judges and v.update != other.name})
    return list(found)


def made(graph: StepGraph, said: Sequence[Verdict]) -> list[Made]:
    """What judges are shown as generated, beside what they are shown as real; without a judge, what networks return."""
    trained = {n for u in graph.updates for n in u.networks}
    found: dict[str, Made] = {}
    for fake in (v for v in said if not v.real):
        real = next(v for v in said if v.real and (v.update, v.judge) == (fake.update, fake.judge))
        beside = shown_parts(graph.nodes, graph.nodes[real.call])
        for place, part in enumerate(shown_parts(graph.nodes, graph.nodes[fake.call])):
            reference = _plain(graph.nodes, beside[place]) if place < len(beside) else ""
            for call in _calls(graph.nodes, part, trained - {fake.judge}):
                path = _parts(graph.nodes, _way(graph.nodes, part, call))
                found.setdefault(call, Made(fake.update, call, path, _plain(graph.nodes, part), reference))
    if not said:
        for u in graph.updates:
            for name in in_order(graph.nodes, [u.loss]):
                if graph.nodes[name].kind == "call" and graph.nodes[name].target in trained:
                    found.setdefault(name, Made(u.name, name))
    return [replace(m, reference="" if m.reference == m.call else m.reference) for m in found.values()]


def _plain(nodes: Mapping[str, Node], name: str) -> str:
    """Without detach and pool around it, which change no meaning."""
    while nodes[name].kind == "detach" or (nodes[name].stateful and nodes[name].target == "pool"):
        name = nodes[name].inputs[0]
    return name


def _calls(nodes: Mapping[str, Node], root: str, networks: set[str]) -> list[str]:
    """The calls of these networks that a value was last made by."""
    found: dict[str, None] = {}
    seen, stack = set[str](), [root]
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        if nodes[name].kind == "call" and nodes[name].target in networks:
            found[name] = None
        else:
            stack += reversed(nodes[name].inputs)
    return list(found)


def title(node: Node) -> str:
    """A value in a tag: its name, or its text; slashes would make groups of it."""
    return (node.name or node.text or node.id).replace("/", ".")
