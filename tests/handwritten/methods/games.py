"""Games of other shapes: several players, several scales, moved latents, a discriminator that waits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import adam, average, averaged, bcel, descend, frozen, grad


def logan(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    for batch in batches:
        z = draw("z", "randn", len(batch["real"]), 4).requires_grad_()
        slope = grad(D(G(z)), z)
        moved = (z + 0.9 * slope / (5.0 + slope.pow(2).sum(1, keepdim=True))).clamp(-1, 1)
        score = D(G(moved))
        D_loss = F.relu(1 - D(batch["real"])).mean() + F.relu(1 + score).mean()
        G_loss = -score.mean() + 0.01 * (moved - z).pow(2).sum(1).sqrt().mean()
        for optimizer, loss in ((to_D, D_loss), (to_G, G_loss)):
            optimizer.zero_grad()
            loss.backward(inputs=[p for g in optimizer.param_groups for p in g["params"]], retain_graph=True)
        to_D.step()
        to_G.step()


def d2gan(nets: Any, batches: Any, draw: Any) -> None:
    G, D1, D2 = nets["G"], nets["D1"], nets["D2"]
    to_G, to_D1, to_D2 = adam(G), adam(D1), adam(D2)
    for batch in batches:
        real = batch["real"]
        fake = G(draw("z", "randn", len(real), 4))
        for D, to, r, f in (
            (D1, to_D1, lambda s: -0.2 * s.log(), lambda s: s),
            (D2, to_D2, lambda s: s, lambda s: -0.1 * s.log()),
        ):
            descend(to, r(F.softplus(D(real))).mean() + f(F.softplus(D(fake.detach()))).mean())
        descend(to_G, -F.softplus(D1(fake)).mean() + 0.1 * F.softplus(D2(fake)).log().mean())


def gman(nets: Any, batches: Any, draw: Any) -> None:
    G, L, judges = nets["G"], nets["L"], [nets[f"D{k}"] for k in (1, 2, 3)]
    to_G, to_D = adam(G, L), adam(*judges)
    for batch in batches:
        real = batch["real"]
        fake = G(draw("z", "randn", len(real), 4))
        descend(to_D, sum(bcel(D(real), 1.0) + bcel(D(fake.detach()), 0.0) for D in judges))
        each = torch.stack([bcel(D(fake), 1.0) for D in judges])
        temperature = F.softplus(L.value)
        weights = (temperature * each).exp() / (temperature * each).exp().sum()
        descend(to_G, (weights * each).sum() - 1e-3 * temperature)


def madgan(nets: Any, batches: Any, draw: Any) -> None:
    S, G1, G2, D = (nets[n] for n in ("S", "G1", "G2", "D"))
    to_G, to_D = adam(S, G1, G2), adam(D)
    for batch in batches:
        n = len(batch["real"])
        h = S(draw("z", "randn", n, 4))
        fakes = torch.cat([G1(h), G2(h)])
        who = torch.tensor([0] * n + [1] * n)
        loss = F.cross_entropy(D(batch["real"]), torch.full((n,), 2)) + F.cross_entropy(D(fakes.detach()), who)
        descend(to_D, loss)
        descend(to_G, F.cross_entropy(D(fakes), torch.full((2 * n,), 2)))


def msggan(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    for batch in batches:
        real = batch["real"]
        reals = [F.adaptive_avg_pool2d(real, 2), F.adaptive_avg_pool2d(real, 4), real]
        fakes = G(draw("z", "randn", len(real), 4))
        r, f = D(reals), D([x.detach() for x in fakes])
        descend(to_D, F.relu(1 - (r - f.mean())).mean() + F.relu(1 + (f - r.mean())).mean())
        with torch.no_grad():
            r = D(reals)
        with frozen(D):
            f = D(fakes)
        descend(to_G, F.relu(1 - (f - r.mean())).mean() + F.relu(1 + (r - f.mean())).mean())


def progan(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    G_ema = nets["G_ema"] = averaged(G)
    to_G, to_D = adam(G), adam(D)
    for i, batch in enumerate(batches):
        alpha = min(i / 4, 1.0)
        real = batch["real"]
        n = len(real)
        small = F.avg_pool2d(real, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        shown = (1 - alpha) * small + alpha * real
        fake = G(draw("z", "randn", n, 4), alpha)
        eps = draw("x_hat", "uniform", n, 1, 1, 1)
        x_hat = ((1 - eps) * shown + eps * fake).detach().requires_grad_()
        slope = grad(D(x_hat, alpha), x_hat).flatten(1).pow(2).sum(1).sqrt()
        score = D(shown, alpha)
        loss = D(fake.detach(), alpha).mean() - score.mean() + 10 * (slope - 1).pow(2).mean()
        descend(to_D, loss + 1e-3 * score.pow(2).mean())
        descend(to_G, -D(fake, alpha).mean())
        average(G_ema, G, 0.9)


def watched_d(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    waited = 0
    for i, batch in enumerate(batches):
        real = batch["real"]
        n = len(real)
        sigma = max(0.0, 0.3 * (1 - i / 5))

        def noisy(x: Tensor, site: str, sigma: float = sigma) -> Tensor:
            return x + sigma * draw(site, "randn_like", x)

        shown_real = noisy(real, "of_real/noisy")
        shown_fake = noisy(G(draw("z", "randn", n, 4)), "of_fake/noisy")
        of_real, of_fake = D(shown_real), D(shown_fake.detach())
        right = ((of_real > 0).double().mean() + (of_fake < 0).double().mean()) / 2
        if right < 0.6:
            label = torch.where(draw("label", "uniform", n, 1) < 0.2, 0.0, 0.9)
            descend(to_D, F.binary_cross_entropy_with_logits(of_real, label) + bcel(of_fake, 0.0))
        else:
            waited += 1
        descend(to_G, bcel(D(shown_fake), 1.0))
    assert 0 < waited < len(batches), "both outcomes are to be seen"


def seqgan(nets: Any, batches: Any, draw: Any) -> dict[str, float]:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    baseline = 0.5
    for batch in batches:
        token = batch["token"]
        logits = G(draw("z", "randn", len(token), 3))
        luck = draw.generator("drawn")
        drawn = torch.multinomial(logits.detach().softmax(1), 1, generator=luck)[:, 0]
        said = F.one_hot(drawn, 5).double()
        reward = D(said).sigmoid().detach()[:, 0]
        logp = -F.cross_entropy(logits, drawn, reduction="none")
        descend(to_G, -(logp * (reward - baseline)).mean())
        baseline = 0.9 * baseline + 0.1 * reward.mean().item()
        descend(to_D, bcel(D(F.one_hot(token, 5).double()), 1.0) + bcel(D(said), 0.0))
    return {"baseline": baseline}
