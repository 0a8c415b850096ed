"""Small networks and ops under the names that the zoo's programs use; float64 on one core, milliseconds a step.

    with zoo_networks.known(): ...           # gin knows @Generator(), @Critic(), ms_mse, patch_nce, ...
    G = zoo_networks.Generator(inputs=100, outputs=6, stateful=True).double()
    G(torch.randn(8, 100).double())          # 8×6
    G.calls["forward"]                       # 1: every entry point counts itself

``stateful`` puts batch norm and dropout into every network and spectral norm into discriminators. No layer before
a batch norm has a bias, and critics end without one: its gradient would be zero but for rounding, and Adam would
blow the rounding up.

The library's own ``UNetGenerator``, ``ResnetGenerator`` and ``PatchDiscriminator`` keep their names; the small ones
are ``SmallUNet``, ``SmallResnet`` and ``SmallPatch``.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gin
import torch
import torch.nn.functional as F
from gin import config as gin_config
from torch import Generator as Random
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

MINE: dict[str, Any] = {}  # what `known` makes known


def register(thing: Any) -> Any:
    """Like ``gin.register``, but known to gin only inside :func:`known`: other tests ask gin for the nearest name."""
    made = gin.register(thing, module="zoo")
    MINE[f"zoo.{thing.__name__}"] = gin_config._REGISTRY.pop(f"zoo.{thing.__name__}")
    return made


@contextmanager
def known() -> Iterator[None]:
    """Gin files may name what is registered here."""
    for selector, found in MINE.items():
        gin_config._REGISTRY[selector] = found
    try:
        yield
    finally:
        for selector in MINE:
            gin_config._REGISTRY.pop(selector)


class Counting(nn.Module):
    """A network that counts the calls of its entry points in ``calls``."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()


def counted(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Counting, *args: Any, **kwargs: Any) -> Any:
        self.calls[method.__name__] += 1
        return method(self, *args, **kwargs)

    return call


# --- layers ---------------------------------------------------------------------------------------


def linear(inputs: int, outputs: int, *, bias: bool = True, spectral: bool = False) -> nn.Module:
    layer = nn.Linear(inputs, outputs, bias=bias)
    return spectral_norm(layer) if spectral else layer


def conv(inputs: int, outputs: int, *, stride: int = 1, bias: bool = True, spectral: bool = False) -> nn.Module:
    layer = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=bias)
    return spectral_norm(layer) if spectral else layer


def hidden(inputs: int, width: int, *, stateful: bool, spectral: bool = False) -> nn.Sequential:
    """A hidden layer for vectors: linear, [batch norm], SiLU, [dropout]."""
    first = linear(inputs, width, bias=not stateful, spectral=stateful and spectral)
    if not stateful:
        return nn.Sequential(first, nn.SiLU())
    return nn.Sequential(first, nn.BatchNorm1d(width), nn.SiLU(), nn.Dropout(0.2))


def hidden_conv(inputs: int, width: int, *, stateful: bool, spectral: bool = False, stride: int = 1) -> nn.Sequential:
    """The same for images: 3×3 convolution, [batch norm], SiLU, [dropout]."""
    first = conv(inputs, width, stride=stride, bias=not stateful, spectral=stateful and spectral)
    if not stateful:
        return nn.Sequential(first, nn.SiLU())
    return nn.Sequential(first, nn.BatchNorm2d(width), nn.SiLU(), nn.Dropout(0.2))


# --- vectors --------------------------------------------------------------------------------------


class MLP(Counting):
    """Any number of N×k inputs, side by side -> N×outputs."""

    def __init__(
        self,
        inputs: int = 100,
        outputs: int = 6,
        width: int = 12,
        stateful: bool = False,
        spectral: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.trunk = hidden(inputs, width, stateful=stateful, spectral=spectral)
        self.head = linear(width, outputs, bias=bias, spectral=stateful and spectral)

    @counted
    def forward(self, *x: Tensor) -> Tensor:
        return self.head(self.trunk(torch.cat(x, 1)))


@register
class Generator(MLP):
    """z, or z with a one-hot class and a code -> N×outputs."""


@register
class Decoder(MLP):
    """code -> N×outputs."""


@register
class Discriminator(MLP):
    """x -> N×1, a probability or a logit."""

    def __init__(
        self, inputs: int = 6, width: int = 12, probability: bool = True, stateful: bool = False, bias: bool = True
    ) -> None:
        super().__init__(inputs, 1, width, stateful, spectral=True, bias=bias)
        self.probability = probability

    @counted
    def forward(self, x: Tensor) -> Tensor:
        logits = self.head(self.trunk(x))
        return torch.sigmoid(logits) if self.probability else logits


@register
class LatentDiscriminator(Discriminator):
    """code -> N×1, a probability."""


@register
class Critic(Discriminator):
    """x -> N×1, a number; ``scale`` multiplies the initial weights, so that a clamp cuts only some of them."""

    def __init__(self, inputs: int = 6, width: int = 12, stateful: bool = False, scale: float = 1.0) -> None:
        super().__init__(inputs, width, probability=False, stateful=stateful, bias=False)
        with torch.no_grad():
            for p in self.parameters():
                p.mul_(scale)


@register
class AutoEncoder(MLP):
    """BEGAN's discriminator: x -> a reconstruction of x."""

    def __init__(self, inputs: int = 6, width: int = 12, stateful: bool = False) -> None:
        super().__init__(inputs, inputs, width, stateful, spectral=True)


@register
class Encoder(Counting):
    """x -> code, or (mu, logvar) where ``gaussian``."""

    def __init__(
        self, inputs: int = 6, outputs: int = 10, width: int = 12, gaussian: bool = False, stateful: bool = False
    ) -> None:
        super().__init__()
        self.gaussian = gaussian
        self.trunk = hidden(inputs, width, stateful=stateful)
        self.head = nn.Linear(width, 2 * outputs if gaussian else outputs)

    @counted
    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        out = self.head(self.trunk(x))
        return out.chunk(2, 1) if self.gaussian else out


@register
class FeatureDiscriminator(Counting):
    """x -> (features N×width, probability N×1)."""

    def __init__(self, inputs: int = 6, width: int = 12, stateful: bool = False) -> None:
        super().__init__()
        self.trunk = hidden(inputs, width, stateful=stateful, spectral=True)
        self.head = linear(width, 1, spectral=stateful)

    @counted
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(x)
        return features, torch.sigmoid(self.head(features))


@register
class InfoDiscriminator(Counting):
    """x -> (validity N×1, class logits N×classes, code N×codes)."""

    def __init__(
        self, inputs: int = 6, classes: int = 10, codes: int = 2, width: int = 12, stateful: bool = False
    ) -> None:
        super().__init__()
        self.trunk = hidden(inputs, width, stateful=stateful, spectral=True)
        self.heads = nn.ModuleList(linear(width, n, spectral=stateful) for n in (1, classes, codes))

    @counted
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        features = self.trunk(x)
        return tuple(head(features) for head in self.heads)


@register
class BigGANGenerator(Counting):
    """z, labels N -> N×outputs; the class scales and shifts the hidden layer (after batch norm, where stateful)."""

    def __init__(
        self, inputs: int = 128, classes: int = 10, outputs: int = 6, width: int = 12, stateful: bool = False
    ) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width, bias=not stateful)
        self.norm = nn.BatchNorm1d(width, affine=False) if stateful else nn.Identity()
        self.gain, self.shift = nn.Embedding(classes, width), nn.Embedding(classes, width)
        self.rest = nn.Sequential(nn.SiLU(), nn.Dropout(0.2 if stateful else 0.0), nn.Linear(width, outputs))

    @counted
    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return self.rest(self.norm(self.first(z)) * (1 + 0.1 * self.gain(y)) + 0.1 * self.shift(y))


@register
class ProjectionDiscriminator(Counting):
    """x, labels N -> N×1: a linear head plus the features' projection on the class (Miyato & Koyama 2018)."""

    def __init__(
        self, inputs: int = 6, classes: int = 10, width: int = 12, stateful: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        self.trunk = hidden(inputs, width, stateful=stateful, spectral=True)
        self.head = linear(width, 1, bias=bias, spectral=stateful)
        self.classes = spectral_norm(nn.Embedding(classes, width)) if stateful else nn.Embedding(classes, width)

    @counted
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.logits(x, y)[:, None]

    def logits(self, x: Tensor, y: Tensor) -> Tensor:
        features = self.trunk(x)
        return self.head(features)[:, 0] + (self.classes(y) * features).sum(1)


@register
class R3Generator(BigGANGenerator):
    """z, labels -> N×outputs."""


@register
class R3Discriminator(ProjectionDiscriminator):
    """x, labels -> N, not N×1: R1 is a number per sample and is added to it. No bias, which cancels in the loss."""

    def __init__(self, inputs: int = 6, classes: int = 10, width: int = 12, stateful: bool = False) -> None:
        super().__init__(inputs, classes, width, stateful, bias=False)

    @counted
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.logits(x, y)


# --- ops ------------------------------------------------------------------------------------------


@register
def ms_mse(outputs: Sequence[Any], target: float) -> Tensor:
    """Squared distance of the logits of all scales to a number, summed; a scale is a tensor or a list of layers."""
    logits = [scale if isinstance(scale, Tensor) else scale[-1] for scale in outputs]
    return sum((F.mse_loss(x, torch.full_like(x, target)) for x in logits), torch.zeros(()))


@register
def feat_match(fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """L1 over all layers but the last of all scales, summed."""
    pairs = [p for f, r in zip(fake, real, strict=True) for p in zip(f[:-1], r[:-1], strict=True)]
    return sum((F.l1_loss(f, r) for f, r in pairs), torch.zeros(()))


@register
def vgg_l1(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """L1 over five feature maps, deeper ones weighing more; the target is detached."""
    weights = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
    losses = [w * F.l1_loss(f, r.detach()) for w, f, r in zip(weights, fake, real, strict=True)]
    return sum(losses, torch.zeros(()))


@register
def patch_nce(queries: Sequence[Tensor], keys: Sequence[Tensor], tau: float = 0.07) -> Tensor:
    """InfoNCE of N×P×C patches per layer: the key of the same place against those of the same image, averaged."""
    losses = []
    for q, k in zip(queries, keys, strict=True):
        logits = q @ k.transpose(1, 2) / tau
        places = torch.arange(q.shape[1], device=q.device).expand(q.shape[0], -1)
        losses.append(F.cross_entropy(logits.flatten(0, 1), places.flatten()))
    return torch.stack(losses).mean()


@register
def style_mix(ws: Tensor, other: Tensor, u: Tensor, p: float) -> Tensor:
    """With probability ``p`` the layers from a random one on are ``other``'s; N×L×W. ``u`` are two uniforms."""
    layers = ws.shape[1]
    start = torch.where(u[0] < p, 1 + (u[1] * (layers - 1)).long(), layers)
    return torch.where(torch.arange(layers, device=ws.device)[:, None] < start, ws, other)


@register
def aug(x: Tensor, p: Tensor | float, *, generator: Random) -> Tensor:
    """Each image mirrored with probability p / 2 and its contrast changed by up to p / 2."""
    coins = torch.rand(2, len(x), 1, 1, 1, generator=generator, dtype=x.dtype)
    return torch.where(coins[0] < 0.5 * p, x.flip(-1), x) * (1 + p * (coins[1] - 0.5))


@register
def sqrt_hw(x: Tensor) -> float:
    """Root of the number of pixels."""
    return math.sqrt(x.shape[2] * x.shape[3])
