"""The gradient probe: which term really gives which network a gradient, measured, beside what the plan says.

    found = probe(step)               # before the first iteration, or between two
    print(found)                      # the matrix, term × network
    found.findings                    # leaks and starvation are errors, an exact zero is a warning

No static analysis sees a ``.data`` in a module, a detach in a hook, a head that no output uses. So one real iteration
runs, the generated step on the batch that comes next, every condition met, optimizers stepping; before each backward
pass every term of the update is differentiated by itself, unweighted, with respect to the parameters of every network,
frozen and cut as the generated code leaves them. Then all is put back (``keeping.py``): training goes on as if nothing
had been. An update whose condition does not hold yet is measured too; where it cannot run yet, it is left out, and a
note says so. What an update runs several times is measured in its first run. A new batch within the iteration is the
same batch again, because data cannot be rewound.

It costs an iteration, and a backward pass more for each term: the time of two or three iterations, and the memory of a
copy of the weights and of one gradient. Where something starves, a second iteration finds out where.
"""

from __future__ import annotations

import copy
from collections.abc import Set
from dataclasses import dataclass

import torch
from torch import Tensor

from ganflow.codegen import generate, generate_values
from ganflow.errors import GanflowError
from ganflow.experiment import Diagnostic
from ganflow.findings import findings
from ganflow.gradcut import watched
from ganflow.gradients import Recorder
from ganflow.graph import StepGraph
from ganflow.keeping import kept
from ganflow.matrix import LEGEND, Measured, Row
from ganflow.ranges import check_ranges, smallest
from ganflow.reach import host_tests
from ganflow.running import Counters, compile_function, compile_step, out_of_memory
from ganflow.scheduler import plan
from ganflow.step import TrainStep, namespace
from ganflow.traits import check_traits


@dataclass(frozen=True)
class Probe:
    """What was measured.

    Args:
        iteration: how many were done before it.
        dead: parameters whose gradient is exactly zero from every term, as ``G.layers.0.bias``.
        findings: errors first.
    """

    iteration: int
    networks: tuple[str, ...]
    rows: tuple[Row, ...]
    dead: tuple[str, ...] = ()
    findings: tuple[Diagnostic, ...] = ()

    @property
    def zeros(self) -> tuple[str, ...]:
        """What was exactly zero and should not stay so: ``G_GAN of update G in G``, ``G.layers.0.bias``."""
        cells = [f"{r.term} of update {r.update} in {n}" for r in self.rows for n, c in r.cells.items()
                 if c.must and c.kind == "zero"]  # fmt: skip
        return (*cells, *self.dead)

    def __str__(self) -> str:
        """The matrix."""
        head = ["update / term", *self.networks]
        body = [[f"{r.update} / {r.term}", *(str(r.cells[n]) for n in self.networks)] for r in self.rows]
        widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in (head, *body)]
        when = "before the first iteration" if not self.iteration else f"after {self.iteration} iterations"
        return "\n".join([f"gradient of each term, unweighted, {when}: 2-norm in each network", *lines, LEGEND])


def probe(step: TrainStep) -> Probe:
    """Measure term × network on the batch that the next iteration will see; the step is left as it was.

    Raises:
        GanflowError: the iteration itself fails.
    """
    late = waiting(step)
    try:
        measured = measure(step, forced=late)
    except Exception:
        if not late:
            raise
        measured = measure(step, skipped=late)  # a division by `step`, say: it need not be able to run yet
    rows = tuple(measured.row(update, term) for update in measured.updates for term in update.terms)
    starved = {(r.update, r.term, n) for r in rows for n, c in r.cells.items() if c.wrong == "starved"}
    again = {"forced": measured.forced, "skipped": measured.skipped}
    cuts = measure(step, trace=starved, **again).recorder.cuts if starved else {}
    seen = measured.recorder
    found = (*findings(measured, rows, cuts), *check_traits(step.graph, step.experiment, seen.traits),
             *check_ranges(step.graph, seen.traits, seen.lows))  # fmt: skip
    return Probe(step.counters.step, tuple(step.networks), rows, tuple(measured.dead()), found)


def probe_if_it_fits(step: TrainStep) -> Probe | None:
    """:func:`probe`, or ``None`` where the device's memory does not suffice for it: training needs less."""
    try:
        return probe(step)
    except Exception as error:
        if not out_of_memory(error):
            raise
    if step.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def waiting(step: TrainStep) -> tuple[str, ...]:
    """Updates and states whose condition does not hold in the next iteration, as far as that is known before it."""
    size = len(next(iter(step.first_batch().values()), ()))
    return tuple(name for name, holds in step._active(next_counters(step, size)).items() if not holds)


def measure(
    step: TrainStep,
    *,
    forced: tuple[str, ...] = (),
    skipped: tuple[str, ...] = (),
    trace: Set[tuple[str, str, str]] = frozenset(),
) -> Measured:
    """Run the iteration.

    Args:
        forced, skipped: see :class:`Measured`.
        trace: (update, term, network) for which it is looked up where the gradient stops; values are held for it.
    """
    graph = step.graph
    if graph.conditions:
        graph = plan(graph, {c.name: c.name not in skipped for c in graph.conditions})
    given = step.first_batch()
    counters = next_counters(step, len(next(iter(given.values()), ())))
    recorder = Recorder(graph, step.networks, trace)

    def batch() -> dict[str, Tensor]:
        return {k: v.clone() for k, v in given.items()}  # a module may write to its input

    def fetch() -> dict[str, Tensor]:
        step.randomness.new_batch()
        return batch()

    with kept(step), watched(step.networks if trace else {}) as recorder.lost:
        if counters.step:
            step.randomness.new_batch()
        else:
            step._check_batch(given)
        taken = _taken(step, graph, counters)
        space = namespace(step) | {"observe": recorder.observe, "fetch": fetch}
        compile_step(graph, generate(graph, observe=True), space)(batch(), counters, False)
        recorder.values.clear()  # and the graphs behind them
    for name, value in given.items():
        recorder.traits.see(name, value)
    recorder.lows = smallest(given)
    locations = {n: step.experiment.networks[n].location for n in step.networks}
    return Measured(graph, step.networks, step.parameters, recorder, taken, locations, forced, skipped)


def next_counters(step: TrainStep, size: int) -> Counters:
    """What the counters will be in the next iteration."""
    counters = copy.copy(step.counters)
    counters.batch_size = size
    if step._ended:
        counters.epoch, counters.epoch_step = counters.epoch + step._ended, 0
    return counters


def _taken(step: TrainStep, graph: StepGraph, counters: Counters) -> dict[str, bool]:
    """Which branch this iteration takes, where counters decide it."""
    tests = host_tests(graph.nodes, {t.node for u in graph.updates for t in u.terms})
    if not tests:
        return {}
    run = compile_function(graph, generate_values(graph, {t: t for t in tests}), namespace(step), "values")
    return {t: bool(v) for t, v in run({}, counters).items()}


def refuse_gradients(found: Probe) -> None:
    """Raise the errors of a probe as one message, with the matrix."""
    errors = [f for f in found.findings if f.level == "error"]
    if errors:
        first = errors[0]
        more = [f"and {len(errors) - 1} more, which `ganflow check --probe` shows"] if len(errors) > 1 else []
        raise GanflowError(
            first.message, location=first.location, code=first.code,
            hint="\n".join([first.hint, *more, "", str(found)]),
        )  # fmt: skip


def compared(before: Probe, now: Probe) -> list[str]:
    """What became of the exact zeros of an earlier probe, as lines to print."""
    still = [z for z in before.zeros if z in now.zeros]
    gone = [z for z in before.zeros if z not in now.zeros]
    lines = [f"warning: still exactly zero after {now.iteration} iterations: the gradient of {z}" for z in still]
    lines += [f"no longer zero after {now.iteration} iterations: the gradient of {z}" for z in gone]
    return [*lines, *(str(f) for f in now.findings if f.level == "error")]
