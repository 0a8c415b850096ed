"""Ops that join, split and reshape tensors; torch's semantics, with the differences that their docstrings name.

cat(real_A, fake_B)                          # 8×3×H×W twice -> 8×6×H×W
transpose(codes) @ z                         # K×N @ N×d -> K×d
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ganflow.errors import GanflowError
from ganflow.ops import OpInfo, Value


def cat(*tensors: Tensor | Sequence[Tensor], dim: int = 1) -> Tensor:
    """``cat(real_A, fake_B)`` joins along channels; ``cat(a, b, dim=0)`` along the batch; a list is fine."""
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        return torch.cat(tuple(tensors[0]), dim)
    return torch.cat(tensors, dim)  # type: ignore[arg-type]


def stack(*tensors: Tensor | Sequence[Tensor], dim: int = 0) -> Tensor:
    """``stack(loss_1, loss_2)``: tensors of one shape along a new dim; scalars give a vector; a list is fine."""
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        return torch.stack(tuple(tensors[0]), dim)
    return torch.stack(tensors, dim)  # type: ignore[arg-type]


def reshape(x: Tensor, shape: int | Sequence[int]) -> Tensor:
    """``reshape(G(z), (batch_size, 3, 8, 8))``: the same numbers in another shape; one length may be -1."""
    return x.reshape((shape,) if isinstance(shape, int) else tuple(shape))


def transpose(x: Tensor, dim0: int = -2, dim1: int = -1) -> Tensor:
    """``transpose(x)``: N×d -> d×N; ``transpose(x, 1, 2)``: two dims change places, by default the last two."""
    return x.transpose(dim0, dim1)


def permute(x: Tensor, dims: Sequence[int]) -> Tensor:
    """``permute(one_hot(label_map, 10), (0, 3, 1, 2))``: N×H×W×10 -> N×10×H×W."""
    return x.permute(tuple(dims))


def flat(x: Tensor) -> Tensor:
    """``flat(x)``: N×C×H×W -> N×(C·H·W). Keeps dim 0; a vector N becomes N×1."""
    return x.flatten(1) if x.ndim > 1 else x.unsqueeze(1)


def size(x: Tensor, dim: int) -> int:
    """``size(x, 2)``: the length of one dim, a host number."""
    return x.shape[dim]


def chunk(x: Tensor, n: int, dim: int = 0) -> tuple[Tensor, ...]:
    """``chunk(x, 2)``: up to ``n`` equal parts along ``dim``, as a tuple of views."""
    return torch.chunk(x, n, dim)


def flip(x: Tensor, dim: int | Sequence[int] = -1) -> Tensor:
    """``flip(x)`` mirrors an image left to right; ``dim`` may be several dims."""
    return torch.flip(x, (dim,) if isinstance(dim, int) else tuple(dim))


RESIZE_MODES = ("nearest", "nearest-exact", "bilinear", "bicubic", "area")


def resize(
    x: Tensor, size_or_scale: int | float | Sequence[int], mode: str = "bilinear", *, antialias: bool = False
) -> Tensor:
    """``resize(x, (64, 128))``, ``resize(x, 64)`` (64×64), ``resize(x, 0.5)`` (half): an image N×C×H×W.

    A whole number is a size in pixels and a float is a factor, so ``2`` is 2×2 pixels and ``2.0`` doubles.
    ``antialias`` smooths before shrinking (bilinear and bicubic only).
    """
    if mode not in RESIZE_MODES:
        raise GanflowError(f"resize: mode is {mode!r}", hint=f"allowed: {', '.join(RESIZE_MODES)}", code="bad-mode")
    if isinstance(size_or_scale, float):
        return F.interpolate(x, scale_factor=size_or_scale, mode=mode, antialias=antialias)
    pixels = (size_or_scale,) * 2 if isinstance(size_or_scale, int) else tuple(size_or_scale)
    return F.interpolate(x, size=pixels, mode=mode, antialias=antialias)


def per_sample(x: Tensor, like: Tensor) -> Tensor:
    """``per_sample(uniform(size(real, 0)), real)``: N numbers as N×1×…×1, one for each sample of ``like``."""
    if x.ndim != 1 or len(x) != len(like):
        raise GanflowError(
            f"per_sample: {tuple(x.shape)} numbers for {len(like)} samples", hint="one number per sample", code="shape"
        )
    return x.view(-1, *[1] * (like.ndim - 1))


def full(
    shape: int | Sequence[int],
    value: Value,
    *,
    like: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """``full((batch_size, 1), 0.9, like=pred)``: a tensor of one value, with ``like``'s dtype and device.

    Without ``like`` the dtype is torch's default float (also for a whole ``value``), the device ``device``, in an
    expression the step's. A 0-d tensor as ``value`` is expanded: it keeps its gradient, dtype and device.
    """
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    if isinstance(value, Tensor):
        return value.expand(lengths)
    if like is not None:
        return like.new_full(lengths, value)
    return torch.full(lengths, value, dtype=torch.get_default_dtype(), device=device)


def arange(n: int, *, device: torch.device | str | None = None) -> Tensor:
    """``ce(similarity, arange(batch_size))``: the whole numbers 0 to n - 1, int64, on the step's device."""
    return torch.arange(n, device=device)


def one_hot(y: Tensor, n: int) -> Tensor:
    """``one_hot(y, 10)``: integer labels 0 to 9 of any shape S -> floats S×10."""
    if not isinstance(y, Tensor) or y.is_floating_point():
        given = f"a tensor of {y.dtype}" if isinstance(y, Tensor) else repr(y)
        raise GanflowError(f"one_hot: y is {given}", hint="y is a tensor of integer labels", code="bad-labels")
    zeros = torch.zeros(*y.shape, n, dtype=torch.get_default_dtype(), device=y.device)
    return zeros.scatter_(-1, y.long().unsqueeze(-1), 1.0)


_TENSOR = (cat, stack, flat, reshape, transpose, permute, chunk, flip, resize, per_sample, full, arange, one_hot)

OPS: tuple[OpInfo, ...] = (*(OpInfo(f.__name__, f) for f in _TENSOR), OpInfo("size", size, host_result=True))
