"""TrainStep: networks, optimizers, a source of randomness, and the generated function that uses them.

step = TrainStep(experiment, batches=loader)
logs = step()                       # one iteration: {"loss/D_fake": 0-d tensor, ...}
step.networks["G"], step.optimizers["G"], step.counters.step
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ganflow import build
from ganflow.codegen import Source, generate
from ganflow.draws import SeededRandom
from ganflow.errors import GanflowError
from ganflow.experiment import Experiment
from ganflow.graph import Node, StepGraph, statement_inputs
from ganflow.scheduler import schedule


class Random(Protocol):
    """Where draws come from: ``kind`` is the op's name, ``site`` as language.md §4 names it."""

    def draw(self, site: str, kind: str, *args: Any, **kwargs: Any) -> Tensor: ...


@dataclass
class Counters:
    """Constant within an iteration; they advance at its very end."""

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    images: int = 0
    batch_size: int = 0


class Frozen:
    """``with frozen:`` no parameter of the network asks for a gradient; restored as they were."""

    def __init__(self, network: nn.Module) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]

    def __enter__(self) -> None:
        for p in self.parameters:
            p.requires_grad = False

    def __exit__(self, *_: object) -> None:
        for p in self.parameters:
            p.requires_grad = True


class TrainStep:
    """One iteration of an experiment, as an object that can be called.

    Args:
        experiment: from ``ganflow.load``.
        batches: any iterable of dicts of tensors; iterated again when it ends, which ends an epoch.
        networks: replaces what gin would build, by name.
        batches_per_epoch: rolls the epoch every n iterations without restarting ``batches``.
        random: an object with ``draw(site, kind, *args)``; by default seeded from the run's seed.
        device: where networks and batches live.
        seed: of the run; by default ``Trainer.seed``.

    Raises:
        GanflowError: from the checks, from building a network, or naming the definition in which a step failed.
    """

    def __init__(
        self,
        experiment: Experiment,
        batches: Iterable[Mapping[str, Tensor]] | None = None,
        *,
        networks: Mapping[str, nn.Module] | None = None,
        batches_per_epoch: int | None = None,
        random: Random | None = None,
        device: str | torch.device = "cpu",
        seed: int | None = None,
    ) -> None:
        self.experiment = experiment
        self.graph: StepGraph = schedule(experiment)
        self.device = torch.device(device)
        self.seed = int(experiment.trainer.get("seed", 0)) if seed is None else seed  # type: ignore[call-overload]
        self.batches, self.batches_per_epoch = batches, batches_per_epoch
        self.counters = Counters()
        self.random: Random = random or SeededRandom(self.seed, device=str(self.device))
        self.states: dict[str, Any] = {}
        self.networks = self._networks(networks or {})
        self.parameters = {u.name: self._trained(u.trains) for u in self.graph.updates}
        self.optimizers, self._changing = self._optimizers()
        self.source: Source = generate(self.graph)
        self._iterator: Iterator[Mapping[str, Tensor]] | None = None
        self._run = compile_step(self.graph, self.source, namespace(self))

    def __call__(self, *, log_gradients: bool = False) -> dict[str, Any]:
        """One iteration. Returns losses as 0-d tensors on the device and weights as numbers; nothing is synced."""
        batch = self._next_batch()
        counters = self.counters
        logs = self._run(batch, counters, log_gradients)
        counters.step += 1
        counters.images += counters.batch_size
        counters.epoch_step += 1
        if self.batches_per_epoch and counters.epoch_step >= self.batches_per_epoch:
            counters.epoch, counters.epoch_step = counters.epoch + 1, 0
        return logs

    def hyperparameters(self) -> dict[str, float]:
        """``{"lr/G": 0.0002}``, as the optimizers hold them now."""
        return {f"lr/{n}": float(o.param_groups[0]["lr"]) for n, o in self.optimizers.items()}

    # -- building --

    def _networks(self, given: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        unknown = [n for n in given if n not in self.experiment.networks]
        if unknown:
            known = ", ".join(self.experiment.networks)
            raise GanflowError(
                f"networks= names {unknown}, which the experiment does not declare", hint=f"known: {known}"
            )
        found = {}
        for name in self.graph.networks:
            module = given.get(name)
            if module is None:
                module = build.network(self.experiment, name, seed=self.seed)
            else:
                module = build._prepared(module, self.experiment.networks[name])
            found[name] = module.to(self.device)
        return found

    def _trained(self, trains: Iterable[str]) -> list[nn.Parameter]:
        found: dict[int, nn.Parameter] = {}
        for name in trains:
            network, _, path = name.partition(".")
            module = self.networks[network].get_submodule(path)
            found.update({id(p): p for p in module.parameters() if p.requires_grad})
        return list(found.values())

    def _optimizers(self) -> tuple[dict[str, torch.optim.Optimizer], dict[str, Mapping[str, build.Argument]]]:
        made, changing = {}, {}
        for name in dict.fromkeys(n for u in self.graph.updates for n in u.steps):
            declared = self.experiment.networks[name].optimizer
            assert declared is not None
            parameters = [p for p in self.networks[name].parameters() if p.requires_grad]
            made[name], changing[name] = build.optimizer(self.experiment, declared, name, parameters, self.counters)
        return made, changing

    # -- batches --

    def _next_batch(self) -> dict[str, Tensor]:
        if self.batches is None:
            raise GanflowError("this step has no batches", hint="give it some: TrainStep(experiment, batches=loader)")
        if self._iterator is None:
            self._iterator = iter(self.batches)
        batch = next(self._iterator, None)
        if batch is None:
            batch = self._next_epoch()
        device = self.device
        # a `to` that has nothing to do costs as much as a small loss
        found = {
            k: v if v.device == device else v.to(device, non_blocking=True)
            for k, v in batch.items()
            if isinstance(v, Tensor)
        }
        if self.counters.step == 0:
            self._check_batch(found)
        self.counters.batch_size = next(iter(found.values())).shape[0] if found else 0
        return found

    def _next_epoch(self) -> Mapping[str, Tensor]:
        self._iterator = iter(self.batches or ())
        batch = next(self._iterator, None)
        if batch is None:
            raise GanflowError("the batches ended and cannot be iterated again, or there are none", code="no-batches",
                               hint="hand over a list or a DataLoader rather than a generator")  # fmt: skip
        if self.batches_per_epoch is None and self.counters.epoch_step:
            self.counters.epoch, self.counters.epoch_step = self.counters.epoch + 1, 0
        return batch

    def _check_batch(self, batch: Mapping[str, Tensor]) -> None:
        for node in self.graph.nodes.values():
            if node.kind == "field" and node.target not in batch:
                raise GanflowError(
                    f"`{node.target}` is neither defined nor in the batch", location=node.location, code="unknown-name",
                    hint=f"the batch has: {', '.join(batch) or 'nothing'}",
                )  # fmt: skip


def namespace(step: TrainStep, graph: StepGraph | None = None) -> dict[str, Any]:
    """The names that generated source reads; ``graph``: of other values over the same networks."""
    graph = graph or step.graph
    called = {n.target for n in graph.nodes.values() if n.kind == "op" and not n.stateful}
    space: dict[str, Any] = dict(build.ops(step.experiment, called | {"detach"}))
    space |= step.networks
    space |= {
        "parameters": step.parameters, "optimizers": step.optimizers, "states": step.states,
        "frozen": {n: Frozen(m) for n, m in step.networks.items()}, "no_grad": torch.no_grad,
        "draw": step.random.draw, "gradient": gradient, "clip_gradients": clip_gradients,
        "clear_gradients": clear_gradients, "schedules": build.schedules(step.experiment, graph),
        "gradient_norm": lambda update, network: gradient_norm(step, update, network),
        "set_hyperparameters": lambda network, counters: set_hyperparameters(step, network, counters),
    }  # fmt: skip
    return space


def gradient_norm(step: TrainStep, update: str, network: str) -> Tensor:
    """The 2-norm of an update's gradient in one network, before clipping's effect is gone."""
    own = {id(p) for p in step.networks[network].parameters()}
    grads = [p.grad for p in step.parameters[update] if p.grad is not None and id(p) in own]
    return nn.utils.get_total_norm(grads)


def set_hyperparameters(step: TrainStep, network: str, counters: Counters) -> None:
    """Evaluate the optimizer arguments that change, right before the step they serve."""
    for key, function in step._changing[network].items():
        for group in step.optimizers[network].param_groups:
            group[key] = function(counters)


def gradient(y: Tensor, x: Tensor, *, create_graph: bool, retain_graph: bool | None = None) -> Tensor:
    """``grad(y, x)`` of the language: dy/dx, a non-scalar y summed."""
    total = y if y.dim() == 0 else y.sum()
    return torch.autograd.grad(total, x, create_graph=create_graph, retain_graph=retain_graph or create_graph)[0]


def clear_gradients(optimizer: torch.optim.Optimizer) -> None:
    """``optimizer.zero_grad()`` without its hooks, which cost a small network more than its loss."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = None


def clip_gradients(
    parameters: list[nn.Parameter], *, nan_to_num: bool, value: float | None, norm: float | None
) -> None:
    """In this order: non-finite numbers replaced, values clipped, the norm over all clipped."""
    if nan_to_num:
        for p in parameters:
            if p.grad is not None:
                torch.nan_to_num(p.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=p.grad)
    if value is not None:
        nn.utils.clip_grad_value_(parameters, value)
    if norm is not None:
        nn.utils.clip_grad_norm_(parameters, norm)


def compile_step(graph: StepGraph, source: Source, space: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """The generated step, visible in tracebacks; an error in it names the definition."""
    return compile_function(graph, source, space, "step")


def compile_function(
    graph: StepGraph, source: Source, space: dict[str, Any], name: str
) -> Callable[..., dict[str, Any]]:
    """The function ``name`` of generated source."""
    digest = hashlib.blake2b(source.text.encode(), digest_size=4).hexdigest()
    filename = f"<ganflow {name} {graph.name} {digest}>"
    linecache.cache[filename] = (len(source.text), None, source.text.splitlines(keepends=True), filename)
    exec(compile(source.text, filename, "exec"), space)
    generated = space[name]

    def run(*args: Any) -> dict[str, Any]:
        try:
            return generated(*args)  # type: ignore[no-any-return]
        except Exception as error:
            raise explain(error, graph, source, filename) from error

    return run


def explain(error: Exception, graph: StepGraph, source: Source, filename: str) -> Exception:
    """The error of a step with the definition, its place and the shapes that went in."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != filename:
        trace = trace.tb_next
    node = graph.nodes.get(source.lines.get(trace.tb_lineno, "")) if trace is not None else None
    if trace is None or node is None:
        return error
    local = trace.tb_frame.f_locals
    if "implicitly created only for scalar outputs" in str(error):
        return _not_scalar(node, local)
    shapes = []
    for name in statement_inputs(graph.nodes, node.id):
        held = local.get(source.variables.get(name, ""))
        if isinstance(held, Tensor):
            shapes.append(f"{graph.nodes[name].name or name} {tuple(held.shape)}")
    message = error.message if isinstance(error, GanflowError) else f"{type(error).__name__}: {error}".split("\n")[0]
    return GanflowError(
        f"in `{node.name or node.owner}`: {message}", location=node.location, code="step",
        hint=f"it was given: {', '.join(shapes)}" if shapes else "",
    )  # fmt: skip


def _not_scalar(node: Node, local: Mapping[str, Any]) -> GanflowError:
    losses = [v for k, v in local.items() if k.startswith("loss_") and isinstance(v, Tensor) and v.ndim]
    shape = "×".join(map(str, losses[-1].shape)) if losses else "of several numbers"
    return GanflowError(
        f"`{node.text or node.name}` is minimized, but it is not a scalar: {shape}", location=node.location,
        code="not-scalar", hint="take its mean or its sum: mean(...), sum(...)",
    )  # fmt: skip
