"""Where a gradient stops on its way from a loss to a network, found in the autograd graph itself.

node = cut(nodes, "mel", "G", values)         # 'mel_fake': something inside `stft(fake)` cuts it
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganflow.graph import Node, statement_inputs
from ganflow.reach import way


def cut(nodes: Mapping[str, Node], term: str, network: str, values: Mapping[str, Any]) -> str:
    """The value inside whose evaluation the gradient is lost.

    Args:
        values: node -> what it was evaluated to in this iteration, its graph still there.
    """
    lane = way(nodes, term, network)
    held = {n: [t for t in tensors(values[n]) if t.requires_grad] for n in lane if n in values}
    root = next(tensors(values.get(term)), None)
    connected = root is not None and root.requires_grad
    open_ = _reached(root, held) if connected and root is not None else {n for n, found in held.items() if found}
    here, seen = term, {term}
    while True:
        before = [n for n in statement_inputs(nodes, here) if n in held and n not in seen]
        on = [n for n in before if n in open_]
        if not before or (on and not connected) or (connected and not on):
            return here
        here = (on or before)[0]
        seen.add(here)


def _reached(root: Tensor, held: Mapping[str, list[Tensor]]) -> set[str]:
    """Values to which a gradient comes from the root."""
    flat = [(n, t) for n, found in held.items() for t in found]
    total = root.sum() if root.ndim else root
    grads = torch.autograd.grad(total, [t for _, t in flat], retain_graph=True, allow_unused=True)
    return {n for (n, _), g in zip(flat, grads, strict=True) if g is not None}


@contextlib.contextmanager
def watched(networks: Mapping[str, nn.Module]) -> Iterator[list[str]]:
    """Modules whose result has no graph although their input or their weights ask for one; inner ones first."""
    lost: list[str] = []
    with contextlib.ExitStack() as stack:
        for network, module in networks.items():
            for path, part in module.named_modules():
                name = f"{network}.{path}" if path else network
                stack.enter_context(contextlib.closing(_Watch(part, name, lost)))
        yield lost


class _Watch:
    """A hook on one module, until it is closed."""

    def __init__(self, module: nn.Module, name: str, lost: list[str]) -> None:
        self.name, self.lost = name, lost
        self.handle = module.register_forward_hook(self.hook, with_kwargs=True)
        self.close = self.handle.remove

    def hook(self, module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        made = [t for t in tensors(result) if t.is_floating_point()]
        asks = any(t.requires_grad for t in tensors([*args, kwargs])) or any(
            p.requires_grad for p in module.parameters()
        )
        if torch.is_grad_enabled() and made and asks and not any(t.requires_grad for t in made):
            self.lost.append(self.name)


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in a value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for v in value.values():
            yield from tensors(v)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from tensors(v)
