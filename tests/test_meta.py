"""Results on meta tensors are those that torch gives, and the FLOPs those that it counts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ganflow.meta import Flops, known
from ganflow.nn import PatchDiscriminator, ResnetGenerator, UNetGenerator

ROOT = Path(__file__).resolve().parent.parent
aten = torch.ops.aten


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, device="meta", dtype=dtype)


def convolution(
    x: Tensor, w: Tensor, *, bias: Tensor | None = None, stride: int = 1, padding: int = 0, dilation: int = 1,
    transposed: bool = False, output_padding: int = 0, groups: int = 1,
) -> tuple[Any, ...]:  # fmt: skip
    each = x.ndim - 2
    lists = ([stride] * each, [padding] * each, [dilation] * each)
    return (aten.convolution.default, (x, w, bias, *lists, transposed, [output_padding] * each, groups))


def backward(x: Tensor, w: Tensor, mask: list[bool], **given: Any) -> tuple[Any, ...]:
    _, args = convolution(x, w, **given)
    y = aten.convolution.default(*args)
    return (aten.convolution_backward.default, (y, x, w, [y.shape[1]], *args[3:], mask))


X = meta(2, 6, 17, 12)
SLICE = meta(2, 12, 17, 12)[:, 6:]
NORM = (meta(6), meta(6), meta(6), meta(6))
ANSWERED = {
    "convolution": convolution(X, meta(8, 6, 4, 4), bias=meta(8), stride=2, padding=1),
    "dilated, in groups": convolution(X, meta(8, 3, 3, 3), dilation=2, groups=2),
    "of one dimension": convolution(meta(2, 6, 17), meta(8, 6, 4), stride=3),
    "transposed": convolution(X, meta(6, 8, 4, 4), stride=2, padding=1, transposed=True),
    "transposed, in groups": convolution(X, meta(6, 4, 3, 3), stride=2, output_padding=1, transposed=True, groups=2),
    "of a slice": convolution(SLICE, meta(8, 6, 4, 4)),
    "its backward": backward(X, meta(8, 6, 4, 4), [True, True, True], stride=2, padding=1),
    "its backward through frozen weights": backward(X, meta(8, 6, 4, 4), [True, False, False]),
    "batch norm": (aten.native_batch_norm.default, (X, *NORM, True, 0.1, 1e-5)),
    "batch norm's backward": (
        aten.native_batch_norm_backward.default, (X, X, *NORM[:3], *NORM[:2], True, 1e-5, [True, True, False])
    ),
    "cat": (aten.cat.default, ([X, meta(2, 3, 17, 12)], 1)),
    "cat from the back": (aten.cat.default, ([X, meta(2, 6, 17, 1)], -1)),
    "product": (aten.mul.Tensor, (X, X)),
    "product with a scalar": (aten.mul.Tensor, (X, meta())),
    "product with a number": (aten.mul.Scalar, (X, 2)),
    "product of slices": (aten.mul.Tensor, (SLICE, SLICE)),
    "sum with one number expanded": (aten.add.Tensor, (X, meta().expand(X.shape))),
    "half precision": (aten.div.Tensor, (X.half(), 3.0)),
    "activation in place": (aten.leaky_relu_.default, (X, 0.2)),
    "loss": (aten.binary_cross_entropy_with_logits.default, (X, X)),
    "mean": (aten.mean.default, (X,)),
    "full": (aten.full_like.default, (SLICE, 1.0)),
}  # fmt: skip
ASKED = {
    "integers": (aten.div.Tensor, (meta(3, dtype=torch.int64), 2)),
    "two dtypes": (aten.mul.Tensor, (X, X.double())),
    "broadcast": (aten.mul.Tensor, (X, meta(6, 1, 1))),
    "another memory layout": (aten.exp.default, (X.contiguous(memory_format=torch.channels_last),)),
    "comparison": (aten.gt.Scalar, (X, 0)),
    "wrong channels": convolution(X, meta(8, 5, 4, 4)),
    "too small an image": convolution(X, meta(8, 6, 20, 20)),
    "a sum of losses": (aten.mse_loss.default, (X, X, 2)),
    "real tensors": (aten.mul.Tensor, (torch.ones(2), torch.ones(2))),
}


def layout(result: Any) -> Any:
    if isinstance(result, (tuple, list)):
        return [layout(r) for r in result]
    return None if result is None else (result.shape, result.dtype, result.device, result.stride())


@pytest.mark.parametrize("case", ANSWERED)
def test_results_are_those_of_torch(case: str) -> None:
    func, args = ANSWERED[case]
    assert layout(known(func, args, {})) == layout(func(*args))


@pytest.mark.parametrize("case", ASKED)
def test_the_rest_is_torchs_to_answer(case: str) -> None:
    assert known(*ASKED[case], {}) is None


def test_a_keyword_is_torchs_to_answer() -> None:
    assert known(aten.add.Tensor, (X, X), {"alpha": 2}) is None


@pytest.mark.parametrize("make", [lambda: UNetGenerator(size=64, base=8), lambda: ResnetGenerator(base=8, blocks=2),
                                  lambda: PatchDiscriminator(in_channels=3, base=8)])  # fmt: skip
def test_flops_are_those_that_torch_counts(make: Any) -> None:
    with torch.device("meta"):
        network = make()
    totals = []
    for counter in (Flops(), FlopCounterMode(display=False)):
        with counter:
            network(meta(2, 3, 64, 64)).mean().backward()
        totals.append(counter.total if isinstance(counter, Flops) else counter.get_total_flops())
    assert totals[0] == totals[1] > 0


def test_the_plan_of_pix2pix_does_without_what_takes_long_to_import() -> None:
    code = """if True:
        import sys, ganflow
        from ganflow.inspection import inspect
        assert inspect(ganflow.load(sys.argv[1])).cost.total
        print(*sorted({"torch._dynamo", "sympy"} & sys.modules.keys()))"""
    command = [sys.executable, "-c", code, str(ROOT / "experiments" / "pix2pix.gin")]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (ran.returncode, ran.stderr, ran.stdout.strip()) == (0, "", "")
