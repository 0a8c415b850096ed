"""Histograms of weights and of their gradients, in an iteration that is looked at closely.

    TensorBoard: weights/G/down.0.weight, gradients/G/G/down.0.weight

A gradient is what the backward passes of an update have left, before anything is clipped. Numbers that are not finite
are left out of a histogram and counted: ``health/nonfinite/gradients/G/G``.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ganflow.logs import Logs
from ganflow.step import TrainStep

if TYPE_CHECKING:
    import numpy as np

BINS = 30


class Histograms:
    """The instrument, for one iteration of a step."""

    def __init__(self, step: TrainStep) -> None:
        self.step = step
        self.updates = {u.name: u for u in step.graph.updates}
        self.seen: Counter[str] = Counter()
        self.found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.bad: Counter[str] = Counter()

    def observe(self, phase: str, node: str, value: Any) -> None:
        """After the last part of an update's first run its gradient is whole."""
        if node != "backward" or phase not in self.updates:
            return
        self.seen[phase] += 1
        if self.seen[phase] == self.updates[phase].microbatches:
            self.gradients(phase)

    def gradients(self, update: str) -> None:
        own = {id(p) for p in self.step.parameters[update]}
        for network in self.updates[update].networks:
            for path, p in self.step.networks[network].named_parameters():
                if id(p) in own and p.grad is not None:
                    self.add(f"gradients/{update.replace('/', '.')}/{network}", path, p.grad)

    def add(self, family: str, path: str, tensor: Tensor) -> None:
        found, bad = histogram(tensor)
        self.bad[family] += bad
        if found is not None:
            self.found[f"{family}/{path}"] = found

    def report(self, logs: Logs, step: int) -> dict[str, float]:
        """After the iteration: the weights as they are now."""
        for name, network in self.step.networks.items():
            for path, p in network.named_parameters():
                self.add(f"weights/{name}", path, p)
        logs.histograms(step, self.found)
        return {f"health/nonfinite/{family}": float(count) for family, count in self.bad.items() if count}


@torch.no_grad()
def histogram(tensor: Tensor) -> tuple[tuple[np.ndarray, np.ndarray] | None, int]:
    """Counts and edges of the finite numbers, none if there is no such number; and how many are not finite."""
    import numpy as np

    numbers, bad = _numbers(tensor), 0
    if not numbers.numel():
        return None, 0
    low, high = _ends(numbers)
    if not (math.isfinite(low) and math.isfinite(high)):
        finite = numbers.isfinite()
        bad = numbers.numel() - int(finite.sum())
        numbers = numbers[finite]
        if not numbers.numel():
            return None, bad
        low, high = _ends(numbers)
    if low == high:  # a bias that nothing has moved yet: a spike in the middle
        wide = max(abs(low) * 0.1, 1e-3)
        low, high = low - wide, high + wide
    if not 1e-30 < high - low < 3e38:
        numbers = numbers.cpu().double()  # which not every device has
    places = ((numbers - low) * (BINS / (high - low))).long().clamp_(0, BINS - 1)
    return (torch.bincount(places, minlength=BINS).cpu().numpy(), np.linspace(low, high, BINS + 1)), bad


def _ends(numbers: Tensor) -> tuple[float, float]:
    low, high = numbers.aminmax()
    return float(low), float(high)


def _numbers(tensor: Tensor) -> Tensor:
    """All that the tensor holds, in a row, in single precision, which is how it is shown."""
    values = tensor.detach()
    values = values.coalesce().values() if values.is_sparse else values
    values = torch.view_as_real(values) if values.is_complex() else values
    return values.flatten().float()
