"""Regularizers of discriminators and generators."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from .common import adam, bcel, descend, grad, mse


def lecam(nets: Any, batches: Any, draw: Any) -> dict[str, float]:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    real_mean = fake_mean = 0.0
    for batch in batches:
        fake = G(draw("z", "randn", len(batch["real"]), 4))
        r, f = D(batch["real"]), D(fake.detach())
        anchored = F.relu(r - fake_mean).pow(2).mean() + F.relu(real_mean - f).pow(2).mean()
        descend(to_D, F.relu(1 - r).mean() + F.relu(1 + f).mean() + 0.3 * anchored)
        real_mean = 0.1 * r.mean().item() + 0.9 * real_mean
        fake_mean = 0.1 * f.mean().item() + 0.9 * fake_mean
        descend(to_G, -D(fake).mean())
    return {"real_mean": real_mean, "fake_mean": fake_mean}


def path_length(nets: Any, batches: Any, draw: Any) -> dict[str, Any]:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    average = torch.zeros(())
    for i, batch in enumerate(batches):
        real = batch["real"]
        img = G.synthesis(G.mapping(draw("z", "randn", len(real), 4)))
        descend(to_G, bcel(D(img), 1.0))
        if i % 2 == 0:
            w = G.mapping(draw("z", "randn", len(real), 4))
            img = G.synthesis(w)
            y = draw("lengths/path_lengths", "randn_like", img) / math.sqrt(img.shape[2] * img.shape[3])
            lengths = grad(img * y, w).pow(2).sum(2).mean(1).sqrt()
            moved = average + 0.01 * (lengths.mean() - average)
            descend(to_G, 2.0 * 2 * (lengths - moved).pow(2).mean())
            average = moved.detach()
        # D sees what the last phase made, before G stepped
        descend(to_D, bcel(D(real), 1.0) + bcel(D(img.detach()), 0.0))
        if i % 3 == 0:
            leaf = real.clone().requires_grad_()
            slope = grad(D(leaf), leaf)
            descend(to_D, 3.0 * 5 * slope.pow(2).flatten(1).sum(1).mean())
    return {"average": average}


def ebgan(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    for batch in batches:
        real = batch["real"]
        n = len(real)
        fake = G(draw("z", "randn", n, 4))
        held = fake.detach()
        descend(to_D, mse(D(real), real) + torch.clamp(0.8 - mse(D(held), held), min=0))
        restored, code = D.both(fake)
        cosine = F.cosine_similarity(code[:, None], code[None], dim=2)
        pull = (cosine.pow(2).sum() - n) / (n * (n - 1))
        descend(to_G, mse(restored, fake) + 0.1 * pull)
