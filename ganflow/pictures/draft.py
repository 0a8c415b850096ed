"""A lane while it is being drawn: boxes, the arrows between them, and what is told about them.

draft = Draft(graph, phase, "1", costs={}, made={})
draft.evaluate(action)                        # a box, and arrows from what it reads
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from ganflow.graph import LEAVES, Evaluate, Node, Phase, Reuse, StepGraph
from ganflow.pictures.boxes import leaf_box, reused_box, statement_box
from ganflow.pictures.model import Arrow, Box, Moment
from ganflow.pictures.words import reuse_words, sentence

Costs = Mapping[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True)
class Entry:
    """``source`` enters a text, perhaps detached."""

    source: str
    cut: bool


@dataclass
class Draft:
    """A lane that is being drawn.

    Args:
        id: the number of the lane.
        costs: (phase, node) -> (shape, cost), as text.
        made: node -> the box that holds its value, in this lane or an earlier one; is brought up to date.
    """

    graph: StepGraph
    phase: Phase
    id: str
    costs: Costs
    made: dict[str, str]
    boxes: dict[str, Box] = field(default_factory=dict)
    arrows: dict[tuple[str, str, bool], Arrow] = field(default_factory=dict)
    reuses: list[Arrow] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    def add(self, box: Box) -> Box:
        self.boxes[box.id] = box
        return box

    def connect(self, source: str, target: str, *, cut: bool = False, label: str = "") -> None:
        known = self.arrows.get((source, target, cut))
        text = " + ".join(filter(None, (known.label, label))) if known else label
        self.arrows[source, target, cut] = Arrow(source, target, cut=cut, label=text)

    def into(self, target: str) -> tuple[Arrow, ...]:
        return tuple(a for a in self.arrows.values() if a.target == target)

    def tell(self, text: str, *boxes: str, arrows: tuple[Arrow, ...] = ()) -> None:
        self.moments.append(Moment(self.id, text, boxes, arrows))

    def key(self, node: str) -> str:
        return f"{self.id}.{node}"

    def source(self, node: str) -> Box:
        """The box from which the value of ``node`` comes in this lane; made where there is none yet."""
        found = self.boxes.get(self.key(node))
        if found is None and node in self.made and self.graph.nodes[node].kind not in LEAVES:
            return self.reuse(Reuse(node, ""))
        return found or self.add(leaf_box(self.graph, self.graph.nodes[node], self.key(node)))

    def reuse(self, action: Reuse) -> Box:
        """The value of an earlier lane, and the arrow from there."""
        box = self.add(reused_box(self.graph, action, self.key(action.node)))
        words = reuse_words(action)
        if action.node in self.made:
            self.reuses.append(Arrow(self.made[action.node], box.id, grad=action.graph, label=words))
        self.tell(f"{box.title} is {words}", box.id)
        return box

    def evaluate(self, action: Evaluate) -> None:
        """A statement, and arrows from what it reads."""
        shape, cost = self.costs.get((self.phase.name, action.node), ("", ""))
        box = self.add(statement_box(self.graph, action, self.key(action.node), shape=shape, cost=cost))
        self.read(action.node, box.id, action)
        self.made[action.node] = box.id
        self.tell(sentence(self.graph, self.graph.nodes[action.node], action), box.id, arrows=self.into(box.id))

    def read(self, node: str, target: str, action: Evaluate | None) -> None:
        """Arrows into ``target`` from everything that the text of ``node`` reads."""
        parts = [node]
        for entry in entries(self.graph.nodes, node, action, parts):
            self.connect(self.source(entry.source).id, target, cut=entry.cut)
        self.boxes[target] = replace(self.boxes[target], parts=tuple(dict.fromkeys(parts)))

    def read_root(self, node: str, target: str) -> None:
        """The same for a node that may have a box of its own."""
        if self.graph.nodes[node].is_statement or self.graph.nodes[node].kind in LEAVES - HIDDEN:
            self.connect(self.source(node).id, target)
        else:
            self.read(node, target, self.root(node))

    def root(self, node: str) -> Evaluate | None:
        return next((a for a in self.phase.evaluations if a.node == node), None)


HIDDEN = frozenset({"constant", "counter", "schedule", "network"})  # leaves that stand in the text only


def entries(nodes: Mapping[str, Node], node: str, action: Evaluate | None, parts: list[str]) -> Iterator[Entry]:
    """Where values enter the text of ``node``; what has no box of its own is added to ``parts``."""
    yield from _entries(nodes, node, action, parts, nodes[node].kind == "detach")


def _entries(
    nodes: Mapping[str, Node], node: str, action: Evaluate | None, parts: list[str], cut: bool
) -> Iterator[Entry]:
    for position, source in enumerate(nodes[node].inputs):
        n = nodes[source]
        here = cut or (action is not None and (node, position) in action.cut)
        if n.is_statement or n.kind in LEAVES - HIDDEN:
            yield Entry(source, here and not n.host)
        else:
            parts.append(source)
            yield from _entries(nodes, source, action, parts, here or n.kind == "detach")
