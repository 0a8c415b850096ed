"""Picture -> where everything stands. Nothing here draws, and nothing knows of colours.

layout = layout_of(picture)
layout.placed[0]              # Placed(box=..., x=180.0, y=72.5, width=92, height=46): left edge and middle
layout.wires[0].points        # corners of an arrow, from its source to its target
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ganflow.pictures.bands import Band, bands_of
from ganflow.pictures.columns import SCISSORS_WIDTH, TIP, TRACK, Columns, columns_of, short, stub_text
from ganflow.pictures.grid import Link
from ganflow.pictures.model import Arrow, Box, Lane, Picture
from ganflow.pictures.shapes import inset
from ganflow.pictures.sizes import HEAD, LABEL, SMALL, text_width
from ganflow.pictures.wrap import head_lines

Point = tuple[float, float]
MARGIN, PAD = 20.0, 18.0  # around the picture, inside a lane
BUS = 12.0  # between values that enter a lane from above
BETWEEN = 12.0  # lanes
EXIT = 9.0  # from the middle of a box to where a value leaves for a later lane
SECTION = 36.0  # room for the words above lanes that are there under a condition


@dataclass(frozen=True)
class Placed:
    """A box: its left edge, its middle, and its size. A field of the batch may stand in several places."""

    id: str
    box: Box
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Label:
    """Text that begins at ``x`` and stands on ``y``."""

    text: str
    x: float
    y: float
    kind: str


@dataclass(frozen=True)
class Wire:
    """An arrow: its corners, and where its ✂ is."""

    arrow: Arrow
    points: tuple[Point, ...]
    scissors: Point | None = None


@dataclass(frozen=True)
class Frame:
    """The band of a lane."""

    lane: Lane
    y: float
    height: float


@dataclass(frozen=True)
class Layout:
    """A picture with places: all in one system of coordinates, y downwards.

    Args:
        bottom: where the last lane ends.
        head: the width of the lanes' heads.
        sections: a condition, and the height of the words that say it.
    """

    picture: Picture
    width: float
    bottom: float
    head: float
    frames: tuple[Frame, ...]
    placed: tuple[Placed, ...]
    wires: tuple[Wire, ...]
    labels: tuple[Label, ...]
    sections: tuple[tuple[str, float], ...]


def layout_of(picture: Picture, *, top: float = 0.0) -> Layout:
    """Places for everything; ``top``: room to leave above the first lane."""
    bands = bands_of(picture)
    head = max((_head_width(lane) for lane in picture.lanes), default=0.0)
    columns = columns_of(bands, picture.reuses, MARGIN + head + PAD * 2)
    frames, sections = _frames(bands, picture.reuses, top)
    place = _Places(bands, columns, frames, picture.reuses)
    order = {box: i for i, box in enumerate(picture.boxes)}
    placed = sorted(place.boxes(), key=lambda p: order[p.box.id])  # as things happen, so that the Tab key follows
    wires = dict.fromkeys([*place.wires(), *place.reuses(picture.reuses)])
    bottom = max((f.y + f.height for f in frames), default=top)
    return Layout(picture, columns.end + PAD + MARGIN, bottom, head, tuple(frames), tuple(placed), tuple(wires),
                  tuple(place.labels()), tuple(sections))  # fmt: skip


def _head_width(lane: Lane) -> float:
    widths = [text_width(t, HEAD if style == "head" else SMALL + 1) + 18 * (" " in style)
              for t, style in head_lines(lane)]  # fmt: skip
    return max(widths, default=0.0)


def _frames(bands: Sequence[Band], reuses: Sequence[Arrow], y: float) -> tuple[list[Frame], list[tuple[str, float]]]:
    """Lanes below one another, and the words above those that are there under a condition."""
    frames, sections, under = list[Frame](), list[tuple[str, float]](), ""
    for band in bands:
        if band.lane.under != under:
            under = band.lane.under
            sections.append((under or "then", y + 24))
            y += SECTION
        words = sum((HEAD if style == "head" else SMALL + 1) * 1.5 for _, style in head_lines(band.lane))
        tall = max(band.height + _bus(band, reuses), words) + 2 * PAD
        frames.append(Frame(band.lane, y, tall))
        y += tall + BETWEEN
    return frames, sections


def _bus(band: Band, reuses: Sequence[Arrow]) -> float:
    """Room above the boxes, for values that come from earlier lanes."""
    entering = sum(a.target in band.sizes for a in reuses)
    return BUS * entering + 6 if entering else 0.0


class _Places:
    """Turns rows and columns into coordinates."""

    def __init__(
        self, bands: Sequence[Band], columns: Columns, frames: Sequence[Frame], reuses: Sequence[Arrow]
    ) -> None:
        self.bands, self.columns = bands, columns
        self.slot = {s.id: (band, column) for band in bands for column, s in band.slots}
        self.box = {s.id: s.box for band in bands for _, s in band.slots}
        self.frame = {f.lane.id: f for f in frames}
        self.top = {f.lane.id: f.y + PAD + bus + (f.height - 2 * PAD - bus - band.height) / 2
                    for f, band in zip(frames, bands, strict=True) for bus in [_bus(band, reuses)]}  # fmt: skip

    def y(self, slot: str) -> float:
        band, _ = self.slot[slot]
        return self.top[band.lane.id] + band.heights[slot]

    def boxes(self) -> Iterator[Placed]:
        for band in self.bands:
            for column, slot in band.slots:
                if slot.box:
                    size = band.sizes[slot.id]
                    x = self.columns.right[column] - size.width
                    yield Placed(slot.id, slot.box, x, self.y(slot.id), size.width, size.height)

    def left(self, slot: str, y: float) -> float:
        """The outline of a box on the left at that height."""
        band, column = self.slot[slot]
        return self.columns.right[column] - band.sizes[slot].width + self.inset(slot, y - self.y(slot))

    def inset(self, slot: str, away: float) -> float:
        """How far the outline is inside the rectangle of the box, so far above or below its middle."""
        box = self.box[slot]
        return inset(box.kind, self.slot[slot][0].sizes[slot].height, away) if box else 0.0

    def exit(self, reuse: Arrow) -> float:
        """How far below the middle a value leaves for a later lane: beside its arrows to its own lane, if any."""
        band, _ = self.slot[reuse.source]
        beside = any(link.slots[0] == reuse.source for link in band.grid.links)
        return min(EXIT, band.sizes[reuse.source].height / 4) if beside else 0.0

    def wires(self) -> Iterator[Wire]:
        for band in self.bands:
            yield from (self.wire(band, link) for link in band.grid.links)

    def wire(self, band: Band, link: Link) -> Wire:
        """From slot to slot: level, up or down in the track, level."""
        y = self.y(link.slots[0])
        points = [(self.columns.right[self.slot[link.slots[0]][1]], y)]
        for a, b in zip(link.slots, link.slots[1:], strict=False):
            column = self.slot[a][1]
            into = self.top[band.lane.id] + band.ports[b, link.arrow]
            if abs(into - y) > 0.5:
                x = self.columns.first_track[column] + TRACK * band.tracks[column].track[a]
                points += [(x, y), (x, into)]
                y = into
        last = self.slot[link.slots[-1]][1]
        end = (self.left(link.slots[-1], y), y)
        scissors = (self.columns.left[last] - TIP - SCISSORS_WIDTH / 2, y) if link.arrow.cut else None
        return Wire(link.arrow, (*points, end), scissors)

    def reuses(self, reuses: Sequence[Arrow]) -> Iterator[Wire]:
        """Out of a box to the right, down to the lane, and into the reused value from above or from the left."""
        entered: dict[str, int] = {}
        for reuse in reuses:
            band, column = self.slot[reuse.target]
            lane = band.lane.id
            bus = self.frame[lane].y + PAD - 4 + BUS * entered.setdefault(lane, 0)
            entered[lane] += 1
            away, down = self.exit(reuse), self.columns.down[reuse.source]
            out = self.columns.right[self.slot[reuse.source][1]] - self.inset(reuse.source, away)
            start, end, size = self.y(reuse.source) + away, self.y(reuse.target), band.sizes[reuse.target]
            way: list[Point] = [(out, start), (down, start), (down, bus)]
            if reuse.target in self.columns.enter:
                x = self.columns.enter[reuse.target]
                way += [(x, bus), (x, end), (self.columns.right[column] - size.width, end)]
            else:
                middle = self.columns.right[column] - size.width / 2
                way += [(middle, bus), (middle, end - size.height / 2)]
            yield Wire(reuse, tuple(way))

    def labels(self) -> Iterator[Label]:
        """Shapes where values leave, weights where they enter."""
        for band in self.bands:
            for column, slot in band.slots:
                if text := stub_text(slot):
                    yield Label(text, self.columns.right[column] + 5, self.y(slot.id) - 4, "shape")
            for link in band.grid.links:
                if text := short(link.arrow) if link.arrow.label else "":
                    y = self.top[band.lane.id] + band.ports[link.slots[-1], link.arrow]
                    x = self.columns.left[self.slot[link.slots[-1]][1]] - TIP - 2 - text_width(text, LABEL)
                    yield Label(text, x, y - 4, "weight")
