"""Training samples changed at random as they are read; the loader says with which generator.

Mirrored("pairs.h5", "train").augment(batch, generator)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ganflow.data.hdf5 import HDF5Dataset


class Mirrored(HDF5Dataset):
    """A split whose samples come mirrored left to right every second time, all their images alike."""

    deterministic = True  # but for the generator that it is given

    def augment(self, batch: Mapping[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Called by the loader with uint8 images N x C x H x W; every sample throws its own coin."""
        found = dict(batch)
        count = len(next(iter(found.values())))
        chosen = torch.rand(count, generator=generator) < 0.5
        for name in self.layouts:
            images = found[name]
            found[name] = torch.where(chosen.view(-1, *[1] * (images.ndim - 1)), images.flip(-1), images)
        return found
