"""The residual generator of Johnson et al. 2016, as CycleGAN (Zhu et al. 2017) uses it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice, pairwise
from typing import ClassVar

import torch
from torch import nn

from ganflow.errors import GanflowError
from ganflow.nn import arguments
from ganflow.nn.layers import NORMS, activation, chain, dropout_layer, norm_layer


class ResnetGenerator(nn.Module):
    """Image to image: ``ResnetGenerator(blocks=9)(real_A)``, 1×3×256×256 → 1×3×256×256 in [−1, 1].

    CycleGAN's generator (Zhu et al. 2017, appendix 7.2, after Johnson et al. 2016): c7s1-64, d128, d256,
    residual blocks R256, u128, u64, c7s1-3, with reflection padding. Base 64 and instance norm: 11,378,179
    parameters with 9 blocks (256×256 images and more), 7,837,699 with 6 (128×128). ``self.layers`` numbers
    its layers, by default:

        0 pad  1 conv 7×7  2 norm  3 ReLU            H×W, base channels
        4 conv  5 norm  6 ReLU                       H/2, 2·base
        7 conv  8 norm  9 ReLU                       H/4, 4·base
        10 … 9+blocks                                residual blocks
        10+blocks …                                  [transposed conv, norm, ReLU] twice, pad, conv 7×7, tanh

    Args:
        in_channels: channels of the input image.
        out_channels: channels of the output image.
        base: channels after the first convolution; each halving doubles them.
        blocks: residual blocks, at least 1.
        norm: ``'instance'`` (paper), ``'batch'`` or ``'none'``. With batch norm only the last layer has a
            bias.
        dropout: rate from 0 to below 1, between the two convolutions of each residual block.
        downs: how often the image is halved before the residual blocks, 0 or more.

    Shapes: ``N×in_channels×H×W`` → ``N×out_channels×H×W``; H and W are multiples of ``2^downs`` and at least
    ``2 · 2^downs`` (4 where ``downs`` is 0). Inputs are expected in [−1, 1].

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
        blocks: int = 9,
        norm: str = "instance",
        dropout: float = 0.0,
        downs: int = 2,
    ) -> None:
        super().__init__()
        self.in_channels = arguments.integer(in_channels, name="ResnetGenerator.in_channels")
        arguments.integer(out_channels, name="ResnetGenerator.out_channels")
        arguments.integer(base, name="ResnetGenerator.base")
        arguments.integer(blocks, name="ResnetGenerator.blocks", most=arguments.MANY)
        arguments.integer(downs, name="ResnetGenerator.downs", least=0, most=arguments.MANY)
        arguments.choice(norm, name="ResnetGenerator.norm", allowed=NORMS)
        rate = arguments.probability(dropout, name="ResnetGenerator.dropout")
        self.multiple = 2**downs
        self.least = max(4, 2 * self.multiple)  # reflection needs more pixels than it adds
        widths = [base * 2**i for i in range(downs + 1)]
        self.layers = nn.Sequential(
            *_head(in_channels, base, norm),
            *(layer for a, b in pairwise(widths) for layer in _down(a, b, norm)),
            *(ResidualBlock(widths[-1], norm=norm, dropout=rate) for _ in range(blocks)),
            *(layer for a, b in pairwise(reversed(widths)) for layer in _up(a, b, norm)),
            *(nn.ReflectionPad2d(3), nn.Conv2d(base, out_channels, 7), nn.Tanh()),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._check(x)
        return self.layers(x)

    def encode(self, x: torch.Tensor, layers: Sequence[int]) -> list[torch.Tensor]:
        """Features on the way: ``G.encode(x, (0, 4, 8, 12, 16))``, as CUT contrasts them (Park et al. 2020).

        Args:
            x: images ``N×in_channels×H×W``.
            layers: indices into ``self.layers``, as the class lists them.

        Returns:
            The outputs ``N×C×H'×W'`` of those layers, in the order asked for. Nothing above the last is
            evaluated.

        Raises:
            GanflowError: for an index that is no layer, or images that do not divide.
        """
        self._check(x)
        last = self._last(layers)
        outputs: dict[int, torch.Tensor] = {}
        for index, layer in enumerate(islice(self.layers, last + 1)):
            # Not in place: what lies below may be one of the features that are returned.
            x = x.relu() if isinstance(layer, nn.ReLU) else layer(x)
            if index in layers:
                outputs[index] = x
        return [outputs[index] for index in layers]

    def _check(self, x: torch.Tensor) -> None:
        arguments.images(
            x,
            channels=self.in_channels,
            owner="ResnetGenerator",
            multiple=self.multiple,
            least=self.least,
            depth="downs",
        )

    def _last(self, layers: Sequence[int]) -> int:
        count = len(self.layers)
        wanted = list(layers) if isinstance(layers, (tuple, list)) else []
        whole = all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < count for i in wanted)
        if not wanted or not whole:
            raise GanflowError(
                f"ResnetGenerator.encode was given layers = {layers!r}: "
                f"it takes a list of indices from 0 to {count - 1}",
                hint="e.g. (0, 4, 8, 12, 16)",
                code=arguments.ARGUMENT,
            )
        return max(wanted)


class ResidualBlock(nn.Module):
    """``x + f(x)``: f is two 3×3 convolutions with norms, and a ReLU (and dropout) between; shapes stay.

    There is no activation after the sum (Johnson et al. 2016, after Gross and Wilber).

    Args:
        channels: of input and output.
        norm: ``'batch'``, ``'instance'`` or ``'none'``.
        dropout: rate, after the ReLU.
    """

    def __init__(self, channels: int, *, norm: str = "instance", dropout: float = 0.0) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, bias=norm != "batch") for _ in range(2))
        self.layers = chain(
            *(nn.ReflectionPad2d(1), first, norm_layer(norm, channels)),
            *(activation("relu", after=norm), dropout_layer(dropout)),
            *(nn.ReflectionPad2d(1), second, norm_layer(norm, channels)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


def _head(in_channels: int, base: int, norm: str) -> list[nn.Module]:
    return [
        nn.ReflectionPad2d(3),
        nn.Conv2d(in_channels, base, 7, bias=norm != "batch"),
        *_norm_relu(norm, base),
    ]


def _down(inputs: int, outputs: int, norm: str) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=norm != "batch")
    return [conv, *_norm_relu(norm, outputs)]


def _up(inputs: int, outputs: int, norm: str) -> list[nn.Module]:
    conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=norm != "batch")
    return [conv, *_norm_relu(norm, outputs)]


def _norm_relu(norm: str, channels: int) -> list[nn.Module]:
    """A norm and a ReLU; an identity where there is no norm, so that the layers keep their numbers."""
    return [norm_layer(norm, channels) or nn.Identity(), activation("relu", after=norm)]
