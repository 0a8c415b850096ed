"""BEGAN (Berthelot et al. 2017, arXiv:1703.10717), in the order of PyTorch-GAN's began.py. Draws: z.

1. G steps on l1(D(fake), fake), D frozen; the target is not detached, so the gradient comes through both sides.
2. D, an autoencoder, steps on d_real - k * d_fake, on the `fake` from before G's step, detached on both sides.
3. After D's step, k <- clamp(k + lambda_k * (gamma * d_real - d_fake), 0, 1), from the losses D was trained on; k is
   a number to autograd.

Forwards per iteration: G 1, D 3, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .common import Batch, cycle, frozen, l1, result


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 62,
    gamma: float = 0.75,
    lambda_k: float = 0.001,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_optimizer = torch.optim.Adam(G.parameters(), lr=lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=lr, betas=betas, eps=eps)
    k = 0.0
    data = cycle(batches)

    for _ in range(iterations):
        real = next(data)["real"]
        z = draw("z", "randn", len(real), nz)

        G_optimizer.zero_grad()
        fake = G(z)
        with frozen(D):
            G_loss = l1(D(fake), fake)
        G_loss.backward()
        G_optimizer.step()

        D_optimizer.zero_grad()
        d_real = l1(D(real), real)
        d_fake = l1(D(fake.detach()), fake.detach())
        D_loss = d_real - k * d_fake
        D_loss.backward()
        D_optimizer.step()

        k = k + lambda_k * (gamma * d_real.item() - d_fake.item())
        k = min(max(k, 0.0), 1.0)

    return result({"G": G, "D": D}, {"k": k})
