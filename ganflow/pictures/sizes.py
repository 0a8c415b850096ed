"""How much room things take. Fixed-width letters, so that text can be measured without a font.

size_of(Box("1.x", "call", "D", "pred_fake"), wires=1)        # Size(width=92, height=46)
"""

from __future__ import annotations

from dataclasses import dataclass

from ganflow.pictures.model import PILLS, Box, Kind

EM = 0.605  # of the widest common fixed-width fonts, in units of their size
CALL, NAME, SMALL, LABEL, HEAD = 15, 11.5, 10.5, 10, 15  # sizes of letters
PORT = 14  # between arrows that enter one box
PILL = 24  # the height of a value
_CORNER = {"op": 6.0, "call": 8.0, "after": 6.0, "step": 5.0, "test": 6.0, "loss": 14.0, "reused": 14.0}
_LONGEST = {"call": 18, "op": 21, "after": 20, "step": 24, "test": 24}


@dataclass(frozen=True)
class Size:
    """``corner``: so much of each side, from either end, belongs to the corner, where no arrow enters."""

    width: float
    height: float
    corner: float = 0.0


@dataclass(frozen=True)
class Row:
    """A line of text on a box: what, how large, and the distance of its middle from the box's."""

    text: str
    size: float
    y: float
    style: str


def text_width(text: str, size: float) -> float:
    """At most this wide."""
    return sum(2 if ord(c) > 0x2E7F else 1 for c in text) * size * EM


def shortened(text: str, longest: int) -> str:
    """``mean(softplus(…``: at most so many letters."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def rows_of(box: Box) -> tuple[Row, ...]:
    """The text on a box, from top to bottom."""
    if box.kind == "reused":
        return Row(shortened(box.title, 20), NAME, -8, "name"), Row(box.note, SMALL, 8, "note")
    if box.kind in PILLS or box.kind == "loss":
        return (Row(shortened(box.title, 20), NAME, 0, "name"),)
    longest = _LONGEST[box.kind]
    title, name, note = (shortened(t, longest) for t in (box.title, box.name, box.note))
    if box.kind == "op":
        first, second = (name, title) if name else (title, "")
        lines = [(first, NAME, "name"), (second, SMALL, "sub"), (note, SMALL, "note")]
    elif box.kind == "call":
        lines = [(title, CALL, "title"), (name, NAME, "sub"), (note, SMALL, "note")]
    else:
        lines = [(title, NAME + 1, "title"), (name, SMALL, "sub"), (note, SMALL, "note")]
    shown = [(text, size, style) for text, size, style in lines if text]
    heights = [size * 1.32 for _, size, _ in shown]
    top, rows = -sum(heights) / 2, []
    for (text, size, style), height in zip(shown, heights, strict=True):
        rows.append(Row(text, size, top + height / 2, style))
        top += height
    return tuple(rows)


def corner_of(kind: Kind) -> float:
    """How round a box is; values are as round as their usual height allows."""
    return _CORNER.get(kind, PILL / 2)


def size_of(box: Box, *, wires: int) -> Size:
    """Of a box that ``wires`` arrows enter: as high as its text and its ports need."""
    rows = rows_of(box)
    widest = max((text_width(r.text, r.size) for r in rows), default=0.0)
    corner = corner_of(box.kind)
    ports = PORT * (wires - 1) + 2 * corner
    if box.kind == "loss":
        return Size(48, max(34, ports + 6), corner)
    if box.kind in PILLS:
        height = max(40 if box.kind == "reused" else PILL, ports)
        return Size(widest + (38 if box.kind in ("draw", "state") else 24), height, corner)
    lock = 16 if box.mode == "through" else 0
    height = sum(r.size * 1.32 for r in rows) + 14
    return Size(max(widest + 22 + 2 * lock, 66), max(height, ports + 6), corner)
