"""Deterministic ops of the language: tensors and host numbers in, tensors and host numbers out.

    cat(real_A, fake_B)        # 8×3×H×W twice -> 8×6×H×W
    clamp(k + 0.1, 0, 1)       # k a tensor -> a tensor; k a number -> a number

Torch's semantics, with the few differences that a training step asks for, each in the docstring of its op.
Where the docstring says *numbers too*, an op of host numbers alone returns a host number and never touches
torch, so reading a counter cannot force a device to catch up; such an op follows IEEE 754 as torch does
(``log(0)`` is ``-inf``, ``sqrt(-1)`` is ``nan``) instead of raising. Generated code calls these functions
directly, so each is one type test away from the torch call. Names shadow Python's built-ins on purpose:
they are the language's.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ganflow.errors import GanflowError

Number = bool | int | float
Value = Tensor | Number
Dims = int | tuple[int, ...] | list[int] | None


@dataclass(frozen=True)
class OpInfo:
    """What a scheduler that cannot import torch has to know of an op, beside its signature.

    Args:
        name: the op's name in an expression.
        function: what generated code calls (for ``random`` ops: the sampler, whose parameters
            ``generator``, ``device`` and ``dtype`` are not the user's).
        kind: ``pure``, ``random`` (one draw per site) or ``stateful`` (gets and returns its state).
        host: host numbers in, host number out.
        host_result: a host number whatever comes in (``size``).
    """

    name: str
    function: Callable[..., Any]
    kind: Literal["pure", "random", "stateful"] = "pure"
    host: bool = False
    host_result: bool = False


# --- reductions -----------------------------------------------------------------------------------


def mean(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """``mean(x)`` over everything; ``mean(x, 1)``, ``mean(x, dim=(2, 3))`` over some dims.

    Of truths (``mean(D(real) > 0)``, an accuracy) and whole numbers too: in torch's default float type.
    """
    if not (x.is_floating_point() or x.is_complex()):
        x = x.to(torch.get_default_dtype())
    return x.mean() if dim is None and not keepdim else x.mean(dim, keepdim)


def sum(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """``sum(square(flat(g)), 1)``: over everything, or over some dims."""
    return x.sum() if dim is None and not keepdim else x.sum(dim, keepdim)


def std(x: Tensor, dim: Dims = None, keepdim: bool = False, *, correction: int = 1) -> Tensor:
    """``std(x, 0)``: standard deviation with divisor ``n - correction``."""
    return torch.std(x, dim, correction=correction, keepdim=keepdim)


def norm(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """``norm(flat(g), dim=1)``: 2-norm over everything or some dims; its gradient at 0 is 0, not NaN."""
    return torch.linalg.vector_norm(x, 2, dim, keepdim)


def logsumexp(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """``logsumexp(x, 1)``: log of the summed exponentials, stable; over everything without ``dim``."""
    return torch.logsumexp(x, tuple(range(x.ndim)) if dim is None else dim, keepdim)


def softmax(x: Tensor, dim: int) -> Tensor:
    """``softmax(logits, 1)``: probabilities along one dim."""
    return torch.softmax(x, dim)


def log_softmax(x: Tensor, dim: int) -> Tensor:
    """``-mean(sum(p * log_softmax(logits, 1), 1))``: logs of the probabilities along one dim, stable."""
    return torch.log_softmax(x, dim)


def amax(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """``amax(softmax(logits, 1), 1)``: the largest, over everything or some dims; equal ones share the gradient."""
    return torch.amax(x, () if dim is None else dim, keepdim)


def amin(x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """``amin(distances, 1)``: the smallest, over everything or some dims; equal ones share the gradient."""
    return torch.amin(x, () if dim is None else dim, keepdim)


def argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """``argmax(logits, 1)``: index of the largest, int64; of the flattened tensor without ``dim``."""
    return torch.argmax(x, dim, keepdim)


# --- elementwise; numbers too ---------------------------------------------------------------------


def sqrt(x: Value) -> Value:
    """``sqrt(x)``, numbers too."""
    if isinstance(x, Tensor):
        return torch.sqrt(x)
    return math.sqrt(x) if x >= 0 else math.nan


def square(x: Value) -> Value:
    """``square(x)``: x², numbers too."""
    return torch.square(x) if isinstance(x, Tensor) else x * x


def abs(x: Value) -> Value:
    """``abs(x)``, numbers too."""
    return torch.abs(x) if isinstance(x, Tensor) else builtins.abs(x)


def exp(x: Value) -> Value:
    """``exp(x)``, numbers too."""
    if isinstance(x, Tensor):
        return torch.exp(x)
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def log(x: Value) -> Value:
    """``log(x)``, natural; numbers too."""
    if isinstance(x, Tensor):
        return torch.log(x)
    if x > 0:
        return math.log(x)
    return -math.inf if x == 0 else math.nan


def pow(x: Value, y: Value) -> Value:
    """``pow(x, y)``: x to the y, numbers too; real, so ``pow(-8, 1 / 3)`` is NaN."""
    if isinstance(x, Tensor) or isinstance(y, Tensor):
        return torch.pow(x, y)  # type: ignore[arg-type]
    try:
        value = x**y
    except (ZeroDivisionError, OverflowError):  # 0 to a negative power, or too large: ±inf
        return math.copysign(math.inf, x) if y % 2 == 1 else math.inf
    return math.nan if isinstance(value, complex) else value


def sign(x: Value) -> Value:
    """``sign(x)``: -1, 0 or 1, numbers too."""
    if isinstance(x, Tensor):
        return torch.sign(x)
    value = (x > 0) - (x < 0)
    return float(value) if isinstance(x, float) else value


def tanh(x: Value) -> Value:
    """``tanh(x)``, numbers too."""
    return torch.tanh(x) if isinstance(x, Tensor) else math.tanh(x)


def cos(x: Value) -> Value:
    """``cos(3.14159 * step / 1000)``, of an angle in radians; numbers too."""
    return torch.cos(x) if isinstance(x, Tensor) else math.cos(x)


def sin(x: Value) -> Value:
    """``sin(3.14159 * step / 1000)``, of an angle in radians; numbers too."""
    return torch.sin(x) if isinstance(x, Tensor) else math.sin(x)


def relu(x: Value) -> Value:
    """``relu(1 - pred)``: the positive part, numbers too."""
    return torch.relu(x) if isinstance(x, Tensor) else maximum(x, type(x)(0))


def softplus(x: Value) -> Value:
    """``softplus(-pred)``: log(1 + exp(x)), stable; numbers too."""
    if isinstance(x, Tensor):
        return F.softplus(x)
    return maximum(x, 0.0) + math.log1p(math.exp(-builtins.abs(x)))


def sigmoid(x: Value) -> Value:
    """``sigmoid(logits)``, numbers too."""
    if isinstance(x, Tensor):
        return torch.sigmoid(x)
    small = math.exp(-builtins.abs(x))
    return (1.0 if x >= 0 else small) / (1.0 + small)


def minimum(a: Value, b: Value) -> Value:
    """``minimum(1.0, step / 1000)``: the smaller of two tensors, numbers, or one of each; NaN wins.

    Where a tensor equals a number the whole gradient goes to the tensor; between equal tensors it is halved.
    """
    if isinstance(a, Tensor):
        return torch.minimum(a, b) if isinstance(b, Tensor) else torch.clamp(a, max=b)
    if isinstance(b, Tensor):
        return torch.clamp(b, max=a)
    return a if a < b or a != a else b


def maximum(a: Value, b: Value) -> Value:
    """``maximum(p, 0.0)``: the larger of two tensors, numbers, or one of each; ties as in :func:`minimum`."""
    if isinstance(a, Tensor):
        return torch.maximum(a, b) if isinstance(b, Tensor) else torch.clamp(a, min=b)
    if isinstance(b, Tensor):
        return torch.clamp(b, min=a)
    return a if a > b or a != a else b


def clamp(x: Value, min: Value | None = None, max: Value | None = None) -> Value:
    """``clamp(k, 0, 1)``, numbers too; either bound may be left out, and either may be a tensor."""
    if isinstance(x, Tensor) and not (isinstance(min, Tensor) or isinstance(max, Tensor)):
        return torch.clamp(x, min, max)
    if min is None and max is None:
        raise GanflowError("clamp: neither min nor max is given", hint="clamp(x, 0, 1), clamp(x, min=0)")
    raised = x if min is None else maximum(x, min)
    return raised if max is None else minimum(raised, max)


def lerp(start: Value, end: Value, weight: Value) -> Value:
    """``lerp(average, value, 0.01)``: start + weight · (end - start), numbers too, or mixed."""
    if isinstance(start, Tensor) and isinstance(end, Tensor):
        return torch.lerp(start, end, weight)
    for like in (start, end, weight):
        if isinstance(like, Tensor):  # torch wants both ends as tensors: a state may start as a number
            return torch.lerp(_as_tensor(start, like), _as_tensor(end, like), weight)
    return start + weight * (end - start) if weight < 0.5 else end - (end - start) * (1 - weight)


def where(condition: Value, a: Value, b: Value) -> Value:
    """``where(x > 0, 1, -1)``: elementwise choice; three numbers give a number.

    Two numbers between which a 0-d tensor chooses stay as exact as numbers are (float64, where the device has it):
    a state that counts in steps of 1 / 500000 must not round them.
    """
    if isinstance(condition, Tensor):
        exact = not condition.ndim and not isinstance(a, Tensor) and not isinstance(b, Tensor)
        if exact and condition.device.type != "mps":
            wide = torch.full((), float(a), dtype=torch.float64, device=condition.device)
            return torch.where(condition, wide, torch.full_like(wide, float(b)))
        return torch.where(condition, a, b)
    for like in (a, b):
        if isinstance(like, Tensor):
            return torch.where(torch.full((), bool(condition), device=like.device), a, b)
    return a if condition else b


def _as_tensor(x: Value, like: Tensor) -> Tensor:
    """A number as a 0-d tensor beside ``like``; filled on the device, which copies and waits for nothing."""
    return x if isinstance(x, Tensor) else like.new_full((), x)


# --- gradient -------------------------------------------------------------------------------------


def detach(x: Any) -> Any:
    """``detach(fake)``: the same value without its history; maps over nested lists, tuples and dicts.

    Numbers, strings and ``None`` pass. Anything else is refused: what cannot be opened cannot be cut.
    """
    if isinstance(x, Tensor):
        return x.detach()
    if isinstance(x, dict):
        return {key: detach(value) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        parts = [detach(value) for value in x]
        return type(x)(*parts) if hasattr(x, "_fields") else (parts if isinstance(x, list) else tuple(parts))
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    raise GanflowError(
        f"detach: cannot look inside a {type(x).__name__}",
        hint="allowed: a tensor, a number, or nested lists, tuples and dicts of them",
        code="detach",
    )


_UNARY = (sqrt, square, abs, exp, log, sign, tanh, sin, cos, relu, softplus, sigmoid)
_HOST: tuple[Callable[..., Any], ...] = (*_UNARY, pow, minimum, maximum, clamp, lerp, where, detach)
_TENSOR = (mean, sum, std, norm, amax, amin, argmax, logsumexp, softmax, log_softmax)

OPS: tuple[OpInfo, ...] = (
    *(OpInfo(f.__name__, f, host=True) for f in _HOST),
    *(OpInfo(f.__name__, f) for f in _TENSOR),
)
