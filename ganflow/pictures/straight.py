"""Small bends taken out: lines that lead past boxes become level, and sources move level with where they lead.

heights = straightened(grid, sizes, heights)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganflow.pictures.grid import Grid, Link, Slot
from ganflow.pictures.heights import gap, height
from ganflow.pictures.sizes import Size
from ganflow.pictures.tracks import ports_of

ROUNDS = 3
FARTHEST = 26.0  # a box moves no farther at a time

Range = tuple[float, float]


def straightened(grid: Grid, sizes: Mapping[str, Size], heights: Mapping[str, float]) -> dict[str, float]:
    """Heights in the same order, at the same distances or larger ones, within the same bounds."""
    found = dict(heights)
    slots = [s for column in grid.columns.values() for s in column]
    bounds = (min(found[s.id] - height(s, sizes) / 2 for s in slots),
              max(found[s.id] + height(s, sizes) / 2 for s in slots))  # fmt: skip
    for _ in range(ROUNDS):
        for chain in _chains(grid):
            _level(grid, sizes, found, bounds, chain)
        _align(grid, sizes, found, bounds)
    return {slot: round(y, 1) for slot, y in found.items()}


def _room(slots: Sequence[Slot], i: int, sizes: Mapping[str, Size], found: Mapping[str, float], bounds: Range) -> Range:
    """Between which heights one slot of a column may stand while all others stay."""
    slot, half = slots[i], height(slots[i], sizes) / 2
    low = found[slots[i - 1].id] + gap(slots[i - 1], slot, sizes) if i else bounds[0] + half
    high = found[slots[i + 1].id] - gap(slot, slots[i + 1], sizes) if i + 1 < len(slots) else bounds[1] - half
    return low, max(low, high)


def _chains(grid: Grid) -> list[list[str]]:
    """The bends of each source, from left to right."""
    chains: dict[str, list[str]] = {}
    for column in sorted(grid.columns):
        for slot in grid.columns[column]:
            if slot.box is None:
                chains.setdefault(slot.source, []).append(slot.id)
    return list(chains.values())


def _level(grid: Grid, sizes: Mapping[str, Size], found: dict[str, float], bounds: Range, chain: Sequence[str]) -> None:
    """One height for as long a run of bends as there is room for it."""
    room = {s.id: _room(slots, i, sizes, found, bounds) for slots in grid.columns.values()
            for i, s in enumerate(slots) if s.id in chain}  # fmt: skip
    ports = ports_of(grid, sizes, found)
    start = 0
    while start < len(chain):
        end, (low, high) = start + 1, room[chain[start]]
        while end < len(chain) and max(low, room[chain[end]][0]) <= min(high, room[chain[end]][1]):
            low, high = max(low, room[chain[end]][0]), min(high, room[chain[end]][1])
            end += 1
        run = chain[start:end]
        ends = [ports[link.slots[-1], link.arrow] for link in grid.links if run[-1] in link.slots[-2:]]
        before = found[chain[start - 1]] if start else found[run[0].rsplit("|", 1)[0]]
        middle = min(max(sum(found[b] for b in run) / len(run), low), high)
        level = next((y for y in (*ends, before) if low <= y <= high), middle)
        found.update(dict.fromkeys(run, level))
        start = end


def _align(grid: Grid, sizes: Mapping[str, Size], found: dict[str, float], bounds: Range) -> None:
    """Boxes move level with where an arrow enters, one with gradient if possible, from the right to the left."""
    leaving: dict[str, list[Link]] = {}
    for link in sorted(grid.links, key=lambda e: (not e.arrow.grad, len(e.slots))):
        leaving.setdefault(link.slots[0], []).append(link)
    for column in sorted(grid.columns, reverse=True):
        ports = ports_of(grid, sizes, found)
        slots = grid.columns[column]
        for i, slot in enumerate(slots):
            low, high = _room(slots, i, sizes, found, bounds)
            for link in leaving.get(slot.id, ()):
                wanted = ports[link.slots[1], link.arrow]
                if low <= wanted <= high and abs(wanted - found[slot.id]) <= FARTHEST:
                    found[slot.id] = wanted
                    break
