"""InfoGAN (Chen et al. 2016, arXiv:1606.03657), in the order of PyTorch-GAN's infogan.py. Draws: z, c, s.

1. G steps on mse(validity of fake, 1), D frozen.
2. D steps on half of mse(validity of real, 1) + mse(validity of fake, 0), `fake` from before G's step, detached.
3. z, class and code are drawn anew; a third Adam over *both* networks, with moments of its own, steps on
   1.0 * cross entropy of the class + 0.1 * mse of the code, from one forward of G and one of D.

Heads that a loss does not read have no gradient, and Adam leaves them alone. Forwards per iteration: G 2, D 4, as in
the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .common import Batch, cycle, frozen, mse, result


def latent(draw: Callable[..., Any], n: int, nz: int, nc: int, ncode: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, class, code in [-1, 1)."""
    z = draw("z", "randn", n, nz)
    c = draw("c", "randint", n, nc)
    s = draw("s", "uniform", n, ncode) * 2 - 1
    return z, c, s


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 62,
    nc: int = 10,
    ncode: int = 2,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_optimizer = torch.optim.Adam(G.parameters(), lr=lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=lr, betas=betas, eps=eps)
    info_optimizer = torch.optim.Adam(chain(G.parameters(), D.parameters()), lr=lr, betas=betas, eps=eps)
    data = cycle(batches)

    for _ in range(iterations):
        real = next(data)["real"]
        z, c, s = latent(draw, len(real), nz, nc, ncode)

        G_optimizer.zero_grad()
        fake = G(z, F.one_hot(c, nc).to(z.dtype), s)
        with frozen(D):
            validity, _, _ = D(fake)
        mse(validity, 1.0).backward()
        G_optimizer.step()

        D_optimizer.zero_grad()
        real_validity, _, _ = D(real)
        fake_validity, _, _ = D(fake.detach())
        D_loss = (mse(real_validity, 1.0) + mse(fake_validity, 0.0)) / 2
        D_loss.backward()
        D_optimizer.step()

        info_optimizer.zero_grad()
        z, c, s = latent(draw, len(real), nz, nc, ncode)
        _, label, code = D(G(z, F.one_hot(c, nc).to(z.dtype), s))
        info_loss = 1.0 * F.cross_entropy(label, c) + 0.1 * mse(code, s)
        info_loss.backward()
        info_optimizer.step()

    return result({"G": G, "D": D})
