"""Networks that follow other networks, and weights that are bounded: what happens beside the optimizers.

G_ema = copy_of(G)
follow(G_ema, G, 0.999)          # G_ema = 0.999 * G_ema + 0.001 * G
with KeptBuffers(D): D(fake)     # running statistics and spectral norm's vectors stay as they are
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn


def copy_of(network: nn.Module) -> nn.Module:
    """A network's moving average at its start: the same weights, never trained."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def follow(average: nn.Module, source: nn.Module, beta: Any, *, buffers: str = "copy") -> None:
    """``beta·average + (1 - beta)·source`` for every parameter; buffers are copied, or averaged where they are floats.

    Args:
        buffers: ``copy``, ``average``, or ``own``: an average that runs in training mode writes its own.
        beta: a number or a 0-d tensor; 0 copies, 1 keeps.
    """
    weight = 1 - beta
    theirs = dict(source.named_parameters())
    pairs = [(p, theirs[name].to(p.device)) for name, p in average.named_parameters()]
    if isinstance(weight, Tensor):
        for p, q in pairs:
            p.lerp_(q, weight.to(p.dtype))
    elif pairs:
        torch._foreach_lerp_([p for p, _ in pairs], [q for _, q in pairs], float(weight))
    own = dict(average.named_buffers()) if buffers != "own" else {}
    for name, b in source.named_buffers() if own else ():
        if buffers == "average" and b.is_floating_point():
            own[name].lerp_(b, weight.to(b.dtype) if isinstance(weight, Tensor) else float(weight))
        else:
            own[name].copy_(b)


@torch.no_grad()
def clamp_weights(network: nn.Module, low: float, high: float) -> None:
    """Every trained weight of a network put between two numbers (WGAN: Arjovsky et al. 2017, arXiv:1701.07875)."""
    for p in network.parameters():
        if p.requires_grad:
            p.clamp_(low, high)


class KeptBuffers:
    """``with kept:`` a forward reads the network's buffers and writes copies, so the buffers stay as they are."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.kept: list[list[tuple[nn.Module, str, Tensor]]] = []

    def __enter__(self) -> None:
        own = [(m, k, b) for m in self.network.modules() for k, b in m._buffers.items() if b is not None]
        for module, key, buffer in own:
            module._buffers[key] = buffer.clone()
        self.kept.append(own)

    def __exit__(self, *_: object) -> None:
        for module, key, buffer in self.kept.pop():
            module._buffers[key] = buffer
