"""Unrolled GAN (Metz et al. 2017, arXiv:1611.02163). Draws: z.

1. A copy of D takes k differentiable steps of plain SGD on D's loss, on this iteration's batch and fakes. G steps on
   bcel(copy(fake), 1), differentiating through the steps: each depends on the fakes and so on G.
2. D itself, which the copy has not touched, steps on its loss with the fakes from before G's step, detached.

D's buffers are copied with its weights and the copy's are dropped (as implementations that unroll a deep copy do), so
batch norm and spectral norm of D learn from update D only. `fake` is made before the copy is unrolled.
Forwards per iteration: G 1, D 2 k + 3, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .common import Batch, bcel, cycle, result

Call = Callable[[Tensor], Tensor]


def loss_of(D: Call, real: Tensor, fake: Tensor) -> Tensor:
    return bcel(D(real), 1.0) + bcel(D(fake), 0.0)


def unrolled(D: nn.Module, real: Tensor, fake: Tensor, *, steps: int, lr: float) -> Call:
    """D as it would be after some steps of SGD, a function of its input and, by its weights, of `fake`."""
    weights = {name: p.detach().requires_grad_(True) for name, p in D.named_parameters()}
    buffers = {name: b.clone() for name, b in D.named_buffers()}
    for _ in range(steps):
        here = dict(weights)
        loss = loss_of(lambda x, at=here: functional_call(D, at | buffers, (x,)), real, fake)
        slopes = torch.autograd.grad(loss, list(here.values()), create_graph=True)
        weights = {name: p - lr * g for (name, p), g in zip(here.items(), slopes, strict=True)}
    return lambda x: functional_call(D, weights | buffers, (x,))


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    nz: int = 256,
    k_unroll: int = 5,
    unroll_lr: float = 1e-4,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, D = networks["G"].train(), networks["D"].train()
    G_optimizer = torch.optim.Adam(G.parameters(), lr=lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=lr, betas=betas, eps=eps)
    data = cycle(batches)

    for _ in range(iterations):
        real = next(data)["real"]
        z = draw("z", "randn", len(real), nz)

        G_optimizer.zero_grad()
        fake = G(z)
        Dk = unrolled(D, real, fake, steps=k_unroll, lr=unroll_lr)
        bcel(Dk(fake), 1.0).backward()
        G_optimizer.step()

        D_optimizer.zero_grad()
        loss_of(D, real, fake.detach()).backward()
        D_optimizer.step()

    return result({"G": G, "D": D})
