"""Steps that are not taken: an optimizer whose gradients are not finite is left as it is.

guard = Guard(step.optimizers)
guard.optimizers["G"].step()         # only where every gradient is finite: the host waits to know
guard.taken()                        # {"skipped/G": 1.0, "skipped/D": 0.0}, and counts anew
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
        skipped: (iteration, optimizer) of every step not taken since the last :meth:`taken`.
    """

    def __init__(self, optimizers: Mapping[str, Any], iteration: Callable[[], int]) -> None:
        self.iteration = iteration
        self.optimizers = {name: Guarded(self, name, optimizer) for name, optimizer in optimizers.items()}
        self.skipped: list[tuple[int, str]] = []
        self.in_a_row = dict.fromkeys(optimizers, 0)

    def note(self, name: str, *, taken: bool) -> None:
        """One step was due."""
        self.in_a_row[name] = 0 if taken else self.in_a_row[name] + 1
        if not taken:
            self.skipped.append((self.iteration(), name))

    def taken(self) -> tuple[list[tuple[int, str]], dict[str, float]]:
        """What was skipped since this was asked last: each one, and how many of each optimizer by their tags."""
        found, self.skipped = self.skipped, []
        names = [name for _, name in found]
        return found, {f"skipped/{name}": float(names.count(name)) for name in self.optimizers}

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
        good = all_finite(gradients(p for group in self.param_groups for p in group["params"]))
        self.guard.note(self.name, taken=good)
        if good:
            self.optimizer.step()


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
