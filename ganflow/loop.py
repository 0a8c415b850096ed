"""The loop of a run: iterate, report, look, sample, measure, save.

result = Loop(place, settings, step, batches, validation, logs, shown, total, saving).run()
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ganflow import images
from ganflow.averages import Averages
from ganflow.data.loader import Batches
from ganflow.data.seeding import untouched
from ganflow.display import Display
from ganflow.errors import GanflowError
from ganflow.files import write_whole
from ganflow.logs import Logs
from ganflow.presenting import PROBE
from ganflow.probe import Probe, compared, probe_if_it_fits
from ganflow.rescue import Rescue
from ganflow.saving import Saving
from ganflow.settings import Settings
from ganflow.signals import deferred
from ganflow.step import TrainStep
from ganflow.validation import Validation
from ganflow.watch import Watch, instruments

SAMPLES = "samples"
PROBE_AGAIN = 100  # iterations after which an exact zero is measured again


@dataclass(frozen=True)
class Place:
    """Where a run lies.

    Args:
        run_dir: its directory.
        is_there: whether that is still this run's.
        resume: the command that goes on with it.
        replay: the command that runs an iteration of it again.
    """

    run_dir: Path
    is_there: Callable[[], bool] = lambda: True
    resume: str = ""
    replay: str = ""

    def check(self) -> None:
        """A run whose directory was taken away writes into nowhere.

        Raises:
            GanflowError: ``run-gone``, status 1.
        """
        if not self.is_there():
            raise GanflowError(f"the run directory {self.run_dir} is gone: it was deleted or replaced under the run",
                               code="run-gone", status=1,
                               hint="what was trained since its last checkpoint cannot be saved there")  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Args:
        run_dir: where all of it lies.
        steps: iterations done.
        seconds: how long it took, set-up left out.
        metrics: of the last evaluation, by name.
        picture: the last grid of samples.
    """

    run_dir: Path
    steps: int
    seconds: float
    metrics: Mapping[str, float]
    picture: Path | None


class Timed:
    """Batches, and the seconds that the loop waited for them."""

    def __init__(self, batches: Batches) -> None:
        self.batches, self.seconds = batches, 0.0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]:
        source = iter(self.batches)
        while True:
            start = time.perf_counter()
            batch = next(source, None)
            self.seconds += time.perf_counter() - start
            if batch is None:
                return
            yield batch


class Loop:
    """A run on its way; lives for one call of :meth:`Trainer.fit`."""

    def __init__(
        self, place: Place, settings: Settings, step: TrainStep, batches: Timed, validation: Validation,
        logs: Logs, shown: Display, total: int, saving: Saving, found: Probe | None = None,
    ) -> None:  # fmt: skip
        self.place, self.run_dir = place, place.run_dir
        self.settings, self.step, self.batches, self.saving = settings, step, batches, saving
        self.validation, self.logs, self.shown, self.total = validation, logs, shown, total
        self.to_repeat = found if found is not None and found.zeros else None
        self.averages, self.metrics = Averages(), dict[str, float]()
        self.picture: Path | None = None
        self.start = self.since = time.perf_counter()
        self.reported, self.warned, self.before, self.saved = 0, False, 0.0, -1
        self.rescue: Rescue | None = None

    def state(self) -> dict[str, Any]:
        """What the loop itself goes on from."""
        seconds = self.before + time.perf_counter() - self.start
        skipped = dict(self.step.guard.skipped) if self.step.guard else {}
        return {"averages": self.averages.state_dict(), "warned": self.warned, "metrics": dict(self.metrics),
                "seconds": seconds, "probe_again": self.to_repeat is not None, "skipped": skipped}  # fmt: skip

    def restore(self, payload: Mapping[str, Any]) -> None:
        """Go on where a checkpoint was made."""
        state, data = payload["loop"], payload["data"]
        self.averages.load_state_dict(state["averages"], device=self.step.device)
        self.warned, self.metrics, self.before = state["warned"], dict(state["metrics"]), state["seconds"]
        self.to_repeat = self.to_repeat if state["probe_again"] else None
        if self.step.guard:
            self.step.guard.skipped = dict(state.get("skipped", {}))
        self.batches.batches.resume(data["epoch"], data["place"])
        self.reported = self.saved = self.step.counters.step
        pictures = sorted((self.run_dir / SAMPLES).glob("*.png"))
        self.picture = pictures[-1] if pictures else None
        self.saving.weights()

    def run(self) -> Result:
        """Iterate to the end, or until somebody wants it to end."""
        self.saving.rehearse(self.state())
        self.rescue = Rescue(self.settings, self.saving, say=self.shown.say, replay=self.place.replay)
        with deferred() as asked, self.said():
            if self.step.counters.step == 0:
                self.sample()
            while self.step.counters.step < self.total and not asked.to_end:
                self.iteration()
            if asked.to_end and self.step.counters.step < self.total:
                self.interrupted()
                raise asked.error()
            if self.saved < self.total:
                self.sample()
                self.finish()
            self.logs.flush()
        seconds = self.before + time.perf_counter() - self.start
        return Result(self.run_dir, self.step.counters.step, seconds, self.metrics, self.picture)

    @contextlib.contextmanager
    def said(self) -> Iterator[None]:
        """Whatever ends the run before its end, what is being written is written, and it is said how to go on."""
        try:
            yield
        except BaseException as error:
            self.saving.wait()
            steps = self.saving.store.steps()
            again = isinstance(error, GanflowError) and error.code == "not-finite"  # it would come again, to the bit
            if steps and self.place.is_there() and not again:
                self.shown.say(f"the last checkpoint is of step {steps[-1]}; to go on with it: {self.place.resume}")
            raise

    def interrupted(self) -> None:
        """The iteration is done; nothing of it is lost."""
        assert self.rescue is not None, "only a run that goes on is interrupted"
        if not self.rescue.sound(self.averages):
            self.shown.say("there are losses or weights that are not finite: this is not saved")
        elif self.step.counters.step > self.saved:
            self.finish()
        self.logs.flush()
        self.shown.say(f"interrupted at step {self.step.counters.step}")

    def look(self, *, reports: bool) -> bool:
        """Whether all numbers are finite, or the run has gone back; where it stops, its last losses are logged before.

        Raises:
            GanflowError: ``not-finite``, status 1.
        """
        assert self.rescue is not None, "a loop that runs has one"
        step = self.step.counters.step
        try:
            with self.uncounted():
                good = self.rescue.check(self.averages)
        except GanflowError:
            with contextlib.suppress(GanflowError):  # what went wrong first is what the user is told
                self.logs.scalars(step, self.averages.means())
                self.logs.flush()
            raise
        self.warned = self.warned or not good
        if not good and not reports:
            self.averages = Averages()
        return good

    def skipped(self) -> dict[str, float]:
        """How many steps were not taken since the last report, by their tags."""
        if self.step.guard is None:
            return {}
        words, counts = self.step.guard.taken()
        if words:
            self.shown.say(
                f"step {self.step.counters.step}: steps not taken, with gradients that are not finite: {words}"
            )
        return counts

    def iteration(self) -> None:
        """One iteration, and whatever is due after it."""
        due = self.step.counters.step + 1
        report = due in (1, self.total) or self.due(self.settings.log_every, due)
        seen: dict[str, float] = {}
        if self.due(self.settings.watch_every, due):
            logs, seen = self.watched(report)
        else:
            logs = self.step(log_gradients=report)
        self.averages.add(logs)
        self.shown.advance()
        measured = due == self.total or self.due(self.settings.eval_every, due)
        saves, good = self.due(self.settings.checkpoint_every, due), True
        if report or measured or saves:
            good = self.look(reports=report)
        try:
            if measured:
                seen |= self.evaluate()
        finally:  # an evaluation that is interrupted takes no losses with it
            if report:
                self.report({k: float(v) for k, v in logs.items() if not isinstance(v, Tensor)} | seen)
            elif seen:
                self.place.check()
                self.logs.scalars(due, seen)
        if due < self.total:
            if self.due(self.settings.sample_every, due):
                self.sample()
            if good and (saves or (measured and self.is_best())):  # what was gone back to is saved already
                self.save(self.metrics if measured else None)

    def watched(self, report: bool) -> tuple[dict[str, Any], dict[str, float]]:
        """An iteration that is looked at closely; its time is not that of a step."""
        waited = self.batches.seconds
        with self.uncounted():
            watch = Watch(instruments(self.step))
            logs = self.step(log_gradients=report, observe=watch.observe)
            seen = watch.report(self.logs, self.step.counters.step)
        self.reported, self.batches.seconds = self.reported + 1, waited
        return logs, seen

    @staticmethod
    def due(every: int, step: int) -> bool:
        return bool(every) and step % every == 0

    @untouched()
    def report(self, weights: Mapping[str, float]) -> None:
        """The means since the last report; here, and only here, the host waits for the device."""
        self.place.check()
        self.saving.check()
        means = self.averages.means()
        beside = {**self.skipped(), **self.step.hyperparameters(), **self.times()}
        self.logs.scalars(self.step.counters.step, {**means, **weights, **beside})
        losses = {k.removeprefix("loss/"): v for k, v in means.items() if k.startswith("loss/")}
        self.shown.report(losses, updates=[u.name for u in self.step.graph.updates])
        self.warn_of(losses)
        self.probe_again()
        self.reported, self.since, self.batches.seconds = self.step.counters.step, time.perf_counter(), 0.0

    def times(self) -> dict[str, float]:
        """Of the iterations since the last report; where all of them were looked at closely, none is known."""
        seconds, count = time.perf_counter() - self.since, self.step.counters.step - self.reported
        images = {"time/images_per_second": count * self.settings.batch_size / seconds}
        return {"time/step": seconds / count, "time/data": self.batches.seconds / count, **images} if count else {}

    def probe_again(self) -> None:
        """What was exactly zero at the start should not be so for ever."""
        if self.to_repeat is None or self.step.counters.step < PROBE_AGAIN:
            return
        before, self.to_repeat = self.to_repeat, None
        now = probe_if_it_fits(self.step)
        if now is None:
            return
        for line in compared(before, now):
            self.shown.say(line)
        write_whole(self.run_dir / PROBE, f"{before}\n\n{now}\n", status=1)

    def warn_of(self, losses: Mapping[str, float]) -> None:
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad and not self.warned:
            self.warned = True
            self.shown.say(f"warning: {', '.join(bad)} not finite at step {self.step.counters.step}; "
                           "a smaller lr or clip_norm may help")  # fmt: skip

    @untouched()
    def sample(self) -> None:
        """The grid at the fixed inputs, as a file and in TensorBoard."""
        import numpy as np

        with self.uncounted():
            columns = self.validation.columns()
            if not columns:
                return
            picture = images.grid(columns)
            self.place.check()
            path = self.run_dir / SAMPLES / f"{self.step.counters.step:06}.png"
            self.picture = images.save(picture, path, status=1)
            self.logs.images(self.step.counters.step, f"images/{self.validation.split}", np.asarray(picture))

    @untouched()
    def evaluate(self) -> dict[str, float]:
        """The metrics on the held-out split, by their tags."""
        with self.uncounted():
            self.metrics = self.validation.metrics()
        return {f"metric/{k}": v for k, v in self.metrics.items()}

    def is_best(self) -> bool:
        """Whether the metrics that were just measured are better than those of all checkpoints."""
        wanted = self.settings.keep_best
        if wanted is None or not math.isfinite(value := self.metrics[wanted.metric]):
            return False
        best = self.saving.best()
        before = math.nan if best is None else self.saving.store.metrics(best)[wanted.metric]
        return not (value <= before if wanted.larger else value >= before)

    @untouched()
    def save(self, metrics: Mapping[str, float] | None) -> None:
        """A checkpoint; it is written while the run goes on."""
        self.place.check()
        with self.uncounted():
            self.saving.save(self.state(), metrics=metrics)
        self.saved = self.step.counters.step

    @untouched()
    def finish(self) -> None:
        """The last checkpoint, on the disk when this returns."""
        self.place.check()
        done = self.step.counters.step == self.total
        self.saving.finish(self.state(), metrics=self.metrics if done else None)
        self.saved = self.step.counters.step

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[None]:
        """What happens inside is no part of the time of a step."""
        start = time.perf_counter()
        yield
        self.since += time.perf_counter() - start
