"""Self-supervised and semi-supervised learning, adaptation, and autoencoders."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import adam, average, averaged, bcel, descend, l1, mse


def unit(v: Tensor) -> Tensor:
    return v / v.pow(2).sum(1, keepdim=True).sqrt()


def training_copy(network: Any) -> Any:
    """An average that runs as its source does, in training mode."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def average_weights(ema: Any, network: Any, beta: float) -> None:
    """Weights alone: its buffers are its own."""
    for p_ema, p in zip(ema.parameters(), network.parameters(), strict=True):
        p_ema.mul_(beta).add_(p, alpha=1 - beta)


def byol(nets: Any, batches: Any, draw: Any) -> None:
    E, Q = nets["E"], nets["Q"]
    T = nets["T"] = training_copy(E)
    to = adam(E, Q)
    for i, batch in enumerate(batches):
        x = batch["x"]
        v1 = x + 0.1 * draw("view_1", "randn_like", x)
        v2 = x + 0.1 * draw("view_2", "randn_like", x)
        a = (unit(Q(E(v1))) - unit(T(v2)).detach()).pow(2).sum(1).mean()
        b = (unit(Q(E(v2))) - unit(T(v1)).detach()).pow(2).sum(1).mean()
        descend(to, a + b)
        average_weights(T, E, 1 - (1 - 0.9) * (math.cos(math.pi * i / 7) + 1) / 2)


def moco(nets: Any, batches: Any, draw: Any) -> dict[str, Tensor]:
    E = nets["E"]
    K = nets["K"] = training_copy(E)
    to = adam(E)
    queue = unit(draw("queue.init", "randn", 16, 4))
    for batch in batches:
        x = batch["x"]
        q = unit(E(x + 0.1 * draw("q", "randn_like", x)))
        k = unit(K(x + 0.1 * draw("k", "randn_like", x))).detach()
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / 0.2
        descend(to, F.cross_entropy(logits, torch.zeros(len(x), dtype=torch.long)))
        queue = torch.cat([queue[len(x) :], k])
        average_weights(K, E, 0.9)
    return {"queue": queue}


def mean_teacher(nets: Any, batches: Any, draw: Any) -> None:
    C = nets["C"]
    T = nets["T"] = training_copy(C)
    to = adam(C)
    for i, batch in enumerate(batches):
        n = len(batch["x"])
        both = torch.cat([batch["x"], batch["u"]])
        student = C(both + 0.1 * draw("student/noisy", "randn_like", both))
        ramp = 5.0 * math.exp(-5 * (1 - min(i / 4, 1.0)) ** 2)
        loss = F.cross_entropy(student[:n], batch["y"])
        with torch.no_grad():
            teacher = T(both + 0.1 * draw("teacher/noisy", "randn_like", both))
        descend(to, loss + ramp * mse(student.softmax(1), teacher.softmax(1)))
        average_weights(T, C, min(1 - 1 / (i + 1), 0.9))


def vqvae_ema(nets: Any, batches: Any, draw: Any) -> dict[str, Tensor]:
    E, G = nets["E"], nets["G"]
    to = adam(E, G)
    counts, sums = torch.ones(4), draw("sums.init", "randn", 4, 3)
    for batch in batches:
        x = batch["x"]
        h = E(x)
        book = sums / counts.unsqueeze(1)
        codes = F.one_hot(((h.unsqueeze(1) - book) ** 2).sum(2).argmin(1), 4).double()
        q = codes @ book
        descend(to, mse(G(h + (q - h).detach()), x) + 0.25 * mse(h, q.detach()))
        counts = 0.9 * counts + 0.1 * codes.sum(0)
        sums = 0.9 * sums + 0.1 * codes.T @ h.detach()
    return {"counts": counts, "sums": sums}


def mcd(nets: Any, batches: Any, draw: Any) -> None:
    G, C1, C2 = nets["G"], nets["C1"], nets["C2"]
    to_G, to_C1, to_C2 = adam(G), adam(C1), adam(C2)

    def step(loss: Tensor, *optimizers: Any) -> None:
        for network in (G, C1, C2):
            network.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()

    for batch in batches:
        s, y, t = batch["s"], batch["y"], batch["t"]

        def source(s: Tensor = s, y: Tensor = y) -> Tensor:
            h = G(s)
            return F.cross_entropy(C1(h), y) + F.cross_entropy(C2(h), y)

        def apart(t: Tensor = t) -> Tensor:
            h = G(t)
            return l1(C1(h).softmax(1), C2(h).softmax(1))

        step(source(), to_G, to_C1, to_C2)
        step(source() - apart(), to_C1, to_C2)
        for _ in range(3):
            step(apart(), to_G)


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return -ctx.weight * slope, None


def dann(nets: Any, batches: Any, draw: Any) -> None:
    E, C, D = nets["F"], nets["C"], nets["D"]
    to = adam(E, C, D)
    for i, batch in enumerate(batches):
        weight = 2 / (1 + math.exp(-10 * i / 7)) - 1
        of_s, of_t = E(batch["s"]), E(batch["t"])
        domain = bcel(D(Reverse.apply(of_s, weight)), 0.0) + bcel(D(Reverse.apply(of_t, weight)), 1.0)
        descend(to, F.cross_entropy(C(of_s), batch["y"]) + domain)


def historical(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    past = {n: [p.detach().clone() for p in nets[n].parameters()] for n in ("G", "D")}

    def away(name: str) -> Tensor:
        return sum(((p - q) ** 2).sum() for p, q in zip(nets[name].parameters(), past[name], strict=True))

    for i, batch in enumerate(batches):
        real = batch["real"]
        fake = G(draw("z", "randn", len(real), 4))
        descend(to_D, bcel(D(real), 0.9) + bcel(D(fake.detach()), 0.0) + 0.1 * away("D"))
        matched = (D.features(fake).mean(0) - D.features(real).mean(0)).pow(2).mean()
        descend(to_G, matched + 0.1 * away("G"))
        for name in past:  # the mean of the weights after each iteration
            past[name] = [
                (i * q + p.detach()) / (i + 1) for q, p in zip(past[name], nets[name].parameters(), strict=True)
            ]
    for name in ("G", "D"):
        nets[f"{name}_past"] = copy.deepcopy(nets[name])
        with torch.no_grad():
            for p, q in zip(nets[f"{name}_past"].parameters(), past[name], strict=True):
                p.copy_(q)


def factorvae(nets: Any, batches: Any, draw: Any) -> None:
    E, G, D = nets["E"], nets["G"], nets["D"]
    to_E, to_D = adam(E, G), adam(D)
    for i, batch in enumerate(batches):
        x, x2 = batch["x"].chunk(2)
        n = len(x)
        mu, logvar = E(x)
        eps = draw("z/sampled", "randn_like", mu)
        z = mu + (0.5 * logvar).exp() * eps
        prior = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
        posterior = torch.distributions.Normal(mu, (0.5 * logvar).exp())
        kl = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
        of_z = D(z)
        correlation = (of_z[:, 0] - of_z[:, 1]).mean()
        room = min(0.5, 0.1 * i)
        descend(to_E, mse(G(z), x) + 4.0 * (kl - room).abs() + 2.0 * correlation)
        with torch.no_grad():  # both halves by the encoder as it is now: an update sees one version of a network
            mu, logvar = E(x)
            held = mu + (0.5 * logvar).exp() * eps
            mu2, logvar2 = E(x2)
            z2 = mu2 + (0.5 * logvar2).exp() * draw("z2/sampled", "randn_like", mu2)
            shuffled = [z2[draw(f"mixed#{k + 1}", "perm", n), k] for k in range(2)]
        loss = F.cross_entropy(D(held), torch.zeros(n).long())
        loss = loss + F.cross_entropy(D(torch.stack(shuffled, 1)), torch.ones(n).long())
        descend(to_D, 0.5 * loss)


def wae_mmd(nets: Any, batches: Any, draw: Any) -> None:
    E, G = nets["E"], nets["G"]
    to = adam(E, G)

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return 6.0 / (6.0 + torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") ** 2)

    for batch in batches:
        x = batch["x"]
        n = len(x)
        code = E(x)
        z = draw("z", "randn_like", code)
        off = ~torch.eye(n, dtype=torch.bool)
        mmd = kernel(code, code)[off].sum() / (n * (n - 1)) + kernel(z, z)[off].sum() / (n * (n - 1))
        descend(to, mse(G(code), x) + 10 * (mmd - 2 * kernel(code, z).mean()))


def distillation(nets: Any, batches: Any, draw: Any) -> None:
    S, T, D = nets["S"], nets["T"].eval(), nets["D"]
    to_S, to_D = adam(S), adam(D)
    for batch in batches:
        x, y = batch["x"], batch["y"]
        s = S(x)
        with torch.no_grad():
            t = T(x)
        soft = -((t / 4).softmax(1) * (s / 4).log_softmax(1)).sum(1).mean()
        held = s.detach()
        descend(to_S, 0.5 * F.cross_entropy(s, y) + 0.5 * 16 * soft + 0.1 * bcel(D(s), 1.0))
        descend(to_D, bcel(D(t), 1.0) + bcel(D(held), 0.0))


def mutual(nets: Any, batches: Any, draw: Any) -> None:
    A, B = nets["A"], nets["B"]
    to_A, to_B = adam(A), adam(B)
    for batch in batches:
        x, y = batch["x"], batch["y"]
        for learner, to in ((A, to_A), (B, to_B)):
            a, b = A(x), B(x)
            mine, other = (a, b.detach()) if learner is A else (b, a.detach())
            agree = -(other.softmax(1) * mine.log_softmax(1)).sum(1).mean()
            descend(to, F.cross_entropy(mine, y) + agree)


def diffusion(nets: Any, batches: Any, draw: Any) -> None:
    N = nets["N"]
    N_ema = nets["N_ema"] = averaged(N)
    to = adam(N)
    for i, batch in enumerate(batches):
        to.param_groups[0]["lr"] = 1e-2 * min(1.0, (i + 1) / 4)
        x, y = batch["x"], batch["y"]
        n = len(x)
        t = (draw("t", "randint", n, 1000) + 1) / 1000
        alpha = (torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2).view(n, 1)
        e = draw("e", "randn_like", x)
        dropped = draw("kept", "uniform", n) < 0.1
        classes = F.one_hot(torch.where(dropped, torch.tensor(5), y), 6).double()
        guess = N(alpha.sqrt() * x + (1 - alpha).sqrt() * e, classes, t.view(n, 1))
        to.zero_grad()
        mse(guess, e).backward()
        torch.nn.utils.clip_grad_norm_(N.parameters(), 0.5)
        to.step()
        average(N_ema, N, min(0.9, (1 + i) / (10 + i)))


def semi_supervised(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    for i, batch in enumerate(batches):
        x, y, u = batch["x"], batch["y"], batch["u"]
        fake = G(draw("z", "randn", len(x), 4))
        of_u = D(u)
        # p(real) = Z / (Z + 1), Z the sum of the exponentials of the logits
        real = -F.logsigmoid(of_u.logsumexp(1)).mean() - F.logsigmoid(-D(fake.detach()).logsumexp(1)).mean()
        p, label = of_u.softmax(1).detach().max(1)
        pseudo = ((p > 0.3) * F.cross_entropy(of_u, label, reduction="none")).mean()
        descend(to_D, F.cross_entropy(D(x), y) + 0.5 * real + (i >= 3) * pseudo)
        descend(to_G, (D.features(fake).mean(0) - D.features(u).mean(0).detach()).pow(2).mean())
