"""What ``test_bugs.py`` shows bugs with: a small GAN, its findings, its plan, and one iteration beside autograd.

codes("D/Update.trains = ['D', 'G']")             # {"opposed"}
run = Run("Schedule.updates = ['G', 'D']")
run.iterate()
assert run.change("D") == run.expected("D", d_loss)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ganflow
from ganflow.experiment import Diagnostic
from ganflow.graph import Evaluate, Phase, StepGraph
from ganflow.inspection import inspect

LR = 0.1
GAN = """
G/Network.module = @MLP()
D/Network.module = @MLP()
G/MLP.in_features = 2
G/MLP.out_features = 3
D/MLP.in_features = 3
D/MLP.out_features = 1
MLP.hidden = (4,)
MLP.activation = 'tanh'
Network.optimizer = @SGD
SGD.lr = 0.1

fake   = 'G(x)'
D_fake = 'gan(D(fake), False)'
D_real = 'gan(D(real), True)'
G_GAN  = 'gan(D(fake), True)'
D/Update.minimize = 'D_fake + D_real'
G/Update.minimize = 'G_GAN'
Schedule.updates  = ['D', 'G']
"""

Nets = Mapping[str, nn.Module]
Batch = Mapping[str, Tensor]
Loss = Callable[[Nets, Batch], Tensor]


def load(*lines: str, text: str = GAN) -> ganflow.Experiment:
    """The small GAN with these lines laid over it."""
    return ganflow.loads(text, list(lines))


def findings(*lines: str, text: str = GAN) -> tuple[Diagnostic, ...]:
    return inspect(load(*lines, text=text)).findings


def codes(*lines: str, text: str = GAN) -> set[str]:
    """Codes of errors and warnings; notes are no complaint."""
    return {f.code for f in findings(*lines, text=text) if f.level != "note"}


def graph(*lines: str, text: str = GAN) -> StepGraph:
    return ganflow.schedule(load(*lines, text=text))


def phase(of: StepGraph, update: str) -> Phase:
    return next(p for p in of.phases if update in [u.name for u in p.updates])


def made(of: StepGraph, update: str, text: str) -> Evaluate:
    """How an update evaluates the statement that calls ``text``, such as ``D(fake)``."""
    return next(e for e in phase(of, update).evaluations if of.nodes[e.node].text == text)


class Run:
    """A step in float64 with plain SGD, and its networks before and after the last iteration."""

    def __init__(self, *lines: str, text: str = GAN, batches: int = 4, nets: Nets | None = None) -> None:
        generator = torch.Generator().manual_seed(0)

        def draw(width: int) -> Tensor:
            return torch.randn(4, width, generator=generator, dtype=torch.float64)

        self.batches = [{"x": draw(2), "real": draw(3)} for _ in range(batches)]
        experiment = load(*lines, text=text)
        built = {n: ganflow.build.network(experiment, n) for n, d in experiment.networks.items() if not d.derived}
        self.nets = {n: m.double() for n, m in (built | dict(nets or {})).items()}
        self.step = ganflow.TrainStep(experiment, self.batches, networks=self.nets)
        self.before: dict[str, nn.Module] = {}
        self.batch: Batch = {}
        self.logs: dict[str, Any] = {}

    def iterate(self, times: int = 1) -> Run:
        for _ in range(times):
            self.before = copy.deepcopy(self.nets)
            self.batch = self.batches[self.step.counters.step % len(self.batches)]
            self.logs = self.step()
        return self

    def change(self, name: str) -> Tensor:
        """What the last iteration added to the parameters of a network."""
        return flat(self.nets[name]) - flat(self.before[name])

    def expected(self, name: str, loss: Loss, **moved: str) -> Tensor:
        """One step of SGD on a loss written by hand; ``moved``: networks taken as they are after the iteration."""
        nets = self.before | {n: self.nets[n] for n in moved}
        parameters = list(nets[name].parameters())
        return -LR * torch.cat([g.flatten() for g in torch.autograd.grad(loss(nets, self.batch), parameters)])


def flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def called(logits: Tensor, real: bool) -> Tensor:
    """``gan(logits, real)``."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def d_loss(nets: Nets, batch: Batch) -> Tensor:
    fake = nets["G"](batch["x"]).detach()
    return called(nets["D"](fake), False) + called(nets["D"](batch["real"]), True)


def g_loss(nets: Nets, batch: Batch) -> Tensor:
    return called(nets["D"](nets["G"](batch["x"])), True)


def close(a: Tensor, b: Tensor) -> bool:
    """Equal but for rounding, and not both zero."""
    return bool((a - b).abs().max() < 1e-12) and bool(b.abs().max() > 1e-6)
