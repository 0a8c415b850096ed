"""What `run.gin` beside it is made of: small networks with every kind of state, and data that draws."""

from __future__ import annotations

import random

import gin
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

PIXELS = 3 * 4 * 4


@gin.configurable
class Painter(nn.Module):
    """N×8 -> N×3×4×4, with batch norm, dropout, a call counter and noise of its own."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(8, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2), nn.Linear(width, PIXELS), nn.Tanh()
        )
        self.calls, self.own = 0, random.Random(5)

    def forward(self, z: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
            z = z * (1 + 0.01 * self.own.random()) + 0.001 * (self.calls % 7)
        return self.layers(z).view(-1, 3, 4, 4)


@gin.configurable
class Judge(nn.Module):
    """N×3×4×4 -> N×1, with dropout."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(PIXELS, width), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@gin.configurable
class Blots(Dataset):
    """Pictures with noise from the generators of torch, Python and NumPy, anew each time they are read."""

    fields = {"real": (3, 4, 4)}  # noqa: RUF012 - as its documentation says

    def __init__(self, count: int = 44) -> None:
        self.pictures = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        shift = 0.05 * (random.random() + np.random.rand())  # noqa: NPY002 - people do
        return {"real": (self.pictures[i] + 0.05 * torch.randn(3, 4, 4) + shift).clamp(-1, 1)}
