"""A run from an experiment to its end: the checks before it, its parts, its directory. It knows nothing about GANs.

result = ganflow.Trainer(ganflow.load("experiments/pix2pix.gin"), run_dir="runs/pix2pix").fit()
result.metrics["psnr"], result.picture
"""

from __future__ import annotations

import contextlib
import math
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ganflow import build, rundir
from ganflow.board import beside
from ganflow.closure import Closure
from ganflow.data.loader import Batches, loader
from ganflow.data.progress import say
from ganflow.data.seeding import as_now, seed_all, seed_of, seeded
from ganflow.determinism import only_deterministic, said
from ganflow.display import clock, display
from ganflow.errors import GanflowError
from ganflow.experiment import Diagnostic, Experiment, Text, gin_text
from ganflow.graph import edges
from ganflow.inspection import Inspection, inspect, refuse
from ganflow.logs import Logs
from ganflow.loop import PROBE_AGAIN, Loop, Place, Result, Timed
from ganflow.memory import explained
from ganflow.presenting import layout_of, presented
from ganflow.probe import Probe, probe, probe_if_it_fits, refuse_gradients
from ganflow.resume import Origin, fork, go_back, opened, renew
from ganflow.saving import WEIGHTS, Saving
from ganflow.settings import Settings, check_length, settings_of
from ganflow.step import TrainStep
from ganflow.validation import Validation


class Trainer:
    """One run of an experiment.

        Trainer(experiment, run_dir="runs/baseline").fit()

    Args:
        experiment: from ``ganflow.load``; its ``Trainer`` bindings say how long, on which data, how often to log.
        run_dir: made by :meth:`fit`; by default ``runs/NAME``, or ``runs/NAME-2`` where that is taken.
        overwrite: delete a run that is there first; never anything else.
        data: a dataset in place of the one that the experiment names.
        networks: modules in place of those that gin would build, by name.
        strict: warnings are errors.
        progress: show on stdout how far it is.
        tensorboard: port of this machine's loopback at which TensorBoard shows the run while it goes on; 0: any.
        resume: go on with the run that is in ``run_dir``, bit for bit; begin it where there is none.
        allow: names of what may differ from that run, such as ``Trainer.steps``.
        fork: the directory of another run, with whose state a new one in ``run_dir`` begins; anything may differ.
        checkpoint: the step of the checkpoint to go on from; by default the newest whole one.
        command: how messages call the command line.

    Raises:
        GanflowError: from :meth:`fit`: before anything is written where the experiment cannot run; status 1
            where the run fails on its way, such as on a full disk.
    """

    def __init__(
        self,
        experiment: Experiment,
        run_dir: str | Path | None = None,
        *,
        overwrite: bool = False,
        data: Any = None,
        networks: Mapping[str, nn.Module] | None = None,
        strict: bool = False,
        progress: bool = True,
        tensorboard: int | None = None,
        resume: bool = False,
        allow: Collection[str] = (),
        fork: str | Path | None = None,
        checkpoint: int | None = None,
        command: str = "ganflow",
    ) -> None:
        self.experiment, self.overwrite, self.strict, self.progress = experiment, overwrite, strict, progress
        self.resume, self.allow, self.checkpoint, self.command = resume, allow, checkpoint, command
        self.fork = Path(fork) if fork is not None else None
        self.run_dir = Path(run_dir) if run_dir is not None else rundir.unique_name("runs", experiment.name)
        self.data, self.given_networks, self.port = data, networks, tensorboard
        self.settings: Settings = settings_of(experiment)

    def fit(self) -> Result:
        """Train to the end. An interrupted run keeps everything: ``resume=True`` goes on with it."""
        with only_deterministic(self.settings.deterministic):
            return self._fit()

    def _fit(self) -> Result:
        check_length(self.experiment, self.settings)
        inspection = inspect(self.experiment)
        refuse(inspection.findings, strict=self.strict)
        with contextlib.ExitStack() as stack:
            stack.enter_context(explained(self.experiment, inspection))
            device = choose_device(self.settings.device)
            origin, is_there = self.origin(inspection, device, stack)
            data = self.data if self.data is not None else dataset(self.experiment)
            settings = replace(self.settings, show=self.settings.show or default_show(self.experiment, inspection))
            for finding in inspection.findings:
                say(str(finding))
            step, batches = prepare(self.experiment, data, settings, networks=self.given_networks, device=device)
            closure, as_seeded = Closure(step), as_now()
            validation = Validation(step, data, settings)
            validation.rehearse()
            early = origin is None or origin.step < PROBE_AGAIN or bool(origin.changed)
            found = self.probe(step, settings, said=inspection.findings) if early else None
            total = run_length(settings, len(batches))
            made_by = rundir.environment(device=str(device), imports=self.experiment.imports)
            bar = display(self.experiment.name, total, shown=self.progress)
            board = stack.enter_context(beside(self.port))
            is_there = self.place(origin, inspection, closure, made_by, stack) or is_there
            board.show(self.run_dir)
            begun = origin.step if origin is not None and origin.payload is not None else None
            logs = Logs(self.run_dir, layout=layout_of(step.graph), resumed_at=origin and origin.step - (begun is None))
            with logs, bar as shown, presented(logs, self.run_dir, self.experiment, inspection, found, origin=origin):
                shown.say(self.beginning(origin, total, device, batches))
                for line in said(step, deterministic=settings.deterministic):
                    shown.say(line)
                path = shlex.quote(str(self.run_dir))
                place = Place(self.run_dir, is_there, f"{self.command} resume {path}", f"{self.command} replay {path}")
                told = {
                    "made_by": made_by,
                    "config": rundir.load(self.run_dir).config,
                    "say": shown.say,
                    "check": place.check,
                }
                saving = Saving(self.run_dir, settings, closure, batches.batches, **told)
                loop = Loop(place, settings, step, batches, validation, logs, shown, total, saving, found)
                as_seeded()
                if origin is not None and origin.payload is not None:
                    for name in closure.fresh(origin.payload["state"]):
                        shown.say(f"the optimizer of {name} is of another kind now: it begins without a memory")
                    closure.restore(origin.payload["state"])
                    loop.restore(origin.payload)
                    shown.advance(origin.step)
                return loop.run()

    def origin(
        self, inspection: Inspection, device: torch.device, stack: contextlib.ExitStack
    ) -> tuple[Origin | None, Callable[[], bool] | None]:  # fmt: skip
        """Where the run goes on, None where it begins; nothing on the disk changes. What goes on is locked."""
        tell = {"experiment": self.experiment, "inspection": inspection, "step": self.checkpoint, "say": say,
                "device": str(device)}  # fmt: skip
        if self.fork is not None:
            rundir.check_free(self.run_dir)
            return opened(self.fork, **tell, everything=True), None
        if not self.resume or not rundir.is_begun(self.run_dir):
            rundir.check_free(self.run_dir, overwrite=self.overwrite)
            return None, None
        is_there = stack.enter_context(rundir.in_use(self.run_dir))
        return opened(self.run_dir, **tell, allow=self.allow), is_there

    def place(
        self, origin: Origin | None, inspection: Inspection, closure: Closure, made_by: Mapping[str, Any],
        stack: contextlib.ExitStack,
    ) -> Callable[[], bool] | None:  # fmt: skip
        """The run's directory as it is to be before the next iteration, and the step with it."""
        texts = {
            "config": gin_text(self.experiment),
            "plan": inspection.plan + "\n",
            "source": closure.step.source.text,
        }
        if origin is None:
            rundir.create(self.run_dir, **texts, environment=dict(made_by), overwrite=self.overwrite)
            return stack.enter_context(rundir.in_use(self.run_dir))
        if origin.payload is not None:
            closure.check(origin.payload["state"])  # before anything is written
        is_there = None
        if self.fork is not None:
            fork(self.fork, self.run_dir, step=origin.step, say=say)
            is_there = stack.enter_context(rundir.in_use(self.run_dir))
        go_back(self.run_dir, origin.step if origin.payload is not None else -1)
        if origin.changed:
            renew(self.run_dir, origin.step, **texts)
        return is_there

    def beginning(self, origin: Origin | None, total: int, device: torch.device, batches: Timed) -> str:
        """The first line."""
        many = f"{len(batches.batches.samples)} training samples, batches of {self.settings.batch_size}"
        if origin is None or origin.payload is None:
            return f"{self.run_dir}: {total} iterations on {device}; {many}"
        changed = f"{origin.changed}\n" if origin.changed else ""
        if origin.step >= total:
            return f"{changed}{self.run_dir} is done: it has had {origin.step} iterations, of {total} asked for"
        return f"{changed}{self.run_dir}: goes on after step {origin.step} of {total} on {device}; {many}"

    def probe(self, step: TrainStep, settings: Settings, *, said: Sequence[Diagnostic] = ()) -> Probe | None:
        """The gradient probe; its errors refuse the run."""
        if not settings.probe:
            return None
        found = probe_if_it_fits(step)
        if found is None:
            say("warning: the gradient probe needs more memory than there is; the run starts without it")
            return None
        refuse_gradients(found)
        refuse(found.findings, strict=self.strict)
        for finding in (f for f in found.findings if f not in said):
            say(str(finding))
        return found


def prepare(
    experiment: Experiment, data: Any, settings: Settings, *, networks: Mapping[str, nn.Module] | None = None,
    device: torch.device,
) -> tuple[TrainStep, Timed]:  # fmt: skip
    """The step of a run before its first iteration, and its batches."""
    seed_all(settings.seed)
    batches = Timed(training_batches(data, settings, device))
    per_epoch = len(batches)
    given = {"networks": networks, "batches_per_epoch": per_epoch, "cut_norms": settings.cut_norms}
    skip = settings.on_nonfinite == "skip"
    return TrainStep(experiment, batches, device=device, skip_nonfinite=skip, **given), batches


def probe_of(experiment: Experiment) -> Probe:
    """The gradient probe of a run of this experiment, on the batch that it would begin with; nothing is written."""
    settings = settings_of(experiment)
    data, device = dataset(experiment), choose_device(settings.device)
    return probe(prepare(experiment, data, settings, device=device)[0])


def dataset(experiment: Experiment) -> Any:
    """The object bound to ``Trainer.data``, its files made if they are not there."""
    reference = experiment.trainer.get("data")
    if reference is None:
        raise GanflowError(
            "there is no data to train on", location=experiment.location, code="no-data",
            hint="bind a dataset: Trainer.data = @earth()",
        )  # fmt: skip
    seed = seed_of(experiment.trainer.get("seed", 0), "dataset")  # of what it draws once and for all
    with build.configured(experiment), seeded(seed):
        data = build.value(reference)
    if hasattr(data, "prepare"):
        data.prepare()
    return data


def choose_device(wanted: str) -> torch.device:
    """``auto``: cuda, then mps, then cpu. One that is not there is an error."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, is_there in there.items() if is_there))
    if not there.get(wanted.split(":")[0], False):
        known = ", ".join(name for name, is_there in there.items() if is_there)
        raise GanflowError(f"the device {wanted!r} is not there", hint=f"this machine has: {known}", code="no-device")
    try:
        return torch.device(wanted)
    except RuntimeError:
        raise GanflowError(f"{wanted!r} is no device", hint="such as cpu, cuda or cuda:1", code="no-device") from None


def training_batches(data: Any, settings: Settings, device: torch.device) -> Batches:
    """The training split, shuffled anew each epoch; a last batch that is not full is left out."""
    return loader(
        data, "train", batch_size=settings.batch_size, shuffle=True, seed=settings.seed, drop_last=True, device=device,
        workers=settings.workers,
    )  # fmt: skip


def run_length(settings: Settings, batches_per_epoch: int) -> int:
    """In iterations: what is reached first."""
    by_epochs = settings.epochs * batches_per_epoch if settings.epochs is not None else math.inf
    return int(min(settings.steps if settings.steps is not None else math.inf, by_epochs))


def default_show(experiment: Experiment, inspection: Inspection) -> tuple[Text, ...]:
    """The images of the batch, and what networks made that looks like one, in the order in which they are read."""
    fields = {n: f.shape for n, f in (experiment.fields or {}).items() if f.shape is not None and len(f.shape) == 3}
    like = {"×".join(map(str, shape)) for shape in fields.values()}
    found: dict[str, Text] = {}
    nodes = inspection.graph.nodes
    for (_, name), value in inspection.cost.values.items():
        for edge in edges(nodes, name):
            if nodes[edge.source].kind == "field" and nodes[edge.source].target in fields:
                field = nodes[edge.source].target
                found.setdefault(field, Text(field, nodes[name].location))
        if nodes[name].kind == "call" and nodes[name].name and value.shape.partition("×")[2] in like:
            found.setdefault(name, Text(name, nodes[name].location))
    return tuple(found.values())


def ending(result: Result, command: str = "ganflow") -> str:
    """What a run says last: where its pictures are, its metrics, and how to look at it."""
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    lines = {
        "pictures": str(result.picture) if result.picture else "", "metrics": metrics,
        "weights": str(result.run_dir / WEIGHTS), "look": f"{command} tensorboard {result.run_dir}",
    }  # fmt: skip
    done = f"{result.run_dir}: {result.steps} iterations in {clock(result.seconds)}"
    return "\n".join([done, *(f"  {name:<9} {text}" for name, text in lines.items() if text)])
