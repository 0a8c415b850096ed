"""Steps that are not taken: an optimizer whose gradients are not finite is left as it is.

guard = Guard(step.optimizers, lambda: step.counters.step + 1)
guard.optimizers["G"].step()         # only where every gradient is finite: the host waits to know
guard.taken()                        # "G once, in iteration 7", {"skipped/G": 1.0, "skipped/D": 0.0}; counts anew
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Guard:
    """Stands between generated code and the optimizers of a step.

    What the optimizer would be given is what counts: after ``nan_to_num`` and clipping. All else of an iteration goes
    on: moving averages, clamps, states; an optimizer's own count of steps does not.

    Attributes:
        optimizers: what generated code steps, by the same names.
        skipped: optimizer -> how many of its steps were not taken since the last :meth:`taken`, and the first one's
            iteration.
    """

    def __init__(self, optimizers: Mapping[str, Any], iteration: Callable[[], int]) -> None:
        self.iteration = iteration
        self.optimizers = {name: Guarded(self, name, optimizer) for name, optimizer in optimizers.items()}
        self.skipped: dict[str, tuple[int, int]] = {}

    def skip(self, name: str) -> None:
        """One step was not taken."""
        count, first = self.skipped.get(name, (0, self.iteration()))
        self.skipped[name] = (count + 1, first)

    def taken(self) -> tuple[str, dict[str, float]]:
        """What was skipped since this was asked last: in words, and how many of each optimizer by their tags."""
        found, self.skipped = self.skipped, {}
        words = [f"{name} {n} times, first in iteration {at}" if n > 1 else f"{name} once, in iteration {at}"
                 for name, (n, at) in found.items()]  # fmt: skip
        return "; ".join(words), {f"skipped/{name}": float(found.get(name, (0, 0))[0]) for name in self.optimizers}

    def clipping(self, clip: Callable[..., None]) -> Callable[..., None]:
        """``clip_gradients`` for this guard: one norm over several networks spoils the gradients of all of them."""

        def clipped(parameters: list[nn.Parameter], *, norm: float | None, **how: Any) -> None:
            clip(parameters, norm=norm, **how)
            grads = gradients(parameters)
            if norm is not None and not all_finite(grads):
                for g in grads:  # those of the others were scaled by 1/inf: zeros, which would pass for gradients
                    (g._values() if g.is_sparse else g).fill_(torch.nan)

        return clipped


class Guarded:
    """An optimizer, as far as generated code knows one."""

    def __init__(self, guard: Guard, name: str, optimizer: Any) -> None:
        self.guard, self.name, self.optimizer = guard, name, optimizer

    @property
    def param_groups(self) -> Sequence[dict[str, Any]]:
        return self.optimizer.param_groups  # type: ignore[no-any-return]

    def step(self) -> None:
        """Step, or do not."""
        if all_finite(gradients(p for group in self.param_groups for p in group["params"])):
            self.optimizer.step()
        else:
            self.guard.skip(self.name)


def gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Those that there are."""
    return [p.grad for p in parameters if p.grad is not None]


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number is; the host waits, once for each device. Integers and empty tensors are."""
    kinds: dict[torch.device, list[Tensor]] = {}
    for x in tensors:
        values = x.detach()
        values = values._values() if values.is_sparse else values
        if values.numel() and (values.is_floating_point() or values.is_complex()):
            kinds.setdefault(values.device, []).append(values)
    # the largest magnitude, not the 2-norm: that one overflows where the numbers are large, and finite
    largest = [torch.stack(list(torch._foreach_norm(xs, torch.inf))) for xs in kinds.values()]
    return all(bool(x.isfinite().all()) for x in largest)
