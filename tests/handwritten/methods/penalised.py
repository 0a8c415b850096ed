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


def freeze_d(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    slow, quick, to_D = adam(G.trunk, lr=1e-3), adam(G.heads), adam(D.heads)
    for batch in batches:
        real = batch["real"]
        fake = G(draw("z", "randn", len(real), 4))
        descend(to_D, bcel(D(real), 1.0) + bcel(D(fake.detach()), 0.0))
        slow.zero_grad()
        quick.zero_grad()
        bcel(D(fake), 1.0).backward()
        slow.step()
        quick.step()


def ctgan(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    for i in range(0, len(batches), 2):
        for batch in batches[i : i + 2]:
            real = batch["real"]
            fake_graph = G(draw("z", "randn", len(real), 4))
            fake = fake_graph.detach()
            # dropout makes the order of the passes part of the method: fake, real, the penalty, the two to compare
            critic = D(fake).mean() - D(real).mean()
            eps = draw("D.minimize/wgan_gp", "uniform", len(real)).view(-1, 1)
            x_hat = (eps * real + (1 - eps) * fake).requires_grad_()
            slope = grad(D(x_hat), x_hat)
            penalty = (slope.pow(2).sum(1).sqrt() - 1).pow(2).mean()
            (a, h_a), (b, h_b) = D.both(real), D.both(real)
            apart = (a - b).pow(2)[:, 0] + 0.1 * (h_a - h_b).pow(2).mean(1)
            descend(to_D, critic + 10 * penalty + 2 * F.relu(apart).mean())
        descend(to_G, -D(fake_graph).mean())  # on the samples that the critic saw last


def icr(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    for batch in batches:
        real = batch["real"]
        z = draw("z", "randn", len(real), 4)
        near = z + 0.03 * draw("near", "randn_like", z)
        fake, fake_n = G(z).view(-1, 2, 4, 4), G(near).view(-1, 2, 4, 4)
        of_real, of_fake = D(real), D(fake.detach())
        hinge = F.relu(1 - of_real).mean() + F.relu(1 + of_fake).mean()
        aug_real = draw("D.minimize#1", "aug", real, 0.8)
        aug_fake = draw("D.minimize#2", "aug", fake.detach(), 0.8)
        alike = 10 * mse(D(aug_real), of_real) + 10 * mse(D(aug_fake), of_fake)
        descend(to_D, hinge + alike + 5 * mse(D(fake_n.detach()), of_fake))
        descend(to_G, -D(fake).mean() - 0.5 * mse(fake, fake_n))


def pacgan(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D, lr=4e-2)
    for batch in batches:
        real = batch["real"]
        z = draw("z", "randn", len(real), 4)
        fake = G(z)
        packed = torch.cat([real[::2], real[1::2]], 1)
        pairs = torch.cat([fake[::2], fake[1::2]], 1)
        noise = 0.5 * packed.std() * draw("x_hat#2", "rand_like", packed)
        x_hat = (packed + draw("x_hat#1", "uniform", len(packed), 1) * noise).requires_grad_()
        penalty = (grad(D(x_hat), x_hat).pow(2).sum(1).sqrt() - 1).pow(2).mean()
        descend(to_D, bcel(D(packed), 1.0) + bcel(D(pairs.detach()), 0.0) + 10 * penalty)
        d = draw("d", "randn_like", z)
        small = 0.1 * F.normalize(d, dim=1)
        q = (G(z + small) - fake).pow(2).sum(1).sqrt() / small.pow(2).sum(1).sqrt()
        bounds = ((q.clamp(min=2.0) - 2.0) ** 2 + (q.clamp(max=1.0) - 1.0) ** 2).mean()
        descend(to_G, bcel(D(pairs), 1.0) + 0.1 * bounds)
