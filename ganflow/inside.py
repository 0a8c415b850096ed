"""What is inside a network's module and its declaration does not say: layers that still learn from batches, weights
that nobody knows of.

    for finding in check_inside(experiment, graph, meta_networks(experiment, graph)):
        print(finding)      # warning[frozen-mode], warning[unregistered]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ganflow.experiment import Diagnostic, Experiment
from ganflow.graph import StepGraph
from ganflow.nodes import in_order

DEPTH = 3  # lists in dicts in lists: nobody nests modules deeper
OWN = frozenset({"_parameters", "_modules", "_buffers"})


def check_inside(experiment: Experiment, graph: StepGraph, networks: Mapping[str, nn.Module]) -> Iterator[Diagnostic]:
    """Every finding, network by network."""
    roots = [u.loss for u in graph.updates] + [s.next for s in graph.states]
    called = {n for i in in_order(graph.nodes, roots) for n in graph.nodes[i].networks}
    known = {id(p) for m in networks.values() for p in m.parameters()}
    for name, module in networks.items():
        if name in called:
            yield from _frozen_mode(experiment, name, module)
            yield from _unregistered(experiment, name, module, known)


def _frozen_mode(experiment: Experiment, name: str, module: nn.Module) -> Iterator[Diagnostic]:
    """A teacher, or a network of features, that is in train mode: it is noisy, and its statistics move."""
    declared = experiment.networks[name]
    if declared.trainable or declared.mode is not None:
        return
    moving = next((n for n, m in module.named_modules() if isinstance(m, _BatchNorm) and m.track_running_stats), None)
    noisy = next((n for n, m in module.named_modules() if isinstance(m, _DropoutNd) and m.p > 0), None)
    if moving is None and noisy is None:
        return
    what = (
        f"the batch norm `{name}.{moving}` normalises by each batch, and its running statistics follow what it is shown"
        if moving is not None else f"the dropout `{name}.{noisy}` drops other features in every call"
    )  # fmt: skip
    yield Diagnostic(
        "warning", "frozen-mode", f"nothing trains {name}, and it runs in train mode: {what}",
        declared.where.get("trainable", declared.location),
        f"a pretrained network runs in eval mode: {name}/Network.mode = 'eval'\n"
        f"if train mode is meant: {name}/Network.mode = 'train' says so",
    )  # fmt: skip


def _unregistered(experiment: Experiment, name: str, module: nn.Module, known: Set[int]) -> Iterator[Diagnostic]:
    """Weights in a plain list, or plain tensors: no optimizer, no device, no checkpoint, no average knows them."""
    for path, part in module.named_modules():
        for attribute, value in vars(part).items():
            if attribute in OWN:
                continue
            lost = next((k for k, p in _held(value, attribute, DEPTH) if p.requires_grad and id(p) not in known), None)
            if lost is not None:
                where = ".".join(filter(None, (name, path, attribute)))
                declared = experiment.networks[name]
                yield Diagnostic(
                    "warning", "unregistered",
                    f"`{where}` holds weights that torch does not know as parameters of {name} (`{lost}`): they are "
                    "not trained, moved, saved or averaged", declared.where.get("module", declared.location),
                    "a list of modules is an nn.ModuleList, a dict of them a ModuleDict, a tensor an nn.Parameter;\n"
                    "weights that are hidden on purpose ask for no gradient: requires_grad_(False)",
                )  # fmt: skip


def _held(value: Any, name: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    """Weights that an attribute holds without torch's knowledge, with their names."""
    if isinstance(value, nn.Module):
        yield from ((f"{name}.{k}", p) for k, p in value.named_parameters())
    elif isinstance(value, Tensor):
        if value.grad_fn is None:  # what is computed from parameters has one
            yield name, value
    elif depth and isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            yield from _held(v, f"{name}[{i}]", depth - 1)
    elif depth and isinstance(value, dict):
        for k, v in value.items():
            yield from _held(v, f"{name}[{k!r}]", depth - 1)
