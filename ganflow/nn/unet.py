"""The U-Net of pix2pix (Isola et al. 2017, section 3.2.1 and appendix 6.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import gcd
from typing import ClassVar

import torch
from torch import nn

from ganflow.errors import GanflowError
from ganflow.nn import arguments
from ganflow.nn.layers import NORMS, activation, chain, dropout_layer, norm_layer


class UNetGenerator(nn.Module):
    """Image to image: ``UNetGenerator(size=256)(real_A)``, 1×3×256×256 → 1×3×256×256 in [−1, 1].

    pix2pix's generator (Isola et al. 2017): 4×4 convolutions of stride 2 down to 1×1, the same number of
    transposed ones back up, and a skip connection at each resolution. Size 256, base 64, batch norm:
    54,413,955 parameters.

        down  conv → LeakyReLU(0.2) → [conv → norm → LeakyReLU(0.2)] … → conv → ReLU
        up    [transposed conv → norm → dropout → join the skip → ReLU] … → transposed conv → tanh

    Neither the first nor the innermost convolution is normalised. Dropout is the paper's only source of
    noise: it is on the first three up blocks, as far as they are as wide as the first (CD512-CD512-CD512 at
    size 256; two blocks at size 64, one at 32 and below). The paper keeps it, and the batch's own
    statistics, when it tests.

    What a skip connection carries: the activated tensor, which the next down block reads too, so that one
    tensor serves both. The paper's diagram joins the tensor before its LeakyReLU; that makes no difference
    to any value or gradient, because the joined tensor goes through a ReLU, and relu(leaky(x)) = relu(x).
    Activations write into their input where autograd does not need it. That is over when the call returns:
    a graph can be kept, and differentiated after other updates, and blocks called on their own leave their
    input as it is.

    Args:
        in_channels: channels of the input image.
        out_channels: channels of the output image.
        base: channels after the first convolution; they double with each block, up to 8 times base.
        size: side of the images it is for, a power of two from 8; or ``(height, width)``, both multiples of
            8. It fixes the depth: both sides are halved as often as they can be. The network has no other
            tie to the size.
        norm: ``'batch'`` (paper), ``'instance'`` or ``'none'``. With batch norm only the last layer has a
            bias.
        dropout: rate from 0 to below 1.
        skip: ``False`` gives the plain encoder-decoder that the paper compares with.
        downs: number of down blocks, if not what ``size`` gives; ``2^downs`` has to divide the sides.

    Shapes: ``N×in_channels×H×W`` → ``N×out_channels×H×W``; H and W are multiples of ``2^downs``. Inputs are
    expected in [−1, 1].

    Raises:
        GanflowError: for an argument outside these, or images that do not divide.
    """

    default_init: ClassVar[str] = "normal"

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        base: int = 64,
        size: int | Sequence[int] = 256,
        norm: str = "batch",
        dropout: float = 0.5,
        skip: bool = True,
        downs: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = arguments.integer(in_channels, name="UNetGenerator.in_channels")
        arguments.integer(out_channels, name="UNetGenerator.out_channels")
        arguments.integer(base, name="UNetGenerator.base")
        arguments.choice(norm, name="UNetGenerator.norm", allowed=NORMS)
        rate = arguments.probability(dropout, name="UNetGenerator.dropout")
        depth = _depth(size, downs)
        self.multiple, self.skip = 2**depth, arguments.boolean(skip, name="UNetGenerator.skip")
        widths = [base * min(2**i, 8) for i in range(depth)]
        self.downs = _down_blocks(in_channels, widths, norm)
        self.ups = _up_blocks(out_channels, widths, norm, rate, self.skip)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        arguments.images(
            x,
            channels=self.in_channels,
            owner="UNetGenerator",
            multiple=self.multiple,
            least=self.multiple,
            depth="downs",
        )
        skips: list[torch.Tensor] = []
        for down in self.downs:
            x = down(x)
            if self.skip:
                skips.append(x)
        if self.skip:
            skips.pop()  # the innermost is the bottleneck itself
        for up in self.ups:
            x = up(x)
            if skips:
                x = torch.cat([skips.pop(), x], 1).relu_()
        return x


def _down_blocks(in_channels: int, widths: list[int], norm: str) -> nn.ModuleList:
    """Each block ends in an activation, so that none writes into what it is given."""
    inner = len(widths) - 1
    blocks = []
    for i, (inputs, outputs) in enumerate(pairwise([in_channels, *widths])):
        conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=norm != "batch")
        kind = norm if 0 < i < inner else "none"
        slope = "relu" if i == inner else "leaky_relu"  # the innermost goes straight into the first up block
        blocks.append(chain(conv, norm_layer(kind, outputs), activation(slope, after=kind)))
    return nn.ModuleList(blocks)


def _up_blocks(out_channels: int, widths: list[int], norm: str, dropout: float, skip: bool) -> nn.ModuleList:
    """From the innermost outwards: block i takes ``widths[i]`` channels, and as many again from its skip."""
    inner = len(widths) - 1
    noisy = [i for i in range(inner, 0, -1) if widths[i - 1] == widths[inner - 1]][:3]
    blocks = []
    for i in range(inner, 0, -1):
        conv = _up_conv(widths[i] * (2 if skip and i < inner else 1), widths[i - 1], norm != "batch")
        drop = dropout_layer(dropout) if i in noisy else None
        relu = None if skip else activation("relu", after=norm)  # with a skip it follows the concatenation
        blocks.append(chain(conv, norm_layer(norm, widths[i - 1]), drop, relu))
    last = _up_conv(widths[0] * (2 if skip and inner else 1), out_channels, True)
    return nn.ModuleList([*blocks, chain(last, nn.Tanh())])


def _up_conv(inputs: int, outputs: int, bias: bool) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)


def _depth(size: object, downs: object) -> int:
    """How many times the network halves its input."""
    sides = _sides(size)
    common = gcd(*sides)
    most = (common & -common).bit_length() - 1
    if downs is None:
        return _check_size(size, sides, most)
    depth = arguments.integer(downs, name="UNetGenerator.downs", most=arguments.MANY)
    if depth > most:
        raise GanflowError(
            f"UNetGenerator.downs = {depth} halves images of {sides[0]}×{sides[1]} more often than can be",
            hint=f"at most {most} for this size; or a size whose sides are multiples of {2**depth}",
            code=arguments.ARGUMENT,
        )
    return depth


def _sides(size: object) -> tuple[int, int]:
    if isinstance(size, (tuple, list)) and len(size) == 2:
        first, second = (arguments.integer(side, name="a side of UNetGenerator.size", least=8) for side in size)
        return first, second
    side = arguments.integer(size, name="UNetGenerator.size", least=8)
    return side, side


def _check_size(size: object, sides: tuple[int, int], most: int) -> int:
    square = isinstance(size, int)
    if most < 3 or (square and sides[0] != 2**most):
        wanted = "a power of two" if square else "two multiples of 8"
        near = 2 ** (sides[0].bit_length() - 1) if square else tuple(side // 8 * 8 for side in sides)
        other = f", or say how often to halve it: UNetGenerator.downs = {most} or less" if most else ""
        raise GanflowError(
            f"UNetGenerator.size = {size!r} is not {wanted}",
            hint=f"resize the images, e.g. UNetGenerator.size = {near}{other}",
            code=arguments.ARGUMENT,
        )
    return most
