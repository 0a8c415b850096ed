"""Values without gradients: samples, metrics, translation.

evaluator = Evaluator(step, {"fake_B": "fake_B", "psnr": "..."})
with evaluation(step):                     # eval modes, buffers and random state restored afterwards
    values = evaluator(batch)              # {"fake_B": tensor, ...}
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ganflow.codegen import generate_values
from ganflow.errors import GanflowError
from ganflow.experiment import Text
from ganflow.graph import StepGraph
from ganflow.resolve import resolve
from ganflow.step import Counters, TrainStep, compile_function, namespace


class Evaluator:
    """Named expressions of an experiment, evaluated on a batch with the networks of a step.

    Args:
        step: whose networks are used; one that the step pruned is an error.
        values: name -> expression.
    """

    def __init__(self, step: TrainStep, values: Mapping[str, Text]) -> None:
        program = resolve(step.experiment, values)
        read = {n for node in program.nodes.values() for n in node.networks}
        for name in sorted(read - step.networks.keys()):
            text = next(iter(values.values()))
            raise GanflowError(
                f"network {name} is not part of this run: only terms of weight 0 used it", location=text.location,
                hint=f"drop what reads {name} from Trainer.show and Trainer.metrics", code="pruned-network",
            )  # fmt: skip
        self.step, self.networks = step, read
        self.fields = [n.target for n in program.nodes.values() if n.kind == "field"]
        graph = StepGraph(f"{step.graph.name} values", program.nodes, program.names, (), tuple(sorted(read)))
        source = generate_values(graph, program.roots)
        self._run = compile_function(graph, source, namespace(step, graph), "values")

    def __call__(self, batch: Mapping[str, Tensor]) -> dict[str, Any]:
        """The values; call it inside :func:`evaluation`."""
        batch = {k: v.to(self.step.device) for k, v in batch.items() if isinstance(v, Tensor)}
        c = self.step.counters
        counters = Counters(c.step, c.epoch, c.epoch_step, c.images, len(next(iter(batch.values()))))
        return self._run(batch, counters)


@contextlib.contextmanager
def evaluation(step: TrainStep, *, seed: int = 0) -> Iterator[None]:
    """Every network in its ``eval_mode``; modes, buffers and random state are as before afterwards.

    A network that keeps batch statistics at test time (pix2pix) writes its buffers, and dropout draws numbers:
    neither may change the training that goes on after.
    """
    modules = [(m, m.training) for net in step.networks.values() for m in net.modules()]
    buffers = [(b, b.clone()) for net in step.networks.values() for b in net.buffers()]
    devices = [step.device] if step.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            torch.manual_seed(seed)
            for name, network in step.networks.items():
                declared = step.experiment.networks[name]
                network.train(declared.eval_mode == "train" and declared.mode != "eval")
            yield
    finally:
        for module, training in modules:
            module.training = training
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)
