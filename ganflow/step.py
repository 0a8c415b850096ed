"""TrainStep: networks, optimizers, a source of randomness, and the generated function that uses them.

step = TrainStep(experiment, batches=loader)
logs = step()                       # one iteration: {"loss/D_fake": 0-d tensor, ...}
step.networks["G"], step.optimizers["G"], step.counters.step
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ganflow import assembly, build
from ganflow.checks import raise_first_error
from ganflow.codegen import Source, generate, generate_active
from ganflow.cutnorms import CutNorms
from ganflow.cuts import cuts
from ganflow.draws import SeededRandom
from ganflow.errors import GanflowError
from ganflow.experiment import Experiment
from ganflow.follow import KeptBuffers, clamp_weights
from ganflow.graph import StepGraph
from ganflow.guard import Guard
from ganflow.ops import power
from ganflow.parts import in_parts
from ganflow.randomness import Randomness
from ganflow.running import Counters, compile_function, compile_step, explain
from ganflow.scheduler import build as build_graph
from ganflow.scheduler import plan, schedule
from ganflow.sharing import check_owners, shared_tensors, trained_parameters
from ganflow.unroll import unrolled

__all__ = ["Counters", "Frozen", "Random", "TrainStep", "compile_function", "compile_step", "explain", "gradient"]


Observer = Callable[[str, str, Any], None]
BATCH = "the batch"  # what an observer is told in place of a phase when it gets the fields of a batch: no phase has it


class Random(Protocol):
    """Where draws come from: ``kind`` is the op's name, ``site`` as language.md §4 names it."""

    def draw(self, site: str, kind: str, *args: Any, **kwargs: Any) -> Tensor: ...


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
        graph: the plan of this experiment, where it is made already.
        cut_norms: with gradient norms, log those of single terms where they can be told apart (``cuts.py``).
        skip_nonfinite: take no step of an optimizer whose gradients are not finite (``guard.py``); the host waits for
            each.

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
        graph: StepGraph | None = None,
        cut_norms: bool = True,
        skip_nonfinite: bool = False,
    ) -> None:
        self.experiment = experiment
        self.graph: StepGraph = build_graph(experiment) if graph is None else graph
        # a network that no term reaches may share tensors with one that a term reaches: known once they are built
        raise_first_error(d for d in self.graph.diagnostics if d.code != "starved-network")
        self.device = torch.device(device)
        self.seed = int(experiment.trainer.get("seed", 0)) if seed is None else seed  # type: ignore[call-overload]
        self.batches, self.batches_per_epoch = batches, batches_per_epoch
        self.counters = Counters()
        self.random: Random = random or SeededRandom(self.seed, device=str(self.device))
        self.randomness = Randomness(self.random, seed=self.seed)
        self.pools: dict[str, Any] = {}  # site of a stateful op -> its state
        self.states: dict[str, Any] = assembly.states(self)
        self._iterator: Iterator[Mapping[str, Tensor]] | None = None
        self._peeked: Mapping[str, Tensor] | None = None
        self._ended = 0  # epochs that ended since the iteration began
        self.networks = assembly.networks(self, networks or {})
        if shared := shared_tensors(self.graph, self.networks):
            self.graph = schedule(experiment, shared=shared)
        raise_first_error(self.graph.diagnostics)
        check_owners(experiment, self.graph.updates, self.networks)
        self.parameters = {u.name: trained_parameters(self.networks, u.trains) for u in self.graph.updates}
        self.optimizers, self._changing = assembly.optimizers(self)
        self.guard = Guard(self.optimizers, lambda: self.counters.step + 1) if skip_nonfinite else None
        self.source: Source = generate(self.graph)
        space = namespace(self)
        self._run = compile_step(self.graph, self.source, space)
        self._variants: dict[tuple[tuple[bool, ...], bool], Callable[..., dict[str, Any]]] = {}
        self._observer: Observer | None = None
        self._cuts = cuts(self.graph) if cut_norms else ()
        self._active = compile_function(self.graph, generate_active(self.graph), space, "active")

    def __call__(self, *, log_gradients: bool = False, observe: Observer | None = None) -> dict[str, Any]:
        """One iteration. Returns losses as 0-d tensors on the device and weights as numbers; nothing is synced.

        Args:
            log_gradients: return gradient norms, too, and those of single terms at cuts (``cutnorms.py``).
            observe: is called as ``observe(phase, node, value)`` with every value as it is made, with its graph, with
                the fields of every batch (``phase`` is ``BATCH``), and right before and after each backward pass. The
                numbers of the iteration are the same with and without.
        """
        norms = CutNorms(self.graph, self._cuts) if log_gradients and self._cuts else None
        # the norms come last: what an instrument differentiates on its own account is none of theirs
        observers = [o for o in (observe, norms and norms.observe) if o is not None]
        self._observer = _each(observers) if observers else None
        batch = self._next_batch(first=True)
        counters = self.counters
        size = counters.batch_size
        run = self._variant(self._active(counters) if self.graph.active else {}, observed=bool(observers))
        logs = run(batch, counters, log_gradients)
        self._observer = None
        if norms is not None:
            logs.update(norms.logs)
        counters.step += 1
        counters.images += size
        counters.epoch_step += 1
        if self.batches_per_epoch and counters.epoch_step >= self.batches_per_epoch:
            counters.epoch, counters.epoch_step = counters.epoch + 1, 0
        elif self._ended:
            counters.epoch, counters.epoch_step, self._ended = counters.epoch + self._ended, 0, 0
        return logs

    def _variant(self, active: Mapping[str, bool], *, observed: bool) -> Callable[..., dict[str, Any]]:
        """The step for an iteration in which these run; written when it is first needed."""
        if all(active.values()) and not observed:
            return self._run
        key = (tuple(active.values()), observed)
        if key not in self._variants:
            graph = self.graph if all(active.values()) else plan(self.graph, active)
            space = namespace(self) | ({"observe": self._observe} if observed else {})
            self._variants[key] = compile_step(graph, generate(graph, observe=observed), space)
        return self._variants[key]

    def _observe(self, phase: str, node: str, value: Any) -> None:
        assert self._observer is not None, "only a step that is observed says what it does"
        self._observer(phase, node, value)

    def hyperparameters(self) -> dict[str, float]:
        """``{"lr/G": 0.0002}``, as the optimizers hold them now."""
        return {f"lr/{n}": float(o.param_groups[0]["lr"]) for n, o in self.optimizers.items()}

    # -- batches --

    def first_batch(self) -> dict[str, Tensor]:
        """The batch that the first iteration will see."""
        self._peeked = self._raw_batch()
        return {k: v.to(self.device) for k, v in self._peeked.items() if isinstance(v, Tensor)}

    def _next_batch(self, first: bool = False) -> dict[str, Tensor]:
        """Fetch a batch; the first of an iteration begins an epoch if the last one ended with the one before."""
        batch = self._raw_batch()
        if first and self._ended:
            self.counters.epoch, self.counters.epoch_step, self._ended = self.counters.epoch + self._ended, 0, 0
        device = self.device
        # a `to` that has nothing to do costs as much as a small loss
        found = {
            k: v if v.device == device else v.to(device, non_blocking=True)
            for k, v in batch.items()
            if isinstance(v, Tensor)
        }
        if self.counters.step == 0 and first:
            self._check_batch(found)
        else:
            self.randomness.new_batch()
        self.counters.batch_size = next(iter(found.values())).shape[0] if found else 0
        for name, value in found.items() if self._observer else ():
            self._observe(BATCH, name, value)
        return found

    def _raw_batch(self) -> Mapping[str, Tensor]:
        if self._peeked is not None:
            batch, self._peeked = self._peeked, None
            return batch
        if self.batches is None:
            raise GanflowError("this step has no batches", hint="give it some: TrainStep(experiment, batches=loader)")
        if self._iterator is None:
            self._iterator = iter(self.batches)
        batch = next(self._iterator, None)
        return self._next_epoch() if batch is None else batch

    def _next_epoch(self) -> Mapping[str, Tensor]:
        self._iterator = iter(self.batches or ())
        batch = next(self._iterator, None)
        if batch is None:
            raise GanflowError("the batches ended and cannot be iterated again, or there are none", code="no-batches",
                               hint="hand over a list or a DataLoader rather than a generator")  # fmt: skip
        if self.batches_per_epoch is None:
            self._ended += 1
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
    space = assembly.ops(step, graph, keep=graph is step.graph)
    space |= step.networks
    space |= {
        "parameters": step.parameters, "states": step.states,
        "optimizers": step.guard.optimizers if step.guard else step.optimizers,
        "frozen": {n: Frozen(m) for n, m in step.networks.items()}, "no_grad": torch.no_grad,
        "kept_buffers": {n: KeptBuffers(m) for n, m in step.networks.items()},
        "draw": step.randomness.draw, "redraw": step.randomness.redraw, "fetch": step._next_batch,
        "gradient": gradient, "clear_gradients": clear_gradients,
        "clip_gradients": step.guard.clipping(clip_gradients) if step.guard else clip_gradients,
        "constant": constant, "unrolled": unrolled, "power": power,
        "in_parts": partial(in_parts, step.randomness), "schedules": build.schedules(step.experiment, graph),
        "gradient_norm": lambda update, network: gradient_norm(step, update, network),
        "set_hyperparameters": lambda key, counters: set_hyperparameters(step, key, counters),
        "clamp_weights": lambda network, low, high: clamp_weights(step.networks[network], low, high),
        "follow": lambda name, beta: assembly.follow_source(step, name, beta),
    }  # fmt: skip
    return space


def _each(observers: Sequence[Observer]) -> Observer:
    """Tells all of them, in order."""

    def observe(phase: str, node: str, value: Any) -> None:
        for observer in observers:
            observer(phase, node, value)

    return observers[0] if len(observers) == 1 else observe


def constant(value: Any) -> Any:
    """The next value of a state: without history, and no view of a weight that moves on."""
    if isinstance(value, (tuple, list)):
        return type(value)(map(constant, value))
    return value.detach().clone() if isinstance(value, Tensor) else value


def gradient_norm(step: TrainStep, update: str, network: str) -> Tensor:
    """The 2-norm of an update's gradient in one network, as it is when this is called."""
    own = {id(p) for p in step.networks[network].parameters()}
    grads = [_dense(p.grad) for p in step.parameters[update] if p.grad is not None and id(p) in own]
    return nn.utils.get_total_norm(grads)


def _dense(gradient: Tensor) -> Tensor:
    """All of its numbers that are not zero by construction."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


def set_hyperparameters(step: TrainStep, key: str, counters: Counters) -> None:
    """Evaluate the optimizer arguments that change, right before the step they serve."""
    for argument, function in step._changing[key].items():
        for group in step.optimizers[key].param_groups:
            group[argument] = function(counters)


def gradient(y: Tensor, x: Tensor | nn.Module, *, create_graph: bool, retain_graph: bool | None = None) -> Tensor:
    """``grad(y, x)`` of the language: dy/dx, a non-scalar y summed."""
    total = y if y.dim() == 0 else y.sum()
    if isinstance(x, nn.Module):  # all of its weights, as one vector
        own = [p for p in x.parameters() if p.requires_grad]
        kept = retain_graph or create_graph
        found = torch.autograd.grad(total, own, None, kept, create_graph, materialize_grads=True)
        return torch.cat([g.flatten() for g in found])
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
    for p in parameters:
        if p.grad is not None and p.grad.is_sparse:
            p.grad = p.grad.coalesce()  # its values are then what is changed in place
    held = [p if p.grad is None or not p.grad.is_sparse else _Values(p.grad.values()) for p in parameters]
    if nan_to_num:
        for p in held:
            if p.grad is not None:
                torch.nan_to_num(p.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=p.grad)
    if value is not None:
        nn.utils.clip_grad_value_(held, value)
    if norm is not None:
        nn.utils.clip_grad_norm_(held, norm)


@dataclass
class _Values:
    """What a clip needs of a parameter whose gradient is sparse."""

    grad: Tensor
