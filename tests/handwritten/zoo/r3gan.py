"""R3GAN (Huang et al. 2024, arXiv:2501.05441), as in brownvc's training_loop.py and Trainer.py. Draws: z.

1. D steps on softplus(D(fake) - D(real)) + gamma / 2 * (R1 + R2), averaged over pairs: relativistic, both penalties on
   squared slopes per sample, of D at the real and at the generated images. G without a graph.
2. A new batch and new noise; G steps on softplus(D(real) - D(fake)), D frozen; D(real) carries no gradient.
3. G_ema follows with a half-life of `ema_nimg` images, buffers copied.

`lr`, `beta2` and `gamma` may be functions of the counters (the paper's: cosines with a burn-in), read right before a
step. An iteration consumes two batches. Forwards per iteration: G 2, D 4, as in the reference; the program evaluates D
on the fake first in step 1 and on the real images first in step 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .common import Batch, Now, at, average, averaged, cycle, frozen, result

Number = float | Callable[[Now], float]


def squared_slope(logits: Tensor, images: Tensor) -> Tensor:
    slope = torch.autograd.grad(logits.sum(), images, create_graph=True)[0]
    return slope.flatten(1).square().sum(1)


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 64,
    gamma: Number = 10.0,
    ema_nimg: float = 500e3,
    lr: Number = 2e-4,
    beta1: float = 0.0,
    beta2: Number = 0.9,
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_ema = averaged(G)
    G_optimizer = torch.optim.Adam(G.parameters(), eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), eps=eps)
    data = cycle(batches)

    for step in range(iterations):
        batch = next(data)
        real, y = batch["real"], batch["y"]
        epoch, epoch_step = divmod(2 * step, len(batches))
        now = Now(step, epoch, epoch_step, step * len(real), len(real))
        for optimizer in (G_optimizer, D_optimizer):
            optimizer.param_groups[0].update(lr=at(lr, now), betas=(beta1, at(beta2, now)))

        D_optimizer.zero_grad()
        with torch.no_grad():
            fake = G(draw("z", "randn", len(real), nz), y)
        fake = fake.requires_grad_(True)
        real = real.detach().requires_grad_(True)
        cf, cr = D(fake, y), D(real, y)
        penalties = squared_slope(cr, real) + squared_slope(cf, fake)
        D_loss = (F.softplus(cf - cr) + at(gamma, now) / 2 * penalties).mean()
        D_loss.backward()
        D_optimizer.step()

        batch = next(data)
        real, y = batch["real"], batch["y"]
        G_optimizer.zero_grad()
        with torch.no_grad():
            cr = D(real, y)
        fake = G(draw("z", "randn", len(real), nz), y)
        with frozen(D):
            cf = D(fake, y)
        F.softplus(cr - cf).mean().backward()
        G_optimizer.step()

        average(G_ema, G, 0.5 ** (len(real) / max(ema_nimg, 1e-8)))

    return result({"G": G, "D": D, "G_ema": G_ema})
