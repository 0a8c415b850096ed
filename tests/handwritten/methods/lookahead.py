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


def consensus(nets: Any, batches: Any, draw: Any, *, together: bool = True) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    weights = {"G": list(G.parameters()), "D": list(D.parameters())}

    def losses(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        of_real, of_fake, judged = D(real), D(fake), D(fake)
        D_loss, G_loss = bcel(of_real, 1.0) + bcel(of_fake, 0.0), bcel(judged, 1.0)
        found = [*torch.autograd.grad(D_loss, weights["D"], create_graph=True)]
        found += torch.autograd.grad(G_loss, weights["G"], create_graph=True)
        return D_loss, G_loss, 0.5 * sum(g.pow(2).sum() for g in found)

    for batch in batches:
        z = draw("z", "randn", len(batch["real"]), 4)
        D_loss, G_loss, field = losses(batch["real"], G(z))
        down_D = torch.autograd.grad(D_loss + 0.5 * field, weights["D"], retain_graph=True)
        if not together:
            _step(to_D, weights["D"], down_D)
            _, G_loss, field = losses(batch["real"], G(z))
        down_G = torch.autograd.grad(G_loss + 0.5 * field, weights["G"])
        if together:
            _step(to_D, weights["D"], down_D)
        _step(to_G, weights["G"], down_G)


def consensus_in_turn(nets: Any, batches: Any, draw: Any) -> None:
    consensus(nets, batches, draw, together=False)


def _step(optimizer: Any, weights: Any, slopes: Any) -> None:
    for p, g in zip(weights, slopes, strict=True):
        p.grad = g.clone()
    optimizer.step()
    optimizer.zero_grad()


def lookahead_minimax(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    weights = [*G.parameters(), *D.parameters()]
    slow = [p.detach().clone() for p in weights]
    for i, batch in enumerate(batches):
        real = batch["real"]
        fake = G(draw("z", "randn", len(real), 4))
        held = fake.detach()
        if (i + 1) % 3:
            descend(to_D, bcel(D(real), 1.0) + bcel(D(held), 0.0))
            descend(to_G, bcel(D(fake), 1.0))
            continue
        for to, network, loss in (
            (to_D, D, lambda real=real, held=held: bcel(D(real), 1.0) + bcel(D(held), 0.0)),
            (to_G, G, lambda fake=fake: bcel(D(fake), 1.0)),
        ):
            descend(to, loss())
            with torch.no_grad():
                for k, p in enumerate(weights):
                    if any(p is q for q in network.parameters()):
                        slow[k] = slow[k] + 0.5 * (p - slow[k])
                        p.copy_(slow[k])
