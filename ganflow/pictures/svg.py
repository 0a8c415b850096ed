"""Layout -> SVG, light and dark.

svg_text(picture_of(graph))           # '<svg xmlns=...', one file that needs no other
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from ganflow.pictures.layout import MARGIN, PAD, Frame, Label, Layout, Placed, Point, Wire, layout_of
from ganflow.pictures.legend import legend_of
from ganflow.pictures.model import PILLS, SCISSORS, Box, Picture
from ganflow.pictures.shapes import body, icon, lock, number, path, scissors, tip
from ganflow.pictures.sizes import HEAD, LABEL, SMALL, rows_of, text_width
from ganflow.pictures.theme import style
from ganflow.pictures.wrap import head_lines, wrapped

TITLE = 19
TOP, INLINE_TOP = 66.0, 8.0  # where lanes begin: below the title, which a page has already
NARROWEST = 640.0


def svg_text(picture: Picture) -> str:
    """The picture as a file of its own."""
    return drawn(picture, css=style(picture.networks))


def drawn(picture: Picture, *, css: str = "", inline: bool = False) -> str:
    """The ``<svg>`` element.

    Args:
        css: what goes into it as style; a page brings its own.
        inline: part of a page, where every box can be focused.
    """
    layout = layout_of(picture, top=INLINE_TOP if inline else TOP)
    width = max(layout.width, NARROWEST)
    below, height = _below(layout, width)
    role = 'role="group"' if inline else 'role="img"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="pic" viewBox="0 0 {number(width)} {number(height)}" '
        f'width="{number(width)}" height="{number(height)}" {role} aria-labelledby="pic-title pic-desc">',
        f'<title id="pic-title">Step graph of {escape(picture.title)}</title>',
        f'<desc id="pic-desc">{escape(_description(picture))}</desc>',
        f"<style>{escape(css)}</style>" if css else "",
        '<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<rect class="hatch-ground" width="7" height="7"/><path class="hatch-line" d="M0 0V7"/></pattern></defs>',
        f'<rect class="page" width="{number(width)}" height="{number(height)}"/>',
        *(() if inline else _head(picture)),
        *(line for frame in layout.frames for line in _frame(layout, frame, width)),
        *(_text(under, MARGIN, y, 13, "sans bold quiet") for under, y in layout.sections),
        *_wires(layout),
        *(_label(label) for label in layout.labels),
        *(line for placed in layout.placed for line in _box(picture, placed, inline=inline)),
        *below,
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _description(picture: Picture) -> str:
    return "\n".join([picture.summary, *(f"lane {m.lane}: {m.text}" for m in picture.moments)])


def _text(text: str, x: float, y: float, size: float, classes: str, *, anchor: str = "") -> str:
    where = f'x="{number(x)}" y="{number(y)}"' + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text class="{classes}" {where} font-size="{number(size)}">{escape(text)}</text>'


# -- head, lanes, foot -----------------------------------------------------------------------------------------


def _head(picture: Picture) -> Iterator[str]:
    yield _text(picture.title, MARGIN, 34, TITLE, "sans bold")
    yield _text(picture.summary, MARGIN, 53, 12, "sans quiet")


def _frame(layout: Layout, frame: Frame, width: float) -> Iterator[str]:
    lane = frame.lane
    x, right = MARGIN, width - MARGIN
    yield f'<g class="lane" data-lane={quoteattr(lane.id)}>'
    yield (f'<rect class="band" x="{number(x)}" y="{number(frame.y)}" width="{number(right - x)}" '
           f'height="{number(frame.height)}" rx="10"/>')  # fmt: skip
    divide = MARGIN + layout.head + PAD + 8
    yield f'<path class="divide" d="{path([(divide, frame.y + 12), (divide, frame.y + frame.height - 12)])}"/>'
    y = frame.y + PAD - 2
    for text, kind in head_lines(lane):
        size = HEAD if kind == "head" else SMALL + 1
        y += size * 1.45
        yield from _head_line(layout.picture, text, kind, x + 14, y, size)
    yield "</g>"


def _head_line(picture: Picture, text: str, kind: str, x: float, y: float, size: float) -> Iterator[str]:
    word, _, network = kind.partition(" ")
    if network in picture.networks:
        shape = "swatch" if word == "trains" else "hollow"
        yield (f'<rect class="n{picture.networks.index(network)} {shape}" x="{number(x)}" y="{number(y - 9)}" '
               f'width="10" height="10" rx="2.5"/>')  # fmt: skip
        x += 16
    style_ = {"head": "sans bold", "fact": "quiet"}.get(kind, "")
    yield _text(text, x, y, size, style_)


def _below(layout: Layout, width: float) -> tuple[list[str], float]:
    """Legend, what was pruned, what it costs; and the height of all."""
    y = layout.bottom + 16
    legend, y = legend_of(layout.picture, MARGIN, y, width - MARGIN)
    parts = list(legend)
    longest = max(20, int((width - 2 * MARGIN) / text_width("x", 11)))
    y += 6
    for text in layout.picture.pruned:
        for line in wrapped(f"pruned {text}", longest):
            y += 16
            parts.append(_text(line, MARGIN, y, 11, "quiet"))
    for text in layout.picture.footer:
        for line in wrapped(text, longest):
            y += 16
            parts.append(_text(line, MARGIN, y, 11, "quiet"))
    return parts, y + MARGIN


# -- arrows ----------------------------------------------------------------------------------------------------


def _wires(layout: Layout) -> Iterator[str]:
    """Those with gradient lie on top of those without."""
    picture = layout.picture
    lanes = {box.id: lane.id for lane in picture.lanes for box in lane.boxes}
    boxes = picture.boxes
    for wire in sorted(layout.wires, key=lambda w: (w.arrow.grad, w.arrow.cut)):
        reuse = lanes[wire.arrow.source] != lanes[wire.arrow.target]
        kind = "reuse" if reuse else "cut" if wire.arrow.cut else "grad" if wire.arrow.grad else "data"
        colour = _colour(picture, boxes[wire.arrow.source]) if reuse else ""
        yield from _wire(wire, f"wire {kind} {colour}".strip(), boxes[wire.arrow.source], boxes[wire.arrow.target])


def _wire(wire: Wire, classes: str, source: Box, target: Box) -> Iterator[str]:
    mark = f"{SCISSORS} " if wire.arrow.cut else ""
    said = f"{mark}{source.label} → {target.label}"
    said += ", detached: no gradient passes" if wire.arrow.cut else f", {wire.arrow.label}" if wire.arrow.label else ""
    said += ", gradient flows back" if wire.arrow.grad else ""
    yield (f'<g class="{classes}" data-from={quoteattr(wire.arrow.source)} data-to={quoteattr(wire.arrow.target)}>'
           f"<title>{escape(said)}</title>")  # fmt: skip
    yield f'<path class="line" d="{path(_shortened(wire.points), radius=7)}"/>'
    yield f'<path class="tip" d="{tip(wire.points)}"/>'
    if wire.scissors:
        yield scissors(*wire.scissors)
    yield "</g>"


def _shortened(points: Sequence[Point]) -> list[Point]:
    """So that the line ends inside its tip."""
    (x1, y1), (x2, y2) = points[-2:]
    if x1 == x2:
        return [*points[:-1], (x2, y2 - 4)]
    return [*points[:-1], (x2 - 4, y2)]


def _label(label: Label) -> str:
    return _text(label.text, label.x, label.y, LABEL, label.kind)


# -- boxes -----------------------------------------------------------------------------------------------------


def _colour(picture: Picture, box: Box) -> str:
    return f"n{picture.networks.index(box.network)}" if box.network in picture.networks else ""


def described(box: Box) -> str:
    """What there is to say of a box, a line each."""
    return "\n".join(text if key == "what" else f"{key}: {text}" for key, text in box.details)


def _box(picture: Picture, placed: Placed, *, inline: bool) -> Iterator[str]:
    box = placed.box
    pill = "pill" if box.kind in PILLS else ""
    classes = " ".join(filter(None, ("box", box.kind, pill, box.mode, _colour(picture, box))))
    focus = f' tabindex="0" role="button" aria-label={quoteattr(described(box))}' if inline else ""
    yield f'<g class="{classes}" data-id={quoteattr(box.id)}{focus}>'
    if not inline:
        yield f"<title>{escape(described(box))}</title>"
    yield f'<path class="body" d="{body(box.kind, placed.x, placed.y, placed.width, placed.height)}"/>'
    middle = placed.x + placed.width / 2
    if box.kind in ("draw", "state"):
        yield icon(box.kind, placed.x + 15, placed.y)
        middle += 8
    if box.mode == "through":
        yield lock(placed.x + 13, placed.y - placed.height / 2 + 14)
    if box.heat:
        wide, y = max(2.0, box.heat * placed.width), placed.y + placed.height / 2 + 3
        yield f'<rect class="heat" x="{number(placed.x)}" y="{number(y)}" width="{number(wide)}" height="4" rx="2"/>'
    for row in rows_of(box):
        yield _text(row.text, middle, placed.y + row.y + row.size * 0.35, row.size, row.style, anchor="middle")
    yield "</g>"
