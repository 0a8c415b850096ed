"""A network as it would be after some steps of SGD, differentiable through the steps.

    Dk = unrolled(D, lambda D: bcel(D(real), 1) + bcel(D(fake), 0), steps=5, lr=1e-4, create_graph=True)
    Dk(fake)                          # D with its weights after the five steps; D itself is as before

Unrolled GANs: Metz et al. 2017, arXiv:1611.02163.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


class Unrolled:
    """A network with other weights: it is called like the network, its entry points too.

    Its buffers are copies, which its calls write.
    """

    def __init__(self, network: nn.Module, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        self._network, self._weights, self._buffers = network, weights, buffers

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return functional_call(self._network, {**self._weights, **self._buffers}, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Part(self, attrgetter(name))

    def detach(self) -> Unrolled:
        """The same, with no gradient to what its weights are made of."""
        return Unrolled(self._network, {k: v.detach() for k, v in self._weights.items()}, self._buffers)


class _Part:
    """An entry point or a part of a network with other weights, on the way to its call."""

    def __init__(self, network: Unrolled, find: Callable[[Any], Any]) -> None:
        self._network, self._find = network, find

    def __getattr__(self, name: str) -> _Part:
        if name.startswith("_"):
            raise AttributeError(name)
        return _Part(self._network, lambda network: getattr(self._find(network), name))

    def __getitem__(self, place: int) -> _Part:
        return _Part(self._network, lambda network: self._find(network)[place])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        n = self._network
        weights = {f"network.{k}": v for k, v in {**n._weights, **n._buffers}.items()}
        return functional_call(_Method(n._network, self._find), weights, args, kwargs)


class _Method(nn.Module):
    """A part as a module of its own, which is what ``functional_call`` takes."""

    def __init__(self, network: nn.Module, find: Callable[[Any], Any]) -> None:
        super().__init__()
        self.network, self.find = network, find

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.find(self.network)(*args, **kwargs)


def unrolled(
    network: nn.Module,
    loss: Callable[[Any], Tensor],
    *,
    steps: int,
    lr: float,
    create_graph: bool,
    first_order: bool = False,
) -> Unrolled:
    """The network after ``steps`` steps of SGD on ``loss(network)``, from its weights as they are now.

    Args:
        create_graph: gradient flows through the steps, to whatever the loss depends on, and to the network's own
            weights where these ask for one.
        first_order: what the steps add is constant to autograd, so the gradient in the weights after them is the
            gradient in the network's own: first-order MAML (Finn et al. 2017, arXiv:1703.03400), extragradient.
    """
    weights = {
        k: p if p.requires_grad else p.detach().requires_grad_(p.is_floating_point())
        for k, p in network.named_parameters()
    }
    buffers = {k: b.clone() for k, b in network.named_buffers()}
    second = create_graph and not first_order
    for _ in range(steps):
        with torch.enable_grad():
            value = loss(Unrolled(network, weights, buffers))
            found = torch.autograd.grad(value, list(weights.values()), create_graph=second, allow_unused=True)
            stepped = {k: w if g is None else w - lr * g for (k, w), g in zip(weights.items(), found, strict=True)}
        weights = stepped if create_graph else {k: w.detach().requires_grad_() for k, w in stepped.items()}
    done = Unrolled(network, weights, buffers)
    return done if create_graph else done.detach()
