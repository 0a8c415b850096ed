"""VQGAN (Esser et al. 2021, arXiv:2012.09841), as in CompVis' vqgan.py and losses/vqperceptual.py. Draws: none.

1. G, the autoencoder, steps on nll + w * on * g + codebook loss: nll is L1 + LPIPS, averaged; g = -mean(D(rec)), D
   frozen; w = disc_weight * |d nll| / (|d g| + 1e-4), the derivatives with respect to the decoder's last weight,
   clamped to [0, 1e4] and detached; on is 0 before iteration `disc_start`, then 1.
2. The autoencoder, after its step, is run again without a graph; D steps on on * 0.5 * (hinge real + hinge fake). While
   on is 0 its Adam steps with gradients of zero, which count in the bias correction.

LPIPS is frozen and in evaluation mode. Forwards per iteration: G 2, D 3, P 1, as in the reference (which runs P and
the adaptive weight once more for D and drops them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .common import Batch, cycle, frozen, pretrained, result


def adaptive_weight(nll: Tensor, g: Tensor, last: Tensor) -> Tensor:
    d_nll = torch.autograd.grad(nll, last, retain_graph=True)[0]
    d_g = torch.autograd.grad(g, last, retain_graph=True)[0]
    return torch.clamp(d_nll.norm() / (d_g.norm() + 1e-4), 0.0, 1e4).detach()


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    disc_start: int = 10000,
    disc_weight: float = 0.8,
    lr: float = 4.5e-6,
    betas: tuple[float, float] = (0.5, 0.9),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, D, P = networks["G"].train(), networks["D"].train(), pretrained(networks["P"])
    G_optimizer = torch.optim.Adam(G.parameters(), lr=lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=lr, betas=betas, eps=eps)
    data = cycle(batches)

    for step in range(iterations):
        x = next(data)["x"]
        on = 1.0 if step >= disc_start else 0.0

        G_optimizer.zero_grad()
        rec, codebook_loss = G(x)
        nll = (torch.abs(x - rec) + P(x, rec)).mean()
        with frozen(D):
            g = -D(rec).mean()
        w = adaptive_weight(nll, g, G.decoder.conv_out.weight) * disc_weight
        G_loss = nll + w * on * g + codebook_loss.mean()
        G_loss.backward()
        G_optimizer.step()

        D_optimizer.zero_grad()
        real_loss = torch.relu(1 - D(x)).mean()
        with torch.no_grad():
            rec, _ = G(x)
        fake_loss = torch.relu(1 + D(rec)).mean()
        D_loss = on * 0.5 * (real_loss + fake_loss)
        D_loss.backward()
        D_optimizer.step()

    return result({"G": G, "D": D, "P": P})
