"""Actor and critic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .common import adam, average, averaged, descend, mse


def td3(nets: Any, batches: Any, draw: Any) -> None:
    pi, Q1, Q2 = nets["pi"], nets["Q1"], nets["Q2"]
    emas = {f"{n}_ema": averaged(nets[n]) for n in ("pi", "Q1", "Q2")}
    to_pi, to_Q = adam(pi), adam(Q1, Q2)
    for i, batch in enumerate(batches):
        s, a, r, s2 = (batch[k] for k in ("s", "a", "r", "s2"))
        with torch.no_grad():
            noise = (0.2 * draw("noise", "randn_like", a)).clamp(-0.5, 0.5)
            a2 = (emas["pi_ema"](s2).tanh() + noise).clamp(-1, 1)
            goal = r + 0.99 * torch.min(emas["Q1_ema"](s2, a2), emas["Q2_ema"](s2, a2))
        descend(to_Q, mse(Q1(s, a), goal) + mse(Q2(s, a), goal))
        if i % 2:
            descend(to_pi, -Q1(s, pi(s).tanh()).mean())
            for name in ("pi", "Q1", "Q2"):
                average(emas[f"{name}_ema"], nets[name], 0.9)
    nets.update(emas)


def sac(nets: Any, batches: Any, draw: Any) -> None:
    pi, Q, A = nets["pi"], nets["Q"], nets["A"]
    Q_ema = nets["Q_ema"] = averaged(Q)
    to_pi, to_Q, to_A = adam(pi), adam(Q), adam(A)

    def act(s: Tensor, sites: str) -> tuple[Tensor, Tensor]:
        mu, log_std = pi(s)
        e = draw(sites, "randn_like", mu)
        normal = torch.distributions.Normal(mu, log_std.exp())
        action = mu + log_std.exp() * e
        return action, normal.log_prob(action).sum(1, keepdim=True)

    for batch in batches:
        s, a, r, s2 = (batch[k] for k in ("s", "a", "r", "s2"))
        alpha = A.value.exp().item()
        with torch.no_grad():
            a2, lp2 = act(s2, "e2")
            goal = r + 0.99 * (Q_ema(s2, a2) - alpha * lp2)
        descend(to_Q, mse(Q(s, a), goal))
        action, lp = act(s, "e")
        descend(to_pi, (alpha * lp - Q(s, action)).mean())
        descend(to_A, -(A.value * (lp.detach() + 2.0)).mean())
        average(Q_ema, Q, 0.9)
