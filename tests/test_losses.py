"""Losses against torch to the bit and against NumPy in float64; validation metrics against NumPy."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ganflow import losses
from ganflow.errors import GanflowError
from ganflow.losses import adv_d, adv_g, feature_matching, gan, kl
from ganflow.metrics import METRICS, make_metric

ONE_SIDED = ["vanilla", "lsgan", "wgan", "hinge", "softplus"]
RELATIVISTIC = ["relativistic", "ra_vanilla", "ra_lsgan", "ra_hinge"]

rng = np.random.default_rng(1)
REAL, FAKE = rng.normal(size=(4, 1, 3, 3)) * 2, rng.normal(size=(4, 1, 3, 3)) * 2
R, K = torch.from_numpy(REAL), torch.from_numpy(FAKE)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


# --- elementwise ----------------------------------------------------------------------------------

TORCHS = {
    "l1": F.l1_loss,
    "mse": F.mse_loss,
    "bce": F.binary_cross_entropy,
    "bcel": F.binary_cross_entropy_with_logits,
}


def predictions(name: str, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(3, 5, 7, 11, generator=generator, dtype=torch.float64) * 4
    x = (x.sigmoid() if name == "bce" else x).to(dtype).contiguous(memory_format=layout)
    return x.requires_grad_()


@pytest.mark.parametrize("name", TORCHS)
@pytest.mark.parametrize("target", [True, False, 1, 0, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_number_targets_are_torchs_filled_tensor_to_the_bit(
    name: str, target: float, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    ours, theirs = (predictions(name, dtype, layout) for _ in range(2))
    loss = getattr(losses, name)(ours, target)
    expected = TORCHS[name](theirs, torch.full_like(theirs, float(target)))
    assert torch.equal(loss, expected)
    assert torch.equal(*(torch.autograd.grad(y * 0.3, x)[0] for y, x in [(loss, ours), (expected, theirs)]))


@pytest.mark.parametrize("name", TORCHS)
def test_tensor_targets(name: str) -> None:
    pred = R.sigmoid()
    target = K.sigmoid()
    loss = getattr(losses, name)
    assert torch.equal(loss(pred, target), TORCHS[name](pred, target))
    assert torch.equal(loss(pred, torch.tensor(0.25).double()), loss(pred, 0.25))
    yes = K > 0
    assert torch.equal(loss(pred, yes), loss(pred, yes.double()))


@pytest.mark.parametrize("name", TORCHS)
def test_a_target_is_never_broadcast_by_accident(name: str) -> None:
    with pytest.raises(GanflowError, match="prediction has shape 4×1 and the target 4\n"):
        getattr(losses, name)(torch.rand(4, 1), torch.rand(4))


def test_l1_reaches_both_sides() -> None:
    # BEGAN compares fake with its reconstruction and trains through both
    a, b = R.clone().requires_grad_(), K.clone().requires_grad_()
    assert torch.autograd.gradcheck(losses.l1, (a, b))
    assert torch.autograd.gradcheck(losses.mse, (a, b))


def test_bce_survives_certainty() -> None:
    assert losses.bce(torch.tensor([0.0]), True) == 100
    assert losses.bcel(torch.tensor([-1e4]), True) == 1e4


def test_ce() -> None:
    logits = rng.normal(size=(6, 4))
    labels = np.array([0, 3, 1, 1, 2, 0])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    x, y = torch.from_numpy(logits), torch.from_numpy(labels)
    assert losses.ce(x, y).item() == pytest.approx(-log_p[range(6), labels].mean(), rel=1e-13)
    assert torch.equal(losses.ce(x, y.int()), losses.ce(x, y))
    assert losses.ce(x, 2).item() == pytest.approx(-log_p[:, 2].mean(), rel=1e-13)
    images = torch.from_numpy(rng.normal(size=(2, 4, 3, 3)))
    assert torch.equal(losses.ce(images, 1), F.cross_entropy(images, torch.ones(2, 3, 3).long()))
    p = torch.from_numpy(rng.dirichlet(np.ones(4), size=6))
    assert losses.ce(x, p).item() == pytest.approx(-(p.numpy() * log_p).sum(1).mean(), rel=1e-13)
    with pytest.raises(GanflowError, match="labels are integers"):
        losses.ce(x, torch.rand(6))


# --- adversarial ----------------------------------------------------------------------------------


def side(mode: str, x: np.ndarray, is_real: bool) -> float:
    sign = 1 if is_real else -1
    return {
        "vanilla": softplus(-sign * x),
        "softplus": softplus(-sign * x),
        "lsgan": (x - is_real) ** 2,
        "wgan": -sign * x,
        "hinge": relu(1 - sign * x),
    }[mode].mean()


@pytest.mark.parametrize("mode", ONE_SIDED)
@pytest.mark.parametrize("is_real", [True, False])
def test_gan(mode: str, is_real: bool) -> None:
    assert gan(R, is_real, mode=mode).item() == pytest.approx(side(mode, REAL, is_real), rel=1e-12)
    assert torch.equal(gan(R, int(is_real), mode=mode), gan(R, is_real, mode=mode))


def test_gan_is_vanilla_by_default_and_bit_equal_to_torch() -> None:
    x = torch.randn(8, 1, 30, 30)
    assert torch.equal(gan(x, True), F.binary_cross_entropy_with_logits(x, torch.ones_like(x)))
    assert torch.equal(gan(x, False, mode="lsgan"), F.mse_loss(x, torch.zeros_like(x)))


def test_smoothed_labels() -> None:
    assert torch.equal(gan(R, 0.9), losses.bcel(R, 0.9))
    assert torch.equal(gan(R, torch.full_like(R, 0.9), mode="lsgan"), losses.mse(R, 0.9))
    for mode in ("wgan", "hinge", "softplus"):
        for label in (0.9, torch.tensor(1.0)):
            with pytest.raises(GanflowError, match="no smoothed labels"):
                gan(R, label, mode=mode)


def discriminator_by_hand(kind: str, r: np.ndarray, f: np.ndarray) -> float:
    if kind in ONE_SIDED:
        return side(kind, r, True) + side(kind, f, False)
    if kind == "relativistic":
        return softplus(f - r).mean()
    mode = kind.removeprefix("ra_")
    return side(mode, r - f.mean(), True) + side(mode, f - r.mean(), False)


def generator_by_hand(kind: str, r: np.ndarray, f: np.ndarray) -> float:
    if kind in ("wgan", "hinge"):
        return -f.mean()
    return side(kind, f, True) if kind in ONE_SIDED else discriminator_by_hand(kind, f, r)


@pytest.mark.parametrize("kind", ONE_SIDED + RELATIVISTIC)
def test_both_sides_of_every_kind(kind: str) -> None:
    assert adv_d(R, K, kind=kind).item() == pytest.approx(discriminator_by_hand(kind, REAL, FAKE), rel=1e-12)
    assert adv_g(K, R, kind=kind).item() == pytest.approx(generator_by_hand(kind, REAL, FAKE), rel=1e-12)
    a, b = R.clone().requires_grad_(), K.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda r, f: adv_d(r, f, kind=kind), (a, b))
    assert torch.autograd.gradcheck(lambda f: adv_g(f, R, kind=kind), b)


def test_the_kinds_are_all_tested() -> None:
    assert list(losses.GAN_MODES) == ONE_SIDED
    assert list(losses.ADV_KINDS) == ONE_SIDED + RELATIVISTIC


@pytest.mark.parametrize("kind", ONE_SIDED + RELATIVISTIC)
def test_the_two_players_disagree_about_fakes(kind: str) -> None:
    # between the targets 0 and 1, a step that pleases the generator must annoy the discriminator
    near = (K * 0.1 + 0.5).requires_grad_()
    (d,) = torch.autograd.grad(adv_d(R * 0.1 + 0.5, near, kind=kind), near)
    (g,) = torch.autograd.grad(adv_g(near, R * 0.1 + 0.5, kind=kind), near)
    assert (d * g).sum() < 0


@pytest.mark.parametrize("kind", ONE_SIDED)
def test_a_generator_needs_no_real_side_where_none_is_read(kind: str) -> None:
    assert torch.equal(adv_g(K, kind=kind), adv_g(K, R, kind=kind))
    assert torch.equal(adv_g([K, K[:2]], kind=kind), adv_g(K, kind=kind) + adv_g(K[:2], kind=kind))


@pytest.mark.parametrize("kind", RELATIVISTIC)
def test_relativistic_kinds_require_the_real_side(kind: str) -> None:
    for fake in (K, [K, K]):
        with pytest.raises(GanflowError, match=r"adv_g\(D\(fake\), D\(real\)\)"):
            adv_g(fake, kind=kind)


def test_relativistic_pairs_equal_shapes() -> None:
    with pytest.raises(GanflowError, match="shapes 4×1 and 4\n"):
        adv_d(torch.zeros(4, 1), torch.zeros(4), kind="relativistic")
    assert adv_d(R, K[:2], kind="ra_hinge").isfinite()


# --- scales ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ONE_SIDED)
def test_scales_add_up_or_average(mode: str) -> None:
    outputs = [R, K[:, :, :2]]
    each = [gan(x, True, mode=mode) for x in outputs]
    assert torch.equal(gan(outputs, True, mode=mode), each[0] + each[1])
    assert torch.equal(gan(tuple(outputs), True, mode=mode, scales="mean"), (each[0] + each[1]) / 2)


def test_layers_are_skipped_up_to_the_logits() -> None:
    features = torch.full((4, 8), torch.nan)
    outputs = [[features, features, R], (features, K)]
    assert torch.equal(gan(outputs, False), gan(R, False) + gan(K, False))
    assert torch.equal(adv_d(outputs, outputs), adv_d(R, R) + adv_d(K, K))
    assert torch.equal(
        adv_g(outputs, outputs, kind="ra_lsgan", scales="mean"),
        (adv_g(R, R, kind="ra_lsgan") + adv_g(K, K, kind="ra_lsgan")) / 2,
    )


@pytest.mark.parametrize("outputs", [[], [[]], [1.0], {"logits": R}, "D(x)"])
def test_outputs_that_are_no_logits(outputs: Any) -> None:
    with pytest.raises(GanflowError, match="allowed: logits, a list over scales"):
        gan(outputs, True)


def test_sides_of_unequal_scales() -> None:
    with pytest.raises(GanflowError, match="1 scales of real and 2 of fake"):
        adv_d(R, [K, K])


@pytest.mark.parametrize(
    "call,given,allowed",
    [
        (lambda: gan(R, True, mode="hing"), "gan: mode is 'hing'", ", ".join(ONE_SIDED)),
        (lambda: gan(R, True, mode="ra_hinge"), "gan: mode is 'ra_hinge'", "real with fake: adv_d, adv_g"),
        (lambda: gan(R, True, scales="max"), "gan: scales is 'max'", "sum, mean"),
        (lambda: adv_d(R, K, kind="gan"), "adv_d: kind is 'gan'", ", ".join(ONE_SIDED + RELATIVISTIC)),
        (lambda: adv_g(K, kind="lsgann"), "adv_g: kind is 'lsgann'", "did you mean `lsgan`"),
        (lambda: adv_g(K, scales="max"), "adv_g: scales is 'max'", "sum, mean"),
        (lambda: feature_matching([[K, K]], [[K, K]], scales=""), "scales is ''", "sum, mean"),
    ],
)
def test_choices_say_what_is_allowed(call: Any, given: str, allowed: str) -> None:
    with pytest.raises(GanflowError) as caught:
        call()
    assert given in str(caught.value) and allowed in str(caught.value)


def test_no_loss_waits_for_a_device() -> None:
    # nothing here reads a value: it all works on tensors that have none
    x = torch.empty(4, 1, 3, 3, device="meta")
    for kind in ONE_SIDED + RELATIVISTIC:
        assert adv_d([x, x], [x, x], kind=kind).device.type == "meta"
        assert adv_g(x, x, kind=kind).device.type == "meta"
    for mode in ONE_SIDED:
        assert gan(x, True, mode=mode).device.type == "meta"
    assert kl(x, x).device.type == feature_matching([[x, x]], [[x, x]]).device.type == "meta"


# --- others ---------------------------------------------------------------------------------------


def test_kl_is_that_of_two_gaussians() -> None:
    mu, logvar = torch.from_numpy(rng.normal(size=(2, 5, 3)))
    ours = torch.distributions.Normal(mu, (0.5 * logvar).exp())
    normal = torch.distributions.Normal(torch.zeros_like(mu), torch.ones_like(mu))
    expected = torch.distributions.kl_divergence(ours, normal).sum(1).mean()
    assert kl(mu, logvar).item() == pytest.approx(expected.item(), rel=1e-12)
    a, b = mu.clone().requires_grad_(), logvar.clone().requires_grad_()
    assert torch.autograd.gradcheck(kl, (a, b))


def test_kl_near_its_minimum_keeps_its_digits() -> None:
    assert kl(torch.zeros(1, 1), torch.zeros(1, 1)) == 0
    small = torch.full((1, 1), 1e-3)
    assert kl(torch.zeros(1, 1), small).item() == pytest.approx(0.5 * (np.expm1(1e-3) - 1e-3), rel=1e-3)
    with pytest.raises(GanflowError, match="mu has shape 4×2 and logvar 4×1"):
        kl(torch.zeros(4, 2), torch.zeros(4, 1))


def test_feature_matching() -> None:
    def outputs(seed: int, grad: bool) -> list[list[Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        shapes = [[(2, 4, 6, 6), (2, 8, 3, 3), (2, 1, 2, 2)], [(2, 4, 3, 3), (2, 1, 1, 1)]]
        return [[torch.randn(s, generator=generator).requires_grad_(grad) for s in scale] for scale in shapes]

    fake, real = outputs(1, True), outputs(2, True)
    each = [[(f - r).abs().mean().item() for f, r in zip(*s, strict=True)] for s in zip(fake, real, strict=True)]
    loss = feature_matching(fake, real)
    assert loss.item() == pytest.approx(each[0][0] + each[0][1] + each[1][0], rel=1e-6)
    assert feature_matching(fake, real, scales="mean").item() == pytest.approx(loss.item() / 2, rel=1e-6)
    loss.backward()
    assert all((f.grad is not None) for scale in fake for f in scale[:-1])
    assert all(scale[-1].grad is None for scale in fake)
    assert all(r.grad is None for scale in real for r in scale)


@pytest.mark.parametrize("outputs", [R, [R, K], [], [[R]], [[R, K], [R]]])
def test_feature_matching_needs_features(outputs: Any) -> None:
    with pytest.raises(GanflowError, match=r"\[layer, ..., logits\]"):
        feature_matching(outputs, [[R, K]])
    with pytest.raises(GanflowError, match=r"\[layer, ..., logits\]"):
        feature_matching([[R, K]], outputs)


def test_feature_matching_of_unlike_discriminators() -> None:
    with pytest.raises(GanflowError, match="differ in scales or layers"):
        feature_matching([[R, K]], [[R, K, K]])
    with pytest.raises(GanflowError, match="the prediction has shape"):
        feature_matching([[R, K]], [[R[:1], K]])


# --- metrics --------------------------------------------------------------------------------------


def images(seed: int, n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    target = generator.uniform(-1, 1, size=(n, 3, 16, 20))
    noise = generator.normal(size=target.shape) * np.linspace(0.05, 0.5, n).reshape(n, 1, 1, 1)
    return (target + noise).clip(-1, 1).astype(np.float32), target.astype(np.float32)


def ssim_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, equation 13: every pixel's 11×11 window by explicit sums, borders mirrored."""
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    a, b = (np.pad(x.astype(np.float64), ((0, 0), (5, 5), (5, 5)), mode="reflect") for x in (a, b))
    values = []
    for channel in range(a.shape[0]):
        for row in range(a.shape[1] - 10):
            for column in range(a.shape[2] - 10):
                place = (channel, slice(row, row + 11), slice(column, column + 11))
                x, y = a[place], b[place]
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                cov = (window * (x - mx) * (y - my)).sum()
                values.append((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def by_hand(name: str, pred: np.ndarray, target: np.ndarray) -> float:
    error = pred.astype(np.float64) - target
    match name:
        case "l1":
            return float(np.abs(error).mean())
        case "mse":
            return float((error**2).mean())
        case "psnr":
            return float(10 * np.log10(2.0**2 / (error**2).mean()))
        case "ssim":
            return float(np.mean([ssim_by_hand(a, b) for a, b in zip(pred, target, strict=True)]))
    raise AssertionError(name)


@pytest.mark.parametrize("name", list(METRICS))
def test_metrics_are_numpys_however_the_set_is_cut(name: str) -> None:
    pred, target = images(0)
    metric = make_metric(name).to("cpu")
    for first, last in [(0, 1), (1, 2), (2, 5)]:  # a short batch weighs less
        metric.update(torch.from_numpy(pred[first:last]), torch.from_numpy(target[first:last]))
    assert metric.compute().item() == pytest.approx(by_hand(name, pred, target), rel=2e-5)
    metric.reset()
    again, truth = images(7, n=2)
    metric.update(torch.from_numpy(again), torch.from_numpy(truth))
    assert metric.compute().item() == pytest.approx(by_hand(name, again, truth), rel=2e-5)


def test_metrics_of_a_perfect_image() -> None:
    x = torch.from_numpy(images(0)[1])
    results = {}
    for name in METRICS:
        metric = make_metric(name)
        metric.update(x, x)
        results[name] = metric.compute().item()
    assert results == {"l1": 0, "mse": 0, "psnr": float("inf"), "ssim": pytest.approx(1, abs=1e-5)}


def test_unknown_metric() -> None:
    with pytest.raises(GanflowError) as caught:
        make_metric("snr")
    assert "allowed: l1, mse, psnr, ssim" in str(caught.value) and "`psnr`" in str(caught.value)


def test_metrics_import_torchmetrics_only_when_one_is_made() -> None:
    code = "import sys, ganflow.metrics; assert not {'torch', 'torchmetrics'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
