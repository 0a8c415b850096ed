"""The same bits again: only deterministic algorithms, and what is said about it.

    with only_deterministic(settings.deterministic):
        for line in said(step, deterministic=settings.deterministic):
            print(line)              # reproducible bit for bit with torch 2.13.0, 2 threads and this processor

On a CPU all of ganflow's own networks and losses are deterministic. On CUDA some of torch's algorithms are not:
``torch.use_deterministic_algorithms`` documents which.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

import torch
from torch import nn

from ganflow.step import TrainStep

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"  # without it cuBLAS may add up in another order each time

# Layers of torch.nn whose results or gradients may differ each time on CUDA. These say so where they are documented ...
RECURRENT = frozenset({"RNN", "LSTM", "GRU"})
# ... torch has a deterministic way of these ...
CHOSEN = frozenset({
    "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d",
    "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d", "MaxPool3d",
})  # fmt: skip
# ... and none of these, which it refuses.
REFUSED = frozenset({
    "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "AvgPool3d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d",
    "AdaptiveMaxPool2d", "FractionalMaxPool2d", "FractionalMaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
    "NLLLoss", "CTCLoss",
})  # fmt: skip
SMOOTH = frozenset({"linear", "bilinear", "bicubic", "trilinear"})  # modes of nn.Upsample that are refused
REFUSED_OPS: Mapping[str, str] = {"ce": "NLLLoss"}  # ops of the language


@contextlib.contextmanager
def only_deterministic(wanted: bool) -> Iterator[None]:
    """Inside, torch takes deterministic algorithms and refuses what has none; afterwards all is as before.

    Args:
        wanted: whether to change anything.
    """
    if not wanted:
        yield
        return
    before, warned = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, workspace = torch.backends.cudnn.benchmark, os.environ.get(WORKSPACE)
    try:
        os.environ.setdefault(WORKSPACE, ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            os.environ.pop(WORKSPACE, None)


def said(step: TrainStep, *, deterministic: bool) -> tuple[str, ...]:
    """What a run's bits depend on, and what may make them differ; one line or two.

    Layers that a module's own code calls as functions are not seen; under ``--deterministic`` torch refuses those, too.
    """
    version = f"torch {torch.__version__}"
    if step.device.type == "cpu":
        threads = torch.get_num_threads()
        many = f"{threads} thread{'s' if threads > 1 else ''}"
        return (f"reproducible bit for bit with {version}, {many} and this processor",)
    if step.device.type != "cuda":
        return (f"not reproducible bit for bit: torch promises nothing of {step.device.type}",)
    chosen, refused = found(step, CHOSEN | RECURRENT), found(step, REFUSED)
    if deterministic:
        first = f"reproducible bit for bit with {version} and this device"
        return (first, f"--deterministic: torch refuses {_listed(refused)}") if refused else (first,)
    differs = chosen | {n: (*chosen.get(n, ()), *kinds) for n, kinds in refused.items()}
    if not differs:
        return (f"reproducible bit for bit with {version} and this device, as far as torch documents",)
    way = f", but refuses {_listed(refused)}" if refused else ""
    return (f"not reproducible bit for bit: {_listed(differs)}", f"--deterministic makes it so{way}")


def found(step: TrainStep, kinds: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """``{"G": ("Conv2d",), "loss_class": ("NLLLoss",)}``: networks and definitions, and what they have of ``kinds``."""
    has: dict[str, dict[str, None]] = {}
    for network, module in step.networks.items():
        for layer in module.modules():
            if (kind := _kind(layer, kinds)) is not None:
                has.setdefault(network, {})[kind] = None
    for node in step.graph.nodes.values():
        if node.kind == "op" and REFUSED_OPS.get(node.target) in kinds:
            has.setdefault(node.name or node.owner, {})[REFUSED_OPS[node.target]] = None
    return {name: tuple(its) for name, its in has.items()}


def _kind(layer: nn.Module, kinds: frozenset[str]) -> str | None:
    """What torch calls it; layers that are made of one of torch's are that one."""
    if isinstance(layer, nn.Upsample):
        return f"Upsample({layer.mode})" if layer.mode in SMOOTH and kinds is REFUSED else None
    if isinstance(layer, nn.EmbeddingBag):
        return "EmbeddingBag(max)" if layer.mode == "max" and kinds is REFUSED else None
    names = (c.__name__ for c in type(layer).__mro__ if c.__module__.startswith("torch.nn."))
    return next((name for name in names if name in kinds), None)


def _listed(found: Mapping[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{name} ({', '.join(kinds)})" for name, kinds in found.items())
