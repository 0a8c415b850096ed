"""Networks and data of the runs that are interrupted in tests: some keep what they should not where nobody looks."""

from __future__ import annotations

import os
from collections import Counter

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


@gin.register
class Reading(nn.Linear):
    """A module that torch cannot trace without numbers."""

    def __init__(self) -> None:
        super().__init__(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + float(x.detach().mean().item()))


@gin.register
class Growing(nn.Linear):
    """Buffers that come and grow, and containers of all kinds."""

    def __init__(self) -> None:
        super().__init__(2, 1)
        self.register_buffer("mean", None)
        self.register_buffer("queue", torch.zeros(0))
        self.shape, self.phase, self.counts = torch.Size(()), 0, Counter[str]()
        self.first: int | None = 1

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            m = x.detach().mean()
            self.mean = m if self.mean is None else 0.9 * self.mean + 0.1 * m
            self.queue = torch.cat([self.queue, m[None]])[-50:]
            self.shape, self.phase = x.shape, (self.phase + 1) % 3
            self.counts["calls"] += 1
            vars(self).pop("first", None)
        scale = 1 + self.shape.numel() + self.phase + self.counts["calls"] + self.queue.sum()
        return super().forward(x) * scale * 0.01


@gin.register
class Late(nn.Module):
    """Builds itself when it is first trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 1)
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        if self.calls == 3:
            self.layer = nn.Linear(2, 1)
        return self.first(x)


@gin.register
class Unsaveable(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 1)

    def get_extra_state(self) -> object:
        return object()

    def set_extra_state(self, state: object) -> None: ...


@gin.register
class Repeating(nn.Linear):
    """A buffer that is one number many times over, which cannot be written."""

    def __init__(self) -> None:
        super().__init__(2, 1)
        self.register_buffer("scale", torch.full((1,), 0.5).expand(2))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.scale)
