"""Which column and which row: every arrow goes from one column to the next, and few cross.

    grid = grid_of(lane)
    grid.columns[-1]              # the slots right before the loss; 0 is the loss, 1 the steps, 2 what follows

Columns are counted from the loss, so that the same stages of all lanes stand below each other. A value that several
columns read is led past the ones in between by bends; a field of the batch is simply written again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from ganflow.pictures.model import SOURCES, Arrow, Box, Lane

LOSS, STEP, AFTER = 0, 1, 2
SWEEPS = 12
_FIXED = {"loss": LOSS, "step": STEP, "after": AFTER, "test": STEP}


@dataclass(frozen=True)
class Slot:
    """A place in a column: a box, or a bend of the arrows that lead past it from ``source``."""

    id: str
    box: Box | None = None
    source: str = ""


@dataclass(frozen=True)
class Link:
    """An arrow's way: slots, one column after the other."""

    arrow: Arrow
    slots: tuple[str, ...]


@dataclass
class Grid:
    """Slots in their columns, from top to bottom, and the ways of all arrows."""

    columns: dict[int, list[Slot]] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)

    def place(self, column: int, slot: Slot) -> str:
        slots = self.columns.setdefault(column, [])
        if all(s.id != slot.id for s in slots):
            slots.append(slot)
        return slot.id


def grid_of(lane: Lane) -> Grid:
    """Rows and columns for the boxes of a lane."""
    column = _columns(lane)
    boxes = {b.id: b for b in lane.boxes}
    grid = Grid()
    for box in lane.boxes:
        if box.kind not in SOURCES:
            grid.place(column[box.id], Slot(box.id, box))
    for arrow in lane.arrows:
        grid.links.append(Link(arrow, _way(grid, boxes, column, arrow)))
    for box in lane.boxes:  # one that nothing reads here
        if box.kind in SOURCES and not any(a.source == box.id for a in lane.arrows):
            grid.place(LOSS - 1, Slot(box.id, box))
    _untangle(grid)
    return grid


def _columns(lane: Lane) -> dict[str, int]:
    """As late as possible, but before whoever reads it."""
    readers: dict[str, list[str]] = {b.id: [] for b in lane.boxes}
    for arrow in lane.arrows:
        readers[arrow.source].append(arrow.target)
    kinds = {b.id: b.kind for b in lane.boxes}
    found: dict[str, int] = {}
    for box in TopologicalSorter(readers).static_order():  # readers first
        latest = min((found[r] for r in readers[box]), default=LOSS) - 1
        found[box] = _FIXED.get(kinds[box], latest)
    return found


def _way(grid: Grid, boxes: Mapping[str, Box], column: Mapping[str, int], arrow: Arrow) -> tuple[str, ...]:
    source, last = boxes[arrow.source], column[arrow.target]
    if source.kind in SOURCES:  # written again in the column before
        return grid.place(last - 1, Slot(f"{source.id}@{last - 1}", source)), arrow.target
    bends = [grid.place(c, Slot(f"{source.id}|{c}", None, source.id)) for c in range(column[source.id] + 1, last)]
    return (source.id, *bends, arrow.target)


# -- order in the columns --------------------------------------------------------------------------------------


def _untangle(grid: Grid) -> None:
    """Each slot goes to the middle of its neighbours, sweep after sweep; the order with the fewest crossings stays."""
    left, right = _neighbours(grid)
    order = sorted(grid.columns)
    best, fewest = _rows(grid), _crossings(grid, right)
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 1
        near = left if forward else right
        for column in order[1:] if forward else order[-2::-1]:
            rows = _rows(grid)
            slots = grid.columns[column]
            keys = {s.id: _middle([rows[n] for n in near.get(s.id, ())], rows[s.id]) for s in slots}
            slots.sort(key=lambda s: keys[s.id])
        if (crossings := _crossings(grid, right)) < fewest:
            best, fewest = _rows(grid), crossings
    for slots in grid.columns.values():
        slots.sort(key=lambda s: best[s.id])


def _neighbours(grid: Grid) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    left: dict[str, list[str]] = {}
    right: dict[str, list[str]] = {}
    for link in grid.links:
        for a, b in zip(link.slots, link.slots[1:], strict=False):
            if b not in right.setdefault(a, []):
                right[a].append(b)
                left.setdefault(b, []).append(a)
    return left, right


def _rows(grid: Grid) -> dict[str, float]:
    """The position of each slot in its column, between 0 and 1."""
    return {s.id: (i + 0.5) / len(slots) for slots in grid.columns.values() for i, s in enumerate(slots)}


def _middle(rows: Sequence[float], own: float) -> float:
    return sum(rows) / len(rows) if rows else own


def _crossings(grid: Grid, right: Mapping[str, Sequence[str]]) -> int:
    rows = _rows(grid)
    total = 0
    for slots in grid.columns.values():
        ends = [(rows[s.id], rows[t]) for s in slots for t in right.get(s.id, ())]
        total += sum((a < c) and (b > d) for a, b in ends for c, d in ends)
    return total
