"""Pictures of step graphs: complete, nothing on top of anything else, readable in both themes, the same every time."""

from __future__ import annotations

import functools
import io
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, assume, given, settings

import ganflow
from commands import ganflow as command
from ganflow.cli import main
from ganflow.graph import Evaluate, StepGraph, ancestors, edges
from ganflow.json_view import from_json, to_json
from ganflow.pictures import ENDINGS, FORMATS, render
from ganflow.pictures.build import picture_of
from ganflow.pictures.layout import Layout, Placed, Wire, layout_of
from ganflow.pictures.model import Picture
from ganflow.pictures.shapes import body
from ganflow.pictures.sizes import LABEL, PORT, rows_of, text_width
from ganflow.pictures.tracks import Net, assigned
from ganflow.pictures.wrap import wrapped
from ganflow.scheduler import schedule
from ganflow.views import without
from golden_text import GOLDEN, check_golden
from test_methods import NAMES as METHOD_NAMES
from test_methods import PROGRAMS as METHODS
from test_naive import PHASES, Declared, experiments, gin
from test_scheduler import pix2pix
from test_zoo import PROGRAMS, experiment
from toy import experiment as toy
from zoo_networks import known

ROOT = Path(__file__).resolve().parent.parent
DRAWN = [form for form in FORMATS if form not in ("text", "json")]
EVERY_PROGRAM = pytest.mark.parametrize("program", PROGRAMS)
EVERY_METHOD = pytest.mark.parametrize("program", (*PROGRAMS, *METHOD_NAMES))
TEXT_ONLY = {"constant", "counter", "schedule", "network"}  # leaves that have no box
JOG = 0.6  # a line that would turn for so little goes straight on
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def names() -> Iterator[None]:
    with known():
        yield


@functools.cache
def graph_of(program: str) -> StepGraph:
    if program in PROGRAMS:
        return ganflow.schedule(experiment(program))
    return ganflow.schedule(ganflow.load(METHODS / f"{program}.gin"))


@functools.cache
def drawn(program: str, form: str) -> str:
    return render(graph_of(program), form, footer="a <footer> & more")


@functools.cache
def measured() -> ganflow.inspection.Inspection:  # type: ignore[name-defined]
    from ganflow.inspection import inspect

    return inspect(ganflow.load(ROOT / "experiments" / "pix2pix.gin"))


def measured_picture() -> Picture:
    """With shapes and cost, which take room."""
    from ganflow.cost import cost_cells, cost_footer

    found = measured()
    return picture_of(found.graph, cost_cells(found.graph, found.cost), cost_footer(found.graph, found.cost))


# --- everything is there -------------------------------------------------------------------------------------


def lanes_of(graph: StepGraph) -> list[tuple[StepGraph, object]]:
    """(graph, phase) of each lane, in order: the usual iteration, then what is different without something."""
    return [(graph, p) for p in graph.walk()] + [(g, p) for _, g, phases in without(graph) for p in phases]


def is_cut(graph: StepGraph, action: Evaluate, node: str, way: tuple[str, ...]) -> bool:
    """A step of the way from a value into the text of ``node`` is cut, or is a ``detach``."""
    steps = list(zip((node, *way[:-1]), way, strict=True))
    cut = any((reader, p) in action.cut for reader, read in steps
              for p, i in enumerate(graph.nodes[reader].inputs) if i == read)  # fmt: skip
    return cut or any(graph.nodes[reader].kind == "detach" for reader, _ in steps)


@EVERY_METHOD
def test_every_statement_is_a_box_and_every_edge_an_arrow(program: str) -> None:
    graph = graph_of(program)
    picture = picture_of(graph)
    pairs = lanes_of(graph)
    assert len(picture.lanes) == len(pairs)
    for lane, (there, phase) in zip(picture.lanes, pairs, strict=True):
        boxes = {box.id: box for box in lane.boxes}
        for action in (a for a in phase.evaluations if there.nodes[a.node].is_statement):
            wanted = {
                (e.source, is_cut(there, action, action.node, (*e.through, e.source)))
                for e in edges(there.nodes, action.node)
                if there.nodes[e.source].kind not in TEXT_ONLY
            }
            into = {(boxes[a.source].node, a.cut) for a in lane.arrows if a.target == f"{lane.id}.{action.node}"}
            assert into == wanted, action.node
        assert {a.target for a in lane.arrows} | {a.source for a in lane.arrows} <= boxes.keys()


@EVERY_PROGRAM
def test_every_node_that_is_used_is_somewhere(program: str) -> None:
    graph = graph_of(program)
    shown = {part for box in picture_of(graph).boxes.values() for part in box.parts}
    for there, phase in lanes_of(graph):
        used = ancestors(there.nodes, [a.node for a in phase.evaluations])
        assert {n for n in used if there.nodes[n].kind not in TEXT_ONLY} <= shown


@EVERY_PROGRAM
def test_updates_end_in_their_losses_and_steps(program: str) -> None:
    graph = graph_of(program)
    picture = picture_of(graph)
    for lane, (_, phase) in zip(picture.lanes, lanes_of(graph), strict=True):
        assert [b.title for b in lane.boxes if b.kind == "step"] == [f"step {n}" for n in phase.steps]
        assert [b.name for b in lane.boxes if b.kind == "loss"] == [u.name for u in phase.updates]
        terms = [(t.node, f"{lane.id}.loss {u.name}") for u in phase.updates for t in u.terms]
        arrows = {(lane_box(lane, a.source), a.target) for a in lane.arrows}
        assert set(terms) <= arrows
    after = [b.title for b in picture.boxes.values() if b.kind == "after"]
    assert {f"{s.name} ←" for s in graph.states} <= set(after)
    assert {f"{a.network} ← {a.source}" for a in graph.averages} <= set(after)


def lane_box(lane: object, box: str) -> str:
    return next(b.node for b in lane.boxes if b.id == box)


@EVERY_PROGRAM
def test_reuse_between_updates_is_an_arrow_from_where_the_value_was_made(program: str) -> None:
    picture = picture_of(graph_of(program))
    reused = [b.id for b in picture.boxes.values() if b.kind == "reused"]
    assert sorted(a.target for a in picture.reuses) == sorted(reused)
    for arrow in picture.reuses:
        source, target = picture.boxes[arrow.source], picture.boxes[arrow.target]
        assert source.node == target.node and int(source.id.split(".")[0]) < int(target.id.split(".")[0])
        assert source.kind != "reused", "from the origin, not from another copy"


def test_what_pix2pix_looks_like() -> None:
    picture = picture_of(pix2pix())
    modes = {(b.id, b.mode) for b in picture.boxes.values() if b.kind == "call"}
    assert modes == {("1.fake_B", "kept"), ("1.pred_fake", "train"), ("1.pred_real", "train"),
                     ("2.pred_fake", "through")}  # fmt: skip
    arrows = {(a.source, a.target): a for lane in picture.lanes for a in lane.arrows}
    assert arrows["1.fake_B", "1.pred_fake"].cut and not arrows["2.fake_B", "2.pred_fake"].cut
    assert arrows["2.G_L1", "2.loss G"].label == "100 ×" and arrows["2.G_GAN", "2.loss G"].label == ""
    grad = {pair for pair, a in arrows.items() if a.grad}
    assert {("2.fake_B", "2.G_L1"), ("2.fake_B", "2.pred_fake"), ("1.pred_real", "1.D_real")} <= grad
    assert not {("1.fake_B", "1.pred_fake"), ("1.real_A", "1.pred_fake"), ("2.real_B", "2.G_L1")} & grad


def test_what_was_pruned_is_listed() -> None:
    graph = pix2pix(lambda_GAN=0.0)
    assert [text.split(":")[0] for text in picture_of(graph).pruned] == ["term G_GAN", "update D", "network D"]
    for form in DRAWN:
        assert "update D: " in render(graph, form)


# --- ✂ ---------------------------------------------------------------------------------------------------------


def cuts_of_the_plan(graph: StepGraph) -> Counter[tuple[str, str]]:
    """(statement, what is detached in it) of each ✂ of the text; a value that is read twice there counts once."""
    labels = {n.name or n.id for n in graph.nodes.values()}
    found: Counter[tuple[str, str]] = Counter()
    for line in str(graph).splitlines():
        statement = re.match(r" +(minimize|\S+ +=)(.*)", line)
        cut = re.findall(r"✂ ([\w./]+)", statement[2]) if statement else []
        assert len(cut) == line.count("✂") and set(cut) <= labels, line
        found.update({(statement[1].rstrip(" ="), source) for source in cut} if statement else ())
    return found


@EVERY_METHOD
def test_every_cut_of_the_plan_is_in_every_format(program: str) -> None:
    graph = graph_of(program)
    picture = picture_of(graph)
    label = {b.id: graph.nodes[b.node].name or b.node for b in picture.boxes.values() if b.node}
    label |= {b.id: "minimize" for b in picture.boxes.values() if b.kind == "loss"}
    arrows = [a for lane in picture.lanes for a in lane.arrows if a.cut]
    assert cuts_of_the_plan(graph) <= Counter((label[a.target], label[a.source]) for a in arrows)
    for form in ("mermaid", "dot"):
        edges_ = [line for line in drawn(program, form).splitlines() if "->" in line and "✂" in line]
        assert len(edges_) == len(arrows), form
    svg = ElementTree.fromstring(drawn(program, "svg"))
    cut = [g for g in svg.iter(f"{SVG}g") if "data-from" in g.attrib and "cut" in g.attrib["class"].split()]
    assert {(g.attrib["data-from"], g.attrib["data-to"]) for g in cut} == {(a.source, a.target) for a in arrows}
    assert all(g.find(f"{SVG}g[@class='scissors']") is not None and "✂" in g.findtext(f"{SVG}title") for g in cut)
    assert all(text in drawn(program, "html") for text in {f"✂ {picture.boxes[a.source].label}" for a in arrows})


# --- nothing on top of anything else ---------------------------------------------------------------------------

Rect = tuple[float, float, float, float]


def overlap(a: Rect, b: Rect, slack: float = 0.01) -> bool:
    return a[0] < b[2] - slack and b[0] < a[2] - slack and a[1] < b[3] - slack and b[1] < a[3] - slack


def boxes_in(layout: Layout) -> dict[str, Rect]:
    return {p.id: (p.x, p.y - p.height / 2, p.x + p.width, p.y + p.height / 2) for p in layout.placed}


def segments(wire: Wire) -> list[Rect]:
    pairs = zip(wire.points, wire.points[1:], strict=False)
    return [(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])) for a, b in pairs]


def overlap_at_its_own_end(wire: Wire, slot: str, line: Rect, box: Rect) -> bool:
    """A line begins and ends at the outline of its boxes, which is inside their rectangles where they are round."""
    ends = {k.split("@")[0] for k in (wire.arrow.source, wire.arrow.target)}
    return slot.split("@")[0] in ends and min(line[2] - box[0], box[2] - line[0]) < (11 if "test" in slot else 3)


def check_layout(picture: Picture) -> Layout:
    layout = layout_of(picture)
    boxes = boxes_in(layout)
    labels = {f"{n} {la.text}": (la.x, la.y - 0.75 * LABEL, la.x + text_width(la.text, LABEL), la.y)
              for n, la in enumerate(layout.labels)}  # fmt: skip
    things = [*boxes.items(), *labels.items()]
    for i, (one, a) in enumerate(things):
        assert not [other for other, b in things[i + 1 :] if overlap(a, b)], one
    frames = {f.lane.id: (0.0, f.y, layout.width, f.y + f.height) for f in layout.frames}
    for placed in layout.placed:
        left, top, right, bottom = boxes[placed.id]
        frame = frames[placed.box.id.split(".")[0]]
        assert frame[1] < top and bottom < frame[3] and layout.head < left and right < layout.width, placed.id
        assert all(text_width(r.text, r.size) <= placed.width - 8 for r in rows_of(placed.box)), placed.id
    for wire in layout.wires:
        assert all(a[0] == b[0] or a[1] == b[1] for a, b in zip(wire.points, wire.points[1:], strict=False))
        for x0, y0, x1, y1 in segments(wire):
            line = (x0 - 0.5, y0 - 0.5, x1 + 0.5, y1 + 0.5)
            crossed = [k for k, box in boxes.items() if overlap(line, box, slack=0.6)
                       and not overlap_at_its_own_end(wire, k, line, box)]  # fmt: skip
            assert not crossed, (wire.arrow, crossed)
            assert not [k for k, box in labels.items() if overlap(line, box, slack=0.6)], wire.arrow
    marks = [w.scissors for w in layout.wires if w.scissors]
    assert all(abs(a[0] - b[0]) > 14 or abs(a[1] - b[1]) > 12 for i, a in enumerate(marks) for b in marks[i + 1 :])
    return layout


@EVERY_METHOD
def test_nothing_overlaps(program: str) -> None:
    check_layout(picture_of(graph_of(program)))


def side_of(placed: Placed) -> tuple[float, float]:
    """The straight part of the left side, from top to bottom, as it is drawn."""
    drawn_ = body(placed.box.kind, placed.x, placed.y, placed.width, placed.height)
    top = float(re.findall(r"V(-?[\d.]+)", drawn_)[-1])
    return top, 2 * placed.y - top


@EVERY_METHOD
def test_every_arrow_ends_on_a_side_of_its_box_and_apart_from_the_others(program: str) -> None:
    layout = layout_of(picture_of(graph_of(program)))
    placed = {p.id: p for p in layout.placed}
    ends: dict[str, list[float]] = {}
    for wire in layout.wires:
        target, (x, y) = placed[wire.arrow.target], wire.points[-1]
        if wire.points[-2][0] == x:  # from above
            assert abs(y - (target.y - target.height / 2)) < 0.01 and abs(x - target.x - target.width / 2) < 0.01, (
                wire.arrow
            )
            continue
        ends.setdefault(target.id, []).append(y)
        if target.box.kind == "test":  # its left side is a point
            away = abs(y - target.y) / (target.height / 2)
            assert away < 0.8 and abs(x - target.x - 10 * away) < 0.01, wire.arrow
        else:
            top, bottom = side_of(target)
            assert top - JOG <= y <= bottom + JOG and abs(x - target.x) < 0.01, (wire.arrow, y, top, bottom)
    for target, found in ends.items():
        found.sort()
        assert all(b - a >= PORT - 2 * JOG for a, b in zip(found, found[1:], strict=False)), target


def test_a_value_that_goes_on_in_its_lane_leaves_for_a_later_one_beside_its_other_arrows() -> None:
    for program in (*PROGRAMS, *METHOD_NAMES):
        picture = picture_of(graph_of(program))
        layout = layout_of(picture)
        placed = {p.id: p for p in layout.placed}
        here = {a.source: w.points[0][1] for w in layout.wires for a in [w.arrow] if a not in picture.reuses}
        for wire in (w for w in layout.wires if w.arrow in picture.reuses and w.arrow.source in here):
            source, (_, y) = placed[wire.arrow.source], wire.points[0]
            assert 5 < y - here[source.id] < source.height / 2, (program, wire.arrow)


def test_nothing_overlaps_with_shapes_and_costs() -> None:
    layout = check_layout(measured_picture())
    assert {label.text for label in layout.labels} >= {"4×3×64×64", "4×1×6×6", "100 ×", "0.5 ×", "∇ D", "∇ G"}
    assert {p.box.note for p in layout.placed} >= {"759 MFLOP", "366 MFLOP"}


@settings(max_examples=6, phases=PHASES, suppress_health_check=list(HealthCheck))
@given(experiments())
def test_nothing_overlaps_in_any_experiment(d: Declared) -> None:
    try:
        graph = ganflow.schedule(ganflow.loads(gin(d)))
    except ganflow.GanflowError:
        assume(False)
    check_layout(picture_of(graph))
    ElementTree.fromstring(render(graph, "svg"))


def test_lines_do_not_run_in_one_another() -> None:
    """Level or upright parts of different values that coincide would be read as one line."""
    for program in (*PROGRAMS, *METHOD_NAMES):
        layout = layout_of(picture_of(graph_of(program)))
        parts = {(w.arrow.source, part) for w in layout.wires for part in segments(w)}
        for source, (x0, y0, x1, y1) in parts:
            for other, (u0, v0, u1, v1) in parts:
                if source < other and not _same_value(source, other):
                    level = y0 == y1 and v0 == v1 and abs(y0 - v0) < 2 and min(x1, u1) - max(x0, u0) > 4
                    upright = x0 == x1 and u0 == u1 and abs(x0 - u0) < 2 and min(y1, v1) - max(y0, v0) > 4
                    assert not level and not upright, (program, source, other)


def test_a_line_that_goes_on_at_the_height_where_another_ends_turns_before_it() -> None:
    found = assigned([Net("down", 0.0, (50.0,)), Net("further", 50.0, (100.0,))])
    assert found.track["further"] < found.track["down"] and found.count == 2
    assert assigned([Net("above", 0.0, (40.0,)), Net("below", 60.0, (100.0,))]).count == 1, "they do not meet"
    assert assigned([Net("straight", 0.0, (0.0,))]).count == 0


def _same_value(one: str, other: str) -> bool:
    return one.split(".", 1)[1] == other.split(".", 1)[1]


def test_the_largest_program_takes_less_than_a_second() -> None:
    largest = max(PROGRAMS, key=lambda p: len(picture_of(graph_of(p)).boxes))
    start = time.perf_counter()
    render(graph_of(largest), "html")
    assert time.perf_counter() - start < 1.0


def test_text_is_wrapped_where_it_can_be() -> None:
    assert wrapped("when step % 16 == 0 and more", 14) == ["when step % 16", "== 0 and more"]
    assert wrapped("abcdefghij", 4) == ["abcd", "efgh", "ij"]


# --- files -----------------------------------------------------------------------------------------------------


@EVERY_PROGRAM
def test_svg_is_well_formed_and_needs_nothing_else(program: str) -> None:
    text = drawn(program, "svg")
    ElementTree.fromstring(text)
    assert "prefers-color-scheme: dark" in text and not re.search(r"<script|href|@import|<image|foreignObject", text)
    assert set(re.findall(r"url\((.*?)\)", text)) <= {"#hatch"}
    assert set(re.findall(r"https?://[^\"' ]*", text)) == {"http://www.w3.org/2000/svg"}


class Page(HTMLParser):
    """What a page holds; elements are closed in the order in which they were opened."""

    EMPTY = frozenset({"meta", "input", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@EVERY_PROGRAM
def test_the_page_stands_alone_and_can_be_used_with_keys_and_ears(program: str) -> None:
    text = drawn(program, "html")
    page = Page(text)
    assert not {"src", "href", "srcset", "action", "data"} & {name for _, found in page.elements for name in found}
    assert not re.search(r"@import|fetch\(|XMLHttpRequest|import\(", text)
    assert set(re.findall(r"https?://[^\"' ]*", text)) == {"http://www.w3.org/2000/svg"}
    ids = [found["id"] for _, found in page.elements if "id" in found]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'getElementById\("(\w+)"\)', text)) <= set(ids)
    picture = picture_of(graph_of(program))
    boxes = [found for _, found in page.elements if "data-id" in found]
    assert {b["data-id"] for b in boxes} == picture.boxes.keys()
    assert all(b["tabindex"] == "0" and b["role"] and b["aria-label"] for b in boxes)
    assert any(found.get("aria-live") == "polite" for _, found in page.elements)
    assert all(word in text for word in ("prefers-reduced-motion", "prefers-color-scheme", "@media print"))


@EVERY_PROGRAM
def test_the_page_tells_every_step_in_order(program: str) -> None:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', drawn(program, "html"))
    data = json.loads(found[1])
    told = [m["text"] for m in data["moments"]]
    graph = graph_of(program)
    for _, phase in lanes_of(graph):
        for update in phase.updates:
            backward = next(i for i, t in enumerate(told) if t.startswith("backward: "))
            step = next(i for i, t in enumerate(told) if t.startswith(f"step {update.steps[0]}"))
            assert backward < step
    assert {id_ for m in data["moments"] for id_ in m["boxes"]} <= data["boxes"].keys()
    evaluated = [a.node for _, p in lanes_of(graph) for a in p.evaluations if graph.nodes[a.node].is_statement]
    in_boxes = [id_.split(".", 1)[1] for m in data["moments"] for id_ in m["boxes"][:1]]
    assert [n for n in in_boxes if n in set(evaluated)][: len(evaluated)].count(evaluated[0]) >= 1
    assert Counter(evaluated) <= Counter(in_boxes)


def test_nothing_in_an_expression_ends_the_script() -> None:
    graph = schedule(toy({"fake": "G(z['</script><b>'])"}, {"G": "mean(fake)"}, ["G"]))
    text = render(graph, "html")
    Page(text)
    assert text.count("</script>") == 2 and "<b>" not in text
    ElementTree.fromstring(render(graph, "svg"))


@EVERY_PROGRAM
def test_dot_is_sane(program: str) -> None:
    """Braces, brackets and quotes match, and edges join nodes that are declared. No Graphviz is asked."""
    text = drawn(program, "dot")
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    assert '"' not in bare.replace('""', "")
    assert bare.count("{") == bare.count("}") and bare.count("[") == bare.count("]")
    statement = re.compile(r'^(digraph "" \{|  subgraph cluster_\d+ \{|  \}|\}|    label="".*'
                           r'|  (graph|node|edge) \[.*\]'
                           r'| +"" \[[^\[\]]*\]| +"" -> ""( \[[^\[\]]*\])?)$')  # fmt: skip
    assert [line for line in bare.splitlines() if not statement.match(line)] == []
    declared = set(re.findall(r'^    ("[^"]*") \[', text, flags=re.M))
    joined = {end for pair in re.findall(r'^ +("[^"]*") -> ("[^"]*")', text, flags=re.M) for end in pair}
    assert joined <= declared and len(declared) == len(picture_of(graph_of(program)).boxes)


@EVERY_PROGRAM
def test_mermaid_is_sane(program: str) -> None:
    text = drawn(program, "mermaid")
    lines = text.splitlines()
    assert lines[0] == "---" and lines[3] == "flowchart TB"
    box = re.compile(r'^    (b\d+)(\(\(|\(\[|\(|\[\[|\[/|\[|\{\{)"([^"]*)"(\)\)|\]\)|\)|\]\]|/\]|\]|\}\})$')
    edge = re.compile(r'^    (b\d+) (-->|==>|-\.->)(\|"[^"]+"\|)? (b\d+)$')
    rest = re.compile(r'^  (subgraph lane\d+\["[^"]*"\]|  direction LR|end|lane\d+ (~~~|-\.->\|"[^"]*"\|) lane\d+'
                      r"|%% .*|classDef \w+ [\w:#,.\- ]+|class [\w,]+ \w+)$")  # fmt: skip
    boxes = [m[1] for line in lines if (m := box.match(line))]
    ends = {end for line in lines if (m := edge.match(line)) for end in (m[1], m[4])}
    assert [line for line in lines[4:] if not (box.match(line) or edge.match(line) or rest.match(line))] == []
    assert len(boxes) == len(set(boxes)) == len(picture_of(graph_of(program)).boxes) and ends <= set(boxes)
    assert sum(line.startswith("  subgraph") for line in lines) == lines.count("  end")


def test_mermaid_and_dot_of_a_small_program() -> None:
    graph = schedule(toy({"fake": "G(randn(8, 100))"}, {"G": "gan(D(fake), True)",
                         "D": "gan(D(real), True) + 0.5 * gan(D(fake), False)"}, ["G", "D"]))  # fmt: skip
    check_golden(GOLDEN / "pictures" / "gan.mmd", render(graph, "mermaid"))
    check_golden(GOLDEN / "pictures" / "gan.dot", render(graph, "dot"))


def test_the_same_graph_gives_the_same_bytes() -> None:
    """In another process, with other hashes, and after a round trip through JSON."""
    text = to_json(graph_of("stylegan2_ada"))
    code = """
import sys
from ganflow.json_view import from_json
from ganflow.pictures import FORMATS, render
graph = from_json(sys.stdin.read())
print("".join(render(graph, form) for form in FORMATS), end="")
"""
    outputs = [
        subprocess.run([sys.executable, "-c", code], input=text, capture_output=True, text=True, check=True,
                       encoding="utf-8", env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed,
                                              "PYTHONIOENCODING": "utf-8"}).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    here = "".join(render(graph_of("stylegan2_ada"), form) for form in FORMATS)
    assert outputs[0] == outputs[1] == here


# --- the command ---------------------------------------------------------------------------------------------


def test_plan_writes_each_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gin_file = ROOT / "experiments" / "pix2pix.gin"
    starts = {"text": "pix2pix · ", "mermaid": "---\n", "dot": "digraph", "svg": "<svg", "html": "<!doctype html>",
              "json": "{\n"}  # fmt: skip
    for form in FORMATS:
        printed = command(capsys, "plan", gin_file, "--no-shapes", "--format", form)
        assert printed.status == 0 and printed.out.startswith(starts[form])
    assert from_json(command(capsys, "plan", gin_file, "--no-shapes", "--format", "json").out).name == "pix2pix"
    for ending, form in ENDINGS.items():
        out = tmp_path / f"plan{ending}"
        printed = command(capsys, "plan", gin_file, "--no-shapes", "--out", out)
        assert printed.out == f"{out}\n" and out.read_text(encoding="utf-8").startswith(starts[form])
    command(capsys, "plan", gin_file, "--no-shapes", "--format", "dot", "--out", tmp_path / "plan.txt")
    assert (tmp_path / "plan.txt").read_text(encoding="utf-8").startswith("digraph")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "png"], "one of text, mermaid, dot, svg, html, json"),
        (["--out", "plan.pdf"], "say --format"),
        (["--no-shapes", "--out", "no/such/folder/plan.svg"], "cannot be written"),
    ],
)
def test_what_cannot_be_drawn_is_one_message(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    printed = command(capsys, "plan", ROOT / "experiments" / "pix2pix.gin", *arguments)
    assert printed.status == 2 and said in printed.err and printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_utf8_in_any_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="ascii"))
    file = str(ROOT / "experiments" / "pix2pix.gin")
    monkeypatch.setattr(sys, "argv", ["ganflow", "plan", file, "--no-shapes", "--format", "svg"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert "✂" in printed.getvalue().decode("utf-8")
    ElementTree.fromstring(printed.getvalue())


def test_the_picture_in_the_readme_is_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](docs/pix2pix-step.svg)" in readme
    monkeypatch.chdir(ROOT)
    [line] = re.findall(r"`\./tools/ganflow (plan .* --out docs/pix2pix-step.svg)`", readme)
    out = tmp_path / "step.svg"
    printed = command(capsys, *line.replace("docs/pix2pix-step.svg", str(out)).split())
    assert printed.status == 0, printed.err
    shown, now = (path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "pix2pix-step.svg", out))
    assert now == shown, f"run ./tools/ganflow {line}"
