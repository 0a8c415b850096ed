"""Checks that need to look at the built networks: calls, parts, owners, batch norm, critics.

    for finding in check_modules(experiment, graph, meta_networks(experiment, graph)):
        print(finding)      # error[arguments], error[unknown-part], error[two-owners], warning[grad-batch-norm], ...

The networks lie on the meta device: nothing is allocated and nothing is computed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from ganflow import build
from ganflow.components import entry_points
from ganflow.errors import GanflowError, did_you_mean
from ganflow.experiment import Diagnostic, Experiment
from ganflow.games import unbounded_critics
from ganflow.graph import StepGraph
from ganflow.inside import check_inside
from ganflow.modes import grad_path, modes_of
from ganflow.nodes import WEIGHTS, Node, in_order
from ganflow.sharing import check_owners, check_parts

Networks = Mapping[str, nn.Module]


def meta_networks(experiment: Experiment, graph: StepGraph) -> dict[str, nn.Module]:
    """Every network that has a module of its own, on the meta device; modules that gin makes once are shared."""
    singletons: dict[str, Any] = {}
    names = [n for n in graph.networks if not experiment.networks[n].derived]
    return {n: build.network(experiment, n, device="meta", singletons=singletons) for n in names}


def check_modules(experiment: Experiment, graph: StepGraph, networks: Networks) -> list[Diagnostic]:
    """Every finding."""
    roots = [u.loss for u in graph.updates] + [s.next for s in graph.states]
    order = in_order(graph.nodes, roots)
    # an attack on the input is no penalty: its gradient is used, and not differentiated
    differentiated = {n for u in graph.updates for n in modes_of(graph.nodes, [u.loss], frozenset(u.moves)).carrying}
    found: list[Diagnostic] = []
    for node in (graph.nodes[n] for n in order):
        if node.kind == "call":
            found += _call(experiment, networks, graph.nodes, node)
        elif node.kind == "parameter":
            found += _parameter(experiment, networks, node)
        elif node.kind == "grad" and node.id in differentiated:
            found += _batch_norm(experiment, graph, networks, order, node)
    found += [*_critics(experiment, graph, networks), *check_inside(experiment, graph, networks)]
    return [*_owners(experiment, graph, networks), *found]


# -- calls --------------------------------------------------------------------------------------------------


def _module(experiment: Experiment, networks: Networks, name: str) -> nn.Module | None:
    """The module of a network; an average's or an unrolled network's is its source's."""
    declared = experiment.networks[name]
    return networks.get(declared.ema_of or declared.unroll_of or name)


def _call(experiment: Experiment, networks: Networks, nodes: Mapping[str, Node], node: Node) -> Iterator[Diagnostic]:
    """Does the network have this part, and does it take these arguments?"""
    module = _module(experiment, networks, node.target)
    if module is None:
        return
    function: Callable[..., Any] | None = module.forward
    for k, part in enumerate(node.path.split(".") if node.path else ()):
        function = _part(module, part) if module is not None else None
        if function is None:
            yield _unknown(node, module, ".".join([node.target, *node.path.split(".")[:k]]), part)
            return
        module = function if isinstance(function, nn.Module) else None
    assert function is not None
    try:
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError):  # written in C
        return
    given = node.inputs[: len(node.inputs) - len(node.keywords)]
    if given and nodes[given[0]].kind == "unroll":  # the weights of an unrolled network
        given = given[1:]
    try:
        signature.bind(*given, **dict.fromkeys(node.keywords))
    except TypeError as error:
        name = ".".join(filter(None, (node.target, node.path)))
        yield Diagnostic(
            "error", "arguments", f"`{node.text}` does not fit the network: {error}", node.location,
            f"usage: {name}({', '.join(str(p).split(':')[0] for p in signature.parameters.values())})",
        )  # fmt: skip


def _part(module: nn.Module, name: str) -> Callable[..., Any] | None:
    if name in entry_points(type(module)):
        return getattr(module, name)  # type: ignore[no-any-return]
    found = getattr(module, name, None)
    return found if isinstance(found, nn.Module) else None


def _parameter(experiment: Experiment, networks: Networks, node: Node) -> Iterator[Diagnostic]:
    module = _module(experiment, networks, node.target)
    names = [] if module is None else [n for n, _ in module.named_parameters()]
    if module is not None and node.path not in names:
        known = [_as_written(n) for n in names]
        hint = did_you_mean(_as_written(node.path), known) or f"its parameters: {', '.join(known[:8]) or 'none'}"
        message = f"`{node.target}` has no parameter `{_as_written(node.path)}`"
        yield Diagnostic("error", "unknown-part", message, node.location, hint)


def _as_written(path: str) -> str:
    """``layers.0.weight`` as expressions have it: ``layers[0].weight``."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", path)


def _unknown(node: Node, module: nn.Module | None, owner: str, part: str) -> Diagnostic:
    known = [] if module is None else [*entry_points(type(module)), *(n for n, _ in module.named_children())]
    hint = did_you_mean(part, known) or f"its entry points and parts: {', '.join(known) or 'none'}"
    return Diagnostic("error", "unknown-part", f"`{owner}` has no `{part}` to call", node.location, hint)


# -- owners, batch norm, critics ----------------------------------------------------------------------------


def _owners(experiment: Experiment, graph: StepGraph, networks: Networks) -> Iterator[Diagnostic]:
    try:
        check_parts(graph, networks)
        check_owners(experiment, graph.updates, networks)
    except GanflowError as error:
        yield Diagnostic("error", error.code, error.message, error.location, error.hint)


def _batch_norm(
    experiment: Experiment, graph: StepGraph, networks: Networks, order: list[str], node: Node
) -> Iterator[Diagnostic]:
    """With batch statistics the gradient of one sample's output reaches all samples: no penalty per sample."""
    if graph.nodes[node.inputs[1]].kind in WEIGHTS:
        return
    path, seen = grad_path(graph.nodes, node.id) - {node.inputs[1]}, set[str]()
    for call in (graph.nodes[n] for n in order if n in path):
        module = _module(experiment, networks, call.target) if call.kind == "call" else None
        if module is None or call.target in seen or experiment.networks[call.target].mode == "eval":
            continue
        name = next((n for n, m in module.named_modules() if isinstance(m, _BatchNorm)), None)
        if name is not None:
            seen.add(call.target)
            yield Diagnostic(
                "warning", "grad-batch-norm",
                f"`{node.text}` passes the batch norm `{call.target}.{name}`: every sample's output depends on the "
                "whole batch, so this is not the gradient of one sample", node.location,
                f"a penalty per sample wants layer or instance norm in {call.target}, or none",
            )  # fmt: skip


def _critics(experiment: Experiment, graph: StepGraph, networks: Networks) -> Iterator[Diagnostic]:
    for name, (update, node) in unbounded_critics(graph, experiment).items():
        module = _module(experiment, networks, name)
        if module is None or not _spectral(module):
            yield Diagnostic(
                "warning", "wgan-unbounded",
                f"update {update} trains {name} on the Wasserstein objective, with neither a gradient penalty nor a "
                f"clamp: nothing keeps {name} 1-Lipschitz", node.location,
                "add a penalty to its loss, such as 10 * mean((norm(flat(grad(D(x), x)), dim=1) - 1) ** 2),\n"
                f"or bind {name}/Network.clamp = (-0.01, 0.01)",
            )  # fmt: skip


def _spectral(module: nn.Module) -> bool:
    """It has a spectral norm, which bounds it as well."""
    hooks = [h for m in module.modules() for h in m._forward_pre_hooks.values()]
    return any(isinstance(m, _SpectralNorm) for m in module.modules()) or any(
        isinstance(h, SpectralNorm) for h in hooks
    )
