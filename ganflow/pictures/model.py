"""What a picture of a step graph shows, before anyone has said where: lanes of boxes and arrows.

    picture = picture_of(graph)
    [lane.title for lane in picture.lanes]        # ['update D', 'update G']
    picture.lanes[0].boxes[0]                     # Box(id='1.fake_B', kind='call', title='G', name='fake_B', ...)

A format (SVG, HTML, Mermaid, DOT) reads this and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["data", "draw", "state", "parameter", "weights", "reused", "op", "call", "loss", "step", "after", "test"]
Mode = Literal["train", "through", "no-grad", "cone", "kept", "graph", ""]

PILLS = frozenset({"data", "draw", "state", "parameter", "weights", "reused"})  # values, not work
SOURCES = frozenset({"data", "state", "parameter", "weights"})  # stand wherever they are read
SCISSORS = "✂"


@dataclass(frozen=True)
class Box:
    """A thing in a lane.

    Args:
        id: ``lane.node``.
        kind: ``data`` a field of the batch; ``reused`` a value of an earlier lane; ``weights`` of a network;
            ``after`` what happens once the optimizer has stepped; ``test`` a predicate.
        title: what it is: a network, an expression with ``·`` for what arrows bring, a field.
        name: of its value.
        note: its cost, or how an optimizer is restrained.
        mode: how gradient treats it; ``kept``: its graph is kept for a later update.
        network: whose colour it has, or empty.
        node: of the graph, or empty.
        parts: nodes of the graph that it stands for, its own and unnamed ones in its text.
        shape: of its value.
        details: heading and text, for whoever looks closer.
        heat: its time as a share of the longest of the picture, where it was measured.
    """

    id: str
    kind: Kind
    title: str
    name: str = ""
    note: str = ""
    mode: Mode = ""
    network: str = ""
    node: str = ""
    parts: tuple[str, ...] = ()
    shape: str = ""
    details: tuple[tuple[str, str], ...] = ()
    heat: float = 0.0

    @property
    def label(self) -> str:
        """How it is called in a sentence."""
        return self.name or self.title


@dataclass(frozen=True)
class Arrow:
    """``source`` enters ``target``, both ids of boxes.

    Args:
        grad: gradient flows back along it into what the update trains.
        cut: none flows although it could: the edge is detached.
        label: a weight, a shape, how a value is reused.
    """

    source: str
    target: str
    grad: bool = False
    cut: bool = False
    label: str = ""


@dataclass(frozen=True)
class Lane:
    """One update, one group of updates (one phase: all gradients, then all steps), or what happens between them.

    Args:
        under: the outcome of a condition for which it is there; lanes of one outcome follow one another.
        trains, freezes: networks, or sub-modules such as ``G.head``.
        facts: when it runs, what is drawn anew, in how many parts.
        phase: its name in the plan.
    """

    id: str
    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    trains: tuple[str, ...] = ()
    freezes: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    under: str = ""
    phase: str = ""


@dataclass(frozen=True)
class Moment:
    """One thing that happens, in words, and the boxes and arrows it is about."""

    lane: str
    text: str
    boxes: tuple[str, ...]
    arrows: tuple[Arrow, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A step graph as a picture.

    Args:
        title, summary: what it is of, and its size.
        networks: in the order of their colours.
        reuses: arrows from one lane to a later one.
        moments: everything that happens in an iteration, in order.
        pruned: what a weight of 0 made unnecessary.
        footer: what it costs.
    """

    title: str
    summary: str
    networks: tuple[str, ...]
    lanes: tuple[Lane, ...]
    reuses: tuple[Arrow, ...] = ()
    moments: tuple[Moment, ...] = ()
    pruned: tuple[str, ...] = ()
    footer: tuple[str, ...] = ()

    @property
    def boxes(self) -> dict[str, Box]:
        return {box.id: box for lane in self.lanes for box in lane.boxes}
