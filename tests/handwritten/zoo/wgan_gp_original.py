"""WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028) as its authors' TensorFlow trains it (gan_mnist.py).
Draws: z, eps.

1. G steps first, on -mean(D(fake)), in every iteration but the first; D frozen. It needs no real batch.
2. D steps five times on mean(D(fake)) - mean(D(real)) + lambda_gp * penalty, each time with its own batch, z and eps:
   a session.run redraws everything. `fake` is made by G as it is after its step, without a graph, once per step of D.

Forwards per iteration: G 6 (5 in the first), D 16 (15), as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .common import Batch, cycle, frozen, result


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 128,
    lambda_gp: float = 10.0,
    critic_steps: int = 5,
    lr: float = 1e-4,
    betas: tuple[float, float] = (0.5, 0.9),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_optimizer = torch.optim.Adam(G.parameters(), lr=lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=lr, betas=betas, eps=eps)
    data = cycle(batches)
    batch_size = len(batches[0]["real"])

    for step in range(iterations):
        if step > 0:
            G_optimizer.zero_grad()
            z = draw("z", "randn", batch_size, nz)
            with frozen(D):
                G_loss = -D(G(z)).mean()
            G_loss.backward()
            G_optimizer.step()

        for _ in range(critic_steps):
            real = next(data)["real"]
            z = draw("z", "randn", batch_size, nz)
            eps = draw("eps", "uniform", batch_size, 1)
            with torch.no_grad():
                fake = G(z)

            D_optimizer.zero_grad()
            D_loss = D(fake).mean() - D(real).mean()
            x_hat = (real + eps * (fake - real)).requires_grad_(True)
            slope = torch.autograd.grad(D(x_hat).sum(), x_hat, create_graph=True)[0]
            D_loss = D_loss + lambda_gp * ((slope.square().sum(dim=1).sqrt() - 1) ** 2).mean()
            D_loss.backward()
            D_optimizer.step()

    return result({"G": G, "D": D})
