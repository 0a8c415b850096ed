"""Values without gradients: samples, metrics, translation.

evaluator = Evaluator(step, {"fake_B": Text("fake_B", here)})
with evaluation(step):                     # eval modes, buffers and random state restored afterwards
    values = evaluator(batch)              # {"fake_B": tensor}
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ganflow.codec import same
from ganflow.codegen import generate_values
from ganflow.data.seeding import seed_all
from ganflow.draws import SeededRandom
from ganflow.errors import GanflowError
from ganflow.experiment import Text
from ganflow.graph import StepGraph
from ganflow.keeping import random_states
from ganflow.resolve import resolve
from ganflow.running import Counters, compile_function
from ganflow.step import TrainStep, namespace


class Evaluator:
    """Named expressions of an experiment, evaluated on a batch with the networks of a step.

    Args:
        step: whose networks are used; one that the step pruned is an error.
        values: name -> expression.
        stand_ins: network -> the one whose weights are used in its place, such as its moving average.

    Its random draws are its own: the same in every call with the same ``index``, whatever training has drawn.
    """

    def __init__(
        self, step: TrainStep, values: Mapping[str, Text], *, stand_ins: Mapping[str, str] | None = None
    ) -> None:
        stand_ins = stand_ins or {}
        program = resolve(step.experiment, values)
        read = {n for node in program.nodes.values() for n in node.networks}
        for name in sorted({stand_ins.get(n, n) for n in read} - step.networks.keys()):
            raise GanflowError(
                f"network {name} is not part of this run: only terms of weight 0 used it",
                location=next(iter(values.values())).location, code="pruned-network",
                hint=f"drop what reads {name} from Trainer.show and Trainer.metrics",
            )  # fmt: skip
        self.step, self.networks = step, read
        self.fields = [n.target for n in program.nodes.values() if n.kind == "field"]
        graph = StepGraph(f"{step.graph.name} values", program.nodes, program.names, (), tuple(sorted(read)))
        space = namespace(step, graph)
        space |= {n: step.networks[stand_ins.get(n, n)] for n in read}
        self.random = SeededRandom(step.seed, device=str(step.device))
        space["draw"] = self.random.draw
        self._run = compile_function(graph, generate_values(graph, program.roots), space, "values")

    def __call__(self, batch: Mapping[str, Tensor], *, index: int = 0) -> dict[str, Any]:
        """The values of batch number ``index``; call it inside :func:`evaluation`."""
        self.random.batch = index
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
    try:
        with random_states(step.device), torch.no_grad():
            seed_all(seed)
            for name, network in step.networks.items():
                declared = step.experiment.networks[name]
                network.train(declared.eval_mode == "train" and declared.mode != "eval")
            yield
    finally:
        for module, training in modules:
            module.training = training
        with torch.no_grad():
            for buffer, kept in buffers:
                if not same(buffer, kept):  # one that repeats a single number cannot be written, nor has it changed
                    buffer.copy_(kept)
