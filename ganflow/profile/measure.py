"""Experiment -> Profile: real iterations, with and without torch's profiler, and textbook iterations beside them.

    profile = measure(ganflow.load("experiments/pix2pix.gin"), steps=10)
    print(text(profile))

After the warm-up, at least ``steps`` times: one iteration of the plan and one of the textbook loop on the same batches,
who is first in turn; ``steps`` times the plan's with the same counters under the profiler; one of each for memory.
"""

from __future__ import annotations

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from ganflow.cost import Cost
from ganflow.data.progress import say
from ganflow.errors import GanflowError
from ganflow.experiment import Experiment
from ganflow.graph import StepGraph
from ganflow.inspection import Inspection, inspect, refuse
from ganflow.profile.attribution import ITERATION, Attributed, Time, attributed
from ganflow.profile.counts import counted
from ganflow.profile.memory import Peaks, peaks
from ganflow.profile.model import Profile, Section, Textbook
from ganflow.profile.rows import sections
from ganflow.profile.stepping import ProfiledStep, Tape
from ganflow.profile.table import iterations_text
from ganflow.running import Counters
from ganflow.settings import settings_of
from ganflow.trainer import choose_device, dataset, training_batches
from ganflow.views import forwards

STEPS, WARMUP = 10, 3
PAIRS, ENOUGH = 100, 3.0  # pairs at most, seconds in all, beyond the iterations asked for
QUIET = "99"  # Kineto, which torch's profiler stands on, tells of its beginning and end on stderr


@dataclass
class _Found:
    """What the iterations gave."""

    pairs: list[tuple[float, float]] = field(default_factory=list)  # seconds of the plan, of the textbook loop
    profiled: list[Attributed] = field(default_factory=list)
    ran: list[Mapping[str, bool]] = field(default_factory=list)  # conditions of each profiled iteration
    trace: str = ""
    memory: list[Peaks | None] = field(default_factory=list)


def measure(
    experiment: Experiment,
    *,
    steps: int = STEPS,
    warmup: int = WARMUP,
    device: str | None = None,
    synthetic: bool = False,
    textbook: bool = True,
    trace: bool = False,
    batches: Sequence[Mapping[str, Tensor]] | None = None,
    networks: Mapping[str, nn.Module] | None = None,
) -> Profile:
    """Run iterations of an experiment and say where time, FLOPs and bytes go; nothing is written.

    Args:
        steps: iterations that are profiled, and of the plan and the textbook loop at least as many beside them.
        warmup: iterations of each kind before.
        device: by default ``Trainer.device``.
        synthetic: batches of random numbers in the shapes that the dataset declares; its files are not needed.
        textbook: run the textbook loop, too.
        trace: keep the trace of the first iteration.
        batches: an epoch, in place of the experiment's data.
        networks: modules in place of those that gin would build, by name.

    Raises:
        GanflowError: the experiment cannot run.
    """
    inspection = inspect(experiment)
    refuse(inspection.findings)
    settings = settings_of(experiment)
    where = choose_device(device or settings.device)
    source, kind = (batches, "given batches") if batches is not None else _batches(experiment, where, synthetic)
    runner = _Runner(experiment, source, where, networks, textbook=textbook)
    say(f"{experiment.name}: {warmup} iterations to warm up, {steps} measured, {steps} profiled, on {where}"
        + (", as many of the textbook loop" if textbook else ""))  # fmt: skip
    found = runner.run(steps, warmup, trace=trace)
    return _profile(runner, replace(inspection, graph=runner.step.graph), found, warmup=warmup, data=kind)


class _Runner:
    """The steps that take turns; lives for one call of :func:`measure`."""

    def __init__(
        self, experiment: Experiment, batches: Any, device: torch.device,
        networks: Mapping[str, nn.Module] | None, *, textbook: bool,
    ) -> None:  # fmt: skip
        os.environ.setdefault("KINETO_LOG_LEVEL", QUIET)
        self.experiment, self.device, self.per_epoch = experiment, device, len(batches)
        self.tape = Tape(batches)
        same = copy.deepcopy(networks)
        self.step = self.made(0, networks)
        self.other = self.made(1, same) if textbook else None

    def made(self, number: int, networks: Mapping[str, nn.Module] | None) -> ProfiledStep:
        """The plan's step, or the textbook's; both start from the same numbers."""
        torch.manual_seed(settings_of(self.experiment).seed)
        return ProfiledStep(
            self.experiment, self.tape.reader(number), textbook=bool(number), networks=networks,
            batches_per_epoch=self.per_epoch, device=self.device,
        )  # fmt: skip

    @property
    def steps(self) -> list[ProfiledStep]:
        return [self.step, *([self.other] if self.other is not None else [])]

    def run(self, steps: int, warmup: int, *, trace: bool) -> _Found:
        """All iterations."""
        found = _Found()
        for k in range(warmup):
            self.pair(k)
        start = copy.copy(self.step.counters)
        self.profiled()  # what the profiler does only once
        self.back(start)
        for k in range(steps):
            now = copy.copy(self.step.counters)
            found.pairs.append(self.pair(k))
            vars(self.step.counters).update(vars(now))  # the same iteration again, for the profiler
            times, text = self.profiled(trace=trace and k == 0)
            found.profiled.append(times)
            found.ran.append(self.step.ran)
            found.trace = found.trace or text
        while self.other is not None and len(found.pairs) < PAIRS and sum(map(sum, found.pairs)) < ENOUGH:
            found.pairs.append(self.pair(len(found.pairs)))  # a short step is compared more often
        self.back(start)
        found.memory = [self.memory(step) for step in self.steps]
        return found

    def back(self, counters: Counters) -> None:
        """The next iteration has these counters: conditions hold again as they did."""
        for step in self.steps:
            vars(step.counters).update(vars(counters))

    def pair(self, k: int) -> tuple[float, float]:
        """Seconds of one iteration of each, who is first in turn."""
        order = self.steps[:: -1 if k % 2 else 1]
        took = {step.textbook: self.seconds(step) for step in order}
        return took[False], took.get(True, 0.0)

    def seconds(self, step: ProfiledStep) -> float:
        """Of one iteration, waits for batches left out."""
        step.timed, step.waited = False, 0.0
        step.prepare()
        self.wait()
        start = time.perf_counter()
        step()
        self.wait()
        return time.perf_counter() - start - step.waited

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def profiled(self, *, trace: bool = False) -> tuple[Attributed, str]:
        """One iteration under the profiler: who took how long, and the trace."""
        profiler = self.profiler(self.step)
        times = attributed(profiler.events(), self.step.labels, on_device=self.device.type == "cuda")
        return times, _trace(profiler) if trace else ""

    def memory(self, step: ProfiledStep) -> Peaks | None:
        """One iteration whose allocations are recorded; the batch is there before, for whichever is first would pay."""
        self.tape.fill()
        profiler = self.profiler(step, memory=True)
        return peaks(_trace(profiler), step.labels, device=self.device.type)

    def profiler(self, step: ProfiledStep, *, memory: bool = False) -> profile:
        """The profiler after one iteration."""
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.device.type == "cuda" else [])]
        step.timed = True
        step.prepare()
        self.wait()
        with profile(activities=activities, profile_memory=memory) as profiler, record_function(ITERATION):
            step()
            self.wait()
        return profiler


def _trace(profiler: profile) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return path.read_text(encoding="utf-8")


def _batches(experiment: Experiment, device: torch.device, synthetic: bool) -> tuple[Any, str]:
    """What is iterated, and how it is called."""
    settings = settings_of(experiment)
    if synthetic:
        return Synthetic(experiment, settings.batch_size, settings.seed), "random numbers"
    name = getattr(experiment.trainer.get("data"), "name", "data")
    return training_batches(dataset(experiment), settings, device), name


class Synthetic:
    """Random batches of the shapes that the dataset declares; whole numbers are 0, which every label may be."""

    def __init__(self, experiment: Experiment, size: int, seed: int) -> None:
        fields = experiment.fields or {}
        if not fields or any(f.shape is None for f in fields.values()):
            raise GanflowError(
                "the shapes of the batch are not known, so none can be made up", location=experiment.location,
                code="no-data", hint="bind a dataset that declares them: Trainer.data = @earth()",
            )  # fmt: skip
        generator = torch.Generator().manual_seed(seed)
        self.batch: dict[str, Tensor] = {}
        for f in fields.values():
            dtype, shape = getattr(torch, f.dtype), (size, *(f.shape or ()))
            made = torch.rand(shape, generator=generator) * 2 - 1 if dtype.is_floating_point else torch.zeros(shape)
            self.batch[f.name] = made.to(dtype)

    def __len__(self) -> int:
        return 1000

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]:
        for _ in range(len(self)):
            yield self.batch


def _profile(runner: _Runner, inspection: Inspection, found: _Found, *, warmup: int, data: str) -> Profile:
    graph, times = inspection.graph, mean(found.profiled)
    cost, saved = counted(runner.experiment, inspection, found.ran)
    if _decides_on_the_way(graph):  # which of its arms an iteration took is not known to the count
        cost, saved = replace(cost, textbook=0, textbook_spent={}), ()
    own = [a for a, _ in found.pairs]
    parts = sections(graph, cost, times, found.memory[0])
    return Profile(
        name=graph.name, graph=graph, device=_device_name(runner.device),
        clock="device" if runner.device.type == "cuda" else "cpu", data=data,
        batch_size=runner.step.counters.batch_size, warmup=warmup, iterations=len(found.profiled),
        seconds=times.total, plain=(statistics.median(own), *middle(own)), sections=parts,
        flops=sum(r.flops for s in parts for r in s.rows) if cost.spent else None,
        peak=found.memory[0].total if found.memory[0] else None,
        textbook=_textbook(found, cost) if runner.other is not None else None,
        savings=saved, forwards=dict(forwards(graph)),
        notes=_notes(replace(inspection, cost=cost), parts, len(found.profiled), textbook=runner.other is not None),
        trace=found.trace,
    )  # fmt: skip


def _textbook(found: _Found, cost: Cost) -> Textbook:
    ratios = [other / own for own, other in found.pairs]
    low, high = middle(ratios)
    memory = found.memory[1]
    return Textbook(
        statistics.median(other for _, other in found.pairs), statistics.median(ratios), low, high, len(ratios),
        float(cost.textbook) if cost.textbook_spent else None, memory.total if memory else None,
    )  # fmt: skip


def _notes(inspection: Inspection, parts: Sequence[Section], steps: int, *, textbook: bool) -> tuple[str, ...]:
    found = [str(n) for n in inspection.cost.notes]
    idle = [s.title for s in parts if s.name and not s.runs]
    if idle:
        found.append(f"{', '.join(idle)} did not run in {iterations_text(steps)}; a larger --steps may see it")
    if textbook and inspection.cost.spent and _decides_on_the_way(inspection.graph):
        found.append("FLOPs of the textbook loop and what the plan saves of them are not counted where conditions are "
                     "decided during the iteration")  # fmt: skip
    return tuple(found)


def _decides_on_the_way(graph: StepGraph) -> bool:
    return any(not c.early for c in graph.conditions)


def mean(iterations: Sequence[Attributed]) -> Attributed:
    """Times and runs per iteration."""
    found, count = Attributed(sum(one.total for one in iterations) / len(iterations)), len(iterations)
    for key in dict.fromkeys(k for one in iterations for k in one.times):
        own = [one.times[key] for one in iterations if key in one.times]
        found.times[key] = Time(sum(t.runs for t in own) / count, sum(t.forward for t in own) / count,
                                sum(t.backward for t in own) / count)  # fmt: skip
    return found


def middle(values: Sequence[float]) -> tuple[float, float]:
    """The quartiles."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


def _device_name(device: torch.device) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
