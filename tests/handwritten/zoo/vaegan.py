"""VAE/GAN (Larsen et al. 2016, arXiv:1512.09300), update rule of lucabergamini's VAEGAN-PYTORCH. Draws: z, zp.

One set of forwards, three losses, all gradients at the same weights, then the steps:
* E on the KL divergence + rec, the squared distance of D's features of x and its reconstruction, halved and summed;
* Dec on 1e-6 * rec - (b_o + b_s), where b_o is D's loss on x and b_s its loss on a decoded prior sample;
* D on b_o + b_s. Reconstructions (x_t) are not shown to it as fakes.
Dec and D are gated by D's own loss against `eq`: too good if either part is below, too bad if either is above. Dec
steps unless D is only too bad, D unless it is only too good, and both where it is both. A skipped optimizer does not
step.

No network learns from a loss that is not its own, so the gradients are taken per network. The gates are read before
the losses (they are read first of all: "all predicates are evaluated before the first gradient"), so b_o and b_s come
first in the order of evaluation. D(x) is written twice and called twice, for features and for probability. Forwards
per iteration: E 1, Dec 2, D 4; the reference runs D twice on three images each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .common import Batch, bce, cycle, kl_divergence, result


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 128,
    eq: float = 0.33,
    lr: float = 1e-4,
    eps: float = 1e-8,
) -> dict[str, Any]:
    E, Dec, D = networks["E"].train(), networks["Dec"].train(), networks["D"].train()
    E_optimizer, Dec_optimizer, D_optimizer = (
        torch.optim.RMSprop(network.parameters(), lr=lr, eps=eps) for network in (E, Dec, D)
    )
    data = cycle(batches)

    for _ in range(iterations):
        x = next(data)["x"]

        b_o = bce(D(x)[1], 1.0)
        x_p = Dec(draw("zp", "randn", len(x), nz))
        b_s = bce(D(x_p)[1], 0.0)
        too_good = b_o.item() < eq or b_s.item() < eq
        too_bad = b_o.item() > eq or b_s.item() > eq
        train_Dec = not too_bad or too_good
        train_D = not too_good or too_bad

        mu, logvar = E(x)
        x_t = Dec(mu + torch.exp(0.5 * logvar) * draw("z", "randn_like", mu))
        features, _ = D(x_t)
        with torch.no_grad():
            target, _ = D(x)
        rec = 0.5 * ((features - target) ** 2).sum()

        E_optimizer.zero_grad()
        Dec_optimizer.zero_grad()
        D_optimizer.zero_grad()
        E_loss = kl_divergence(mu, logvar) + rec
        E_loss.backward(inputs=list(E.parameters()), retain_graph=True)
        if train_Dec:
            Dec_loss = 1e-6 * rec - (b_o + b_s)
            Dec_loss.backward(inputs=list(Dec.parameters()), retain_graph=True)
        if train_D:
            D_loss = b_o + b_s
            D_loss.backward(inputs=list(D.parameters()))
        E_optimizer.step()
        if train_Dec:
            Dec_optimizer.step()
        if train_D:
            D_optimizer.step()

    return result({"E": E, "Dec": Dec, "D": D})
