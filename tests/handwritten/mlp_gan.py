"""A GAN of two small networks as one writes it by hand (Goodfellow et al. 2014, arXiv:1406.2661).

On 2-D points the networks cost next to nothing, so a step is nearly all Python: the benchmark of overhead.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MLPGAN:
    """``loop = MLPGAN(G, D); losses = loop.step(real, z)``: one step of D, then one of G, on one ``z``.

    ``G`` maps z to points; ``D`` maps points to logits. G is given the non-saturating loss. ``fake`` is made once:
    D learns from it detached, then G through D as it has become. ``log_gradients`` adds the norms of the
    gradients to the losses and may be changed between steps.
    """

    def __init__(
        self,
        G: nn.Module,
        D: nn.Module,
        *,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        fused: bool | None = None,
        log_gradients: bool = False,
    ) -> None:
        self.G, self.D = G, D
        self.G_parameters = [p for p in G.parameters() if p.requires_grad]
        self.D_parameters = [p for p in D.parameters() if p.requires_grad]
        self.G_optimizer = torch.optim.Adam(self.G_parameters, lr=lr, betas=betas, fused=fused)
        self.D_optimizer = torch.optim.Adam(self.D_parameters, lr=lr, betas=betas, fused=fused)
        self.log_gradients = log_gradients

    def step(self, real: Tensor, z: Tensor) -> dict[str, Tensor]:
        """Both updates on one batch; the losses are 0-d tensors without a graph."""
        fake = self.G(z)

        loss_real, loss_fake = bce(self.D(real), 1.0), bce(self.D(fake.detach()), 0.0)
        loss_D = loss_real + loss_fake
        self.D_optimizer.zero_grad(set_to_none=True)
        loss_D.backward()
        self.D_optimizer.step()

        # D passes the gradient on and learns nothing: without this, backward computes its weight gradients too.
        for parameter in self.D_parameters:
            parameter.requires_grad = False
        loss_G = bce(self.D(fake), 1.0)
        self.G_optimizer.zero_grad(set_to_none=True)
        loss_G.backward()
        self.G_optimizer.step()
        for parameter in self.D_parameters:
            parameter.requires_grad = True

        losses = {"loss/D_real": loss_real.detach(), "loss/D_fake": loss_fake.detach(), "loss/D": loss_D.detach()}
        losses["loss/G"] = loss_G.detach()
        if self.log_gradients:
            losses["grad_norm/D"] = norm_of_gradients(self.D_parameters)
            losses["grad_norm/G"] = norm_of_gradients(self.G_parameters)
        return losses


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def norm_of_gradients(parameters: list[nn.Parameter]) -> Tensor:
    """L2 norm of all gradients together, on their device."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
