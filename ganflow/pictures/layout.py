"""Picture -> where everything stands. Nothing here draws, and nothing knows of colours.

    layout = layout_of(picture)
    layout.placed[0]              # Placed(box=..., x=180.0, y=72.5, width=92, height=46): left edge and middle
    layout.wires[0].points        # corners of an arrow, from its source to its target

Columns are common to all lanes, with channels between them in which arrows go up and down. From left to right a
channel holds the shapes of the values that come out, the tracks, and right before the boxes weights and ✂.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganflow.pictures.grid import Grid, Slot, grid_of
from ganflow.pictures.heights import height, heights_of
from ganflow.pictures.model import PILLS, Arrow, Box, Lane, Picture
from ganflow.pictures.sizes import HEAD, LABEL, SMALL, Size, size_of, text_width
from ganflow.pictures.straight import straightened
from ganflow.pictures.tracks import Tracks, ports_of, tracks_of
from ganflow.pictures.wrap import head_lines

Point = tuple[float, float]
MARGIN, PAD, BUS, TRACK, SCISSORS_WIDTH, TIP = 20.0, 18.0, 12.0, 9.0, 20.0, 9.0
BETWEEN = 12.0  # lanes
LONGEST_LABEL = 16


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
    """A picture with places: all in one system of coordinates, y downwards."""

    picture: Picture
    width: float
    bottom: float
    head: float
    frames: tuple[Frame, ...]
    placed: tuple[Placed, ...]
    wires: tuple[Wire, ...]
    labels: tuple[Label, ...]
    sections: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class _Lane:
    """A lane with the heights of its slots and arrows, before its own place is known."""

    lane: Lane
    grid: Grid
    sizes: Mapping[str, Size]
    heights: Mapping[str, float]
    ports: Mapping[tuple[str, Arrow], float]  # where an arrow enters a slot
    tracks: Mapping[int, Tracks]  # channel -> which track each source's arrows take

    @property
    def height(self) -> float:
        slots = [s for column in self.grid.columns.values() for s in column]
        return max((self.heights[s.id] + height(s, self.sizes) / 2 for s in slots), default=0.0)


def layout_of(picture: Picture, *, top: float = 0.0) -> Layout:
    """Places for everything; ``top``: room to leave above the first lane."""
    grids = [grid_of(lane) for lane in picture.lanes]
    sizes = _widened(grids, [_sizes(grid) for grid in grids])
    lanes = [_prepared(lane, grid, size) for lane, grid, size in zip(picture.lanes, grids, sizes, strict=True)]
    return _Layouter(picture, lanes).layout(top)


def _sizes(grid: Grid) -> dict[str, Size]:
    into: dict[str, set[Arrow]] = {}
    for link in grid.links:
        into.setdefault(link.slots[-1], set()).add(link.arrow)
    slots = [s for slots in grid.columns.values() for s in slots]
    return {s.id: size_of(s.box, wires=len(into.get(s.id, ()))) for s in slots if s.box}


def _widened(grids: Sequence[Grid], sizes: list[dict[str, Size]]) -> list[dict[str, Size]]:
    """Boxes of one column and kind are equally wide, in all lanes."""
    widest: dict[tuple[int, str], float] = {}
    same = [(found, column, slot) for grid, found in zip(grids, sizes, strict=True)
            for column, slots in grid.columns.items() for slot in slots if slot.box]  # fmt: skip
    for found, column, slot in same:
        key = (column, slot.box.kind if slot.box else "")
        widest[key] = max(widest.get(key, 0.0), found[slot.id].width)
    for found, column, slot in same:
        if slot.box and slot.box.kind not in PILLS:
            found[slot.id] = Size(widest[column, slot.box.kind], found[slot.id].height)
    return sizes


def _prepared(lane: Lane, grid: Grid, sizes: dict[str, Size]) -> _Lane:
    heights = straightened(grid, sizes, heights_of(grid, sizes)) if grid.columns else {}
    ports = ports_of(grid, sizes, heights)
    return _Lane(lane, grid, sizes, heights, ports, tracks_of(grid, heights, ports))


class _Layouter:
    """Columns and lanes get their places, then arrows follow."""

    def __init__(self, picture: Picture, lanes: Sequence[_Lane]) -> None:
        self.picture, self.lanes = picture, lanes
        columns = [c for lane in lanes for c in lane.grid.columns]
        self.first, self.last = min(columns, default=0), max(columns, default=0)
        self.slot_of = {s.id: (lane, c, s) for lane in lanes for c, slots in lane.grid.columns.items() for s in slots}
        self.out: dict[int, list[str]] = {}  # channel -> sources of reuses that go down in it
        self.enter: dict[int, list[str]] = {}  # channel -> reused values that are entered from it
        for reuse in picture.reuses:
            _append(self.out, self.slot_of[reuse.source][1], reuse.source)
            if not self._on_top(reuse.target):
                _append(self.enter, self.slot_of[reuse.target][1] - 1, reuse.target)
        self.head = max((self._head_width(lane.lane) for lane in lanes), default=0.0)
        self._columns()

    def _head_width(self, lane: Lane) -> float:
        widths = [text_width(t, HEAD if style == "head" else SMALL + 1) + 18 * (" " in style)
                  for t, style in head_lines(lane)]  # fmt: skip
        return max(widths, default=0)

    def _on_top(self, reused: str) -> bool:
        lane, column, slot = self.slot_of[reused]
        return lane.grid.columns[column][0].id == slot.id

    def _columns(self) -> None:
        """Left and right edges of columns, and where the parts of the channels after them begin."""
        self.left: dict[int, float] = {}
        self.right: dict[int, float] = {}
        self.track: dict[int, float] = {}
        self.enters: dict[int, float] = {}
        x = MARGIN + self.head + PAD * 2
        x = self._channel(self.first - 1, x)
        for column in range(self.first, self.last + 1):
            self.left[column] = x
            widths = [lane.sizes[s.id].width for lane in self.lanes for s in lane.grid.columns.get(column, ()) if s.box]
            x += max(widths, default=0)
            self.right[column] = x
            if column < self.last:
                x = self._channel(column, x)
        if self.out.get(self.last):
            x = self._channel(self.last, x)
        self.width = x + PAD + MARGIN

    def _channel(self, column: int, x: float) -> float:
        """The left edge of the column after this channel."""
        here = [s for lane in self.lanes for s in lane.grid.columns.get(column, ())]
        stub = max((text_width(stub_text(s), LABEL) + 10 for s in here if stub_text(s)), default=2)
        out, enter = len(self.out.get(column, ())), len(self.enter.get(column, ()))
        tracks = max((lane.tracks[column].count for lane in self.lanes if column in lane.tracks), default=0)
        ends = [link.arrow for lane in self.lanes for link in lane.grid.links
                if self.slot_of[link.slots[-1]][1] == column + 1]  # fmt: skip
        labels = [text_width(_short(a), LABEL) + 8 for a in ends if a.label]
        last = max([*labels, *(SCISSORS_WIDTH for a in ends if a.cut), 4.0 if ends else 0.0]) + TIP
        self.track[column] = x + stub + TRACK
        self.enters[column] = self.track[column] + TRACK * (out + tracks)
        if column < self.first and not enter:
            return x
        return self.enters[column] + TRACK * enter + last

    # -- places ------------------------------------------------------------------------------------------------

    def layout(self, top: float) -> Layout:
        frames, sections, y, under = [], [], top, ""
        self.top: dict[str, float] = {}
        for lane in self.lanes:
            if lane.lane.under != under:
                under = lane.lane.under
                y += 10
                sections.append((under or "then", y + 14))
                y += 26
            bus = BUS * sum(self.slot_of[r.target][0] is lane for r in self.picture.reuses)
            bus += 6 if bus else 0
            words = sum((HEAD if style == "head" else SMALL + 1) * 1.5 for _, style in head_lines(lane.lane))
            tall = max(lane.height + bus, words) + 2 * PAD
            self.top[lane.lane.id] = y + PAD + bus + (tall - 2 * PAD - bus - lane.height) / 2
            frames.append(Frame(lane.lane, y, tall))
            y += tall + BETWEEN
        order = {box: i for i, box in enumerate(self.picture.boxes)}
        placed = [self._placed(lane, column, slot) for lane, column, slot in self.slot_of.values() if slot.box]
        placed.sort(key=lambda p: order[p.box.id])  # as things happen, so that the Tab key follows
        wires = [self._wire(lane, link.arrow, link.slots) for lane in self.lanes for link in lane.grid.links]
        wires += self._reuses({f.lane.id: f.y for f in frames})
        return Layout(self.picture, self.width, y, self.head, tuple(frames), tuple(placed), _once(wires),
                      tuple(self._labels()), tuple(sections))  # fmt: skip

    def _y(self, slot: str) -> float:
        lane = self.slot_of[slot][0]
        return self.top[lane.lane.id] + lane.heights[slot]

    def _placed(self, lane: _Lane, column: int, slot: Slot) -> Placed:
        assert slot.box is not None
        size = lane.sizes[slot.id]
        return Placed(slot.id, slot.box, self.right[column] - size.width, self._y(slot.id), size.width, size.height)

    def _wire(self, lane: _Lane, arrow: Arrow, slots: Sequence[str]) -> Wire:
        top = self.top[lane.lane.id]
        y = self._y(slots[0])
        points = [(self.right[self.slot_of[slots[0]][1]], y)]
        for a, b in zip(slots, slots[1:], strict=False):
            channel = self.slot_of[a][1]
            into = top + lane.ports[b, arrow]
            if abs(into - y) > 0.5:
                x = self.track[channel] + TRACK * (len(self.out.get(channel, ())) + lane.tracks[channel].track[a])
                points += [(x, y), (x, into)]
            y = into
        last = self.slot_of[slots[-1]]
        end = (self.right[last[1]] - lane.sizes[slots[-1]].width, y)
        scissors = (self.left[last[1]] - TIP - SCISSORS_WIDTH / 2, y) if arrow.cut else None
        return Wire(arrow, (*points, end), scissors)

    def _reuses(self, bands: Mapping[str, float]) -> list[Wire]:
        wires, used = [], dict[str, int]()
        for reuse in self.picture.reuses:
            lane, column, slot = self.slot_of[reuse.target]
            from_ = self.slot_of[reuse.source][1]
            used[lane.lane.id] = used.get(lane.lane.id, 0) + 1
            bus = bands[lane.lane.id] + PAD - 4 + BUS * (used[lane.lane.id] - 1)
            down = self.track[from_] + TRACK * self.out[from_].index(reuse.source)
            start, end = self._y(reuse.source), self._y(reuse.target)
            size = lane.sizes[slot.id]
            way: list[Point] = [(self.right[from_], start), (down, start), (down, bus)]
            if self._on_top(reuse.target):
                middle = self.right[column] - size.width / 2
                way += [(middle, bus), (middle, end - size.height / 2)]
            else:
                x = self.enters[column - 1] + TRACK * self.enter[column - 1].index(reuse.target)
                way += [(x, bus), (x, end), (self.right[column] - size.width, end)]
            wires.append(Wire(reuse, tuple(way)))
        return wires

    def _labels(self) -> list[Label]:
        found = []
        for _, column, slot in self.slot_of.values():
            if text := stub_text(slot):
                found.append(Label(text, self.right[column] + 5, self._y(slot.id) - 4, "shape"))
        for lane in self.lanes:
            for link in lane.grid.links:
                if link.arrow.label:
                    column = self.slot_of[link.slots[-1]][1]
                    y = self.top[lane.lane.id] + lane.ports[link.slots[-1], link.arrow]
                    x = self.left[column] - TIP - 2 - text_width(_short(link.arrow), LABEL)
                    found.append(Label(_short(link.arrow), x, y - 4, "weight"))
        return found


def stub_text(slot: Slot) -> str:
    """The shape of a value, where it leaves its box."""
    return slot.box.shape if slot.box and slot.box.shape != "scalar" else ""


def _short(arrow: Arrow) -> str:
    """Its label, if there is room for it; the details of a loss say all of it."""
    return arrow.label if len(arrow.label) <= LONGEST_LABEL else "… ×"


def _append(lists: dict[int, list[str]], key: int, item: str) -> None:
    if item not in lists.setdefault(key, []):
        lists[key].append(item)


def _once(wires: Sequence[Wire]) -> tuple[Wire, ...]:
    return tuple(dict.fromkeys(wires))
