"""SNGAN, SAGAN, the projection discriminator, BigGAN (Miyato et al. 2018, arXiv:1802.05957; Miyato & Koyama 2018,
arXiv:1802.05637; Zhang et al. 2019, arXiv:1805.08318; Brock et al. 2019, arXiv:1809.11096). Draws: z, y_f.

1. D steps n_dis times on the hinge loss, real before fake, each time on its own batch, noise and labels; G is
   evaluated without a graph, in training mode.
2. G steps once on -mean(D(fake, y_f)) with new noise and labels, D frozen. It needs no batch.
3. G_ema, a copy in evaluation mode, follows G: it is G (beta 0) until `ema_start` iterations are done. Buffers are
   copied.

Two learning rates. Forwards per iteration: G n_dis + 1, D 2 n_dis + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .common import Batch, average, averaged, cycle, frozen, result


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 128,
    nc: int = 10,
    n_dis: int = 5,
    G_lr: float = 5e-5,
    D_lr: float = 2e-4,
    betas: tuple[float, float] = (0.0, 0.999),
    eps: float = 1e-8,
    ema_beta: float = 0.9999,
    ema_start: int = 20000,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_ema = averaged(G)
    G_optimizer = torch.optim.Adam(G.parameters(), lr=G_lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=D_lr, betas=betas, eps=eps)
    data = cycle(batches)

    for step in range(iterations):
        for _ in range(n_dis):
            batch = next(data)
            real, y = batch["real"], batch["y"]
            z = draw("z", "randn", len(real), nz)
            y_f = draw("y_f", "randint", len(real), nc)

            D_optimizer.zero_grad()
            D_loss = torch.relu(1 - D(real, y)).mean()
            with torch.no_grad():
                fake = G(z, y_f)
            D_loss = D_loss + torch.relu(1 + D(fake, y_f)).mean()
            D_loss.backward()
            D_optimizer.step()

        z = draw("z", "randn", len(real), nz)
        y_f = draw("y_f", "randint", len(real), nc)
        G_optimizer.zero_grad()
        with frozen(D):
            G_loss = -D(G(z, y_f), y_f).mean()
        G_loss.backward()
        G_optimizer.step()

        average(G_ema, G, ema_beta if step >= ema_start else 0.0)

    return result({"G": G, "D": D, "G_ema": G_ema})
