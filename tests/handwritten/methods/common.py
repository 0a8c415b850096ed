"""What the loops share: optimizers, one step, freezing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from handwritten.zoo.common import average, averaged, bcel, frozen, l1, mse, pretrained

__all__ = ["adam", "average", "averaged", "bcel", "descend", "frozen", "grad", "l1", "mse", "pretrained"]


def adam(*networks: nn.Module, lr: float = 1e-2, **more: float) -> Adam:
    parameters = [p for network in networks for p in network.parameters()]
    return Adam(parameters, lr=lr, betas=(0.5, 0.999), eps=1e-3, **more)


def descend(optimizer: Optimizer, loss: Tensor, *, keep: bool = False) -> None:
    """One step down this loss, which touches no gradient but those of the optimizer's own parameters."""
    optimizer.zero_grad()
    loss.backward(inputs=[p for group in optimizer.param_groups for p in group["params"]], retain_graph=keep)
    optimizer.step()


def grad(y: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(y.sum(), x, create_graph=True)[0]
