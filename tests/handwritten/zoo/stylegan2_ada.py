"""StyleGAN2-ADA (Karras et al. 2020, arXiv:1912.04958 and arXiv:2006.06676), as in NVlabs' loss.py and
training_loop.py. Draws: z, ws#1 (the second latent), ws#2 (where styles mix), lf and lr_ (augmentation), noise.

An iteration uses one batch of real images and has four phases, each with its own optimizer step and its own draws:
G (logistic loss), every 4th iteration G/pl (path length, on the first half of a batch of z, without mixing), D, every
16th D/r1. Lazy phases multiply their loss by the interval; lr and betas are compensated for the extra steps
(c = k / (k + 1)), and a phase steps the same Adam as its main phase. Gradients pass nan_to_num before each step.

* Path length: gradient flows through the running mean that the lengths are compared with; the state pl_mean takes its
  value afterwards.
* R1: the derivative with respect to the image *before* augmentation.
* ADA: `signs` gathers mean(sign(D(real))) of update D over 4 iterations, then p moves by batch * 4 / 500e3, up
  where the mean sign is above 0.6, else down, never below 0.
* In D's phases G is evaluated without a graph, at its newest weights, in training mode. The order in a phase is the
  program's: fakes first.
* G_ema follows at the end of an iteration with a half-life of min(10e3, images * 0.05) images, so it starts as a copy.

Parameters that a phase's loss does not read (the last bias, in G/pl) have no gradient, and Adam leaves them alone.
Forwards per iteration: G.mapping 4, G.synthesis 2, each 1 more with G/pl; D 3, 1 more with D/r1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .common import Batch, average, averaged, cycle, frozen, result


def style_mixed_ws(G: nn.Module, n: int, draw: Callable[..., Any], nz: int) -> Tensor:
    """With probability 0.9 the later layers take the styles of a second latent."""
    ws = G.mapping(draw("z", "randn", n, nz))
    other = G.mapping(draw("ws#1", "randn", n, nz))
    mix, place = draw("ws#2", "uniform", 2).tolist()
    layers = ws.shape[1]
    start = 1 + int(place * (layers - 1)) if mix < 0.9 else layers
    return torch.cat((ws[:, :start], other[:, start:]), 1)


def path_length(G: nn.Module, z: Tensor, draw: Callable[..., Any], pl_mean: Tensor, decay: float) -> tuple:
    """The penalty, and the running mean after it."""
    ws = G.mapping(z)
    img = G.synthesis(ws)
    noise = draw("noise", "randn_like", img) / (img.shape[2] * img.shape[3]) ** 0.5
    slope = torch.autograd.grad((img * noise).sum(), ws, create_graph=True)[0]
    lengths = slope.square().sum(2).mean(1).sqrt()
    new_mean = pl_mean.lerp(lengths.mean(), decay)
    return (lengths - new_mean).square().mean(), new_mean.detach()


def r1_penalty(D: nn.Module, real: Tensor, draw: Callable[..., Any], p: float) -> Tensor:
    leaf = real.detach().requires_grad_(True)
    logits = D(draw("lr_", "aug", leaf, p))
    slope = torch.autograd.grad(logits.sum(), leaf, create_graph=True)[0]
    return slope.square().sum((1, 2, 3)).mean()


def step(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                torch.nan_to_num(p.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=p.grad)
    optimizer.step()


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 512,
    pl_weight: float = 2.0,
    r1_gamma: float = 10.0,
    pl_decay: float = 0.01,
    G_lr: float = 0.0016,
    G_betas: tuple[float, float] = (0.0, 0.99199),
    D_lr: float = 0.00188235,
    D_betas: tuple[float, float] = (0.0, 0.99059),
    eps: float = 1e-8,
    p_init: float = 0.0,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_ema = averaged(G)
    G_optimizer = torch.optim.Adam(G.parameters(), lr=G_lr, betas=G_betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=D_lr, betas=D_betas, eps=eps)
    pl_mean, signs, p = torch.zeros((), dtype=torch.float64), 0.0, p_init
    data = cycle(batches)

    for i in range(iterations):
        real = next(data)["real"]
        n = len(real)

        G_optimizer.zero_grad()
        img = G.synthesis(style_mixed_ws(G, n, draw, nz))
        with frozen(D):
            logits = D(draw("lf", "aug", img, p))
        F.softplus(-logits).mean().backward()
        step(G_optimizer)

        if i % 4 == 0:
            G_optimizer.zero_grad()
            z = draw("z", "randn", n, nz)[: n // 2]
            penalty, pl_mean = path_length(G, z, draw, pl_mean, pl_decay)
            (penalty * pl_weight * 4).backward()
            step(G_optimizer)

        D_optimizer.zero_grad()
        with torch.no_grad():
            img = G.synthesis(style_mixed_ws(G, n, draw, nz))
        fake_logits = D(draw("lf", "aug", img, p))
        real_logits = D(draw("lr_", "aug", real, p))
        (F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()).backward()
        step(D_optimizer)
        signs = (signs if i % 4 else 0.0) + real_logits.sign().mean().item()

        if i % 16 == 0:
            D_optimizer.zero_grad()
            (r1_penalty(D, real, draw, p) * (r1_gamma / 2) * 16).backward()
            step(D_optimizer)

        if i % 4 == 3:
            p = max(p + (1 if signs / 4 > 0.6 else -1) * n * 4 / 500e3, 0.0)
        half_life = max(min(10e3, i * n * 0.05), 1e-8)
        average(G_ema, G, 0.5 ** (n / half_life))

    return result({"G": G, "D": D, "G_ema": G_ema}, {"pl_mean": pl_mean, "signs": signs, "p": p})
