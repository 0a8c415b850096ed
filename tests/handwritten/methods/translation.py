"""Pairs, translation and super-resolution."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import adam, bcel, descend, frozen, l1, mse, pretrained


def esrgan(nets: Any, batches: Any, draw: Any) -> None:
    G, D, P = nets["G"], nets["D"], pretrained(nets["P"])
    to_G, to_D = adam(G), adam(D)
    for batch in batches:
        low, high = batch["low"], batch["high"]
        fake = G(low)
        # generator first, as in BasicSR; D's statistics see the fakes, then the real ones
        of_fake, of_real = D(fake), D(high).detach()
        game = bcel(of_fake - of_real.mean(), 1.0) + bcel(of_real - of_fake.mean(), 0.0)
        descend(to_G, l1(P.features(fake), P.features(high)) + 1e-2 * l1(fake, high) + 5e-3 * game)
        of_real, of_fake = D(high), D(fake.detach())
        descend(to_D, bcel(of_real - of_fake.mean(), 1.0) + bcel(of_fake - of_real.mean(), 0.0))


def bigan(nets: Any, batches: Any, draw: Any) -> None:
    G, E, D = nets["G"], nets["E"], nets["D"]
    to_GE, to_D = adam(G, E), adam(D)
    for batch in batches:
        x = batch["x"]
        z = draw("z", "randn", len(x), 4)
        mu, log_sigma = E(x)
        z_hat = mu + log_sigma.exp() * draw("z_hat", "randn_like", mu)
        x_hat = G(z)
        inferred, sampled = D(x, z_hat), D(x_hat, z)
        D_loss = F.softplus(-inferred).mean() + F.softplus(sampled).mean()
        GE_loss = F.softplus(inferred).mean() + F.softplus(-sampled).mean() + mse(G(z_hat), x)
        for optimizer, loss in ((to_D, D_loss), (to_GE, GE_loss)):
            optimizer.zero_grad()
            loss.backward(inputs=[p for g in optimizer.param_groups for p in g["params"]], retain_graph=True)
        to_D.step()
        to_GE.step()


def discogan(nets: Any, batches: Any, draw: Any) -> None:
    AB, BA, A, B = (nets[n] for n in ("AB", "BA", "A", "B"))
    to_G, to_D = adam(AB, BA, weight_decay=1e-3), adam(A, B, weight_decay=1e-3)

    def matched(fake: Tensor, real: Tensor) -> Tensor:
        return (fake.mean(0) - real.mean(0).detach()).pow(2).mean()

    for i, batch in enumerate(batches):
        for optimizer in (to_G, to_D):
            optimizer.param_groups[0]["lr"] = 1e-2 if i < 4 else 5e-3
        a, b = batch["a"], batch["b"]
        ab, ba = AB(a), BA(b)
        if i % 3 == 0:
            loss = bcel(A(a), 1.0) + bcel(A(ba.detach()), 0.0) + bcel(B(b), 1.0) + bcel(B(ab.detach()), 0.0)
            descend(to_D, 0.5 * loss)
            continue
        with frozen(A, B):
            (v_a, h_a), (v_b, h_b) = A.both(ba), B.both(ab)
            features = matched(h_a, A.features(a)) + matched(h_b, B.features(b))
            game = bcel(v_a, 1.0) + bcel(v_b, 1.0) + 0.9 * features
        descend(to_G, 0.5 * game + 0.5 * (mse(BA(ab), a) + mse(AB(ba), b)))
