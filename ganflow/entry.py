"""What an expression may reach of a network: entry points, sub-modules and parameters, and nothing else.

check_paths(graph, networks)          # `G.mapping(z)`, `G.head(x)`, `G.head.weight` are there and may be used
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import nn

from ganflow.errors import GanflowError, did_you_mean
from ganflow.graph import Node, StepGraph, Unroll


def check_paths(graph: StepGraph, networks: Mapping[str, nn.Module]) -> None:
    """Every path in the graph leads to something that the language lets expressions use.

    Raises:
        GanflowError: ``unknown-part``.
    """
    unrolled = {n.id: n.value.source for n in graph.nodes.values() if isinstance(n.value, Unroll)}
    for node in graph.nodes.values():
        module = networks.get(unrolled.get(node.target, node.target))
        if module is not None and node.path and node.kind in ("call", "parameter"):
            _check(node, module)


def entry_points(module: nn.Module) -> list[str]:
    """Public methods that the network's class defines below ``nn.Module``, ``forward`` left out."""
    below = [c for c in type(module).__mro__ if issubclass(c, nn.Module) and c is not nn.Module]
    own = set(vars(nn.Module))
    names = [n for c in below for n, m in vars(c).items() if inspect.isfunction(m) and not n.startswith("_")]
    return [n for n in dict.fromkeys(names) if n not in own]


def _check(node: Node, module: nn.Module) -> None:
    *inner, last = node.path.split(".")
    for name in inner:
        if name not in module._modules or module._modules[name] is None:
            raise _unknown(node, name, list(module._modules))
        module = module._modules[name]  # type: ignore[assignment]
    if node.kind == "parameter":
        allowed = [n for n, _ in module.named_parameters(recurse=False)]
        allowed += [n for n in getattr(module, "parametrizations", {}) if n not in allowed]
    else:
        allowed = [*(n for n, m in module._modules.items() if m is not None), *entry_points(module)]
    if last not in allowed:
        raise _unknown(node, last, allowed)


def _unknown(node: Node, name: str, allowed: list[str]) -> GanflowError:
    what = "parameter" if node.kind == "parameter" else "entry point or sub-module"
    hint = did_you_mean(name, allowed) or f"there is: {', '.join(allowed[:12]) or 'nothing'}"
    return GanflowError(
        f"`{node.target}.{node.path}`: {name} is no {what} that expressions may use", location=node.location,
        hint=hint, code="unknown-part",
    )  # fmt: skip
