"""A step's parts: its networks (built, given, derived, lazily shaped), its optimizers, its ops.

networks(step, {})["G_ema"]          # a copy of G
optimizers(step)[0]["info"]          # an update's own optimizer
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ganflow import build, follow
from ganflow.codegen import Source, generate_values
from ganflow.draws import SeededRandom
from ganflow.entry import check_paths
from ganflow.errors import GanflowError
from ganflow.graph import StepGraph
from ganflow.lazy import lazy_networks, materialise
from ganflow.randomness import drawing, stateful
from ganflow.resolve import first_values
from ganflow.running import Counters, compile_function
from ganflow.sharing import check_parts, owned


def networks(step: Any, given: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Every network of the step, ready to train."""
    experiment = step.experiment
    if unknown := [n for n in given if n not in experiment.networks]:
        known = ", ".join(experiment.networks)
        raise GanflowError(f"networks= names {unknown}, which the experiment does not declare", hint=f"known: {known}")
    found: dict[str, nn.Module] = {}
    singletons: dict[str, Any] = {}
    for name in step.graph.networks:
        declared, module = experiment.networks[name], given.get(name)
        if module is not None:
            module = build._prepared(module, declared)
        elif not declared.derived:
            module = build.network(experiment, name, seed=step.seed, singletons=singletons)
        if module is not None:
            # A module that is a user's own and not made here would be lost on the meta device.
            found[name] = module if step.device.type == "meta" else module.to(step.device)
    check_parts(step.graph, found)
    check_paths(step.graph, found)
    if lazy_networks(found):
        materialise(experiment, step.graph, found, _evaluator(step, found), step.first_batch(), seed=step.seed)
    for average in step.graph.averages:
        if average.network not in found:
            found[average.network] = follow.copy_of(found[average.source])
        training = experiment.networks[average.network].mode == "train"  # BYOL's target sees its batch
        found[average.network].train(training).requires_grad_(False)
    return {name: found[name] for name in step.graph.networks}


def _evaluator(step: Any, found: Mapping[str, nn.Module]) -> Callable[..., Any]:
    """Generated values over networks that are still being built."""

    def evaluate(source: Source, random: SeededRandom) -> Callable[..., Any]:
        random.device = step.device
        draw = step.randomness.draw if step.device.type == "meta" else random.draw  # nothing draws on that device
        space = ops(step, step.graph, keep=False) | dict(found)
        space |= {"draw": draw, "states": step.states, "schedules": build.schedules(step.experiment, step.graph)}
        run = compile_function(step.graph, source, space, "values")
        return lambda batch: run(batch, Counters(batch_size=len(next(iter(batch.values())))))

    return evaluate


def ops(step: Any, graph: StepGraph, *, keep: bool) -> dict[str, Any]:
    """The ops that expressions call; ``keep=False``: states of stateful ones are read and left as they are."""
    called = {n.target for n in graph.nodes.values() if n.kind == "op"}
    space: dict[str, Any] = dict(build.ops(step.experiment, called | {"detach"}, device=step.device))
    for name in {n.target for n in graph.nodes.values() if n.stateful}:
        space[name] = stateful(step.randomness, step.pools, space[name], keep=keep)
    for name in {n.target for n in graph.nodes.values() if n.draws_itself}:
        space[name] = drawing(step.randomness, name, space[name])
    return space


def states(step: Any) -> dict[str, Any]:
    """The first value of every state: a constant, or what its expression draws and computes."""
    program = first_values(step.experiment)
    graph = StepGraph(f"{step.graph.name} states", program.nodes, program.names, (), ())
    space = ops(step, graph, keep=False) | {"draw": step.randomness.draw}
    made: dict[str, Any] = {}
    if program.roots:
        made = compile_function(graph, generate_values(graph, program.roots), space, "values")({}, Counters())
    return {s.name: made.get(s.name, s.init) for s in step.experiment.states.values()}


def optimizers(
    step: Any,
) -> tuple[dict[str, torch.optim.Optimizer], dict[str, Mapping[str, build.Argument]]]:
    """Optimizer by network or update, and the arguments of each that change from step to step."""
    made: dict[str, Any] = {}
    changing: dict[str, Mapping[str, build.Argument]] = {}
    held, sparse = owned(step.experiment, step.networks), set(_sparse(step.networks.values()))
    for update in step.graph.updates:
        for key in update.steps:
            if key in made:
                continue
            declared = step.experiment.networks[key].optimizer if key in held else None
            parameters = held.get(key, [])
            if update.own_optimizer:
                declared = step.experiment.updates[update.name].optimizer
                parameters = step.parameters[update.name]
            assert declared is not None
            if parameters:
                made[key], changing[key] = build.optimizer(
                    step.experiment, declared, key, parameters, step.counters,
                    sparse=any(id(p) in sparse for p in parameters),
                )  # fmt: skip
            else:
                made[key], changing[key] = Idle(), {}
    return made, changing


def _sparse(networks: Iterable[nn.Module]) -> Iterator[int]:
    """Ids of the tables of embeddings whose gradients hold only the rows that were read."""
    for module in (m for network in networks for m in network.modules()):
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.sparse:
            yield id(module.weight)


class Idle:
    """The optimizer of a network whose every tensor belongs to another: there is nothing to step."""

    param_groups: tuple[dict[str, Any], ...] = ({"lr": 0.0, "params": ()},)

    def step(self) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def follow_source(step: Any, name: str, beta: Any) -> None:
    """One step of a moving average."""
    average = next(a for a in step.graph.averages if a.network == name)
    follow.follow(step.networks[name], step.networks[average.source], beta, buffers=average.buffers)
