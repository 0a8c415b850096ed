"""CUT (Park et al. 2020, arXiv:2007.15651), as in taesungp's cut_model.py with nce_idt and lambda_NCE 1.
Draws: G.minimize/nce#1 (patches for A), G.minimize/nce#2 (patches for B).

0. One forward of G over real_A and real_B together gives the fake and the identity image; it serves both updates.
1. D steps on half of mse(D(fake_B), 0) + mse(D(real_B), 1), the fake detached.
2. G and F step together on mse(D(fake_B), 1), D frozen and after its step, plus half of the patch losses of
   (real_A, fake_B) and (real_B, idt_B). For each: features of the generated image, a permutation of positions per
   layer, F of the first 256 of them are the queries; the input image's features at the same places, detached, are
   the keys.

A patch's negatives are the other patches of its own image; temperature 0.07; the layers' losses are averaged. The
reference draws the positions at the keys, the program at the queries: the maps have one shape. Forwards per iteration:
G 1, G.encode 4, F 4, D 3, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .common import Batch, cycle, frozen, mse, result


def patch_loss(query: Tensor, key: Tensor) -> Tensor:
    """PatchNCELoss of one layer; N×P×C, P patches of an image."""
    n, patches, _ = query.shape
    positive = (query * key).sum(2).view(n * patches, 1)
    negative = torch.bmm(query, key.transpose(1, 2))
    itself = torch.eye(patches, dtype=torch.bool)[None]
    negative = negative.masked_fill(itself, -float("inf")).view(n * patches, patches)
    logits = torch.cat((positive, negative), 1) / 0.07
    return functional.cross_entropy(logits, torch.zeros(n * patches, dtype=torch.long))


def nce(G: nn.Module, F: nn.Module, source: Tensor, target: Tensor, layers: Sequence[int], permute: Callable) -> Tensor:
    q = G.encode(target, layers)
    ids = permute(q)
    queries = F(q, ids)
    with torch.no_grad():
        keys = F(G.encode(source, layers), ids)
    losses = [patch_loss(a, b) for a, b in zip(queries, keys, strict=True)]
    return sum(losses) / len(losses)


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    lambda_NCE: float = 1.0,
    layers: Sequence[int] = (0, 4, 8, 12, 16),
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, F, D = networks["G"].train(), networks["F"].train(), networks["D"].train()
    G_optimizer, F_optimizer, D_optimizer = (
        torch.optim.Adam(network.parameters(), lr=lr, betas=betas, eps=eps) for network in (G, F, D)
    )
    data = cycle(batches)

    for _ in range(iterations):
        batch = next(data)
        real_A, real_B = batch["real_A"], batch["real_B"]
        both = G(torch.cat((real_A, real_B), 0))
        fake_B, idt_B = both[: len(real_A)], both[len(real_A) :]

        D_optimizer.zero_grad()
        D_loss = 0.5 * (mse(D(fake_B.detach()), 0.0) + mse(D(real_B), 1.0))
        D_loss.backward()
        D_optimizer.step()

        G_optimizer.zero_grad()
        F_optimizer.zero_grad()
        with frozen(D):
            G_loss = mse(D(fake_B), 1.0)
        loss_A = nce(G, F, real_A, fake_B, layers, lambda q: draw("G.minimize/nce#1", "perm_like", q))
        loss_B = nce(G, F, real_B, idt_B, layers, lambda q: draw("G.minimize/nce#2", "perm_like", q))
        G_loss = G_loss + 0.5 * lambda_NCE * (loss_A + loss_B)
        G_loss.backward()
        G_optimizer.step()
        F_optimizer.step()

    return result({"G": G, "F": F, "D": D})
