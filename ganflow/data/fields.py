"""What a dataset says of each of its fields before any data exists.

Field((3, 64, 64), domain="relief").shape          # (3, 64, 64)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One named value of a sample, as a training step sees it.

    Args:
        shape: without the batch dimension, channels first for images: ``(channels, height, width)``.
        dtype: name of the dtype on the device; images arrive as ``float32`` in [-1, 1].
        domain: what the values are pictures of, such as ``relief``; a loss that compares two different
            domains is worth a warning. Empty when unknown.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    domain: str = ""
