"""Training against the strongest perturbation of the input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import adam, descend


def pgd(nets: Any, batches: Any, draw: Any) -> None:
    C = nets["C"]
    to = adam(C)
    for batch in batches:
        x, y = batch["x"], batch["y"]
        attacked = x + 0.3 * (2 * draw("start", "rand_like", x) - 1)
        for _ in range(3):
            attacked = attacked.detach().requires_grad_()
            slope = torch.autograd.grad(F.cross_entropy(C(attacked), y), attacked)[0]
            attacked = torch.min(torch.max(attacked + 0.1 * slope.sign(), x - 0.3), x + 0.3).detach()
        descend(to, F.cross_entropy(C(attacked), y))


def vat(nets: Any, batches: Any, draw: Any) -> None:
    C = nets["C"]
    to = adam(C)

    def apart(p: Tensor, logits: Tensor) -> Tensor:
        return F.kl_div(logits.log_softmax(1), p, reduction="batchmean")

    for batch in batches:
        u = batch["u"]
        p = C(u).softmax(1).detach()
        d = F.normalize(draw("d", "randn_like", u), dim=1).requires_grad_()
        d = F.normalize(torch.autograd.grad(apart(p, C(u + 0.1 * d)), d)[0], dim=1)
        descend(to, F.cross_entropy(C(batch["x"]), batch["y"]) + apart(p, C(u + 0.5 * d)))
