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

    def __init__(
        self, inputs: int = 6, outputs: Any = 1, width: int = 8, norm: bool = False, drop: float = 0.0
    ) -> None:
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


@register
class Number(nn.Module):
    """One number to train, ``A.value``."""

    def __init__(self, start: float = 0.5) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(start))


@register
class MinibatchNet(nn.Module):
    """N×inputs -> N×1, where each sample also sees how near the others are (Salimans et al. 2016)."""

    def __init__(self, inputs: int = 6, width: int = 8, kernels: int = 3, dims: int = 2) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(inputs, width), nn.SiLU())
        self.T = nn.Parameter(0.3 * torch.randn(width, kernels, dims))
        self.head = nn.Linear(width + kernels, 1)

    def features(self, x: Tensor) -> Tensor:
        return self.trunk(x)

    def forward(self, x: Tensor) -> Tensor:
        h = self.trunk(x)
        m = torch.einsum("ni,ikd->nkd", h, self.T)
        near = torch.exp(-(m[:, None] - m[None]).abs().sum(3)).sum(1)
        return self.head(torch.cat([h, near], 1))


@register
def weights_apart(network: nn.Module, other: nn.Module) -> Tensor:
    """The squared distance between the weights of two networks."""
    pairs = zip(network.parameters(), other.parameters(), strict=True)
    return torch.stack([(p - q.detach()).square().sum() for p, q in pairs]).sum()


def _conv(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


@register
class Scales(nn.Module):
    """N×inputs -> images of 2, 4 and 8 pixels."""

    def __init__(self, inputs: int = 4, width: int = 4) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, 4 * width)
        self.middle, self.last = _conv(width, width), _conv(width, width)
        self.to_image = nn.ModuleList(nn.Conv2d(width, 2, 1) for _ in range(3))

    def forward(self, z: Tensor) -> list[Tensor]:
        h = F.silu(self.first(z)).view(len(z), -1, 2, 2)
        made = [self.to_image[0](h)]
        for conv, head in zip((self.middle, self.last), list(self.to_image)[1:], strict=True):
            h = F.silu(conv(F.interpolate(h, scale_factor=2.0)))
            made.append(head(h))
        return made


@register
class ManyScales(nn.Module):
    """Images of 2, 4 and 8 pixels -> N×1."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first, self.second, self.third = _conv(2, width), _conv(width + 2, width), _conv(width + 2, width)
        self.head = nn.Linear(4 * width, 1)

    def forward(self, images: list[Tensor]) -> Tensor:
        small, middle, large = images
        h = F.avg_pool2d(F.silu(self.first(large)), 2)
        h = F.avg_pool2d(F.silu(self.second(torch.cat([h, middle], 1))), 2)
        return self.head(F.silu(self.third(torch.cat([h, small], 1))).flatten(1))


@register
class Growing(nn.Module):
    """(N×inputs, alpha) -> images of 8 pixels, of which the last block makes the part alpha."""

    def __init__(self, inputs: int = 4, width: int = 4) -> None:
        super().__init__()
        self.first, self.block = nn.Linear(inputs, 16 * width), _conv(width, width)
        self.old, self.new = nn.Conv2d(width, 2, 1), nn.Conv2d(width, 2, 1)

    def forward(self, z: Tensor, alpha: float) -> Tensor:
        h = F.interpolate(F.silu(self.first(z)).view(len(z), -1, 4, 4), scale_factor=2.0)
        return (1 - alpha) * self.old(h) + alpha * self.new(F.silu(self.block(h)))


@register
class Shrinking(nn.Module):
    """(images of 8 pixels, alpha) -> N×1."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.old, self.new, self.block = nn.Conv2d(2, width, 1), nn.Conv2d(2, width, 1), _conv(width, width)
        self.head = nn.Linear(16 * width, 1)

    def forward(self, x: Tensor, alpha: float) -> Tensor:
        small = F.silu(self.old(F.avg_pool2d(x, 2)))
        h = F.avg_pool2d(F.silu(self.block(F.silu(self.new(x)))), 2)
        return self.head(((1 - alpha) * small + alpha * h).flatten(1))


@register
class Conv(nn.Module):
    """N×inputs×H×W -> N×outputs×H×W, with batch norm in between."""

    def __init__(self, inputs: int = 2, outputs: int = 2, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU(), _conv(width, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@register
class Styled(nn.Module):
    """z N×4 -> styles N×2×5 -> images of 4 pixels."""

    def __init__(self, inputs: int = 4, width: int = 5) -> None:
        super().__init__()
        self.map, self.first, self.last = nn.Linear(inputs, width), nn.Linear(width, 8), nn.Linear(8 + width, 32)

    def mapping(self, z: Tensor) -> Tensor:
        return F.silu(self.map(z))[:, None].repeat(1, 2, 1)

    def synthesis(self, w: Tensor) -> Tensor:
        h = F.silu(self.first(w[:, 0]))
        return self.last(torch.cat([h, w[:, 1]], 1)).view(-1, 2, 4, 4)


@register
def half_from_history(
    x: Tensor, size: int, *, state: Tensor | None = None, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """SimGAN's history: half of the samples come from it, and as many new ones take the place of stored ones."""
    half = len(x) // 2
    stored = x.detach()[:0] if state is None else state
    new = x.detach()
    if len(stored) < size:
        return new, torch.cat([stored, new[:half]])
    out = torch.cat([new[:half], stored[torch.randperm(size, generator=generator)[:half]]])
    kept = stored[torch.randperm(size, generator=generator)[half:]]
    return out, torch.cat([kept, new[:half]])


@register
def categorical(logits: Tensor, *, generator: torch.Generator) -> Tensor:
    """One label per row, with the probabilities that the logits N×C say."""
    return torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


@register
class LookaheadAdam(torch.optim.Adam):
    """Adam, whose weights go half the way back to where they were, every so many steps (Zhang et al. 2019)."""

    def __init__(self, params: Any, lr: float = 1e-3, every: int = 5) -> None:
        super().__init__(params, lr=lr, betas=(0.5, 0.999), eps=1e-3)
        self.every, self.done = every, 0
        self.slow = [p.detach().clone() for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        super().step(closure)
        self.done += 1
        if self.done % self.every == 0:
            for slow, p in zip(self.slow, (p for g in self.param_groups for p in g["params"]), strict=True):
                p.copy_(slow.lerp_(p, 0.5))
