"""A look at a dataset: one PNG with samples side by side.

preview(earth(), "earth.png", split="test", count=12)
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganflow.errors import GanflowError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

LEAST_SIDE = 128  # smaller pictures are enlarged by a whole factor to at least this
GAP, LABEL = 8, 20
PAPER, INK = (255, 255, 255), (40, 40, 40)


def preview(dataset: Any, path: str | Path, *, split: str = "train", count: int = 8, seed: int = 0) -> Path:
    """Write a grid of ``count`` samples, a column for each image field with its name above.

    Args:
        dataset: has ``open(split)``, or is itself a map-style dataset of dicts with uint8 images C x H x W.
        path: the PNG to write.
        split: where the samples come from.
        count: how many, drawn without repetition; all of a smaller split.
        seed: of the draw.

    Raises:
        GanflowError: there is no image field, or the picture cannot be written there.
    """
    samples = dataset.open(split) if hasattr(dataset, "open") else dataset
    chosen = sorted(random.Random(seed).sample(range(len(samples)), min(count, len(samples))))
    if not chosen:
        raise GanflowError(f"split `{split}` has no samples to show", code="empty-split")
    return save(grid([_images(samples[i]) for i in chosen]), Path(path))


def grid(rows: list[dict[str, np.ndarray]]) -> Image:
    """Rows of pictures (uint8 H x W x 3) under the names of their fields, in as many columns as is square."""
    from PIL import Image

    names = list(rows[0])
    if not names:
        raise GanflowError("no field of this dataset is an image of one, three or more channels", code="no-image")
    pictures = [[_enlarged(row[name]) for name in names] for row in rows]
    width = max(p.width for row in pictures for p in row)
    height = max(p.height for row in pictures for p in row)
    groups = _groups(len(rows), len(names) * width / height)
    depth = -(-len(rows) // groups)
    step = len(names) * width + GAP * 2
    sheet = Image.new("RGB", (groups * step, LABEL + depth * (height + GAP)), PAPER)
    for i, row in enumerate(pictures):
        for j, picture in enumerate(row):
            left, top = GAP + i // depth * step + j * width, LABEL + i % depth * (height + GAP)
            sheet.paste(picture, (left, top))
            if i % depth == 0:
                _label(sheet, names[j], left)
    return sheet


def save(picture: Image, path: Path) -> Path:
    """Write a PNG whatever the name ends in; an error is one that the user can act on."""
    try:
        picture.save(path, format="PNG")
    except OSError as error:
        reason = error.strerror or str(error)
        raise GanflowError(f"the picture {path} cannot be written: {reason}", code="cannot-write") from error
    return path


def _groups(count: int, aspect: float) -> int:
    """In how many groups of columns ``count`` rows of this aspect make about a square."""
    return min(count, max(1, round((count / aspect) ** 0.5)))


def _images(sample: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: _rgb(value.numpy()) for name, value in sample.items() if _is_image(value)}


def _is_image(value: Any) -> bool:
    return getattr(value, "ndim", 0) == 3 and str(value.dtype) == "torch.uint8"


def _rgb(image: np.ndarray) -> np.ndarray:
    """The first three channels, or the first one as grey."""
    shown = image[:3] if len(image) >= 3 else image[:1].repeat(3, 0)
    return shown.transpose(1, 2, 0)


def _enlarged(image: np.ndarray) -> Image:
    from PIL import Image

    picture = Image.fromarray(image.copy())
    factor = max(1, -(-LEAST_SIDE // min(picture.size)))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _label(sheet: Image, text: str, left: int) -> None:
    from PIL import ImageDraw

    ImageDraw.Draw(sheet).text((left + 2, 5), text, fill=INK)
