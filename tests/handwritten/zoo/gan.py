"""GAN, non-saturating (Goodfellow et al. 2014, arXiv:1406.2661), in the order of PyTorch-GAN's gan.py. Draws: z.

1. z is drawn and `fake` made, once per iteration.
2. G steps on bce(D(fake), 1); D passes the gradient on and is frozen.
3. D steps on half of bce(D(real), 1) + bce(D(fake), 0); `fake` is the tensor that G made *before* its step, detached.

Forwards per iteration: G 1, D 3, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .common import Batch, bce, cycle, frozen, result


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
            G_loss = bce(D(fake), 1.0)
        G_loss.backward()
        G_optimizer.step()

        D_optimizer.zero_grad()
        D_loss = 0.5 * (bce(D(real), 1.0) + bce(D(fake.detach()), 0.0))
        D_loss.backward()
        D_optimizer.step()

    return result({"G": G, "D": D})
