"""Where to cut a map into tiles, and which tile belongs to which split.

    positions = choose(maps.land, maps.satellite, Plan(size=64, stride=16, block=2, margin=8))
    positions["test"]            # int32 N x 2: row and column of each tile's top left pixel

The map is divided into square blocks. Blocks for testing and for validation are spread evenly over all
blocks with land on them; their tiles lie inside the block and do not overlap. A training tile may lie
anywhere, and overlap others, as long as ``margin`` pixels stay between it and every such block, across
the date line too.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val", "test")
WHITE = 200  # a pixel whose darkest channel is this bright is taken for ice or snow
GOLDEN = 0.6180339887498949


@dataclass(frozen=True)
class Plan:
    """How to cut.

    Args:
        size: side of a tile in pixels.
        stride: step between training tiles in pixels.
        block: side of a block in tiles.
        margin: least distance between a training tile and a block of another split, in pixels.
        land: least share of a tile that is land.
        ice: largest share of a tile that is white.
        val, test: share of the blocks for each split.
        seed: another seed, other blocks.
    """

    size: int
    stride: int
    block: int
    margin: int
    land: float = 0.3
    ice: float = 0.5
    val: float = 0.1
    test: float = 0.1
    seed: int = 0


class Block(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int


def choose(land: np.ndarray, satellite: np.ndarray, plan: Plan) -> dict[str, np.ndarray]:
    """Positions (row, column) of the tiles of each split, int32 N x 2, in reading order.

    Args:
        land: uint8 H x W, 255 where a pixel is all land.
        satellite: uint8 H x W x 3, only looked at for ice.
        plan: how to cut.
    """
    import numpy as np

    fits = _Fits(_table(land), _table(satellite.min(-1) >= WHITE), plan)
    blocks = [(b, tiles) for b in _blocks(land.shape, plan) if len(tiles := fits.only(_inside(b, plan)))]
    assigned = list(zip(spread(len(blocks), plan), blocks, strict=True))
    chosen = {s: [tiles for split, (_, tiles) in assigned if split == s] for s in ("val", "test")}
    held = np.zeros(land.shape, bool)
    for block in (block for split, (block, _) in assigned if split != "train"):
        held[block.top : block.bottom, block.left : block.right] = True
    chosen["train"] = [fits.only(_apart(held, plan))]
    return {split: _in_order(chosen[split]) for split in SPLITS}


def spread(count: int, plan: Plan) -> list[str]:
    """A split for each of ``count`` blocks in a row, every share spread as evenly as can be.

    Multiples of the golden ratio modulo 1 fall evenly into any interval, and so does any run of them.
    """
    phase = random.Random(plan.seed).random()
    turns = [(phase + i * GOLDEN) % 1 for i in range(count)]
    return ["test" if t < plan.test else "val" if t < plan.test + plan.val else "train" for t in turns]


@dataclass(frozen=True)
class _Fits:
    """Keeps the tiles with enough land and not too much ice."""

    land: np.ndarray
    ice: np.ndarray
    plan: Plan

    def only(self, positions: np.ndarray) -> np.ndarray:
        area = self.plan.size**2
        land = _sums(self.land, positions, self.plan.size) / (255 * area)
        ice = _sums(self.ice, positions, self.plan.size) / area
        return positions[(land >= self.plan.land) & (ice <= self.plan.ice)]


def _blocks(shape: tuple[int, ...], plan: Plan) -> list[Block]:
    """All blocks, row by row and every other row backwards, so that neighbours in the list are neighbours.

    The outermost rows stay free: around a pole, pixels far apart in the map touch on the globe.
    """
    side = plan.size * plan.block
    rows = _edges(plan.margin, shape[0] - plan.margin, side)
    columns = _edges(0, shape[1], side)
    return [
        Block(top, bottom, left, right)
        for i, (top, bottom) in enumerate(rows)
        for left, right in (columns if i % 2 == 0 else columns[::-1])
    ]


def _edges(start: int, stop: int, side: int) -> list[tuple[int, int]]:
    """As many equal intervals, at least ``side`` long, as fit between ``start`` and ``stop``."""
    count = (stop - start) // side
    edges = [start + i * (stop - start) // max(1, count) for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _inside(block: Block, plan: Plan) -> np.ndarray:
    """Tiles of a block held out: side by side without overlap, in its middle."""
    top = (block.top + block.bottom - plan.size * plan.block) // 2
    left = (block.left + block.right - plan.size * plan.block) // 2
    steps = [i * plan.size for i in range(plan.block)]
    return _grid([top + s for s in steps], [left + s for s in steps])


def _apart(held: np.ndarray, plan: Plan) -> np.ndarray:
    """Tiles on the training grid that stay ``margin`` pixels away from every held-out block."""
    import numpy as np

    height, width = held.shape
    grid = _grid(
        range(plan.margin, height - plan.margin - plan.size + 1, plan.stride),
        range(0, width - plan.size + 1, plan.stride),
    )
    around = np.pad(held, ((plan.margin,) * 2, (0, 0)))
    around = np.pad(around, ((0, 0), (plan.margin,) * 2), mode="wrap")
    # In the padded map a tile's window, margin included, starts at the tile's own position.
    return grid[_sums(_table(around), grid, plan.size + 2 * plan.margin) == 0]


def _grid(rows: object, columns: object) -> np.ndarray:
    import numpy as np

    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2).astype(np.int32)


def _table(values: np.ndarray) -> np.ndarray:
    """Summed-area table with a leading row and column of zeros.

    Sums wrap around at 2^32; differences are still exact, as the sum of a single window is smaller.
    """
    import numpy as np

    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.uint32)
    np.cumsum(values, 0, np.uint32, out=table[1:, 1:])
    np.cumsum(table[1:, 1:], 1, np.uint32, out=table[1:, 1:])
    return table


def _sums(table: np.ndarray, positions: np.ndarray, size: int) -> np.ndarray:
    """The sum over the ``size`` x ``size`` window at each position."""
    top, left = positions[:, 0], positions[:, 1]
    bottom, right = top + size, left + size
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]


def _in_order(parts: list[np.ndarray]) -> np.ndarray:
    import numpy as np

    positions = np.concatenate([*parts, np.zeros((0, 2), np.int32)])
    return positions[np.lexsort((positions[:, 1], positions[:, 0]))]
