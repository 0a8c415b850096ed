"""Networks whose shapes are only known from data (``LazyLinear``, CUT's MLP over features): built by one forward.

    materialise(experiment, graph, networks, evaluate, batch, seed=0)            # before the optimizers are made

What their calls need is evaluated once, without gradients, in eval mode and with draws of its own, so nothing of the
training that follows changes. Initialisation is seeded by (run seed, network), like that of any other network.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganflow.codegen import generate_values
from ganflow.draws import SeededRandom, site_seed
from ganflow.errors import GanflowError
from ganflow.experiment import Experiment
from ganflow.graph import StepGraph, in_order
from ganflow.nn.init import init_weights


def lazy_networks(networks: Mapping[str, nn.Module]) -> list[str]:
    """Networks with a parameter or buffer that has no shape yet."""
    return [n for n, m in networks.items() if any(map(is_lazy, [*m.parameters(), *m.buffers()]))]


def lazy_calls(graph: StepGraph, names: list[str]) -> dict[str, str]:
    """Calls of these networks, as roots to evaluate."""
    roots = [u.loss for u in graph.updates] + [s.next for s in graph.states]
    return {n: n for n in in_order(graph.nodes, roots) if set(graph.nodes[n].networks) & set(names)}


def materialise(
    experiment: Experiment,
    graph: StepGraph,
    networks: Mapping[str, nn.Module],
    evaluate: Any,
    batch: Mapping[str, Tensor],
    *,
    seed: int,
) -> None:
    """Give every lazy parameter its shape and its start.

    Args:
        evaluate: (source, draw) -> a function of the batch, that evaluates generated values.
    """
    names = lazy_networks(networks)
    handles = [networks[n].register_forward_pre_hook(_seeded(site_seed(seed, f"init/{n}"))) for n in names]
    modes = [(m, m.training) for net in networks.values() for m in net.modules()]
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for net in networks.values():
                net.eval()
            evaluate(generate_values(graph, lazy_calls(graph, names)), SeededRandom(seed))(batch)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:  # a lazy layer changes its class, not its identity
            module.training = training
    for name in lazy_networks(networks):
        declared = experiment.networks[name]
        raise GanflowError(
            f"some layers of {name} have no shape yet: nothing in a loss calls them", location=declared.location,
            hint="give them their sizes, or call them", code="lazy",
        )  # fmt: skip
    for name in names:
        kind = experiment.networks[name].init or getattr(networks[name], "default_init", "none")
        init_weights(networks[name], kind, generator=torch.Generator().manual_seed(site_seed(seed, f"weights/{name}")))


def _seeded(seed: int) -> Any:
    """Seeds torch's generator right before a network's first forward, which draws its weights."""
    done: list[bool] = []

    def hook(*_: object) -> None:
        if not done:
            done.append(True)
            torch.manual_seed(seed)

    return hook
