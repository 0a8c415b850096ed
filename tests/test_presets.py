"""Presets by include: each penalty, loss and schedule against the formula of its paper, in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganflow
from ganflow.draws import SeededRandom

HEAD = """
include 'ganflow/presets/penalties.gin'
include 'ganflow/presets/adversarial.gin'
include 'ganflow/presets/lr.gin'
Network.module = @MLP()
Network.optimizer = @SGD
SGD.lr = 0.1
MLP.in_features = 3
MLP.out_features = 1
D/Network.trainable = True
Schedule.updates = ['D']
"""


class Images(nn.Module):
    """N×2×3×3 -> N×1, smooth."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(36, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(x)).flatten(1))


def vectors() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))


def loss_of(text: str, shape: tuple[int, ...], module: nn.Module) -> tuple[float, dict[str, Tensor]]:
    """What the program minimizes on one batch, and the gradient that moves D."""
    g = torch.Generator().manual_seed(0)
    batch = {k: torch.randn(4, *shape, generator=g, dtype=torch.float64) for k in ("real", "fake")}
    experiment = ganflow.loads(HEAD + f"D/Update.minimize = {text!r}\n")
    step = ganflow.TrainStep(experiment, [batch], networks={"D": module}, random=SeededRandom(3, dtype=torch.float64))
    return step()["loss/D"].item(), batch


def drawn(site: str, kind: str, *args: Any) -> Any:
    return SeededRandom(3, dtype=torch.float64).draw(site, kind, *args)


def slope(D: nn.Module, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(D(x).sum(), x, create_graph=True)[0].flatten(1)


def between(real: Tensor, fake: Tensor, site: str) -> Tensor:
    eps = drawn(site, "uniform", 4).view(-1, *[1] * (real.ndim - 1))
    return eps * real + (1 - eps) * fake


PENALTIES: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "wgan_gp(D, real, fake)": lambda D, r, f: (
        slope(D, between(r, f, "D.minimize/wgan_gp")).norm(dim=1).sub(1).square().mean()
    ),
    "wgan_lp(D, real, fake)": lambda D, r, f: (
        slope(D, between(r, f, "D.minimize/wgan_lp")).norm(dim=1).sub(1).clamp(min=0).square().mean()
    ),
    "zero_gp(D, real, fake)": lambda D, r, f: slope(D, between(r, f, "D.minimize/zero_gp")).square().sum(1).mean(),
    "dragan(D, real)": lambda D, r, f: (
        slope(
            D,
            r
            + drawn("D.minimize/dragan#1", "uniform", 4).view(-1, *[1] * (r.ndim - 1))
            * (0.5 * r.std() * drawn("D.minimize/dragan#2", "rand_like", r)),
        )
        .norm(dim=1)
        .sub(1)
        .square()
        .mean()
    ),
    "r1(D(real), real)": lambda D, r, f: slope(D, r).square().sum(1).mean(),
    "r2(D(fake), fake)": lambda D, r, f: slope(D, f).square().sum(1).mean(),
}


@pytest.mark.parametrize(("shape", "make"), [((3,), vectors), ((2, 3, 3), Images)], ids=["vectors", "images"])
@pytest.mark.parametrize("text", PENALTIES)
def test_a_penalty_is_the_papers_value_and_gradient(text: str, shape: tuple[int, ...], make: Any) -> None:
    torch.manual_seed(0)
    D = make().double()
    before = {k: v.clone() for k, v in D.state_dict().items()}
    torch.manual_seed(0)
    copy = make().double()
    value, batch = loss_of(text, shape, D)
    expected = PENALTIES[text](copy, batch["real"], batch["fake"])
    assert value == pytest.approx(expected.item(), abs=1e-13)
    gradients = torch.autograd.grad(expected, list(copy.parameters()), allow_unused=True)
    for (key, _), g in zip(copy.named_parameters(), gradients, strict=True):
        moved = (before[key] - D.state_dict()[key]) / 0.1
        assert torch.allclose(moved, torch.zeros_like(moved) if g is None else g, atol=1e-12), key


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("vanilla_d(D(real), D(fake))", "adv_d(D(real), D(fake), kind='vanilla')"),
        ("nonsaturating_g(D(fake))", "adv_g(D(fake), kind='vanilla')"),
        ("lsgan_d(D(real), D(fake))", "adv_d(D(real), D(fake), kind='lsgan')"),
        ("lsgan_g(D(fake))", "adv_g(D(fake), kind='lsgan')"),
        ("wgan_d(D(real), D(fake))", "adv_d(D(real), D(fake), kind='wgan')"),
        ("wgan_g(D(fake))", "adv_g(D(fake), kind='wgan')"),
        ("hinge_d(D(real), D(fake))", "adv_d(D(real), D(fake), kind='hinge')"),
        ("hinge_g(D(fake))", "adv_g(D(fake), kind='hinge')"),
        ("relativistic_d(D(real), D(fake))", "adv_d(D(real), D(fake), kind='relativistic')"),
        ("relativistic_g(D(real), D(fake))", "adv_g(D(fake), D(real), kind='relativistic')"),
        ("average_d(D(real), D(fake))", "adv_d(D(real), D(fake), kind='ra_vanilla')"),
        ("average_g(D(real), D(fake))", "adv_g(D(fake), D(real), kind='ra_vanilla')"),
        ("saturating_g(D(fake))", "-adv_g(-1.0 * D(fake), kind='vanilla')"),
    ],
)
def test_a_loss_is_the_op_of_its_name(text: str, kind: str) -> None:
    torch.manual_seed(0)
    D = vectors().double()
    weights = {k: v.clone() for k, v in D.state_dict().items()}
    ours, _ = loss_of(text, (3,), D)
    D.load_state_dict(weights)
    theirs, _ = loss_of(kind, (3,), D)
    assert ours == pytest.approx(theirs, abs=1e-14)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linear_to_zero(2.0, 2, 4)", [2.0, 2.0, 1.6, 1.2, 0.8]),
        ("staircase(1.0, 0.5, 2)", [1.0, 1.0, 0.5, 0.5, 0.25]),
        ("exponential(1.0, 0.5, 1)", [1.0, 0.5, 0.25, 0.125, 0.0625]),
        ("warm_up(1.0, 4)", [0.25, 0.5, 0.75, 1.0, 1.0]),
        ("cosine(1.0, 0.0, 4)", [0.5 * (1 + math.cos(math.pi * k / 4)) for k in range(5)]),
        ("half_life(8)", [0.5**0.5] * 5),
    ],
)
def test_a_learning_rate_follows_the_counters(text: str, expected: list[float]) -> None:
    batch = {"real": torch.randn(4, 3)}
    experiment = ganflow.loads(HEAD + f"D/Update.minimize = 'mean(D(real))'\nD/SGD.lr = {text!r}\n")
    step = ganflow.TrainStep(experiment, [batch], networks={"D": vectors()}, batches_per_epoch=1)
    seen = []
    for _ in range(5):
        step()
        seen.append(step.optimizers["D"].param_groups[0]["lr"])
    assert seen == pytest.approx(expected)
