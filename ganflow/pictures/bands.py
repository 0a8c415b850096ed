"""Lanes with rows: how large their boxes are, how high they stand, where arrows enter, which tracks they take.

band, *_ = bands_of(picture)
band.heights["1.fake_B"], band.height     # the middle of that box from the top of the lane; the lane's height
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ganflow.pictures.grid import Grid, Slot, grid_of
from ganflow.pictures.heights import height, heights_of
from ganflow.pictures.model import PILLS, Arrow, Lane, Picture
from ganflow.pictures.sizes import Size, size_of
from ganflow.pictures.straight import straightened
from ganflow.pictures.tracks import Tracks, ports_of, tracks_of


@dataclass(frozen=True)
class Band:
    """A lane whose own place is not known yet.

    Args:
        heights: slot -> its middle, 0 at the top of the lane.
        ports: (slot, arrow) -> the height at which the arrow enters it.
        tracks: channel, as the column left of it -> which track each source's arrows take.
    """

    lane: Lane
    grid: Grid
    sizes: Mapping[str, Size]
    heights: Mapping[str, float]
    ports: Mapping[tuple[str, Arrow], float]
    tracks: Mapping[int, Tracks]

    @property
    def slots(self) -> Iterator[tuple[int, Slot]]:
        """Column and slot of each."""
        yield from ((column, slot) for column, slots in self.grid.columns.items() for slot in slots)

    @property
    def height(self) -> float:
        return max((self.heights[s.id] + height(s, self.sizes) / 2 for _, s in self.slots), default=0.0)

    def is_top(self, column: int, slot: str) -> bool:
        """Nothing stands above it."""
        return self.grid.columns[column][0].id == slot


def bands_of(picture: Picture) -> list[Band]:
    """All lanes."""
    grids = [grid_of(lane) for lane in picture.lanes]
    sizes = [_sizes(grid) for grid in grids]
    _widen(grids, sizes)
    return [_band(lane, grid, size) for lane, grid, size in zip(picture.lanes, grids, sizes, strict=True)]


def _band(lane: Lane, grid: Grid, sizes: Mapping[str, Size]) -> Band:
    heights = straightened(grid, sizes, heights_of(grid, sizes)) if grid.columns else {}
    ports = ports_of(grid, sizes, heights)
    return Band(lane, grid, sizes, heights, ports, tracks_of(grid, heights, ports))


def _sizes(grid: Grid) -> dict[str, Size]:
    into: dict[str, set[Arrow]] = {}
    for link in grid.links:
        into.setdefault(link.slots[-1], set()).add(link.arrow)
    slots = [s for slots in grid.columns.values() for s in slots]
    return {s.id: size_of(s.box, wires=len(into.get(s.id, ()))) for s in slots if s.box}


def _widen(grids: Sequence[Grid], sizes: Sequence[dict[str, Size]]) -> None:
    """Boxes of one column and kind get equally wide, in all lanes."""
    same: dict[tuple[int, str], list[tuple[dict[str, Size], str]]] = {}
    for grid, found in zip(grids, sizes, strict=True):
        for column, slots in grid.columns.items():
            for slot in slots:
                if slot.box and slot.box.kind not in PILLS:
                    same.setdefault((column, slot.box.kind), []).append((found, slot.id))
    for members in same.values():
        widest = max(found[slot].width for found, slot in members)
        for found, id_ in members:
            found[id_] = replace(found[id_], width=widest)
