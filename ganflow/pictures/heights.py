"""How high the slots of a lane stand: apart from one another, and as straight beside their neighbours as that allows.

heights = heights_of(grid, sizes)
heights["1.fake_B"]                # the middle of that slot, 0 at the top of the lane
settled([5, 5], [1, 1], [10])      # [0.0, 10.0]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganflow.pictures.grid import Grid, Slot
from ganflow.pictures.sizes import Size

BEND = 4.0  # the height of a line that leads past
GAP = 18.0  # between boxes
SWEEPS = 16

Pull = tuple[str, float]  # a neighbour, and how hard it pulls


def heights_of(grid: Grid, sizes: Mapping[str, Size]) -> dict[str, float]:
    """The middle of every slot."""
    left, right = _pulls(grid)
    found: dict[str, float] = {}
    for slots in grid.columns.values():
        gaps = _gaps(slots, sizes)
        found |= dict(zip((s.id for s in slots), settled([0.0] * len(slots), [1.0] * len(slots), gaps), strict=True))
    order = sorted(grid.columns)
    for sweep in range(SWEEPS):
        backward = sweep % 2 == 0
        both = sweep >= SWEEPS - 4
        for column in reversed(order) if backward else order:
            pulls = [left, right] if both else [right] if backward else [left]
            _settle(grid.columns[column], sizes, found, pulls)
    top = min(found[s.id] - height(s, sizes) / 2 for slots in grid.columns.values() for s in slots)
    return {slot: round(y - top, 1) for slot, y in found.items()}


def settled(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Positions in this order and at least ``gaps`` apart, with the least weighted sum of squares to the wanted ones.

    Pooling adjacent violators: whoever would come too close moves together, to their common middle.
    """
    offsets = [sum(gaps[:i]) for i in range(len(wanted))]
    pools: list[tuple[float, float, int]] = []  # middle, weight, members
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        pools.append((want - offset, weight, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, v, m), (b, w, n) = pools[-2:]
            pools[-2:] = [((a * v + b * w) / (v + w), v + w, m + n)]
    middles = [middle for middle, _, members in pools for _ in range(members)]
    return [middle + offset for middle, offset in zip(middles, offsets, strict=True)]


def _settle(
    slots: Sequence[Slot], sizes: Mapping[str, Size], found: dict[str, float], pulls: Sequence[Mapping[str, list[Pull]]]
) -> None:
    wanted, weights = [], []
    for slot in slots:
        near = [p for side in pulls for p in side.get(slot.id, ())]
        weight = sum(w for _, w in near)
        wanted.append(sum(found[n] * w for n, w in near) / weight if near else found[slot.id])
        weights.append(weight or 0.1)
    places = settled(wanted, weights, _gaps(slots, sizes))
    found.update(zip((s.id for s in slots), places, strict=True))


def _pulls(grid: Grid) -> tuple[dict[str, list[Pull]], dict[str, list[Pull]]]:
    """Neighbours on the left and on the right. Lines want to be straight, those with gradient most of all."""
    bends = {s.id for slots in grid.columns.values() for s in slots if s.box is None}
    left: dict[str, dict[str, float]] = {}
    right: dict[str, dict[str, float]] = {}
    for link in grid.links:
        for a, b in zip(link.slots, link.slots[1:], strict=False):
            pull = (4.0 if link.arrow.grad else 1.0) * (1 + 2 * ((a in bends) + (b in bends)))
            right.setdefault(a, {})[b] = max(pull, right.get(a, {}).get(b, 0))
            left.setdefault(b, {})[a] = max(pull, left.get(b, {}).get(a, 0))
    return {k: list(v.items()) for k, v in left.items()}, {k: list(v.items()) for k, v in right.items()}


def _gaps(slots: Sequence[Slot], sizes: Mapping[str, Size]) -> list[float]:
    return [gap(a, b, sizes) for a, b in zip(slots, slots[1:], strict=False)]


def gap(one: Slot, other: Slot, sizes: Mapping[str, Size]) -> float:
    """Between the middles of neighbours, at least."""
    space = GAP if one.box and other.box else 8.0 if one.box or other.box else 8.0
    return (height(one, sizes) + height(other, sizes)) / 2 + space


def height(slot: Slot, sizes: Mapping[str, Size]) -> float:
    """Of a box or a bend."""
    return sizes[slot.id].height if slot.box else BEND
