"""pix2pix (Isola et al. 2017, arXiv:1611.07004), as in junyanz's pix2pix_model.py. Draws: none.

1. D, conditional on real_A, steps on half of bcel(pred_fake, 0) + bcel(pred_real, 1), the fake detached, fake first.
2. G steps on bcel(pred_fake, 1) + lambda_A * l1, through D after its step, frozen. `fake_B` is made once: its graph is
   kept while D steps, and pred_fake is computed again.

`lr` may be a function of the counters (the paper's: constant for 100 epochs, then linearly to 0 over 100).
Forwards per iteration: G 1, D 3, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .common import Batch, Now, at, bcel, cycle, frozen, l1, result


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    lambda_A: float = 100.0,
    lr: float | Callable[[Now], float] = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_optimizer = torch.optim.Adam(G.parameters(), lr=0.0, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=0.0, betas=betas, eps=eps)
    data = cycle(batches)

    for step in range(iterations):
        batch = next(data)
        real_A, real_B = batch["real_A"], batch["real_B"]
        epoch, epoch_step = divmod(step, len(batches))
        now = Now(step, epoch, epoch_step, step * len(real_A), len(real_A))
        for optimizer in (G_optimizer, D_optimizer):
            optimizer.param_groups[0]["lr"] = at(lr, now)

        fake_B = G(real_A)

        D_optimizer.zero_grad()
        pred_fake = D(torch.cat((real_A, fake_B.detach()), 1))
        pred_real = D(torch.cat((real_A, real_B), 1))
        D_loss = 0.5 * (bcel(pred_fake, 0.0) + bcel(pred_real, 1.0))
        D_loss.backward()
        D_optimizer.step()

        G_optimizer.zero_grad()
        with frozen(D):
            pred_fake = D(torch.cat((real_A, fake_B), 1))
        G_loss = bcel(pred_fake, 1.0) + lambda_A * l1(fake_B, real_B)
        G_loss.backward()
        G_optimizer.step()

    return result({"G": G, "D": D})
