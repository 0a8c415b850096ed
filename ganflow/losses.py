"""Losses of the language: predictions in, one 0-d tensor out.

    D_fake = 'gan(pred_fake, False)'        # mode = 'vanilla' unless gin says otherwise
    G_L1   = 'l1(fake_B, real_B)'
    D_adv  = 'adv_d(D(real), D(fake))'      # both sides at once: hinge, relativistic

Every loss is a mean over all elements unless its docstring says otherwise, so its size does not depend on the
batch. ``True`` and ``False`` are the targets 1 and 0. The values and gradients of ``l1 mse bce bcel ce`` are
those of torch's function of that kind with a target tensor filled with the number, bit for bit.

**Scales.** The adversarial losses take what a discriminator returns: a tensor of logits; or a list over
scales of tensors; or a list over scales of lists over layers, whose last entry is the logits (pix2pixHD, Wang
et al. 2018, arXiv:1711.11585). Losses of the scales are added (``scales='sum'``) or averaged
(``scales='mean'``). A discriminator of one scale that also returns features is a list of one list:
``gan([D(x)], True)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor

from ganflow.errors import GanflowError, did_you_mean
from ganflow.ops import OpInfo

Target = Tensor | bool | int | float
Outputs = Tensor | Sequence[Tensor | Sequence[Tensor]]

_SCALES = ("sum", "mean")

# --- elementwise losses ---------------------------------------------------------------------------


def l1(pred: Tensor, target: Target) -> Tensor:
    """``l1(fake_B, real_B)``: mean absolute difference; equal shapes, or a number as target."""
    return F.l1_loss(pred, _target(pred, target))


def mse(pred: Tensor, target: Target) -> Tensor:
    """``mse(D(fake), 1)``: mean squared difference; equal shapes, or a number as target."""
    return F.mse_loss(pred, _target(pred, target))


def bce(pred: Tensor, target: Target) -> Tensor:
    """``bce(D(fake), True)``: binary cross-entropy of probabilities in [0, 1]; logs are clamped at -100."""
    return F.binary_cross_entropy(pred, _target(pred, target))


def bcel(pred: Tensor, target: Target) -> Tensor:
    """``bcel(pred_fake, 0)``: binary cross-entropy of logits, stable for large ones."""
    return F.binary_cross_entropy_with_logits(pred, _target(pred, target))


def ce(pred: Tensor, target: Tensor | int) -> Tensor:
    """``ce(q[1], c)``: cross-entropy of logits N×C and integer labels N, or one label for all.

    Logits N×C×H×W go with labels N×H×W. Floats with the logits' shape are probabilities: ``ce(x, softmax(t, 1))``.
    """
    if not isinstance(target, Tensor):
        shape = (pred.shape[0], *pred.shape[2:]) if pred.ndim > 1 else ()
        target = torch.full(shape, int(target), device=pred.device)
    elif target.is_floating_point():
        if target.shape != pred.shape:
            raise GanflowError(
                f"ce: the target has dtype {target.dtype} and shape {_shape(target)}",
                hint=f"labels are integers from 0 to C - 1; probabilities have the logits' shape {_shape(pred)}",
                code="bad-labels",
            )
        return F.cross_entropy(pred, target)
    return F.cross_entropy(pred, target.long())


def _target(pred: Tensor, target: Target) -> Tensor:
    """The target as a tensor like ``pred``; filled, because torch has no faster way to these very bits."""
    if not isinstance(target, Tensor):
        return torch.full_like(pred, target)
    if target.shape != pred.shape:
        if target.ndim:  # torch would broadcast N×1 against N to N×N, and train on nonsense
            raise GanflowError(
                f"the prediction has shape {_shape(pred)} and the target {_shape(target)}",
                hint="a target has the prediction's shape, or is a number",
                code="shape-mismatch",
            )
        target = target.expand_as(pred)
    return target if target.is_floating_point() else target.to(pred.dtype)


def _shape(x: Tensor) -> str:
    return "×".join(map(str, x.shape)) or "scalar"


# --- adversarial, one side at a time --------------------------------------------------------------


def gan(pred: Outputs, is_real: Target, *, mode: str = "vanilla", scales: str = "sum") -> Tensor:
    """``gan(pred_fake, False)``: how far logits are from being called real (or fake).

    Args:
        pred: logits of any shape, or a list over scales (see the module's docstring).
        is_real: ``True`` or ``False``; vanilla and lsgan also take other numbers (smoothed labels,
            Salimans et al. 2016, arXiv:1606.03498).
        mode: ``vanilla`` cross-entropy (Goodfellow et al. 2014, arXiv:1406.2661; ``gan(D(fake), True)`` is
            its non-saturating generator loss), ``softplus`` the same without a target tensor (StyleGAN),
            ``lsgan`` squares, without the paper's 1/2 (Mao et al. 2017, arXiv:1611.04076),
            ``wgan`` ∓mean (Arjovsky et al. 2017, arXiv:1701.07875),
            ``hinge`` the discriminator's side only (Lim & Ye 2017, arXiv:1705.02894): a generator trains on
            ``adv_g(fake, kind='hinge')``, which ``gan(fake, True)`` is not.
        scales: ``sum`` or ``mean``.

    Raises:
        GanflowError: an unknown mode or reduction; a smoothed label where the mode has none.
    """
    loss = _GAN.get(mode)
    if loss is None:
        both = "; this one compares real with fake: adv_d, adv_g" if mode in _ADV else ""
        _bad_choice("gan", "mode", mode, _GAN, also=both)
    if scales not in _SCALES:
        _bad_choice("gan", "scales", scales, _SCALES)
    if isinstance(pred, Tensor):
        return loss(pred, is_real)
    return _over_scales([loss(logits, is_real) for logits in _logits(pred)], scales)


def _gan_wgan(pred: Tensor, is_real: Target) -> Tensor:
    return -pred.mean() if _side(is_real, "wgan") else pred.mean()


def _gan_hinge(pred: Tensor, is_real: Target) -> Tensor:
    return torch.relu(1 - pred if _side(is_real, "hinge") else 1 + pred).mean()


def _gan_softplus(pred: Tensor, is_real: Target) -> Tensor:
    return F.softplus(-pred if _side(is_real, "softplus") else pred).mean()


def _side(is_real: Target, mode: str) -> bool:
    if isinstance(is_real, Tensor) or (is_real != 0 and is_real != 1):
        given = "a tensor" if isinstance(is_real, Tensor) else repr(is_real)
        raise GanflowError(
            f"gan: is_real is {given}, and mode {mode!r} has no smoothed labels",
            hint="allowed: True or False; modes vanilla and lsgan take any number",
            code="bad-label",
        )
    return bool(is_real)


_GAN: Mapping[str, Callable[[Tensor, Any], Tensor]] = MappingProxyType(
    {"vanilla": bcel, "lsgan": mse, "wgan": _gan_wgan, "hinge": _gan_hinge, "softplus": _gan_softplus}
)

# --- adversarial, both sides ----------------------------------------------------------------------


def adv_d(real: Outputs, fake: Outputs, *, kind: str = "vanilla", scales: str = "sum") -> Tensor:
    """``adv_d(D(real), D(fake))``: the discriminator's loss, the real side plus the fake side (no 1/2).

    Args:
        real, fake: logits of real and generated samples; ``relativistic`` pairs them, so shapes are equal.
        kind: ``vanilla lsgan wgan hinge softplus`` as in :func:`gan`, and, from the logits' difference,
            ``relativistic`` softplus(fake - real) (RpGAN: Jolicoeur-Martineau 2018, arXiv:1807.00734; R3GAN:
            Huang et al. 2024, arXiv:2501.05441), ``ra_vanilla ra_lsgan ra_hinge``: each side against the mean
            of all logits of the other (relativistic average, same paper; ESRGAN: Wang et al. 2018,
            arXiv:1809.00219).
        scales: ``sum`` or ``mean`` over a list of scales.

    Raises:
        GanflowError: an unknown kind or reduction; sides that do not fit each other.
    """
    return _adversarial("adv_d", 0, real, fake, kind, scales)


def adv_g(fake: Outputs, real: Outputs | None = None, *, kind: str = "vanilla", scales: str = "sum") -> Tensor:
    """``adv_g(D(fake))``, ``adv_g(D(fake), D(real))``: the generator's loss against :func:`adv_d`.

    Non-saturating for vanilla and softplus, -mean(fake) for wgan and hinge. Only ``relativistic`` and the
    ``ra_`` kinds read ``real``, and they require it.

    Raises:
        GanflowError: as :func:`adv_d`; a relativistic kind without ``real``.
    """
    return _adversarial("adv_g", 1, real, fake, kind, scales)


def _adversarial(name: str, side: int, real: Outputs | None, fake: Outputs, kind: str, scales: str) -> Tensor:
    losses = _ADV.get(kind)
    if losses is None:
        _bad_choice(name, "kind", kind, _ADV)
    if scales not in _SCALES:
        _bad_choice(name, "scales", scales, _SCALES)
    loss = losses[side]
    if isinstance(fake, Tensor) and (isinstance(real, Tensor) or real is None):
        return loss(real, fake)
    fakes = _logits(fake)
    reals = [None] * len(fakes) if real is None else _logits(real)
    if len(reals) != len(fakes):
        raise GanflowError(f"{name}: {len(reals)} scales of real and {len(fakes)} of fake", code="scales")
    return _over_scales([loss(r, f) for r, f in zip(reals, fakes, strict=True)], scales)


def _both_sides(one_side: Callable[[Tensor, Any], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda real, fake: one_side(real, True) + one_side(fake, False)


def _minus_mean(real: Tensor | None, fake: Tensor) -> Tensor:
    return -fake.mean()


def _paired(better: Tensor | None, worse: Tensor | None) -> Tensor:
    """softplus of the logits' difference, sample by sample: small where ``better`` is the larger."""
    better, worse = _both(better, worse)
    if better.shape != worse.shape:
        raise GanflowError(
            f"relativistic: logits of real and fake have shapes {_shape(better)} and {_shape(worse)}",
            hint="this kind pairs them, so the shapes are equal; ra_vanilla compares with the mean instead",
            code="shape-mismatch",
        )
    return F.softplus(worse - better).mean()


def _average(one_side: Callable[[Tensor, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    def loss(better: Tensor | None, worse: Tensor | None) -> Tensor:
        better, worse = _both(better, worse)
        return one_side(better - worse.mean(), True) + one_side(worse - better.mean(), False)

    return loss


def _both(one: Tensor | None, other: Tensor | None) -> tuple[Tensor, Tensor]:
    if one is None or other is None:
        raise GanflowError(
            "adv_g: a relativistic kind compares with the real samples",
            hint="give them: adv_g(D(fake), D(real))",
            code="missing-real",
        )
    return one, other


def _swapped(loss: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    return lambda real, fake: loss(fake, real)


def _relativistic(loss: Callable[[Any, Any], Tensor]) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    return loss, _swapped(loss)  # a relativistic generator plays the same game with the sides swapped


_ADV: Mapping[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = MappingProxyType(
    {
        "vanilla": (_both_sides(bcel), lambda real, fake: bcel(fake, True)),
        "lsgan": (_both_sides(mse), lambda real, fake: mse(fake, True)),
        "wgan": (lambda real, fake: fake.mean() - real.mean(), _minus_mean),
        "hinge": (_both_sides(_gan_hinge), _minus_mean),
        "softplus": (_both_sides(_gan_softplus), lambda real, fake: _gan_softplus(fake, True)),
        "relativistic": _relativistic(_paired),
        "ra_vanilla": _relativistic(_average(bcel)),
        "ra_lsgan": _relativistic(_average(mse)),
        "ra_hinge": _relativistic(_average(_gan_hinge)),
    }
)

GAN_MODES: tuple[str, ...] = tuple(_GAN)
ADV_KINDS: tuple[str, ...] = tuple(_ADV)

# --- scales ---------------------------------------------------------------------------------------


def _logits(outputs: Any) -> list[Tensor]:
    """The logits of every scale: the scale itself, or the last of its layers."""
    scales = outputs if isinstance(outputs, (list, tuple)) else (outputs,)
    found = [scale[-1] if isinstance(scale, (list, tuple)) and scale else scale for scale in scales]
    if not found or not all(isinstance(logits, Tensor) for logits in found):
        raise GanflowError(
            f"an adversarial loss got {_described(outputs)}",
            hint="allowed: logits, a list over scales of logits, or of lists over layers, logits last",
            code="outputs",
        )
    return found


def _over_scales(losses: Sequence[Tensor], scales: str) -> Tensor:
    total = losses[0]
    for loss in losses[1:]:
        total = total + loss
    return total / len(losses) if scales == "mean" else total


def _described(outputs: Any) -> str:
    if isinstance(outputs, (list, tuple)):
        return f"a {type(outputs).__name__} of {len(outputs)} ({', '.join(type(o).__name__ for o in outputs)})"
    return f"a {type(outputs).__name__}"


def _bad_choice(name: str, parameter: str, given: str, allowed: Any, also: str = "") -> NoReturn:
    near = did_you_mean(str(given), allowed)
    hint = f"allowed: {', '.join(allowed)}{also}{'; ' + near if near else ''}"
    raise GanflowError(f"{name}: {parameter} is {given!r}", hint=hint, code=f"bad-{parameter}")


# --- others ---------------------------------------------------------------------------------------


def kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """``kl(enc[0], enc[1])``: KL(N(mu, exp(logvar)) ‖ N(0, 1)), nats: sum over dims, mean over the batch.

    Kingma & Welling 2014, arXiv:1312.6114, appendix B. Shapes N×..., equal. A method that sums over the
    batch too multiplies by ``batch_size``.
    """
    if mu.shape != logvar.shape:
        raise GanflowError(f"kl: mu has shape {_shape(mu)} and logvar {_shape(logvar)}", code="shape-mismatch")
    # expm1(v) - v keeps its digits near v = 0, where exp(v) - 1 - v is all cancellation
    return 0.5 * (mu.square() + (logvar.expm1() - logvar)).sum() / mu.shape[0]


def feature_matching(
    fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]], *, scales: str = "sum"
) -> Tensor:
    """``feature_matching(D(fake), D(real))``: L1 between D's layers, all but the last (the logits).

    Args:
        fake, real: lists over scales of lists over layers of tensors, alike; ``real`` is detached here.
        scales: ``sum`` or ``mean`` over scales. Layers are always summed, so a paper's weights (4 / (n + 1)
            in pix2pixHD, Wang et al. 2018, arXiv:1711.11585) belong into the expression.

    Raises:
        GanflowError: a discriminator that returns logits only, or two lists that differ in length or shapes.
    """
    if scales not in _SCALES:
        _bad_choice("feature_matching", "scales", scales, _SCALES)
    _check_features("fake", fake)
    _check_features("real", real)
    if [len(layers) for layers in fake] != [len(layers) for layers in real]:
        raise GanflowError("feature_matching: fake and real differ in scales or layers", code="scales")
    pairs = [list(zip(f, r, strict=True))[:-1] for f, r in zip(fake, real, strict=True)]
    return _over_scales([_over_scales([l1(f, r.detach()) for f, r in layers], "sum") for layers in pairs], scales)


def _check_features(side: str, outputs: Any) -> None:
    lists = isinstance(outputs, (list, tuple)) and outputs
    if not lists or not all(isinstance(layers, (list, tuple)) and len(layers) > 1 for layers in outputs):
        raise GanflowError(
            f"feature_matching: {side} is {_described(outputs)}",
            hint="a list over scales of [layer, ..., logits]; one scale is a list of one list: "
            "feature_matching([D(fake)], [D(real)])",
            code="outputs",
        )


_LOSSES = (l1, mse, bce, bcel, ce, gan, adv_d, adv_g, kl, feature_matching)
OPS: tuple[OpInfo, ...] = tuple(OpInfo(f.__name__, f) for f in _LOSSES)
