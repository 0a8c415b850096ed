"""The hand-written loops learn and freeze what they should, and the instruments they are measured with count right."""

from __future__ import annotations

import copy
from itertools import chain

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from handwritten.live_bytes import PeakBytes, convolution_backward_masks, flops
from handwritten.mlp_gan import MLPGAN
from handwritten.pix2pix import Pix2Pix

MB = 1_000_000

# --- live bytes -----------------------------------------------------------------------------------


def megabyte() -> Tensor:
    return torch.zeros(MB, dtype=torch.uint8)


def test_peak_is_the_most_alive_at_one_time() -> None:
    with PeakBytes() as memory:
        a, b = megabyte(), megabyte()
        del a
        c = megabyte()
        assert (memory.live, memory.peak) == (2 * MB, 2 * MB)
        d = b + c
        del b, c, d
        e = megabyte()
    assert (memory.live, memory.peak) == (MB, 3 * MB)
    del e
    assert memory.live == 0


def test_views_and_writes_in_place_allocate_nothing() -> None:
    before = megabyte()
    with PeakBytes() as memory:
        before.view(1000, 1000).t()
        before.detach().add_(1)
        assert memory.peak == 0
        a = megabyte()
        views = [a[:10], a.view(1000, 1000), a.detach().add_(1)]
        del a
        assert memory.live == MB, "a view keeps the whole storage"
        del views
        assert memory.live == 0
    assert memory.peak == MB


def test_tensors_from_python_numbers_are_counted() -> None:
    with PeakBytes() as memory:
        a = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert memory.live == a.nbytes


def test_what_a_graph_saved_lives_until_backward_or_until_the_graph_dies() -> None:
    x = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    with PeakBytes() as memory:
        y = x.exp().exp().sum()  # each exp saves its result
        assert memory.live == 16_008
        y.backward()
        assert memory.live == 8_008, "y and the gradient of x"
        x.grad = None
        y = x.exp().exp().sum()
        del y
        assert memory.live == 0


def test_peak_of_a_step_is_the_same_each_time() -> None:
    loop, batch = small_pix2pix(), pairs()
    loop.step(*batch)
    peaks = []
    for _ in range(3):
        with PeakBytes() as memory:
            loop.step(*batch)
        peaks.append(memory.peak)
    assert peaks[0] > 0
    assert peaks == peaks[:1] * 3


# --- weight gradients and FLOPs -------------------------------------------------------------------


def test_masks_show_which_gradients_were_computed() -> None:
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    conv, frozen = nn.Conv2d(3, 4, 3, bias=False), nn.ConvTranspose2d(4, 5, 3).requires_grad_(False)
    with convolution_backward_masks() as calls:
        frozen(conv(x)).sum().backward()
        conv(x.detach()).sum().backward()
    assert calls == [
        ((4, 5, 3, 3), True, False, False),
        ((4, 3, 3, 3), True, True, False),
        ((4, 3, 3, 3), False, True, False),
    ]


def test_flops_of_a_frozen_layer_are_a_third_less() -> None:
    x = torch.randn(4, 8, requires_grad=True)
    layer = nn.Linear(8, 16, bias=False)
    counts = []
    for trained in (True, False):
        layer.requires_grad_(trained)
        with flops() as counter:
            layer(x).sum().backward()
        counts.append(counter.get_total_flops())
    product = 2 * 4 * 8 * 16
    assert counts == [3 * product, 2 * product]


# --- the loops ------------------------------------------------------------------------------------


def small_pix2pix(**options: float | bool) -> Pix2Pix:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        G = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
        D = nn.Sequential(nn.Conv2d(5, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4, 2, 1))
    return Pix2Pix(G.double(), D.double(), **options)


def pairs() -> tuple[Tensor, Tensor]:
    """A and B, where B is a simple function of A."""
    A = torch.rand(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return A, 2 * A[:, :2] - A[:, 1:]


PIX2PIX_LOSSES = ["loss/D_fake", "loss/D_real", "loss/D", "loss/G_GAN", "loss/G_L1", "loss/G"]


def test_pix2pix_learns_the_pairs() -> None:
    loop, batch = small_pix2pix(lr=1e-2), pairs()
    history = [loop.step(*batch) for _ in range(60)]
    first, last = history[0], history[-1]
    assert list(first) == PIX2PIX_LOSSES
    assert all(loss.ndim == 0 and not loss.requires_grad for loss in last.values())
    assert last["loss/G_L1"] < 0.3 * first["loss/G_L1"]


def test_pix2pix_D_learns_to_tell_the_pairs_apart() -> None:
    loop, batch = small_pix2pix(lr=1e-2), pairs()
    loop.G_optimizer.param_groups[0]["lr"] = 0.0
    losses = [loop.step(*batch)["loss/D"] for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_pix2pix_gradients_are_those_of_the_definition() -> None:
    """Against autograd.grad of each loss written out, D as it is before its step and G's through D after it."""
    loop, (A, B) = small_pix2pix(lambda_gan=2.0, lambda_l1=10.0), pairs()
    G, D = copy.deepcopy(loop.G), copy.deepcopy(loop.D)
    losses = loop.step(A, B)

    fake = G(A)
    pred_fake, pred_real = D(torch.cat([A, fake], 1)), D(torch.cat([A, B], 1))
    loss_D = (F.softplus(pred_fake).mean() + F.softplus(-pred_real).mean()) / 2
    for p, g in zip(loop.D_parameters, torch.autograd.grad(loss_D, D.parameters(), retain_graph=True), strict=True):
        torch.testing.assert_close(p.grad, g)
    D.load_state_dict(loop.D.state_dict())
    G_GAN, G_L1 = F.softplus(-D(torch.cat([A, fake], 1))).mean(), (fake - B).abs().mean()
    for p, g in zip(loop.G_parameters, torch.autograd.grad(2 * G_GAN + 10 * G_L1, G.parameters()), strict=True):
        torch.testing.assert_close(p.grad, g)
    for name, value in {"D": loss_D, "G_GAN": G_GAN, "G_L1": G_L1, "G": 2 * G_GAN + 10 * G_L1}.items():
        torch.testing.assert_close(losses[f"loss/{name}"], value.detach())


def test_pix2pix_computes_no_gradient_that_it_does_not_use() -> None:
    loop, (A, B) = small_pix2pix(), pairs()
    with convolution_backward_masks() as calls:
        loop.step(A, B)
    wanted = [(call.weight[1], call.input_grad, call.weight_grad) for call in calls]
    update_D = [(8, True, True), (5, False, True)]  # in channels of D's layers, the last one first
    update_G = [(8, True, False), (5, True, False), (8, True, True), (3, False, True)]
    assert sorted(wanted[:4]) == sorted(2 * update_D)
    assert wanted[4:] == update_G
    assert all(p.requires_grad for p in chain(loop.G.parameters(), loop.D.parameters()))


def test_mlp_gan_moves_the_points() -> None:
    torch.manual_seed(3)
    G = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
    D = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    loop = MLPGAN(G, D, lr=5e-3)
    center = torch.tensor([2.0, -1.0])

    @torch.no_grad()
    def distance() -> float:
        return float((G(torch.randn(500, 2)).mean(0) - center).norm())

    before = distance()
    losses = [loop.step(center + 0.5 * torch.randn(64, 2), torch.randn(64, 2)) for _ in range(400)]
    assert distance() < 0.25 * before
    assert list(losses[0]) == ["loss/D_real", "loss/D_fake", "loss/D", "loss/G"]
    assert losses[-1]["loss/G"] < 2 * losses[0]["loss/G"], "G has not lost the game"


def test_mlp_gan_gradients_are_those_of_the_definition() -> None:
    torch.manual_seed(4)
    loop = MLPGAN(nn.Linear(3, 2).double(), nn.Linear(2, 1).double(), lr=0.1)
    real, z = torch.randn(8, 2, dtype=torch.float64), torch.randn(8, 3, dtype=torch.float64)
    G, D = copy.deepcopy(loop.G), copy.deepcopy(loop.D)
    loop.step(real, z)

    loss_D = F.softplus(-D(real)).mean() + F.softplus(D(G(z))).mean()
    for p, g in zip(loop.D_parameters, torch.autograd.grad(loss_D, D.parameters()), strict=True):
        torch.testing.assert_close(p.grad, g)
    loss_G = F.softplus(-loop.D(G(z))).mean()
    for p, g in zip(loop.G_parameters, torch.autograd.grad(loss_G, G.parameters()), strict=True):
        torch.testing.assert_close(p.grad, g)


@pytest.mark.parametrize("log_gradients", [False, True])
def test_gradient_norms_only_where_asked_for(log_gradients: bool) -> None:
    loop = small_pix2pix(log_gradients=log_gradients)
    losses = loop.step(*pairs())
    assert ("grad_norm/D" in losses, "grad_norm/G" in losses) == (log_gradients, log_gradients)
    if log_gradients:
        squares = sum(float(p.grad.square().sum()) for p in loop.G_parameters)
        assert float(losses["grad_norm/G"]) == pytest.approx(squares**0.5)
