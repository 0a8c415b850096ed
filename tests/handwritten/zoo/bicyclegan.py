"""BicycleGAN (Zhu et al. 2017, arXiv:1711.11586), as in junyanz's bicycle_gan_model.py. Draws: z_e, z_r.

Half of the batch is encoded (A1, B1); only the images B of the other half are used, as D2's real ones.
1. G and E step together on: D on the encoded fake, D2 on the random fake, lambda_L1 * l1(f_e, B1), the KL divergence
   (summed over batch and code), and lambda_z * l1 of the code that E finds in the random fake: that last term's
   gradient goes through E into G and gives E's weights nothing. D and D2 are frozen.
2. D steps on the encoded fake (from before step 1, detached) against 0 plus B1 against 1; then D2 on the random fake
   against 0 plus B2 against 1. Neither is halved.

Forwards per iteration: G 2, E 2, D 3, D2 3, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .common import Batch, cycle, frozen, kl_divergence, l1, mse, result


def adversarial(scales: list[Tensor], target: float) -> Tensor:
    loss = mse(scales[0], target)
    for logits in scales[1:]:
        loss = loss + mse(logits, target)
    return loss


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    lambda_L1: float = 10.0,
    lambda_kl: float = 0.01,
    lambda_z: float = 0.5,
    nz: int = 8,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, E, D, D2 = (networks[n].train() for n in ("G", "E", "D", "D2"))
    G_optimizer, E_optimizer, D_optimizer, D2_optimizer = (
        torch.optim.Adam(network.parameters(), lr=lr, betas=betas, eps=eps) for network in (G, E, D, D2)
    )
    data = cycle(batches)

    for _ in range(iterations):
        batch = next(data)
        h = len(batch["real_A"]) // 2
        A1, B1, B2 = batch["real_A"][:h], batch["real_B"][:h], batch["real_B"][h:]

        G_optimizer.zero_grad()
        E_optimizer.zero_grad()
        mu, logvar = E(B1)
        f_e = G(A1, mu + torch.exp(0.5 * logvar) * draw("z_e", "randn_like", mu))
        with frozen(D, D2):
            G_loss = adversarial(D(f_e), 1.0)
            z_r = draw("z_r", "randn", h, nz)
            f_r = G(A1, z_r)
            G_loss = G_loss + adversarial(D2(f_r), 1.0)
        G_loss = G_loss + lambda_L1 * l1(f_e, B1) + lambda_kl * kl_divergence(mu, logvar)
        with frozen(E):
            found, _ = E(f_r)
        G_loss = G_loss + lambda_z * l1(found, z_r)
        G_loss.backward()
        G_optimizer.step()
        E_optimizer.step()

        D_optimizer.zero_grad()
        D_loss = adversarial(D(f_e.detach()), 0.0) + adversarial(D(B1), 1.0)
        D_loss.backward()
        D_optimizer.step()

        D2_optimizer.zero_grad()
        D2_loss = adversarial(D2(f_r.detach()), 0.0) + adversarial(D2(B2), 1.0)
        D2_loss.backward()
        D2_optimizer.step()

    return result({"G": G, "E": E, "D": D, "D2": D2})
