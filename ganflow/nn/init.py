"""Weights as the GAN papers start them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized

from ganflow.errors import GanflowError
from ganflow.nn import arguments

KINDS = ("normal", "xavier", "kaiming", "orthogonal", "none")
_WEIGHTED = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    nn.Linear,
)
_NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm),
)
Draw = Callable[..., torch.Tensor]


@torch.no_grad()
def init_weights(
    module: nn.Module, kind: str = "normal", gain: float = 0.02, *, generator: torch.Generator | None = None
) -> None:
    """``init_weights(net, "normal", 0.02)``: the start of DCGAN, pix2pix and CycleGAN, in place.

    Weights of convolutions and linear layers are drawn as ``kind`` says, their biases are 0. Weights of
    norm layers are drawn from N(1, gain²), their biases are 0. Other parameters stay as they are, and so do
    tensors on the meta device or without a shape yet. A parametrized layer (spectral norm, say) gets the draw
    as its underlying weight; a weight that ``torch.nn.utils.weight_norm`` computes in a hook stays as it is.

    Args:
        module: a network, or any part of one.
        kind: ``'normal'`` N(0, gain²) (Radford et al. 2016); ``'xavier'`` (Glorot and Bengio 2010) and
            ``'orthogonal'`` (Saxe et al. 2014), both times ``gain``; ``'kaiming'`` (He et al. 2015,
            fan-in), to which ``gain`` does not apply; ``'none'`` changes nothing.
        gain: 0 or more.
        generator: source of the draws; PyTorch's global one if absent. The draws are made on its device, so
            a seeded CPU generator gives a network the same weights wherever it lives.

    Raises:
        GanflowError: for another kind or gain.
    """
    arguments.choice(kind, name="init", allowed=KINDS)
    _check_gain(gain)
    if kind == "none":
        return
    draw, around_one = _draw(kind, gain), partial(nn.init.normal_, mean=1.0, std=gain)
    for layer in module.modules():
        if isinstance(layer, _WEIGHTED):
            _start(layer, "weight", partial(draw, generator=generator), generator)
            _start(layer, "bias", nn.init.zeros_, None)
        elif isinstance(layer, _NORMS):
            _start(layer, "weight", partial(around_one, generator=generator), generator)
            _start(layer, "bias", nn.init.zeros_, None)


def _draw(kind: str, gain: float) -> Draw:
    match kind:
        case "normal":
            return partial(nn.init.normal_, mean=0.0, std=gain)
        case "xavier":
            return partial(nn.init.xavier_normal_, gain=gain)
        case "orthogonal":
            return partial(nn.init.orthogonal_, gain=gain)
    return partial(nn.init.kaiming_normal_, a=0, mode="fan_in", nonlinearity="leaky_relu")


def _start(layer: nn.Module, name: str, draw: Draw, generator: torch.Generator | None) -> None:
    """Draw the layer's tensor ``name`` where the generator lives, and put it where the layer keeps it."""
    parametrized = is_parametrized(layer, name)
    tensor = getattr(layer, f"{name}_orig", None)  # where torch.nn.utils.spectral_norm keeps the weight
    tensor = getattr(layer, name, None) if tensor is None else tensor
    stored = parametrized or isinstance(tensor, nn.Parameter)  # else a hook computes it, and would again
    if tensor is None or tensor.is_meta or is_lazy(tensor) or not stored:
        return
    device = tensor.device if generator is None else generator.device
    values = draw(torch.empty(tensor.shape, dtype=tensor.dtype, device=device))
    if parametrized:
        setattr(layer, name, values.to(tensor.device))
    else:
        tensor.copy_(values)


def _check_gain(gain: object) -> None:
    number = isinstance(gain, (int, float)) and not isinstance(gain, bool)
    if not number or not math.isfinite(gain) or gain < 0:  # type: ignore[arg-type,operator]
        raise GanflowError(
            f"init gain = {gain!r} is not a finite number of 0 or more",
            hint="the papers use 0.02",
            code=arguments.ARGUMENT,
        )
