"""Which operation made the first number that is not finite: one iteration with a look at every operation.

    with Births(step) as births:
        step(observe=births.observe)
    births.found[0]      # Birth(op="aten::log", value="nan", node="D_real", module="", place="losses.py:12", ...)

An operation counts where everything that goes into it is finite and what comes out is not. Of a backward pass it is
known which operation of the forward pass it belongs to: autograd numbers its nodes as they are made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ganflow.nonfinite import wrong
from ganflow.printing import AFTER_BACKWARD, BEFORE_BACKWARD
from ganflow.spending import tensors
from ganflow.step import BATCH

UNSET = ("empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided")  # what memory happened to hold
_OURS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
_TORCHS = os.path.join(os.path.dirname(os.path.abspath(torch.__file__)), "")


@dataclass
class Birth:
    """An operation that made something not finite of what was.

    Args:
        op: as torch names it, ``aten::log``.
        value: ``nan``, ``inf`` or ``-inf``.
        given: what went in: shapes, smallest and largest number.
        module: of which network, as ``D.layers.2``, where it is inside one.
        place: the last line of a user's own code, as ``losses.py:12``.
        node: the value that was being evaluated; of a backward pass the one whose forward made the operation.
        backward: the update whose backward pass it was, and the node of autograd: ``("G", "SqrtBackward0")``.
    """

    op: str
    value: str = ""
    given: str = ""
    module: str = ""
    place: str = ""
    node: str = ""
    backward: tuple[str, str] = ("", "")


class Births(TorchDispatchMode):
    """Lives for one iteration of a step.

    Attributes:
        found: in the order in which they happened.
    """

    def __init__(self, step: Any) -> None:
        super().__init__()
        self.found: list[Birth] = []
        self._names = {
            id(m): f"{n}.{p}".rstrip(".") for n, net in step.networks.items() for p, m in net.named_modules()
        }
        self._inside: list[str] = []
        self._waiting: list[Birth] = []  # made since the last value that was told
        self._makers: dict[int, Birth] = {}  # number of a node of autograd -> the operation that it belongs to
        self._update = ""
        self._hooks: list[Any] = []
        self._modules = [m for net in step.networks.values() for m in net.modules()]

    def __enter__(self) -> Births:
        for module in {id(m): m for m in self._modules}.values():
            self._hooks += [
                module.register_forward_pre_hook(self._enters),
                module.register_forward_hook(self._leaves, always_call=True),
            ]
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()
        self._named("")

    def observe(self, phase: str, node: str, value: Any) -> None:
        """What generated code calls."""
        if phase == BATCH:
            return
        if node == BEFORE_BACKWARD:
            self._update = phase
        elif node == AFTER_BACKWARD:
            self._update = ""
        self._named("" if node in (BEFORE_BACKWARD, AFTER_BACKWARD) else node)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = list(tensors([list(args), dict(kwargs or {})]))
        clean = not any(wrong(x) for x in given)
        said = _described(given) if clean else ""
        result = func(*args, **(kwargs or {}))
        now = Birth(func.name().partition(".")[0], module=self._inside[-1] if self._inside else "", place=_place())
        self._waiting.append(now)
        behind = torch._C._current_autograd_node()
        if behind is None:
            self._makers[torch._C._autograd._get_sequence_nr() - 1] = now
        if clean and now.op.removeprefix("aten::") not in UNSET and (value := wrong(result)):
            now.value, now.given = value, said
            if behind is not None:
                now.backward = (self._update, behind.name())
                self._of_forward(now, behind)
            self.found.append(now)
        return result

    def _of_forward(self, now: Birth, behind: Any) -> None:
        """What the forward pass knew of the operation whose derivative this is."""
        maker = self._makers.get(behind._sequence_nr())
        if maker is not None:
            now.node, now.module, now.place = maker.node, maker.module, maker.place

    def _named(self, node: str) -> None:
        """What was done since the last value was for this one."""
        for birth in self._waiting:
            birth.node = birth.node or node
        self._waiting.clear()

    def _enters(self, module: nn.Module, _: Any) -> None:
        self._inside.append(self._names[id(module)])

    def _leaves(self, module: nn.Module, *_: Any) -> None:
        self._inside.pop()


def _described(given: list[Tensor]) -> str:
    """``6×1 from -0.3 to 2``."""
    return ", ".join(_of(x) for x in given[:3])


def _of(x: Tensor) -> str:
    shape = "×".join(map(str, x.shape)) or "a number"
    if not x.numel() or x.is_complex() or x.is_sparse:
        return shape
    low, high = float(x.detach().min()), float(x.detach().max())
    return f"{shape} of {low:.4g}" if low == high else f"{shape} from {low:.4g} to {high:.4g}"


def _place() -> str:
    """The last line of code that is neither ganflow's nor torch's."""
    return next((f"{name}:{line}" for name, line in _frames() if not name.startswith((_OURS, _TORCHS, "<"))), "")


def _frames() -> Iterator[tuple[str, int]]:
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<ganflow step"):
            return
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
