"""Networks and data of the runs that are interrupted in tests: some keep what they should not where nobody looks."""

from __future__ import annotations

import os

import gin
import torch
from torch import Tensor, nn


class Points(torch.utils.data.Dataset):
    fields = {"x": (2,)}

    def __len__(self) -> int:
        return 22

    def __getitem__(self, k: int) -> dict[str, Tensor]:
        return {"x": torch.tensor([k / 22, 1 - k / 22]) + 0.1 * torch.randn(2)}


@gin.register
def toy_points() -> Points:
    return Points()


@gin.register
class ResumeNet(nn.Sequential):
    def __init__(self, inputs: int = 2) -> None:
        outputs = 2 if inputs > 2 else 1
        super().__init__(nn.Linear(inputs, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, outputs))


TOTAL = [0]


@gin.register
class Forgetful(nn.Linear):
    """Keeps what it should not where nobody looks."""

    def __init__(self) -> None:
        super().__init__(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        TOTAL[0] += self.training
        return super().forward(x) * (1 + TOTAL[0])


@gin.register
class Restless(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * os.urandom(1)[0]
