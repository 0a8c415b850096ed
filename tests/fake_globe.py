"""A small globe in place of the real maps, so that tests cut tiles in a moment."""

from __future__ import annotations

from typing import Any

import numpy as np

from ganflow.data.earth import earth
from ganflow.data.maps import Maps


def fake_maps(scale: int = 10) -> Maps:
    """A globe of the right size for ``scale``: every relief pixel says where it is; sea, land and ice."""
    height, width = 2700 // scale, 5400 // scale
    row, column = np.mgrid[:height, :width]
    relief = np.stack([row % 256, column % 256, row // 256 * 16 + column // 256], -1).astype(np.uint8)
    land = (np.sin(row / 17) + np.cos(column / 23) > -0.3) & (row > 20)
    ice = row > height - 40
    satellite = np.where(ice[..., None], 250, 255 - relief).astype(np.uint8)
    satellite[~ice] = np.minimum(satellite[~ice], 190)
    return Maps(relief, satellite, land.astype(np.uint8) * 255)


def small(**parameters: Any) -> earth:
    """An ``earth`` that fits the fake maps."""
    return earth(**{"size": 16, "scale": 10, "block": 2, "stride": 4, "val": 0.15, "test": 0.15, **parameters})
