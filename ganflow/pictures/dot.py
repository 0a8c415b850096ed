"""Picture -> DOT, which Graphviz draws.

dot_text(picture_of(graph))           # 'digraph "pix2pix" {\\n ...'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ganflow.palette import BAND, CARD, CUT, EDGE, FLOW, HATCH, QUIET, TEXT, colour
from ganflow.pictures.mermaid import box_lines, lane_title
from ganflow.pictures.model import PILLS, SCISSORS, Arrow, Box, Picture

_SHAPES = {"loss": "circle", "step": "cds", "test": "hexagon"}


def dot_text(picture: Picture) -> str:
    """A digraph: a cluster for each lane; dotted and with ✂ what is detached, bold what gradient flows along."""
    lines = [
        f"digraph {_quoted(picture.title)} {{",
        f"  graph [rankdir=LR, newrank=true, label={_quoted(f'{picture.title} · {picture.summary}')}, labelloc=t,"
        f' fontname="Helvetica"]',
        f'  node [fontname="Courier", fontsize=11, color={_quoted(EDGE.light)}, fontcolor={_quoted(TEXT.light)}]',
        f'  edge [fontname="Courier", fontsize=9, color={_quoted(EDGE.light)}, fontcolor={_quoted(TEXT.light)}]',
    ]
    for lane in picture.lanes:
        lines += [f"  subgraph cluster_{lane.id} {{", f"    label={_quoted(lane_title(lane))}; labeljust=l; "
                  f"style=\"rounded,filled\"; color={_quoted(BAND.light)}"]  # fmt: skip
        lines += [f"    {_quoted(box.id)} [{_attributes(_box(picture, box))}]" for box in lane.boxes]
        lines += [f"    {_edge(arrow, _arrow(arrow))}" for arrow in lane.arrows]
        lines.append("  }")
    lines += [f"  {_edge(a, {'label': a.label, 'style': 'dashed', 'constraint': 'false'})}" for a in picture.reuses]
    notes = [*(f"pruned {text}" for text in picture.pruned), *picture.footer]
    if notes:
        text = "\\l".join(_escaped(n) for n in notes) + "\\l"
        lines.append(f'  "notes" [shape=plaintext, fontcolor={_quoted(QUIET.light)}, label="{text}"]')
    return "\n".join([*lines, "}"]) + "\n"


def _box(picture: Picture, box: Box) -> Iterator[tuple[str, str]]:
    yield "label", "\n".join(box_lines(box))
    yield "tooltip", "\n".join(text for _, text in box.details)
    yield "shape", _SHAPES.get(box.kind, "box")
    styles = ["filled"] if box.kind in ("loss", "step", "test") else ["rounded", "filled"]
    fill, line, ink = CARD.light, "", ""
    if box.network in picture.networks:
        c = colour(picture.networks.index(box.network))
        line, ink = c.ink.light, c.ink.light if box.kind not in PILLS else ""
        if box.mode == "train":
            fill, ink = c.fill, c.text
        elif box.kind == "call" and box.mode != "through":
            fill = c.tint.light
    if box.mode == "no-grad":
        fill = HATCH.light
    if box.mode in ("through", "cone") or box.kind == "reused":
        styles.append("dashed")
    yield "style", ",".join(styles)
    yield "fillcolor", fill
    yield "color", line
    yield "fontcolor", ink


def _arrow(arrow: Arrow) -> Mapping[str, str]:
    if arrow.cut:
        return {"label": f"{SCISSORS} {arrow.label}".strip(), "style": "dotted", "color": CUT.light,
                "fontcolor": CUT.light}  # fmt: skip
    if arrow.grad:
        return {"label": arrow.label, "style": "bold", "color": FLOW.light}
    return {"label": arrow.label}


def _edge(arrow: Arrow, attributes: Mapping[str, str]) -> str:
    said = _attributes(attributes.items())
    return f"{_quoted(arrow.source)} -> {_quoted(arrow.target)}" + (f" [{said}]" if said else "")


def _attributes(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{key}={_quoted(value)}" for key, value in pairs if value)


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
