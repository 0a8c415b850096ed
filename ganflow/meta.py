"""A step on meta tensors: its FLOPs, and the results of the most common operators without torch's way to them.

    with Flops() as counter:
        D(torch.empty(8, 6, 256, 256, device="meta"))
    counter.total                     # 51_200_000_000

Torch knows every operator's result on meta tensors, and is asked where nothing here answers. But at the first of many
common operators that has sympy and torch.compile imported, which takes longer than all of a plan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten

# Element by element, from floats to the same floats.
ELEMENTWISE = frozenset(
    {"aten::" + name for name in (
        "abs", "add", "bernoulli", "clamp", "clamp_min", "div", "elu", "exp", "gelu", "hardtanh", "leaky_relu",
        "leaky_relu_backward", "log", "mul", "neg", "pow", "relu", "rsqrt", "rsub", "sgn",
        "sigmoid", "sigmoid_backward", "silu", "softplus", "sqrt", "sub", "tanh", "tanh_backward",
        "threshold_backward",
    )}
)  # fmt: skip


class Flops(TorchDispatchMode):
    """Counts FLOPs by torch's formulas: two per multiply-add of convolutions and matrix products."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self.by_node: Counter[int] = Counter()  # of a backward pass: number of the node in the graph -> FLOPs

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nobody compiles inside; ``True`` would have the compiler imported."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = known(func, args, kwargs)
        if out is None:
            out = func(*args, **kwargs)
        formula = flop_registry.get(getattr(func, "_overloadpacket", func))
        if formula is not None:
            spent = formula(*args, **kwargs, out_val=out)
            self.total += spent
            if (node := torch._C._current_autograd_node()) is not None:
                self.by_node[node._sequence_nr()] += spent
        return out


def known(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What an operator makes of meta tensors of floats, or ``None``: ask torch, which also says what does not fit."""
    tensors = [t for a in args for t in (a if isinstance(a, list) else (a,)) if isinstance(t, Tensor)]
    if not tensors or len({t.dtype for t in tensors}) > 1 or not _DEFAULTS.items() >= kwargs.items():
        return None
    if not all(t.is_meta and t.is_floating_point() and _in_order(t) for t in tensors):
        return None
    if rule := _RULES.get(func):
        return rule(*args)
    name = getattr(getattr(func, "_schema", None), "name", "")
    if name.rstrip("_") in ELEMENTWISE and not any(isinstance(a, complex) for a in args):
        return elementwise(tensors, in_place=name.endswith("_"))
    return None


def elementwise(tensors: Sequence[Tensor], *, in_place: bool) -> Tensor | None:
    """Of equal shapes, and of 0-d tensors beside them."""
    first = tensors[0]
    shapes = {t.shape for t in tensors if t.ndim} or {first.shape}
    if len(shapes) > 1 or (in_place and not (first.shape in shapes and first.is_contiguous())):
        return None
    return first if in_place else empty(shapes.pop(), first)


def _in_order(x: Tensor) -> bool:
    """Dimensions in their order in memory, as in a slice of channels: what is computed from it is contiguous."""
    strides = [s for n, s in zip(x.shape, x.stride(), strict=True) if n > 1]
    return x.is_contiguous() or all(a >= b for a, b in pairwise(strides))


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    return torch.empty(tuple(shape), dtype=like.dtype, device="meta")


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int,
) -> Tensor | None:  # fmt: skip
    dims = x.ndim - 2
    if dims < 1 or weight.ndim != x.ndim or any(len(v) != dims for v in (stride, padding, dilation, output_padding)):
        return None
    inputs, outputs = weight.shape[1] * groups, weight.shape[0]
    if transposed:
        inputs, outputs = outputs, inputs
    if x.shape[1] != inputs or outputs % groups or (bias is not None and bias.shape != (outputs,)):
        return None
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    sides = zip(x.shape[2:], stride, padding, reach, output_padding, strict=True)
    size = [(n - 1) * s - 2 * p + r + o if transposed else (n + 2 * p - r) // s + 1 for n, s, p, r, o in sides]
    return empty((len(x), outputs, *size), x) if min(size) > 0 else None


def convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, bias: Sequence[int] | None, *rest: Any) -> Any:
    shapes = (x.shape, weight.shape, bias or ())
    return tuple(empty(s, x) if wanted else None for s, wanted in zip(shapes, rest[-1], strict=True))


def cat(parts: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first, dim = list(parts[0].shape), dim % max(parts[0].ndim, 1)
    rest = {(*p.shape[:dim], *p.shape[dim + 1 :]) for p in parts}
    if len(rest) > 1 or len({p.ndim for p in parts}) > 1 or not first:
        return None
    return empty((*first[:dim], sum(p.shape[dim] for p in parts), *first[dim + 1 :]), parts[0])


def batch_norm(x: Tensor, *rest: Any) -> Any:
    affine, training = rest[:4], rest[4]
    if x.ndim < 2 or any(t is not None and t.shape != x.shape[1:2] for t in affine):
        return None
    saved = x.shape[1:2] if training else (0,)
    return empty(x.shape, x), empty(saved, x), empty(saved, x)


def batch_norm_backward(grad: Tensor, x: Tensor, *rest: Any) -> Any:
    shapes = (x.shape, x.shape[1:2], x.shape[1:2])
    return tuple(empty(s, x) if wanted else None for s, wanted in zip(shapes, rest[-1], strict=True))


def loss(x: Tensor, target: Tensor, *rest: Any) -> Tensor | None:
    """A mean over all elements, torch's default."""
    return empty((), x) if x.shape == target.shape and not rest else None


def scalar(x: Tensor) -> Tensor:
    return empty((), x)


def like(x: Tensor, *_: Any) -> Tensor:
    return empty(x.shape, x)


_DEFAULTS: Mapping[str, Any] = MappingProxyType({"pin_memory": False, "memory_format": torch.preserve_format})
_RULES: Mapping[Any, Callable[..., Any]] = MappingProxyType(
    {
        aten.convolution.default: convolution,
        aten.convolution_backward.default: convolution_backward,
        aten.cat.default: cat,
        aten.native_batch_norm.default: batch_norm,
        aten.native_batch_norm_backward.default: batch_norm_backward,
        aten.binary_cross_entropy_with_logits.default: loss,
        aten.mse_loss.default: loss,
        aten.mean.default: scalar,
        aten.sum.default: scalar,
        aten.empty_like.default: like,
        aten.full_like.default: like,
        aten.ones_like.default: like,
        aten.zeros_like.default: like,
    }
)
