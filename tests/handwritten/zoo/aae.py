"""Adversarial autoencoder (Makhzani et al. 2015, arXiv:1511.05644), in the order of PyTorch-GAN's aae.py.
Draws: prior.

1. Encoder and decoder step together on 0.001 * bce(D(code), 1) + 0.999 * l1(reconstruction, real), D frozen.
2. D steps on half of bce(D(prior), 1) + bce(D(code), 0): the code from before the encoder's step, detached.

Forwards per iteration: E 1, Dec 1, D 3, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import nn

from .common import Batch, bce, cycle, frozen, l1, result


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 10,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    E, Dec, D = networks["E"].train(), networks["Dec"].train(), networks["D"].train()
    G_optimizer = torch.optim.Adam(chain(E.parameters(), Dec.parameters()), lr=lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=lr, betas=betas, eps=eps)
    data = cycle(batches)

    for _ in range(iterations):
        real = next(data)["real"]

        G_optimizer.zero_grad()
        code = E(real)
        with frozen(D):
            adversarial = bce(D(code), 1.0)
        G_loss = 0.001 * adversarial + 0.999 * l1(Dec(code), real)
        G_loss.backward()
        G_optimizer.step()

        D_optimizer.zero_grad()
        prior = draw("prior", "randn", len(real), nz)
        D_loss = 0.5 * (bce(D(prior), 1.0) + bce(D(code.detach()), 0.0))
        D_loss.backward()
        D_optimizer.step()

    return result({"E": E, "Dec": Dec, "D": D})
