"""WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028), in the order of PyTorch-GAN's wgan_gp.py. Draws: z, eps.

1. D steps on every batch, on mean(D(fake)) - mean(D(real)) + lambda_gp * penalty. The penalty's points lie between
   real and detached fake, one uniform per sample; its inner derivative is taken with a graph.
2. G steps where the index within the epoch is a multiple of n_critic, on -mean(D(fake)): the same z and the same
   `fake`, D after its step.

Forwards per iteration: G 1, D 3, and D 1 more where G steps. The reference makes `fake` a second time for G, from the
same z; here its graph is kept (one value per batch).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .common import Batch, cycle, frozen, result


def gradient_penalty(D: nn.Module, real: Tensor, fake: Tensor, eps: Tensor) -> Tensor:
    x_hat = (eps * real + (1 - eps) * fake).requires_grad_(True)
    d_hat = D(x_hat)
    slope = torch.autograd.grad(d_hat, x_hat, torch.ones_like(d_hat), create_graph=True, retain_graph=True)[0]
    return ((slope.flatten(1).norm(2, dim=1) - 1) ** 2).mean()


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 100,
    n_critic: int = 5,
    lambda_gp: float = 10.0,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_optimizer = torch.optim.Adam(G.parameters(), lr=lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=lr, betas=betas, eps=eps)
    data = cycle(batches)

    for step in range(iterations):
        epoch_step = step % len(batches)
        real = next(data)["real"]
        z = draw("z", "randn", len(real), nz)
        eps = draw("eps", "uniform", len(real), 1)
        fake = G(z)

        D_optimizer.zero_grad()
        D_loss = D(fake.detach()).mean() - D(real).mean()
        D_loss = D_loss + lambda_gp * gradient_penalty(D, real, fake.detach(), eps)
        D_loss.backward()
        D_optimizer.step()

        if epoch_step % n_critic == 0:
            G_optimizer.zero_grad()
            with frozen(D):
                G_loss = -D(fake).mean()
            G_loss.backward()
            G_optimizer.step()

    return result({"G": G, "D": D})
