"""pix2pixHD (Wang et al. 2018, arXiv:1711.11585), as in NVIDIA's pix2pixHD_model.py and train.py. Draws: none
(a pool of size 0 hands back what it is given).

Every loss is formed before either optimizer steps: one forward of G, three of D, two of VGG.
* G: squared adversarial loss of all scales' logits; feature matching against D's detached features of the real image,
  times 4 / (n_layers_D + 1) / num_D * lambda_feat; VGG loss with a detached target, times lambda_feat.
* D: half of the pooled (detached) fake against 0 plus the real against 1. Its forward of the real image is the one that
  feature matching read.
* G's gradients are taken, then D's, then both step. VGG is frozen and in evaluation mode.

Evaluation is in the program's order (G's losses, then D's); the reference evaluates the pooled fake first, which only
layers with state notice. Forwards per iteration: G 1, D 3, VGG 2, as in the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .common import Batch, cycle, frozen, l1, mse, pretrained, result

Outputs = list[list[Tensor]]


def adversarial(outputs: Outputs, target: float) -> Tensor:
    loss = mse(outputs[0][-1], target)
    for scale in outputs[1:]:
        loss = loss + mse(scale[-1], target)
    return loss


def feature_matching(fake: Outputs, real: Outputs) -> Tensor:
    loss = fake[0][0].new_zeros(())
    for i in range(len(fake)):
        for j in range(len(fake[i]) - 1):
            loss = loss + l1(fake[i][j], real[i][j].detach())
    return loss


def perceptual(fake: list[Tensor], real: list[Tensor]) -> Tensor:
    loss = fake[0].new_zeros(())
    for weight, x, y in zip((1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0), fake, real, strict=True):
        loss = loss + weight * l1(x, y.detach())
    return loss


def train(
    networks: Mapping[str, nn.Module],
    batches: Sequence[Batch],
    draw: Callable[..., Any],
    *,
    iterations: int,
    lambda_feat: float = 10.0,
    num_D: int = 2,
    n_layers_D: int = 3,
    lr: float = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    eps: float = 1e-8,
) -> dict[str, Any]:
    G, D, VGG = networks["G"].train(), networks["D"].train(), pretrained(networks["VGG"])
    G_optimizer = torch.optim.Adam(G.parameters(), lr=lr, betas=betas, eps=eps)
    D_optimizer = torch.optim.Adam(D.parameters(), lr=lr, betas=betas, eps=eps)
    data = cycle(batches)

    for _ in range(iterations):
        batch = next(data)
        label, image = batch["label"], batch["image"]

        fake = G(label)
        with frozen(D):
            pred_fake = D(torch.cat((label, fake), 1))
        pred_real = D(torch.cat((label, image), 1))
        fake_features = VGG(fake)
        with torch.no_grad():
            image_features = VGG(image)
        pred_pool = D(torch.cat((label, fake), 1).detach())

        G_loss = adversarial(pred_fake, 1.0)
        G_loss = G_loss + feature_matching(pred_fake, pred_real) * (4.0 / (n_layers_D + 1)) / num_D * lambda_feat
        G_loss = G_loss + perceptual(fake_features, image_features) * lambda_feat
        D_loss = 0.5 * (adversarial(pred_pool, 0.0) + adversarial(pred_real, 1.0))

        G_optimizer.zero_grad()
        D_optimizer.zero_grad()
        G_loss.backward()
        D_loss.backward()
        G_optimizer.step()
        D_optimizer.step()

    return result({"G": G, "D": D, "VGG": VGG})
