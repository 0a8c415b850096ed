"""Outlines as SVG path data."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot, sqrt

from ganflow.pictures.model import Kind
from ganflow.pictures.sizes import corner_of

Point = tuple[float, float]
NOSE = 10.0  # of a question


def number(value: float) -> str:
    """With at most one digit after the point."""
    return f"{value:.1f}".removesuffix(".0")


def _at(point: Point) -> str:
    return f"{number(point[0])} {number(point[1])}"


def path(points: Sequence[Point], *, radius: float = 0.0) -> str:
    """Straight lines, with round corners."""
    found = [f"M{_at(points[0])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        r = min(radius, _distance(before, corner) / 2, _distance(corner, after) / 2)
        found.append(f"L{_at(_towards(corner, before, r))}Q{_at(corner)} {_at(_towards(corner, after, r))}")
    return "".join([*found, f"L{_at(points[-1])}"])


def _distance(a: Point, b: Point) -> float:
    return hypot(a[0] - b[0], a[1] - b[1])


def _towards(start: Point, end: Point, length: float) -> Point:
    whole = _distance(start, end) or 1.0
    return start[0] + (end[0] - start[0]) * length / whole, start[1] + (end[1] - start[1]) * length / whole


def tip(points: Sequence[Point]) -> str:
    """The head of an arrow that ends at the last point, coming from the left or from above."""
    (x1, _), (x, y) = points[-2:]
    back = [(x - 4, y - 7.5), (x + 4, y - 7.5)] if x1 == x else [(x - 7.5, y - 4), (x - 7.5, y + 4)]
    return f"M{_at((x, y))}L{_at(back[0])}L{_at(back[1])}Z"


def inset(kind: Kind, height: float, away: float) -> float:
    """How far inside its rectangle the left and the right outline of a box are, so far ``away`` from its middle."""
    if kind == "test":
        return NOSE * abs(away) / (height / 2)
    r = min(corner_of(kind), height / 2)
    beyond = max(0.0, abs(away) - (height / 2 - r))
    return r - sqrt(max(0.0, r * r - beyond * beyond))


def body(kind: Kind, x: float, y: float, width: float, height: float) -> str:
    """The outline of a box with its left edge at ``x`` and its middle at ``y``."""
    top, right, bottom = y - height / 2, x + width, y + height / 2
    if kind == "step":  # points on
        nose = 11
        return (f"M{_at((x + 5, top))}H{number(right - nose)}L{_at((right, y))}L{_at((right - nose, bottom))}"
                f"H{number(x + 5)}Q{_at((x, bottom))} {_at((x, bottom - 5))}V{number(top + 5)}"
                f"Q{_at((x, top))} {_at((x + 5, top))}Z")  # fmt: skip
    if kind == "test":
        return (f"M{_at((x, y))}L{_at((x + NOSE, top))}H{number(right - NOSE)}L{_at((right, y))}"
                f"L{_at((right - NOSE, bottom))}H{number(x + NOSE)}Z")  # fmt: skip
    r = min(corner_of(kind), height / 2)
    return (f"M{_at((x + r, top))}H{number(right - r)}A{number(r)} {number(r)} 0 0 1 {_at((right, top + r))}"
            f"V{number(bottom - r)}A{number(r)} {number(r)} 0 0 1 {_at((right - r, bottom))}"
            f"H{number(x + r)}A{number(r)} {number(r)} 0 0 1 {_at((x, bottom - r))}"
            f"V{number(top + r)}A{number(r)} {number(r)} 0 0 1 {_at((x + r, top))}Z")  # fmt: skip


def scissors(x: float, y: float) -> str:
    """Open blades to the right of two rings."""
    return (f'<g class="scissors" transform="translate({number(x)} {number(y)})">'
            '<path d="M-2.6 -2.2L6.5 4.6M-2.6 2.2L6.5 -4.6"/>'
            '<circle cx="-4.4" cy="-3.6" r="2.3"/><circle cx="-4.4" cy="3.6" r="2.3"/></g>')  # fmt: skip


def lock(x: float, y: float) -> str:
    """A padlock: frozen."""
    return (f'<g class="icon" transform="translate({number(x)} {number(y)})">'
            '<rect x="-4.5" y="-1" width="9" height="6.5" rx="1.5"/><path d="M-2.8 -1V-3A2.8 2.8 0 0 1 2.8 -3V-1"/>'
            "</g>")  # fmt: skip


def icon(kind: str, x: float, y: float) -> str:
    """A die for a draw, an arrow that comes back for a state."""
    move = f'transform="translate({number(x)} {number(y)})"'
    if kind == "draw":
        return (f'<g {move}><rect class="icon" x="-5.5" y="-5.5" width="11" height="11" rx="2.5"/>'
                '<g class="dots"><circle cx="-2.5" cy="-2.5" r="1.2"/><circle r="1.2"/>'
                '<circle cx="2.5" cy="2.5" r="1.2"/></g></g>')  # fmt: skip
    return f'<g {move}><path class="icon" d="M4.6 -2.6A5.2 5.2 0 1 0 5.2 1.2M5.4 -5.4V-2.2H2.2"/></g>'
