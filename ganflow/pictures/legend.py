"""What the signs of a picture mean: those that it uses, in rows.

parts, bottom = legend_of(picture, left, top, right)
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from ganflow.pictures.model import Kind, Picture
from ganflow.pictures.shapes import body, icon, lock, number, path, scissors, tip
from ganflow.pictures.sizes import text_width

SIZE, WIDTH, HEIGHT, ROW = 11.0, 34.0, 18.0, 28.0

_BOXES = {
    "train": "trained",
    "kept": "graph kept for a later update",
    "through": "frozen: gradient passes through",
    "cone": "local graph for an inner derivative",
    "no-grad": "no gradient",
}


def legend_of(picture: Picture, left: float, top: float, right: float) -> tuple[list[str], float]:
    """SVG elements, and the height at which the last row ends."""
    x, y, parts = left, top + HEIGHT / 2, []
    for sign, text in _signs(picture):
        wide = WIDTH + 8 + 0.92 * text_width(text, SIZE) + 14
        if x > left and x + wide > right:
            x, y = left, y + ROW
        parts.append(f'<g class="sign" transform="translate({number(x)} {number(y)})">{sign}'
                     f'<text class="sans quiet" x="{number(WIDTH + 8)}" y="{number(SIZE * 0.36)}" '
                     f'font-size="{number(SIZE)}">{escape(text)}</text></g>')  # fmt: skip
        x += wide
    return parts, y + HEIGHT / 2


def _signs(picture: Picture) -> Iterator[tuple[str, str]]:
    boxes = [b for lane in picture.lanes for b in lane.boxes]
    arrows = [a for lane in picture.lanes for a in lane.arrows]
    modes = {b.mode for b in boxes if b.kind == "call"}
    colour = next((f"n{picture.networks.index(b.network)}" for b in boxes if b.network in picture.networks), "")
    for mode, text in _BOXES.items():
        if mode in modes:
            inside = lock(WIDTH / 2, 0) if mode == "through" else ""
            yield f'<g class="box call {mode} {colour}">{_body("call")}{inside}</g>', text
    if any(a.grad for a in arrows):
        yield _arrow("grad"), "gradient flows back along it"
    if any(not a.grad and not a.cut for a in arrows):
        yield _arrow("data"), "value only"
    if any(a.cut for a in arrows):
        yield _arrow("cut", scissors(WIDTH / 2 - 3, 0)), "detached: no gradient passes"
    if picture.reuses:
        yield _arrow(f"reuse {colour}"), "reused in a later update"
    kinds = {b.kind for b in boxes}
    for kind, text in (("draw", "random draw"), ("state", "state")):
        if kind in kinds:
            yield f'<g class="box pill {kind}">{_body(kind)}{icon(kind, WIDTH / 2, 0)}</g>', text


def _body(kind: Kind) -> str:
    return f'<path class="body" d="{body(kind, 0, 0, WIDTH, HEIGHT)}"/>'


def _arrow(kind: str, mark: str = "") -> str:
    points = [(0.0, 0.0), (WIDTH, 0.0)]
    return (f'<g class="wire {kind}"><path class="line" d="{path([(0, 0), (WIDTH - 4, 0)])}"/>'
            f'<path class="tip" d="{tip(points)}"/>{mark}</g>')  # fmt: skip
