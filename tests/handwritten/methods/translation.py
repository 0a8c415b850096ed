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


def simgan(nets: Any, batches: Any, draw: Any) -> None:
    R, D = nets["R"], nets["D"]
    to_R, to_D = adam(R), adam(D)
    history = torch.empty(0, 2, 4, 4)
    for i in range(len(batches) // 2):
        for batch in batches[2 * i : 2 * i + 2]:
            synthetic = batch["synthetic"]
            refined = R(synthetic)
            loss = 0.5 * l1(refined, synthetic)
            if i >= 2:
                loss = loss + bcel(D(refined), 1.0)
            descend(to_R, loss)
        if i < 2:
            continue
        new = refined.detach()
        half = len(new) // 2
        luck = draw.generator("shown")
        if len(history) < 12:
            shown, history = new, torch.cat([history, new[:half]])
        else:
            shown = torch.cat([new[:half], history[torch.randperm(12, generator=luck)[:half]]])
            history = torch.cat([history[torch.randperm(12, generator=luck)[half:]], new[:half]])
        descend(to_D, bcel(D(batch["real"]), 1.0) + bcel(D(shown), 0.0))


def oasis(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    for batch in batches:
        image, classes = batch["image"], batch["label"].argmax(1)
        n = len(image)
        onehot = torch.stack([(classes == k).double() for k in range(3)], 1)
        weight = torch.cat([torch.zeros(1), classes.numel() / (3 * onehot.sum((0, 2, 3)))])  # "fake" is no class here
        z = draw("z", "randn", n, 2, 1, 1).expand(n, 2, 4, 4)
        fake = G(torch.cat([z, onehot], 1))

        def named(logits: Tensor, weight: Tensor = weight, target: Tensor = classes + 1) -> Tensor:
            return F.cross_entropy(logits, target, weight=weight, reduction="none").mean()

        descend(to_G, named(D(fake)))
        mask = onehot[:, :1] > 0
        of_real, of_fake = D(image), D(fake.detach())
        mixed = D(torch.where(mask, image, fake.detach()))
        none = torch.zeros(n, 4, 4, dtype=torch.long)
        consistent = mse(mixed, torch.where(mask, of_real, of_fake))
        descend(to_D, named(of_real) + F.cross_entropy(of_fake, none) + 5.0 * consistent)


def unit(nets: Any, batches: Any, draw: Any) -> None:
    EA, EB, ES, GS, GA, GB, A, B = (nets[n] for n in ("EA", "EB", "ES", "GS", "GA", "GB", "A", "B"))
    to_G, to_D = adam(EA, EB, ES, GS, GA, GB), adam(A, B)
    for batch in batches:
        a, b = batch["a"], batch["b"]

        def decoded(mu: Tensor, site: str) -> Tensor:
            return GS(mu + draw(site, "randn_like", mu))

        mu_a, mu_b = ES(EA(a)), ES(EB(b))
        h_a, h_b = decoded(mu_a, "h_a/noisy"), decoded(mu_b, "h_b/noisy")
        ab, ba = GB(h_a), GA(h_b)
        judged = bcel(A(a), 1.0) + bcel(A(ba.detach()), 0.0) + bcel(B(b), 1.0) + bcel(B(ab.detach()), 0.0)
        descend(to_D, judged)
        mu_ab, mu_ba = ES(EB(ab)), ES(EA(ba))
        aba, bab = GA(decoded(mu_ab, "cycle/noisy#1")), GB(decoded(mu_ba, "cycle/noisy#2"))
        prior = sum(mu.pow(2).sum(1).mean() for mu in (mu_a, mu_b, mu_ab, mu_ba))
        rebuilt = l1(GA(h_a), a) + l1(GB(h_b), b) + l1(aba, a) + l1(bab, b)
        descend(to_G, 10 * (bcel(A(ba), 1.0) + bcel(B(ab), 1.0)) + 0.1 * prior + 100 * rebuilt)
