"""Picture -> Mermaid, which GitHub and many editors draw.

mermaid_text(picture_of(graph))       # 'flowchart LR\\n  subgraph lane1["update D · trains D"]\\n ...'
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ganflow.palette import BAND, CARD, EDGE, HATCH, LINE, TEXT, colour
from ganflow.pictures.model import PILLS, SCISSORS, Arrow, Box, Lane, Picture

_OPEN = {"loss": ("((", "))"), "step": ("[[", "]]"), "test": ("{{", "}}"), "call": ("[", "]"), "after": ("[/", "/]")}
_ESCAPES = {'"': "#quot;", "<": "&lt;", ">": "&gt;", "#": "#35;"}


def mermaid_text(picture: Picture) -> str:
    """A flowchart: a subgraph for each lane; dotted and with ✂ what is detached, thick what gradient flows along.

    Reused values go from lane to lane: Mermaid gives up the direction of a subgraph whose members are linked to
    others outside of it.
    """
    ids = {box.id: f"b{n}" for n, box in enumerate(picture.boxes.values())}
    title = json.dumps(f"{picture.title} · {picture.summary}", ensure_ascii=False)
    lines = ["---", f"title: {title}", "---", "flowchart TB"]
    for lane in picture.lanes:
        lines += _lane(lane, ids)
    lines += _between(picture)
    lines += [f"  %% pruned {text}" for text in picture.pruned]
    lines += [f"  %% {text}" for text in picture.footer]
    return "\n".join([*lines, *_classes(picture, ids)]) + "\n"


def lane_title(lane: Lane) -> str:
    """What a lane is, in one line."""
    parts = [f"{lane.id}. {lane.title}"]
    parts += [f"trains {', '.join(lane.trains)}"] if lane.trains else []
    parts += [f"freezes {', '.join(lane.freezes)}"] if lane.freezes else []
    return " · ".join([*([lane.under] if lane.under else []), *parts, *lane.facts])


def box_lines(box: Box) -> list[str]:
    """The text of a box: what it is, its value, its shape, its cost; and the mode of a call."""
    said = {"through": "frozen", "no-grad": "no grad", "cone": "local graph", "kept": "graph kept", "train": "trained"}
    mode = said.get(box.mode, "") if box.kind == "call" or box.mode == "no-grad" else ""
    first = [box.name, box.title] if box.kind == "op" else [box.title, box.name]
    shape = box.shape if box.shape != "scalar" else ""
    if box.kind == "loss":
        return [box.title]
    lines = [*first, " · ".join(filter(None, (shape, box.note, mode if box.kind not in PILLS else "")))]
    return [line for line in lines if line]


def _lane(lane: Lane, ids: dict[str, str]) -> Iterator[str]:
    yield f"  subgraph {_lane_id(lane)}[{_quoted(lane_title(lane))}]"
    yield "    direction LR"
    for box in lane.boxes:
        left, right = _OPEN.get(box.kind, ("([", "])") if box.kind in PILLS else ("(", ")"))
        yield f"    {ids[box.id]}{left}{_quoted('<br/>'.join(map(_escaped, box_lines(box))), escape=False)}{right}"
    for arrow in lane.arrows:
        yield f"    {ids[arrow.source]} {_edge(arrow)} {ids[arrow.target]}"
    yield "  end"


def _between(picture: Picture) -> Iterator[str]:
    """What lanes reuse of earlier ones; links that are not seen keep the rest in order."""
    lanes = {box.id: _lane_id(lane) for lane in picture.lanes for box in lane.boxes}
    said: dict[tuple[str, str], list[str]] = {}
    for a in picture.reuses:
        said.setdefault((lanes[a.source], lanes[a.target]), []).append(f"{picture.boxes[a.target].title} {a.label}")
    names = [_lane_id(lane) for lane in picture.lanes]
    yield from (f"  {a} ~~~ {b}" for a, b in zip(names, names[1:], strict=False) if (a, b) not in said)
    for (source, target), labels in said.items():
        yield f"  {source} -.->|{_quoted('<br/>'.join(map(_escaped, labels)), escape=False)}| {target}"


def _lane_id(lane: Lane) -> str:
    return f"lane{lane.id}"


def _edge(arrow: Arrow) -> str:
    line = "-.->" if arrow.cut else "==>" if arrow.grad else "-->"
    label = " ".join(filter(None, (SCISSORS if arrow.cut else "", arrow.label)))
    return f"{line}|{_quoted(label)}|" if label else line


def _classes(picture: Picture, ids: dict[str, str]) -> Iterator[str]:
    """Colours: filled is trained, an outline is frozen, grey is without gradient."""
    members: dict[str, list[str]] = {}
    for box in picture.boxes.values():
        number = picture.networks.index(box.network) if box.network in picture.networks else None
        if number is not None and box.kind in ("call", "step", "loss", "reused", "after", "weights", "parameter"):
            members.setdefault(f"n{number}{_look(box)}", []).append(ids[box.id])
        elif box.mode == "no-grad":
            members.setdefault("quiet", []).append(ids[box.id])
    yield f"  classDef default fill:{CARD.light},color:{TEXT.light},stroke:{EDGE.light}"
    yield f"  classDef lane fill:{BAND.light},color:{TEXT.light},stroke:{LINE.light}"
    yield f"  class {','.join(map(_lane_id, picture.lanes))} lane"
    for number in range(len(picture.networks)):
        c = colour(number)
        looks = {
            "train": f"fill:{c.fill},color:{c.text},stroke:{c.ink.light}",
            "open": f"fill:{c.tint.light},color:{c.ink.light},stroke:{c.ink.light},stroke-width:2px",
            "frozen": f"fill:{CARD.light},color:{c.ink.light},stroke:{c.ink.light},stroke-dasharray:6 4",
            "quiet": f"fill:{HATCH.light},color:{c.ink.light},stroke:{c.ink.light}",
        }
        for look, css in looks.items():
            if members.get(f"n{number}{look}"):
                yield f"  classDef n{number}{look} {css}"
    if "quiet" in members:
        yield f"  classDef quiet fill:{HATCH.light},color:{TEXT.light},stroke:{EDGE.light}"
    yield from (f"  class {','.join(found)} {name}" for name, found in sorted(members.items()))


def _look(box: Box) -> str:
    if box.kind in ("step", "call") and box.mode == "train":
        return "train"
    return {"through": "frozen", "no-grad": "quiet", "cone": "frozen"}.get(box.mode, "open")


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(c, c) for c in text)


def _quoted(text: str, *, escape: bool = True) -> str:
    return f'"{_escaped(text) if escape else text}"'
