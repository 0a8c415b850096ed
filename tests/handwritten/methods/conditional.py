"""Class- and text-conditional GANs."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import adam, average, averaged, bcel, descend, grad, l1


def acgan(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    for batch in batches:
        real, y = batch["real"], batch["y"]
        z, c = draw("z", "randn", len(real), 4), draw("c", "randint", len(real), 5)
        fake = G(z, F.one_hot(c, 5).double())
        (real_validity, real_class), (fake_validity, fake_class) = D(real), D(fake.detach())
        classes = F.cross_entropy(real_class, y) + F.cross_entropy(fake_class, c)
        descend(to_D, bcel(real_validity, 1.0) + bcel(fake_validity, 0.0) + 0.5 * classes)
        validity, label = D(fake)
        descend(to_G, bcel(validity, 1.0) + F.cross_entropy(label, c))


def biggan(nets: Any, batches: Any, draw: Any) -> None:
    G, Y, D = nets["G"], nets["Y"], nets["D"]
    G_ema, Y_ema = averaged(G), averaged(Y)
    to_G, to_D = adam(G, Y), adam(D)
    data = iter(batches)
    i = -1
    while (batch := next(data, None)) is not None:
        i += 1
        for k in range(2):
            batch = batch if k == 0 else next(data)
            n = len(batch["real"])
            z, c = draw("z", "randn", n, 4), draw("c", "randint", n, 5)
            with torch.no_grad():
                fake = G(z, Y(F.one_hot(c, 5).double()))
            real_logits = D(batch["real"], batch["y"])
            descend(to_D, F.relu(1 - real_logits).mean() + F.relu(1 + D(fake, c)).mean())
        z, c = draw("z", "randn", n, 4), draw("c", "randint", n, 5)
        fake = G(z, Y(F.one_hot(c, 5).double()))
        loss = -D(fake, c).mean()
        for p in G.parameters():
            if p.ndim == 2:
                gram = p @ p.T
                loss = loss + 1e-2 * (gram * (1 - torch.eye(len(gram)))).pow(2).sum()
        descend(to_G, loss)
        average(G_ema, G, 0.0 if i < 3 else 0.9)
        average(Y_ema, Y, 0.0 if i < 3 else 0.9)
    nets.update(G_ema=G_ema, Y_ema=Y_ema)


def gan_cls(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    for batch in batches:
        real, text = batch["real"], batch["text"]
        wrong = text[draw("order", "perm", len(real))]
        mixed = 0.5 * text + 0.5 * wrong
        z = draw("z", "randn", len(real), 4)
        fake = G(z, text)
        s_r, s_w, s_f = D(real, text), D(real, wrong), D(fake.detach(), text)
        descend(to_D, bcel(s_r, 1.0) + 0.5 * (bcel(s_w, 0.0) + bcel(s_f, 0.0)))
        descend(to_G, bcel(D(fake, text), 1.0) + bcel(D(G(z, mixed), mixed), 1.0))


def stargan(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)
    for i, batch in enumerate(batches):
        x, label = batch["x"], batch["label"]
        other = label[draw("other", "perm", len(x))]
        org, trg = F.one_hot(label, 3).double(), F.one_hot(other, 3).double()
        fake = G(x, trg)
        alpha = draw("x_hat", "uniform", len(x), 1)
        x_hat = ((1 - alpha) * x + alpha * fake).detach().requires_grad_()
        slope = grad(D(x_hat)[0], x_hat)
        penalty = (slope.pow(2).sum(1).sqrt() - 1).pow(2).mean()
        (real_critic, real_class), (fake_critic, _) = D(x), D(fake.detach())
        loss = -real_critic.mean() + fake_critic.mean() + F.cross_entropy(real_class, label) + 10 * penalty
        descend(to_D, loss)
        if (i + 1) % 3 == 0:
            critic, label_of_fake = D(fake)
            loss = -critic.mean() + F.cross_entropy(label_of_fake, other) + 10 * l1(G(fake, org), x)
            descend(to_G, loss)


def ssgan(nets: Any, batches: Any, draw: Any) -> None:
    G, D = nets["G"], nets["D"]
    to_G, to_D = adam(G), adam(D)

    def turns(x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([torch.rot90(x, k, (2, 3)) for k in range(4)]), torch.arange(4).repeat_interleave(len(x))

    for batch in batches:
        real = batch["real"]
        fake = G(draw("z", "randn", len(real), 4)).view(-1, 2, 4, 4)
        turned, angle = turns(real)
        loss = F.relu(1 - D(real)[0]).mean() + F.relu(1 + D(fake.detach())[0]).mean()
        descend(to_D, loss + F.cross_entropy(D(turned)[1], angle))
        turned, angle = turns(fake)
        descend(to_G, -D(fake)[0].mean() + 0.2 * F.cross_entropy(D(turned)[1], angle))
