"""Where arrows enter boxes, and which track of a channel their upright parts take, so that few cross and none coincide.

A net is all arrows of one source through one channel: they share a track.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganflow.pictures.grid import Grid
from ganflow.pictures.heights import settled
from ganflow.pictures.model import Arrow
from ganflow.pictures.sizes import PORT, Size

NEAR = 5.0  # level parts closer than this would look like one line
COINCIDE = 50  # as bad as this many crossings
ROUNDS = 6

Ports = Mapping[tuple[str, Arrow], float]


@dataclass(frozen=True)
class Net:
    """From the height of a source to the heights of its targets."""

    source: str
    start: float
    ends: tuple[float, ...]

    @property
    def top(self) -> float:
        return min(self.start, *self.ends)

    @property
    def bottom(self) -> float:
        return max(self.start, *self.ends)


@dataclass(frozen=True)
class Tracks:
    """Source -> number of its track, from the left."""

    track: Mapping[str, int]
    count: int


def ports_of(grid: Grid, sizes: Mapping[str, Size], heights: Mapping[str, float]) -> dict[tuple[str, Arrow], float]:
    """(slot, arrow) -> the height at which it enters: straight where that is possible."""
    entering: dict[str, dict[Arrow, float]] = {}
    found: dict[tuple[str, Arrow], float] = {}
    for link in grid.links:
        for slot in link.slots[1:-1]:
            found[slot, link.arrow] = heights[slot]
        entering.setdefault(link.slots[-1], {})[link.arrow] = heights[link.slots[-2]]
    for slot, arrows in entering.items():
        half = sizes[slot].height / 2 - sizes[slot].corner
        order = sorted(arrows, key=lambda a: arrows[a])
        places = _within(heights[slot] - half, heights[slot] + half, [arrows[a] for a in order])
        found |= {(slot, a): round(y, 1) for a, y in zip(order, places, strict=True)}
    return found


def _within(low: float, high: float, wanted: Sequence[float]) -> list[float]:
    """As near to where they are wanted as possible, apart from one another, and all of them on the side of the box.

    Each has bounds that leave room for those above and below it; the best places without bounds, put into them, are
    the best ones with them.
    """
    places = settled(wanted, [1.0] * len(wanted), [PORT] * (len(wanted) - 1))
    below = PORT * (len(wanted) - 1)
    return [min(max(y, low + PORT * i), high - below + PORT * i) for i, y in enumerate(places)]


def tracks_of(grid: Grid, heights: Mapping[str, float], ports: Ports) -> dict[int, Tracks]:
    """A track for every net of every channel."""
    column = {s.id: c for c, slots in grid.columns.items() for s in slots}
    ends: dict[str, dict[float, None]] = {}
    for link in grid.links:
        for a, b in zip(link.slots, link.slots[1:], strict=False):
            ends.setdefault(a, {})[ports[b, link.arrow]] = None
    nets: dict[int, list[Net]] = {}
    for source, reached in ends.items():
        nets.setdefault(column[source], []).append(Net(source, heights[source], tuple(reached)))
    return {c: assigned(found) for c, found in nets.items()}


def assigned(nets: Sequence[Net]) -> Tracks:
    """Straight nets need no track; the others are put in the order that costs least, by moving one at a time."""
    turning = [n for n in nets if any(abs(e - n.start) > 0.5 for e in n.ends)]
    cost = {(a.source, b.source): _cost(a, b) for a in turning for b in turning if a is not b}
    order = sorted(turning, key=lambda n: n.start - sum(n.ends) / len(n.ends))
    for _ in range(ROUNDS):
        before = [n.source for n in order]
        for net in list(order):
            order = _reinserted(order, net, cost)
        if before == [n.source for n in order]:
            break
    return _packed(order)


def _reinserted(order: Sequence[Net], net: Net, cost: Mapping[tuple[str, str], int]) -> list[Net]:
    rest = [n for n in order if n is not net]
    totals = []
    for place in range(len(rest) + 1):
        left = sum(cost[n.source, net.source] for n in rest[:place])
        totals.append(left + sum(cost[net.source, n.source] for n in rest[place:]))
    best = totals.index(min(totals))
    return [*rest[:best], net, *rest[best:]]


def _packed(order: Sequence[Net]) -> Tracks:
    """Nets that do not meet may stand on one track, if nothing between them is passed."""
    track: dict[str, int] = {}
    for i, net in enumerate(order):
        behind = [track[o.source] + 1 for o in order[:i] if _meet(o, net)]
        track[net.source] = max(behind, default=0)
    return Tracks(track, max(track.values(), default=-1) + 1)


def _meet(one: Net, other: Net) -> bool:
    return one.top - NEAR <= other.bottom and other.top - NEAR <= one.bottom


def _cost(left: Net, right: Net) -> int:
    """Crossings, and level parts that coincide, where ``left`` has the track on the left."""
    crossings = sum(right.top < e < right.bottom for e in left.ends) + (left.top < right.start < left.bottom)
    same = sum(abs(e - right.start) < NEAR for e in left.ends)
    return crossings + COINCIDE * same
