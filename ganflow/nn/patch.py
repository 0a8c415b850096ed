"""PatchGAN: a discriminator that judges overlapping patches (Isola et al. 2017, section 3.2.2)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from ganflow.nn import arguments
from ganflow.nn.layers import NORMS, activation, chain, norm_layer


def receptive_field(layers: int) -> int:
    """``receptive_field(3) == 70``: side in pixels of the patch behind one logit.

    ``layers`` is that of :class:`PatchDiscriminator`: 0 → 1, 1 → 16, 2 → 34, 3 → 70, 4 → 142, 5 → 286 pixels.
    """
    arguments.integer(layers, name="receptive_field(layers)", least=0, most=arguments.MANY)
    if layers == 0:
        return 1
    side = 1
    for stride in (1, 1, *(2,) * layers):  # 4×4 kernels, from the logit down to the image
        side = (side - 1) * stride + 4
    return side


class PatchDiscriminator(nn.Module):
    """Logits for patches: ``PatchDiscriminator(6)(cat(real_A, fake_B))``, 8×6×256×256 → 8×1×30×30.

    The 70×70 discriminator of pix2pix (Isola et al. 2017, appendix 6.1.2), C64-C128-C256-C512 and a
    convolution to one channel: 4×4 kernels, ``layers`` of stride 2 and then two of stride 1,
    LeakyReLU(0.2), no norm on the first. Six input channels, base 64 and batch norm make 2,768,705
    parameters. There is no sigmoid at the end: the losses take logits. One logit sees
    ``receptive_field(layers)`` pixels a side (70 for 3 layers; 0 layers are the paper's 1×1 PixelGAN, 1 its
    16×16 and 5 its 286×286 variant), some of them padding near the border.

    Args:
        in_channels: channels of what is judged; for a conditional discriminator those of input and output
            together.
        base: channels of the first layer; they double with each layer, up to 8 times base.
        layers: convolutions with stride 2; 0 for 1×1 convolutions throughout.
        norm: ``'batch'`` (pix2pix), ``'instance'`` (CycleGAN) or ``'none'``. With batch norm the
            convolutions before it have no bias, which it would subtract again.

    Shapes: ``N×in_channels×H×W`` → ``N×1×(H/2^layers − 2)×(W/2^layers − 2)``, divisions rounded down; H×W
    stays for 0 layers. H and W are at least ``3 · 2^layers``.

    Raises:
        GanflowError: for an argument outside these, or images that are too small or of other channels.
    """

    default_init: ClassVar[str] = "normal"

    def __init__(self, in_channels: int = 6, *, base: int = 64, layers: int = 3, norm: str = "batch") -> None:
        super().__init__()
        self.in_channels = arguments.integer(in_channels, name="PatchDiscriminator.in_channels")
        arguments.integer(base, name="PatchDiscriminator.base")
        arguments.integer(layers, name="PatchDiscriminator.layers", least=0, most=arguments.MANY)
        arguments.choice(norm, name="PatchDiscriminator.norm", allowed=NORMS)
        self.least = 3 * 2**layers if layers else 1
        stack = _patches(in_channels, base, layers, norm) if layers else _pixels(in_channels, base, norm)
        self.layers = stack

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        arguments.images(x, channels=self.in_channels, owner="PatchDiscriminator", least=self.least)
        return self.layers(x)


def _patches(in_channels: int, base: int, layers: int, norm: str) -> nn.Sequential:
    widths = [base * min(2**i, 8) for i in range(layers + 1)]
    steps = [nn.Conv2d(in_channels, base, 4, stride=2, padding=1), activation("leaky_relu")]
    for i in range(1, layers + 1):
        stride = 1 if i == layers else 2
        conv = nn.Conv2d(widths[i - 1], widths[i], 4, stride=stride, padding=1, bias=norm != "batch")
        steps += [conv, norm_layer(norm, widths[i]), activation("leaky_relu", after=norm)]
    return chain(*steps, nn.Conv2d(widths[-1], 1, 4, padding=1))


def _pixels(in_channels: int, base: int, norm: str) -> nn.Sequential:
    return chain(
        nn.Conv2d(in_channels, base, 1),
        activation("leaky_relu"),
        nn.Conv2d(base, 2 * base, 1, bias=norm != "batch"),
        norm_layer(norm, 2 * base),
        activation("leaky_relu", after=norm),
        nn.Conv2d(2 * base, 1, 1),
    )
