"""The deterministic ops: values against NumPy, gradients, host numbers, nothing that waits for a device."""

from __future__ import annotations

import inspect
import math
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ganflow import ops, shapes
from ganflow.errors import GanflowError

LANGUAGE = """cat flat mean sum std norm sqrt square abs exp log pow sign tanh relu softplus sigmoid clamp
minimum maximum lerp where one_hot argmax size chunk flip resize full logsumexp detach
cos per_sample sin softmax log_softmax amax amin stack reshape transpose permute arange"""

rng = np.random.default_rng(0)
A, B = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(2, 3, 4, 5))
P = np.abs(A) + 0.1
X, Y, POSITIVE = torch.from_numpy(A), torch.from_numpy(B), torch.from_numpy(P)
ROWS = (2, 3)  # dims


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x)


# op, arguments, what NumPy says, differentiable in the first argument
CASES: list[tuple[str, tuple[Any, ...], dict[str, Any], Any, bool]] = [
    ("cat", (X, Y), {}, np.concatenate([A, B], 1), True),
    ("cat", (X, Y), {"dim": 0}, np.concatenate([A, B], 0), True),
    ("flat", (X,), {}, A.reshape(2, 60), True),
    ("flat", (X[:, 0, 0, 0],), {}, A[:, 0, 0, 0].reshape(2, 1), True),
    ("mean", (X,), {}, A.mean(), True),
    ("mean", (X, 1), {}, A.mean(1), True),
    ("mean", (X,), {"dim": ROWS, "keepdim": True}, A.mean(ROWS, keepdims=True), True),
    ("mean", (X,), {"keepdim": True}, A.mean(keepdims=True), True),
    ("sum", (X,), {}, A.sum(), True),
    ("sum", (X, 2), {}, A.sum(2), True),
    ("sum", (X,), {"dim": ROWS, "keepdim": True}, A.sum(ROWS, keepdims=True), True),
    ("sum", (X,), {"keepdim": True}, A.sum(keepdims=True), True),
    ("std", (X,), {}, A.std(ddof=1), True),
    ("std", (X, 0), {"correction": 0}, A.std(0), True),
    ("norm", (X,), {}, np.sqrt((A**2).sum()), True),
    ("norm", (X,), {"dim": 1, "keepdim": True}, np.sqrt((A**2).sum(1, keepdims=True)), True),
    ("norm", (X,), {"dim": ROWS}, np.sqrt((A**2).sum(ROWS)), True),
    ("logsumexp", (X,), {}, np.log(np.exp(A).sum()), True),
    ("logsumexp", (X, 1), {}, np.log(np.exp(A).sum(1)), True),
    ("argmax", (X,), {}, A.argmax(), False),
    ("argmax", (X, 1), {}, A.argmax(1), False),
    ("softmax", (X, 1), {}, np.exp(A) / np.exp(A).sum(1, keepdims=True), True),
    ("log_softmax", (X, 1), {}, A - np.log(np.exp(A).sum(1, keepdims=True)), True),
    ("amax", (X,), {}, A.max(), True),
    ("amax", (X, 1), {"keepdim": True}, A.max(1, keepdims=True), True),
    ("amin", (X, ROWS), {}, A.min(ROWS), True),
    ("mean", (torch.tensor([True, False, True, True]),), {}, np.array(0.75), False),
    ("mean", (torch.tensor([[1, 2], [4, 6]]), 0), {}, np.array([2.5, 4.0]), False),
    ("stack", (X, Y), {}, np.stack([A, B]), True),
    ("stack", ([X, Y],), {"dim": 2}, np.stack([A, B], 2), False),
    ("reshape", (X, (6, -1)), {}, A.reshape(6, 20), True),
    ("reshape", (X, -1), {}, A.reshape(-1), True),
    ("transpose", (X,), {}, A.swapaxes(2, 3), True),
    ("transpose", (X, 0, 1), {}, A.swapaxes(0, 1), True),
    ("permute", (X, (1, 3, 0, 2)), {}, A.transpose(1, 3, 0, 2), True),
    ("arange", (4,), {}, np.arange(4), False),
    ("sin", (X,), {}, np.sin(A), True),
    ("sqrt", (POSITIVE,), {}, np.sqrt(P), True),
    ("square", (X,), {}, A**2, True),
    ("abs", (X,), {}, np.abs(A), True),
    ("exp", (X,), {}, np.exp(A), True),
    ("log", (POSITIVE,), {}, np.log(P), True),
    ("pow", (POSITIVE, 1.5), {}, P**1.5, True),
    ("pow", (POSITIVE, Y), {}, P**B, True),
    ("pow", (2.0, X), {}, 2.0**A, False),
    ("sign", (X,), {}, np.sign(A), True),
    ("tanh", (X,), {}, np.tanh(A), True),
    ("cos", (X,), {}, np.cos(A), True),
    ("per_sample", (X[:, 0, 0, 0], Y), {}, A[:, :1, :1, :1], True),
    ("relu", (X,), {}, A * (A > 0), True),
    ("softplus", (X,), {}, softplus(A), True),
    ("sigmoid", (X,), {}, 1 / (1 + np.exp(-A)), True),
    ("clamp", (X, -0.5, 0.5), {}, A.clip(-0.5, 0.5), True),
    ("clamp", (X,), {"min": 0}, A.clip(0, None), True),
    ("clamp", (X, -0.5, Y.abs()), {}, np.minimum(A.clip(-0.5, None), np.abs(B)), True),
    ("clamp", (X, -Y.abs(), Y.abs()), {}, np.minimum(np.maximum(A, -np.abs(B)), np.abs(B)), True),
    ("clamp", (0.3, X, 0.5), {}, np.minimum(np.maximum(0.3, A), 0.5), False),
    ("minimum", (X, Y), {}, np.minimum(A, B), True),
    ("minimum", (X, 0.25), {}, np.minimum(A, 0.25), True),
    ("minimum", (0.25, X), {}, np.minimum(A, 0.25), False),
    ("maximum", (X, Y), {}, np.maximum(A, B), True),
    ("maximum", (X, 0.25), {}, np.maximum(A, 0.25), True),
    ("maximum", (0.25, X), {}, np.maximum(A, 0.25), False),
    ("lerp", (X, Y, 0.25), {}, A + 0.25 * (B - A), True),
    ("lerp", (X, Y, torch.tensor(0.75).double()), {}, A + 0.75 * (B - A), True),
    ("lerp", (0.0, X, 0.25), {}, 0.25 * A, False),
    ("lerp", (X, 2, 0.25), {}, A + 0.25 * (2 - A), True),
    ("lerp", (1.0, 2.0, X), {}, 1 + A, False),
    ("where", (X > 0, X, Y), {}, np.where(A > 0, A, B), False),
    ("where", (X > 0, 1, -1), {}, np.where(A > 0, 1, -1), False),
    ("where", (True, 0.0, X), {}, np.zeros_like(A), False),
    ("where", (False, 0.0, X), {}, A, False),
    ("one_hot", (torch.tensor([[2, 0], [1, 3]]), 4), {}, np.eye(4)[[[2, 0], [1, 3]]], False),
    ("one_hot", (torch.tensor([1, 0], dtype=torch.uint8), 2), {}, np.eye(2)[[1, 0]], False),
    ("flip", (X,), {}, A[..., ::-1], True),
    ("flip", (X, ROWS), {}, A[:, :, ::-1, ::-1], True),
    ("resize", (X, (8, 10), "nearest"), {}, A.repeat(2, 2).repeat(2, 3), True),
    ("resize", (X, 2.0, "nearest"), {}, A.repeat(2, 2).repeat(2, 3), True),
    ("resize", (X[..., :4], 2), {}, A[..., :4].reshape(2, 3, 2, 2, 2, 2).mean((3, 5)), True),
    ("resize", (X[..., :4], 0.5), {}, A[..., :4].reshape(2, 3, 2, 2, 2, 2).mean((3, 5)), True),
    ("full", ((2, 3), 0.5), {}, np.full((2, 3), 0.5), False),
    ("full", (3, 2), {}, np.full(3, 2.0), False),
    ("detach", (X,), {}, A, False),
]
IDS = [f"{name}-{index}" for index, (name, *_) in enumerate(CASES)]
OP = {op.name: op for op in (*ops.OPS, *shapes.OPS)}


def call(name: str, *args: Any, **kwargs: Any) -> Any:
    return OP[name].function(*args, **kwargs)


def on_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) else value


def test_every_op_of_the_language_is_there_and_tested() -> None:
    assert sorted(OP) == sorted(LANGUAGE.split())
    assert {name for name, *_ in CASES} | {"size", "chunk"} == set(LANGUAGE.split())
    assert all(op.kind == "pure" for op in OP.values())


@pytest.mark.parametrize("name,args,kwargs,expected,_", CASES, ids=IDS)
def test_values_are_numpys(name: str, args: Any, kwargs: Any, expected: Any, _: bool) -> None:
    got = call(name, *args, **kwargs)
    assert isinstance(got, Tensor)
    assert got.shape == np.shape(expected)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name,args,kwargs,_,smooth", [case for case in CASES if case[-1]])
def test_gradients(name: str, args: Any, kwargs: Any, _: Any, smooth: bool) -> None:
    first = args[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: call(name, x, *args[1:], **kwargs), first)


@pytest.mark.parametrize("name,args,kwargs,expected,_", CASES, ids=IDS)
def test_no_op_reads_a_tensors_values(name: str, args: Any, kwargs: Any, expected: Any, _: bool) -> None:
    # a tensor on meta has none to read: what works there never waits for a device
    call(name, *map(on_meta, args), **kwargs)


def test_cat_takes_a_list_and_one_tensor() -> None:
    assert torch.equal(shapes.cat([X, Y]), torch.cat([X, Y], 1))
    assert torch.equal(shapes.cat((X, Y), dim=0), torch.cat([X, Y], 0))
    assert torch.equal(shapes.cat(X), X)


def test_size_is_a_host_number() -> None:
    assert shapes.size(X, 2) == 4 and shapes.size(X, -1) == 5 and type(shapes.size(X, 0)) is int
    assert OP["size"].host_result


def test_chunk_splits_the_batch() -> None:
    first, second = shapes.chunk(torch.arange(10.0), 2)
    assert first.tolist() == [0, 1, 2, 3, 4] and second.tolist() == [5, 6, 7, 8, 9]
    assert [part.shape[1] for part in shapes.chunk(X, 3, dim=1)] == [1, 1, 1]


def test_flat_of_an_empty_batch() -> None:
    assert shapes.flat(torch.empty(0, 3, 4)).shape == (0, 12)


@pytest.mark.parametrize("dim", [None, 1])
def test_norm_has_no_nan_at_zero(dim: int | None) -> None:
    x = torch.zeros(2, 3, requires_grad=True)
    (slope,) = torch.autograd.grad(ops.norm(x, dim).sum(), x, create_graph=True)
    assert torch.equal(slope, torch.zeros(2, 3))
    # as in a gradient penalty, which differentiates the norm of a gradient once more
    weight = torch.ones(3, requires_grad=True)
    penalty = (ops.norm((weight * x.detach()), dim) - 1).square().sum()
    assert torch.equal(torch.autograd.grad(penalty, weight)[0], torch.zeros(3))


def test_a_number_as_bound_takes_the_whole_gradient_at_a_tie() -> None:
    x = torch.zeros(3, requires_grad=True)
    for op in (ops.minimum, ops.maximum):
        assert torch.autograd.grad(op(x, 0.0).sum(), x)[0].tolist() == [1, 1, 1]


def test_full_follows_like_and_keeps_a_values_gradient() -> None:
    like = torch.zeros(1, dtype=torch.float16, device="meta")
    got = shapes.full((2, 1), 0.9, like=like)
    assert (got.dtype, got.device.type, got.shape) == (torch.float16, "meta", (2, 1))
    assert shapes.full(2, 1).dtype == torch.float32
    assert shapes.full(2, 1, device="meta").device.type == "meta"
    value = torch.tensor(3.0, requires_grad=True)
    assert torch.autograd.grad(shapes.full((2, 3), value).sum(), value)[0] == 6


def test_one_hot_is_float_and_refuses_what_is_no_label() -> None:
    assert shapes.one_hot(torch.tensor([1]), 3).dtype == torch.float32
    for bad in (torch.tensor([1.0]), 1):
        with pytest.raises(GanflowError, match="integer labels"):
            shapes.one_hot(bad, 3)  # type: ignore[arg-type]
    with pytest.raises((RuntimeError, IndexError)):
        shapes.one_hot(torch.tensor([3]), 3)


def test_resize_names_its_modes() -> None:
    with pytest.raises(GanflowError, match="allowed: nearest, nearest-exact, bilinear"):
        shapes.resize(X, 2, "linear")
    smooth = shapes.resize(X, (2, 2), antialias=True)
    assert not torch.allclose(smooth, shapes.resize(X, (2, 2)))


def test_detach_reaches_into_containers() -> None:
    Pair = namedtuple("Pair", "a b")
    x = torch.ones(2, requires_grad=True) * 1
    got = ops.detach({"list": [x, (x, 3)], "pair": Pair(x, None), "name": "n"})
    assert isinstance(got["list"], list) and isinstance(got["list"][1], tuple)
    assert isinstance(got["pair"], Pair) and got["pair"].b is None and got["name"] == "n"
    tensors = [got["list"][0], got["list"][1][0], got["pair"].a]
    assert not any(t.requires_grad for t in tensors)
    assert all(t.data_ptr() == x.data_ptr() for t in tensors)
    assert got["list"][1][1] == 3
    with pytest.raises(GanflowError, match="cannot look inside a object"):
        ops.detach([object()])


# --- host numbers ---------------------------------------------------------------------------------


class NoTorch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"host numbers went through torch: {func}")


NUMBERS = [-1000.0, -2.5, -1.0, -0.0, 0.0, 0.3, 1.0, 7.5, 1000.0, math.inf, -math.inf, math.nan]
UNARY = ["sqrt", "square", "abs", "exp", "log", "sign", "tanh", "relu", "softplus", "sigmoid"]


def on_host(name: str, *args: Any) -> Any:
    with NoTorch():
        got = call(name, *args)
    assert not isinstance(got, Tensor)
    return got


def in_torch(function: Callable[..., Tensor], *args: float) -> float:
    return function(*(torch.tensor(x, dtype=torch.float64) for x in args)).item()


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("x", NUMBERS)
def test_host_numbers_follow_torch(name: str, x: float) -> None:
    got = on_host(name, x)
    assert type(got) is float
    assert got == pytest.approx(in_torch(OP[name].function, x), rel=1e-12, abs=1e-8, nan_ok=True)


@pytest.mark.parametrize("name", ["minimum", "maximum", "pow"])
@pytest.mark.parametrize("x", NUMBERS)
def test_host_pairs_follow_torch(name: str, x: float) -> None:
    for y in [*NUMBERS, 1 / 3, 3.0, -3.0, 400.0]:
        expected = in_torch(OP[name].function, x, y)
        assert on_host(name, x, y) == pytest.approx(expected, rel=1e-12, nan_ok=True), y


@pytest.mark.parametrize("start,end", [(0.1, 0.7), (-3.3, 1e3), (5.0, 1 / 3)])
def test_host_lerp_follows_torch_and_meets_its_ends(start: float, end: float) -> None:
    for weight in (-0.1, 0.01, 0.4, 0.5, 0.9, 1.1):
        expected = in_torch(torch.lerp, start, end, weight)
        assert on_host("lerp", start, end, weight) == pytest.approx(expected, rel=1e-14)
    assert on_host("lerp", start, end, 0) == start and on_host("lerp", start, end, 1) == end


@pytest.mark.parametrize("x", NUMBERS)
def test_host_clamp(x: float) -> None:
    expected = torch.clamp(torch.tensor(x, dtype=torch.float64), -1, 2).item()
    assert on_host("clamp", x, -1, 2) == pytest.approx(expected, nan_ok=True)
    assert on_host("clamp", x, 0) == pytest.approx(max(x, 0) if x == x else x, nan_ok=True)


def test_whole_numbers_stay_whole() -> None:
    pairs = [("minimum", 3, 4), ("maximum", 3, 4), ("clamp", 9, 0, 5), ("pow", 2, 10), ("where", True, 1, 2)]
    assert [on_host(*pair) for pair in pairs] == [3, 4, 5, 1024, 1]
    assert [on_host(name, -3) for name in ("abs", "square", "sign", "relu")] == [3, 9, -1, 0]
    assert all(type(on_host(*pair)) is int for pair in pairs)


def test_clamp_without_bounds_is_refused() -> None:
    for x in (1.0, X):
        with pytest.raises((GanflowError, RuntimeError)):
            ops.clamp(x)


def test_host_flag_marks_exactly_the_ops_of_numbers() -> None:
    example = {1: (0.5,), 2: (0.5, 2.0), 3: (0.5, 2.0, 0.25)}
    for op in ops.OPS:
        parameters = inspect.signature(op.function).parameters.values()
        required = sum(p.default is p.empty for p in parameters)
        numbers = (0.5, 0.0, 1.0) if op.name == "clamp" else example[required]
        if op.host:
            on_host(op.name, *numbers)
        elif op.name != "full":
            with pytest.raises((TypeError, AttributeError, GanflowError)):
                op.function(*numbers)
