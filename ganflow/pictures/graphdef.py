"""The step graph as TensorBoard's Graphs tab shows it: named operations in scopes, and what enters each.

    operations = operations_of(inspection.graph, costs)
    operations[2]     # Operation('update_D/pred_fake', 'D', ('batch/real_A', 'update_D/detach'), {...}, ...)

There is one scope for each update, the fields of the batch stand in ``batch``, optimizers beside the scopes. A value
that a later update takes over is an edge into its scope; ``^step_D`` is an edge without a value: weights that were
stepped before. That tab reads plain ASCII, so here a cut edge is an operation ``detach``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ganflow.graph import StepGraph
from ganflow.pictures.build import picture_of
from ganflow.pictures.draft import Costs
from ganflow.pictures.model import Arrow, Box, Lane, Picture

_OUTSIDE: Mapping[str, str] = {"data": "batch", "state": "states", "parameter": "parameters"}
_HEADINGS: Mapping[str, str] = {"what": "expression", "cost": "FLOPs", "mode": "gradient"}
_ASCII = str.maketrans(
    {
        "×": "x",
        "·": "_",
        "−": "-",
        "∇": "grad",
        "∂": "d",
        "←": "<-",
        "→": "->",
        "β": "beta",
        "✂": "detached",
        "…": "...",
    }
)
_FORBIDDEN = re.compile(r"[^A-Za-z0-9._\-]+", re.ASCII)


@dataclass(frozen=True)
class Operation:
    """A node of the graph, by the rules of a GraphDef.

    Args:
        name: unique, with its scope; ASCII.
        op: a network, an op, an optimizer, or what kind of thing it is.
        inputs: names of operations; with ``^`` in front where no value flows.
        attributes: heading -> text, ASCII.
        shapes: of its outputs; empty where they are not known.
        mode: how gradient treats it, which that tab can colour ("Color by: Device").
    """

    name: str
    op: str
    inputs: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    shapes: tuple[tuple[int, ...], ...] = ()
    mode: str = ""


def operations_of(
    graph: StepGraph, costs: Costs | None = None, fields: Mapping[str, str] | None = None
) -> tuple[Operation, ...]:
    """Every operation of an iteration, inputs before their readers.

    Args:
        costs: (phase, node) -> (shape, cost), both as text, where they were measured.
        fields: field of the batch -> its shape as text.
    """
    picture = picture_of(graph, costs)
    names = _Names()
    places = _places(graph, picture, names)
    return _Writer(graph, picture, names, places, fields or {}).all()


class _Names:
    """Names that are taken, scopes among them."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def new(self, scope: str, text: str) -> str:
        stem = f"{scope}/" * bool(scope) + plain(text)
        name = stem
        count = 1
        while name in self.taken:
            count += 1
            name = f"{stem}.{count}"
        self.taken.add(name)
        return name


def plain(text: str) -> str:
    """As part of a name: letters, digits and ``._-``, the first a letter, a digit or a dot."""
    found = _FORBIDDEN.sub("_", text.translate(_ASCII).replace("/", ".")).strip("_") or "x"
    return found if found[0].isalnum() or found[0] == "." else f".{found}"


def ascii_text(text: str) -> str:
    """As an attribute; letters that ASCII lacks are written by their numbers."""
    return text.translate(_ASCII).encode("ascii", "backslashreplace").decode()


def shapes_in(text: str) -> tuple[tuple[int, ...], ...]:
    """``8×3×64×64``, ``scalar``, ``[8×1, 8×4]``; nothing where it is not known or not all of it is shown."""
    parts = text.strip("[]").split(", ") if text else []
    if not all(re.fullmatch(r"\d+(×\d+)*|scalar", part) for part in parts):
        return ()
    return tuple(() if part == "scalar" else tuple(map(int, part.split("×"))) for part in parts)


def _places(graph: StepGraph, picture: Picture, names: _Names) -> dict[str, str]:
    """Box -> name of its operation; what several lanes read from outside is one operation."""
    places: dict[str, str] = {}
    outside: dict[tuple[str, str], str] = {}
    scopes = {lane.id: names.new(_outcome(lane), lane.title) for lane in picture.lanes}
    names.taken |= {_outcome(lane) for lane in picture.lanes if lane.under} | set(_OUTSIDE.values())
    moved = {arrow.target: arrow.source for arrow in picture.reuses}
    for lane in picture.lanes:
        for box in lane.boxes:
            if box.id in moved:
                places[box.id] = places[moved[box.id]]
            elif box.kind in _OUTSIDE:
                key = (_OUTSIDE[box.kind], box.title)
                places[box.id] = outside[key] if key in outside else outside.setdefault(key, names.new(*key))
            else:
                own = box.id.removeprefix(f"{lane.id}.")
                places[box.id] = names.new("" if box.kind == "step" else scopes[lane.id], own)
    return places


def _outcome(lane: Lane) -> str:
    """``if_G_not_D``: the scope of what is done under an outcome, short, for that tab shows 14 letters of it."""
    return plain(lane.under.replace("and without", "not").replace("without", "not")) if lane.under else ""


class _Writer:
    """Operations one after another; lives for one graph."""

    def __init__(
        self, graph: StepGraph, picture: Picture, names: _Names, places: Mapping[str, str], fields: Mapping[str, str]
    ) -> None:
        self.graph, self.picture, self.names, self.places, self.fields = graph, picture, names, places, fields
        self.made: dict[str, Operation] = {}
        self.steps: list[tuple[str, set[str], str]] = []  # under which outcome, networks, name of the operation
        self.scissors: dict[tuple[str, str], str] = {}  # (lane, source) -> the detach between them

    def all(self) -> tuple[Operation, ...]:
        for lane in self.picture.lanes:
            for box in _in_order(lane):
                if self.places[box.id] not in self.made:
                    self.box(lane, box)
        return tuple(self.made.values())

    def box(self, lane: Lane, box: Box) -> None:
        into = [a for a in lane.arrows if a.target == box.id]
        itself = box.node in self.graph.nodes and self.graph.nodes[box.node].kind == "detach"
        inputs = [self.cut(lane, a) if a.cut and not itself else self.places[a.source] for a in into]
        inputs += [f"^{name}" for name in self.moved(lane, box) if box.kind in ("call", "weights")]
        shape = box.shape or self.fields.get(box.title, "") * (box.kind == "data")
        name = self.places[box.id]
        attributes = self.attributes(lane, box, into) | ({"shape": ascii_text(shape)} if shape else {})
        mode = "" if box.kind == "step" else box.mode
        self.made[name] = Operation(
            name, self.op(box), tuple(dict.fromkeys(inputs)), attributes, shapes_in(shape), mode
        )  # fmt: skip
        if box.kind == "step":
            self.steps.append((lane.under, self.moves(box), name))

    def moved(self, lane: Lane, box: Box) -> list[str]:
        """The last step before this lane that changed the weights of the box's network."""
        return [name for under, networks, name in self.steps if box.network in networks and _before(under, lane)][-1:]

    def moves(self, step: Box) -> set[str]:
        """Networks whose weights a step changes."""
        key = step.title.removeprefix("step ")
        return {step.network} | {n for u in self.graph.updates if key in u.steps for n in u.moves if u.own_optimizer}

    def cut(self, lane: Lane, arrow: Arrow) -> str:
        """The value without its history; one operation for all of a lane that read it so."""
        source = self.places[arrow.source]
        key = (lane.id, source)
        if key not in self.scissors:
            scope = self.places[arrow.target].rpartition("/")[0]
            name = self.names.new(scope, "detach")
            said = {"expression": f"detach({source})", "gradient": "no gradient passes, although it could"}
            self.made[name] = Operation(name, "detach", (source,), said, self.made[source].shapes, "no-grad")
            self.scissors[key] = name
        return self.scissors[key]

    def op(self, box: Box) -> str:
        node = self.graph.nodes.get(box.node)
        match box.kind:
            case "call" | "op" | "draw" if node is not None:
                found = f"{node.target}.{node.path}" if node.kind == "call" and node.path else node.target
                return ascii_text(found or node.kind)
            case "data":
                return "field"
            case "loss":
                return "minimize"
            case "step":
                return ascii_text(box.name.split(" ")[0] or "step")
        return box.kind

    def attributes(self, lane: Lane, box: Box, into: list[Arrow]) -> dict[str, str]:
        found: dict[str, list[str]] = {}
        for heading, text in box.details:
            found.setdefault(_HEADINGS.get(heading, heading), []).append(text)
        found |= {"mode": [box.mode]} if box.mode and box.kind != "step" else {}
        found |= {"detached inputs": [self.places[a.source] for a in into if a.cut]} if any(a.cut for a in into) else {}
        if box.kind == "loss":
            found |= {"trains": list(lane.trains), "freezes": list(lane.freezes), "runs": list(lane.facts)}
        if box.kind == "call" and box.network:
            found["network"] = [f"{box.network}, {_role(lane, box)}"]
        return {ascii_text(k): ascii_text("; ".join(v)) for k, v in found.items() if v}


def _before(under: str, lane: Lane) -> bool:
    """Does what was done under this outcome come before the lane, whatever happens? Lanes are in order."""
    if under == lane.under:
        return True
    return not lane.under.startswith("without ") and (not under or lane.under.startswith(f"{under}, "))


def _role(lane: Lane, box: Box) -> str:
    """What this update does with a network."""
    if any(t.split(".")[0] == box.network for t in lane.trains) and box.mode != "no-grad":
        return "trained here"
    return "frozen, gradient passes through" if box.mode == "through" else "not trained here"


def _in_order(lane: Lane) -> list[Box]:
    """Boxes after those whose arrows enter them."""
    boxes = {box.id: box for box in lane.boxes}
    into: dict[str, list[str]] = {}
    for arrow in lane.arrows:
        into.setdefault(arrow.target, []).append(arrow.source)
    order: dict[str, Box] = {}
    stack = [(box, False) for box in reversed(boxes)]
    while stack:
        name, done = stack.pop()
        if done:
            order.setdefault(name, boxes[name])
        elif name not in order:
            stack.append((name, True))
            stack += [(source, False) for source in reversed(into.get(name, []))]
    return list(order.values())
