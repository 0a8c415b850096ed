"""pix2pix as one writes it by hand (Isola et al. 2017, arXiv:1611.07004): what the generated step is compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Pix2Pix:
    """``loop = Pix2Pix(G, D); losses = loop.step(real_A, real_B)``: one step of D, then one of G.

    ``G`` maps A to B; ``D`` maps A and B, side by side in the channels, to logits. Each has an Adam of its own;
    ``fused`` is Adam's. ``log_gradients`` adds the norms of the gradients to the losses and may be changed
    between steps.
    """

    def __init__(
        self,
        G: nn.Module,
        D: nn.Module,
        *,
        lambda_gan: float = 1.0,
        lambda_l1: float = 100.0,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        fused: bool | None = None,
        log_gradients: bool = False,
    ) -> None:
        self.G, self.D = G, D
        self.lambda_gan, self.lambda_l1 = lambda_gan, lambda_l1
        self.G_parameters = [p for p in G.parameters() if p.requires_grad]
        self.D_parameters = [p for p in D.parameters() if p.requires_grad]
        self.G_optimizer = torch.optim.Adam(self.G_parameters, lr=lr, betas=betas, fused=fused)
        self.D_optimizer = torch.optim.Adam(self.D_parameters, lr=lr, betas=betas, fused=fused)
        self.log_gradients = log_gradients

    def step(self, real_A: Tensor, real_B: Tensor) -> dict[str, Tensor]:
        """Both updates on one batch; the losses are 0-d tensors without a graph."""
        fake_B = self.G(real_A)
        losses = self._update_D(real_A, real_B, fake_B.detach())
        losses.update(self._update_G(real_A, real_B, fake_B))
        return losses

    def _update_D(self, real_A: Tensor, real_B: Tensor, fake_B: Tensor) -> dict[str, Tensor]:
        # Fake before real: the order in which dropout draws and batch norm updates its running statistics.
        pred_fake = self.D(torch.cat((real_A, fake_B), 1))
        pred_real = self.D(torch.cat((real_A, real_B), 1))
        loss_fake = bce(pred_fake, 0.0)
        loss_real = bce(pred_real, 1.0)
        loss = 0.5 * (loss_fake + loss_real)

        self.D_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.D_optimizer.step()

        losses = {"loss/D_fake": loss_fake.detach(), "loss/D_real": loss_real.detach(), "loss/D": loss.detach()}
        if self.log_gradients:
            losses["grad_norm/D"] = norm_of_gradients(self.D_parameters)
        return losses

    def _update_G(self, real_A: Tensor, real_B: Tensor, fake_B: Tensor) -> dict[str, Tensor]:
        # D passes the gradient on and learns nothing: without this, backward computes its weight gradients too.
        for parameter in self.D_parameters:
            parameter.requires_grad = False

        pred_fake = self.D(torch.cat((real_A, fake_B), 1))
        loss_gan = bce(pred_fake, 1.0)
        loss_l1 = F.l1_loss(fake_B, real_B)
        loss = self.lambda_gan * loss_gan + self.lambda_l1 * loss_l1

        self.G_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.G_optimizer.step()

        for parameter in self.D_parameters:
            parameter.requires_grad = True

        losses = {"loss/G_GAN": loss_gan.detach(), "loss/G_L1": loss_l1.detach(), "loss/G": loss.detach()}
        if self.log_gradients:
            losses["grad_norm/G"] = norm_of_gradients(self.G_parameters)
        return losses


def bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def norm_of_gradients(parameters: list[nn.Parameter]) -> Tensor:
    """L2 norm of all gradients together, on their device."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
