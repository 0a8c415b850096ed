"""LSGAN (Mao et al. 2017, arXiv:1611.04076), in the order of PyTorch-GAN's lsgan.py. Draws: z.

The loop of gan.py with squares in the place of logarithms: G on mse(D(fake), 1), then D on half of
mse(D(real), 1) + mse(D(fake), 0), `fake` from before G's step and detached. Forwards per iteration: G 1, D 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .common import Batch, cycle, frozen, mse, result


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 100,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_optimizer = torch.optim.Adam(G.parameters(), lr=lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=lr, betas=betas, eps=eps)
    data = cycle(batches)

    for _ in range(iterations):
        real = next(data)["real"]
        z = draw("z", "randn", len(real), nz)

        G_optimizer.zero_grad()
        fake = G(z)
        with frozen(D):
            G_loss = mse(D(fake), 1.0)
        G_loss.backward()
        G_optimizer.step()

        D_optimizer.zero_grad()
        D_loss = 0.5 * (mse(D(real), 1.0) + mse(D(fake.detach()), 0.0))
        D_loss.backward()
        D_optimizer.step()

    return result({"G": G, "D": D})
