"""A look at a dataset: one PNG with samples side by side.

preview(earth(), "earth.png", split="test", count=12)
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ganflow import images
from ganflow.data.loader import to_float
from ganflow.errors import GanflowError

if TYPE_CHECKING:
    from PIL.Image import Image


def preview(dataset: Any, path: str | Path, *, split: str = "train", count: int = 8, seed: int = 0) -> Path:
    """Write a grid of ``count`` samples, a column for each image field with its name above.

    Args:
        dataset: has ``open(split)``, or is itself a map-style dataset of dicts with uint8 images C x H x W.
        path: the PNG to write; missing folders are made.
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
    rows = [{n: v for n, v in samples[i].items() if _is_image(v)} for i in chosen]
    if not rows[0]:
        raise GanflowError("no field of this dataset is an image of one, three or more channels", code="no-image")
    return images.save(_beside(rows), path)


def _beside(rows: list[dict[str, torch.Tensor]]) -> Image:
    """The samples in as many groups of columns as make about a square."""
    from PIL import Image

    shape = next(iter(rows[0].values())).shape
    groups = min(len(rows), max(1, round((len(rows) * shape[1] / (len(rows[0]) * shape[2])) ** 0.5)))
    depth = -(-len(rows) // groups)
    sheets = [_grid(rows[start : start + depth]) for start in range(0, len(rows), depth)]
    whole = Image.new("RGB", (sum(s.width for s in sheets) + images.GAP * (len(sheets) - 1), sheets[0].height), "white")
    for i, sheet in enumerate(sheets):
        whole.paste(sheet, (i * (sheets[0].width + images.GAP), 0))
    return whole


def _grid(rows: list[dict[str, torch.Tensor]]) -> Image:
    return images.grid({name: torch.stack([to_float(row[name]) for row in rows]) for name in rows[0]}, gap=0)


def _is_image(value: Any) -> bool:
    return getattr(value, "ndim", 0) == 3 and str(value.dtype) == "torch.uint8"
