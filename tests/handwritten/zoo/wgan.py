"""WGAN (Arjovsky et al. 2017, arXiv:1701.07875), in the order of PyTorch-GAN's wgan.py. Draws: z.

1. D steps on every batch, on mean(D(fake)) - mean(D(real)); then its weights are clipped.
2. G steps where the index *within the epoch* is a multiple of n_critic, on -mean(D(fake)): the same z, the same
   `fake` (G has not moved since), D after its step. An epoch begins anew with the list of batches.

Forwards per iteration: G 1, D 2, and D 1 more where G steps. The reference makes `fake` a second time for G, from the
same z; its graph is kept here instead, so batch norm and dropout see one forward (language.md §4: one value per batch).
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
    nz: int = 100,
    n_critic: int = 5,
    lr: float = 5e-5,
    clip: float = 0.01,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_optimizer = torch.optim.RMSprop(G.parameters(), lr=lr)
    D_optimizer = torch.optim.RMSprop(D.parameters(), lr=lr)
    data = cycle(batches)

    for step in range(iterations):
        epoch_step = step % len(batches)
        real = next(data)["real"]
        z = draw("z", "randn", len(real), nz)
        fake = G(z)

        D_optimizer.zero_grad()
        D_loss = D(fake.detach()).mean() - D(real).mean()
        D_loss.backward()
        D_optimizer.step()
        with torch.no_grad():
            for p in D.parameters():
                p.clamp_(-clip, clip)

        if epoch_step % n_critic == 0:
            G_optimizer.zero_grad()
            with frozen(D):
                G_loss = -D(fake).mean()
            G_loss.backward()
            G_optimizer.step()

    return result({"G": G, "D": D})
