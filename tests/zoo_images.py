"""The small image networks of the zoo's programs: the other half of :mod:`zoo_networks`, same rules. 8×8 pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_networks import Counting, conv, counted, hidden_conv, register


@register
class SmallUNet(Counting):
    """Image N×C×H×W, optionally a code N×nz -> image; the input is skipped to the output."""

    def __init__(
        self, in_channels: int = 2, out_channels: int = 2, nz: int = 0, width: int = 4, stateful: bool = False
    ) -> None:
        super().__init__()
        self.down = hidden_conv(in_channels + nz, width, stateful=stateful, stride=2)
        self.up = hidden_conv(width, width, stateful=stateful)
        self.out = conv(width + in_channels, out_channels)

    @counted
    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        given = x if z is None else torch.cat((x, z[:, :, None, None].expand(-1, -1, *x.shape[2:])), 1)
        deep = F.interpolate(self.up(self.down(given)), scale_factor=2.0)
        return torch.tanh(self.out(torch.cat((deep, x), 1)))


@register
class GlobalGenerator(SmallUNet):
    """Label map -> image."""


@register
class SmallResnet(Counting):
    """Image -> image through 18 modules; ``encode`` gives what the named ones return, as CUT's generator does."""

    def __init__(self, channels: int = 2, width: int = 4, stateful: bool = False) -> None:
        super().__init__()
        modules: list[nn.Module] = [nn.Identity()]
        for block in range(4):
            inner = [conv(channels if block == 0 else width, width, bias=not stateful)]
            inner += [nn.BatchNorm2d(width) if stateful else nn.Identity(), nn.SiLU()]
            inner += [nn.Dropout(0.2) if stateful else nn.Identity()]
            modules += inner
        self.layers = nn.ModuleList([*modules, conv(width, channels)])

    @counted
    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return torch.tanh(x)

    @counted
    def encode(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        found = []
        for index, layer in enumerate(self.layers[: max(layers) + 1]):
            x = layer(x)
            if index in layers:
                found.append(x)
        return found


@register
class PatchSampleMLP(Counting):
    """Features N×C×H×W per layer and positions to keep -> N×P×outputs per layer, of length 1 (CUT)."""

    def __init__(
        self,
        channels: Sequence[int] | None = (2, 4, 4, 4, 4),
        outputs: int = 4,
        layers: int = 5,
        patches: int = 256,
        stateful: bool = False,
    ) -> None:
        super().__init__()
        self.patches = patches
        widths = channels or [None] * layers

        def head(inputs: int | None) -> nn.Sequential:
            first = nn.LazyLinear(outputs) if inputs is None else nn.Linear(inputs, outputs)
            drop = nn.Dropout(0.2 if stateful else 0.0)
            return nn.Sequential(first, nn.SiLU(), drop, nn.Linear(outputs, outputs))

        self.heads = nn.ModuleList(head(c) for c in widths)

    @counted
    def forward(self, features: Sequence[Tensor], ids: Sequence[Tensor]) -> list[Tensor]:
        found = []
        for head, x, places in zip(self.heads, features, ids, strict=True):
            patches = x.flatten(2).transpose(1, 2)[:, places[: self.patches]]
            found.append(F.normalize(head(patches), dim=2))
        return found


@register
class SmallPatch(Counting):
    """Image -> N×1×4×4 logits."""

    def __init__(self, in_channels: int = 2, width: int = 4, stateful: bool = False, bias: bool = True) -> None:
        super().__init__()
        self.trunk = hidden_conv(in_channels, width, stateful=stateful, spectral=True, stride=2)
        self.head = conv(width, 1, bias=bias, spectral=stateful)

    @counted
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x))


@register
class NLayerDiscriminator(SmallPatch):
    """VQGAN's: image -> logits."""


@register
class StyleGAN2Discriminator(SmallPatch):
    """Image -> N×1 logits."""

    @counted
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.trunk(x)).mean((2, 3))


@register
class MsDiscriminator(Counting):
    """Image -> a list over scales of logits (BicycleGAN)."""

    def __init__(self, in_channels: int = 2, scales: int = 2, width: int = 4, stateful: bool = False) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_patch(in_channels, width, stateful) for _ in range(scales))

    @counted
    def forward(self, x: Tensor) -> list[Tensor]:
        return [layers[-1] for layers in _pyramid(self.scales, x)]


@register
class MultiscaleDiscriminator(Counting):
    """Image -> a list over scales of lists over layers, the last of which is the logits (pix2pixHD)."""

    def __init__(self, in_channels: int = 4, scales: int = 2, width: int = 4, stateful: bool = False) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_patch(in_channels, width, stateful) for _ in range(scales))

    @counted
    def forward(self, x: Tensor) -> list[list[Tensor]]:
        return _pyramid(self.scales, x)


def _patch(in_channels: int, width: int, stateful: bool) -> nn.ModuleList:
    first = hidden_conv(in_channels, width, stateful=stateful, spectral=True, stride=2)
    return nn.ModuleList(
        [first, hidden_conv(width, width, stateful=stateful, spectral=True), conv(width, 1, spectral=stateful)]
    )


def _pyramid(scales: nn.ModuleList, x: Tensor) -> list[list[Tensor]]:
    found = []
    for k, layers in enumerate(scales):
        y = F.avg_pool2d(x, 2**k) if k else x
        outputs = []
        for layer in layers:
            y = layer(y)
            outputs.append(y)
        found.append(outputs)
    return found


@register
class ResnetEncoder(Counting):
    """Image -> (mu, logvar), N×nz each."""

    def __init__(self, in_channels: int = 2, nz: int = 8, width: int = 4, stateful: bool = False) -> None:
        super().__init__()
        self.trunk = hidden_conv(in_channels, width, stateful=stateful, stride=2)
        self.heads = nn.ModuleList(nn.Linear(width, nz) for _ in range(2))

    @counted
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(x).mean((2, 3))
        mu, logvar = (head(features) for head in self.heads)
        return mu, logvar


@register
class VGG19Features(Counting):
    """Image -> five feature maps. Where stateful, only ``eval()`` makes it a function of the image alone."""

    def __init__(self, in_channels: int = 2, width: int = 4, stateful: bool = False) -> None:
        super().__init__()
        widths = [in_channels, *[width] * 5]
        self.layers = nn.ModuleList(
            hidden_conv(a, b, stateful=stateful) for a, b in zip(widths, widths[1:], strict=False)
        )

    @counted
    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for layer in self.layers:
            x = layer(x)
            found.append(x)
        return found


@register
class LPIPS(Counting):
    """Two images -> N×1×1×1, a distance of features."""

    def __init__(self, in_channels: int = 2, width: int = 4, stateful: bool = False) -> None:
        super().__init__()
        self.features = hidden_conv(in_channels, width, stateful=stateful)

    @counted
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (self.features(x) - self.features(y)).square().mean((1, 2, 3), keepdim=True)


@register
class VQAutoEncoder(Counting):
    """Image -> (reconstruction, codebook loss); codes pass gradients straight through (van den Oord et al. 2017)."""

    def __init__(self, channels: int = 2, codes: int = 16, width: int = 4, stateful: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Sequential(hidden_conv(channels, width, stateful=stateful, stride=2), conv(width, width))
        self.codebook = nn.Embedding(codes, width)
        self.decoder = _Decoder(channels, width, stateful)

    @counted
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.encoder(x).movedim(1, -1)
        nearest = (h[..., None, :] - self.codebook.weight).square().sum(-1).argmin(-1)
        q = self.codebook(nearest)
        loss = (q.detach() - h).square().mean() + 0.25 * (q - h.detach()).square().mean()
        return self.decoder((h + (q - h).detach()).movedim(-1, 1)), loss


class _Decoder(nn.Module):
    def __init__(self, channels: int, width: int, stateful: bool) -> None:
        super().__init__()
        self.trunk = hidden_conv(width, width, stateful=stateful)
        self.conv_out = conv(width, channels)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv_out(F.interpolate(self.trunk(h), scale_factor=2.0))


@register
class StyleGAN2Generator(Counting):
    """``mapping``: z -> ws N×layers×width, keeping their average in ``w_avg``; ``synthesis``: ws -> N×C×8×8."""

    def __init__(
        self, inputs: int = 512, channels: int = 2, layers: int = 3, width: int = 4, stateful: bool = False
    ) -> None:
        super().__init__()
        self.map = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, layers * width))
        self.start = nn.Parameter(torch.randn(1, width, 8, 8))
        self.blocks = nn.ModuleList(hidden_conv(width, width, stateful=stateful) for _ in range(layers))
        self.out = conv(width, channels)
        self.register_buffer("w_avg", torch.zeros(layers, width))

    @counted
    def mapping(self, z: Tensor) -> Tensor:
        ws = self.map(z).unflatten(1, self.w_avg.shape)
        if self.training:
            self.w_avg.copy_(ws.detach().mean(0).lerp(self.w_avg, 0.95))
        return ws

    @counted
    def synthesis(self, ws: Tensor) -> Tensor:
        x = self.start.expand(len(ws), -1, -1, -1)
        for k, block in enumerate(self.blocks):
            x = block(x * (1 + ws[:, k, :, None, None]))
        return self.out(x)

    @counted
    def forward(self, z: Tensor) -> Tensor:
        return self.synthesis(self.mapping(z))
