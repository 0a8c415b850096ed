"""CycleGAN (Zhu et al. 2017, arXiv:1703.10593), as in junyanz's cycle_gan_model.py. Draws: pool_B, pool_A.

1. Both fakes, both reconstructions and both identity images are made; the two generators step together on
   adversarial + cycle + identity losses, both discriminators frozen.
2. The two discriminators step together. Each learns from a pool of the last 50 fakes, asked once per iteration with
   the fake that was made *before* the generators' step, and each loss is halved.

Evaluation is in the program's order (adversarial, cycle, identity), which for layers with state differs from the
reference's forward() only between calls of G_B. Forwards per iteration: 3 of each network, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from .common import Batch, cycle, frozen, l1, mse, query, result


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    lambda_A: float = 10.0,
    lambda_B: float = 10.0,
    lambda_idt: float = 0.5,
    pool_size: int = 50,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G_A, G_B, D_A, D_B = (networks[n].train() for n in ("G_A", "G_B", "D_A", "D_B"))
    G_optimizer = torch.optim.Adam(chain(G_A.parameters(), G_B.parameters()), lr=lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(chain(D_A.parameters(), D_B.parameters()), lr=lr, betas=betas, eps=eps)
    stored_A: list[Tensor] = []
    stored_B: list[Tensor] = []
    data = cycle(batches)

    for _ in range(iterations):
        batch = next(data)
        real_A, real_B = batch["real_A"], batch["real_B"]

        G_optimizer.zero_grad()
        with frozen(D_A, D_B):
            fake_B = G_A(real_A)
            G_loss = mse(D_A(fake_B), 1.0)
            fake_A = G_B(real_B)
            G_loss = G_loss + mse(D_B(fake_A), 1.0)
        rec_A = G_B(fake_B)
        rec_B = G_A(fake_A)
        G_loss = G_loss + lambda_A * l1(rec_A, real_A) + lambda_B * l1(rec_B, real_B)
        idt_A = lambda_B * l1(G_A(real_B), real_B)
        idt_B = lambda_A * l1(G_B(real_A), real_A)
        G_loss = G_loss + lambda_idt * (idt_A + idt_B)
        G_loss.backward()
        G_optimizer.step()

        D_optimizer.zero_grad()
        full_B = max(0, len(fake_B) - (pool_size - len(stored_B)))
        pool_B = query(stored_B, fake_B, pool_size, draw("pool_B", "pool", full_B))
        D_A_loss = 0.5 * (mse(D_A(real_B), 1.0) + mse(D_A(pool_B), 0.0))
        full_A = max(0, len(fake_A) - (pool_size - len(stored_A)))
        pool_A = query(stored_A, fake_A, pool_size, draw("pool_A", "pool", full_A))
        D_B_loss = 0.5 * (mse(D_B(real_A), 1.0) + mse(D_B(pool_A), 0.0))
        (D_A_loss + D_B_loss).backward()
        D_optimizer.step()

    return result({"G_A": G_A, "G_B": G_B, "D_A": D_A, "D_B": D_B})
