"""Steps that are looked at before they are made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from .common import adam, bcel, descend, mse


def maml(nets: Any, batches: Any, draw: Any) -> None:
    network = nets["F"]
    to = adam(network)
    for batch in batches:
        total = torch.zeros(())
        for x, y in ((batch["x1"], batch["y1"]), (batch["x2"], batch["y2"])):
            weights = dict(network.named_parameters())
            for _ in range(2):
                inner = mse(functional_call(network, weights, (x[:4],)), y[:4])
                slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
                weights = {k: w - 0.1 * g for (k, w), g in zip(weights.items(), slopes, strict=True)}
            total = total + mse(functional_call(network, weights, (x[4:],)), y[4:])
        descend(to, 0.5 * total)


def extragradient(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]

    def slopes(real: Tensor, z: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(weight, its gradient) of both players, each on its own loss."""
        fake = G(z)
        for network, loss in (
            (D, bcel(D(real), 1.0) + bcel(D(fake.detach()), 0.0)),
            (G, bcel(D(fake), 1.0)),
        ):
            own = list(network.parameters())
            yield from zip(own, torch.autograd.grad(loss, own, retain_graph=True), strict=True)

    for batch in batches:
        real = batch["real"]
        z = draw("z", "randn", len(real), 4)
        here = {p: p.detach().clone() for n in (G, D) for p in n.parameters()}
        with torch.no_grad():
            for p, g in [(p, g) for p, g in _all(slopes(real, z))]:
                p.sub_(0.1 * g)
        ahead = _all(slopes(real, z))
        with torch.no_grad():
            for p, g in ahead:
                p.copy_(here[p] - 0.1 * g)


def _all(found: Any) -> list[tuple[Tensor, Tensor]]:
    with torch.enable_grad():
        return list(found)
