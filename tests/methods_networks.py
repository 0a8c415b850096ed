"""Small networks, a dataset and ops under the names that the programs of tests/methods use; float64, one core.

    with zoo_networks.known(): ...            # gin knows @Net(), @Batches(), ...
    Net(inputs=4, outputs=6)(torch.randn(8, 4))         # 8×6
    Batches(real=(6,), y=5).batch(0)                    # {"real": 8×6, "y": 8 labels below 5}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganflow.data.fields import Field
from zoo_networks import register

BATCH_SIZE = 8


@register
class Batches:
    """Random batches: ``real=(6,)`` is a vector of 6, ``y=5`` a label below 5, ``x=(2, 4, 4)`` an image."""

    def __init__(self, **fields: Any) -> None:
        self.declared, self.fetched = fields, 0
        self.fields = {
            n: Field((), "int64") if isinstance(s, int) else Field(tuple(s), "float64") for n, s in fields.items()
        }

    def batch(self, seed: int) -> dict[str, Tensor]:
        g = torch.Generator().manual_seed(seed)
        return {n: self._values(shape, g) for n, shape in self.declared.items()}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        while True:
            self.fetched += 1
            yield self.batch(self.fetched - 1)

    @staticmethod
    def _values(shape: Any, g: torch.Generator) -> Tensor:
        if isinstance(shape, int):
            return torch.randint(shape, (BATCH_SIZE,), generator=g)
        return torch.randn(BATCH_SIZE, *shape, generator=g, dtype=torch.float64)


@register
class Net(nn.Module):
    """Any number of inputs N×..., side by side -> N×outputs, or a tuple N×o for each o of a tuple.

    ``norm`` puts batch norm, ``drop`` dropout behind the first layer; ``features`` is what that layer gives.
    """

    def __init__(self, inputs: int = 6, outputs: Any = 1, width: int = 8, norm: bool = False, drop: float = 0.0) -> None:
        super().__init__()
        self.several = not isinstance(outputs, int)
        self.trunk = nn.Sequential(
            nn.Linear(inputs, width, bias=not norm), nn.BatchNorm1d(width) if norm else nn.Identity(), nn.SiLU(),
            nn.Dropout(drop),
        )  # fmt: skip
        self.heads = nn.ModuleList(nn.Linear(width, o) for o in ([outputs] if not self.several else outputs))

    def features(self, *parts: Tensor) -> Tensor:
        return self.trunk(torch.cat([p.flatten(1) for p in parts], 1))

    def both(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        h = self.features(*parts)
        return self.heads[0](h), h

    def forward(self, *parts: Tensor) -> Any:
        h = self.features(*parts)
        return tuple(head(h) for head in self.heads) if self.several else self.heads[0](h)



@register
class Projection(nn.Module):
    """(N×inputs, labels) -> N×1: what speaks for the sample, and for its class."""

    def __init__(self, inputs: int = 6, classes: int = 5, width: int = 8) -> None:
        super().__init__()
        self.trunk, self.head = nn.Sequential(nn.Linear(inputs, width), nn.SiLU()), nn.Linear(width, 1)
        self.classes = nn.Embedding(classes, width)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.trunk(x)
        return self.head(h) + (h * self.classes(y)).sum(1, keepdim=True)


@register
def off_orthogonal(network: nn.Module) -> Tensor:
    """Squares of the inner products between different rows, over all matrices of a network (BigGAN's regularizer)."""
    grams = [p @ p.T for p in network.parameters() if p.ndim == 2]
    return torch.stack([(g - torch.diag(torch.diag(g))).square().sum() for g in grams]).sum()
