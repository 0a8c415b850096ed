"""Networks for tests of the checks, known to gin like those of ``zoo_networks``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_networks import register


@register
class Trunk(nn.Module):
    """N×6 -> N×4."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.layer(x))


@register
class Head(nn.Module):
    """N×6 -> N×1, through a trunk that others may hold as well."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


@register
class Listed(nn.Module):
    """N×6 -> N×1; its first layers are in a plain list, so torch does not know them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.last = [nn.Linear(6, 6), nn.Linear(6, 6)], nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.last(x)


@register
class Probable(nn.Module):
    """N×3×H×W -> N×1×H×W, probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@register
class Measured(nn.Module):
    """N×6 -> N×1; looks at a value while it is built, which the meta device does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = float(torch.ones(2).sum()), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.layer(x)
