"""The loop of a run: iterate, report, look, sample, measure, save.

result = Loop(run_dir, settings, step, batches, validation, logs, shown, total).run()
"""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganflow import images
from ganflow.data.loader import Batches
from ganflow.data.seeding import untouched
from ganflow.display import Display
from ganflow.files import write_whole
from ganflow.logs import Averages, Logs
from ganflow.presenting import PROBE
from ganflow.probe import Probe, compared, probe_if_it_fits
from ganflow.settings import Settings
from ganflow.step import TrainStep
from ganflow.validation import Validation
from ganflow.watch import Watch, instruments

WEIGHTS, SAMPLES = "weights.pt", "samples"
PROBE_AGAIN = 100  # iterations after which an exact zero is measured again


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
        self, run_dir: Path, settings: Settings, step: TrainStep, batches: Timed, validation: Validation,
        logs: Logs, shown: Display, total: int, found: Probe | None = None,
    ) -> None:  # fmt: skip
        self.run_dir, self.settings, self.step, self.batches = run_dir, settings, step, batches
        self.validation, self.logs, self.shown, self.total = validation, logs, shown, total
        self.to_repeat = found if found is not None and found.zeros else None
        self.averages, self.metrics = Averages(), dict[str, float]()
        self.picture: Path | None = None
        self.start = self.since = time.perf_counter()
        self.reported, self.warned = 0, False

    def run(self) -> Result:
        """Iterate to the end."""
        try:
            self.sample()
            while self.step.counters.step < self.total:
                self.iteration()
        except (KeyboardInterrupt, SystemExit):
            self.save_weights()
            self.shown.say(
                f"interrupted at step {self.step.counters.step}; the weights are in {self.run_dir / WEIGHTS}"
            )
            raise
        self.sample()
        self.save_weights()
        self.logs.flush()
        seconds = time.perf_counter() - self.start
        return Result(self.run_dir, self.step.counters.step, seconds, self.metrics, self.picture)

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
        try:
            if due == self.total or self.due(self.settings.eval_every, due):
                seen |= self.evaluate()
        finally:  # an evaluation that is interrupted takes no losses with it
            if report:
                self.report({k: float(v) for k, v in logs.items() if not isinstance(v, Tensor)} | seen)
            elif seen:
                self.logs.scalars(due, seen)
        if due < self.total:
            for every, action in (
                (self.settings.sample_every, self.sample), (self.settings.checkpoint_every, self.save_weights),
            ):  # fmt: skip
                if self.due(every, due):
                    action()

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
        means = self.averages.means()
        self.logs.scalars(self.step.counters.step, {**means, **weights, **self.step.hyperparameters(), **self.times()})
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
            path = self.run_dir / SAMPLES / f"{self.step.counters.step:06}.png"
            self.picture = images.save(picture, path, status=1)
            self.logs.images(self.step.counters.step, f"images/{self.validation.split}", np.asarray(picture))

    @untouched()
    def evaluate(self) -> dict[str, float]:
        """The metrics on the held-out split, by their tags."""
        with self.uncounted():
            self.metrics = self.validation.metrics()
        return {f"metric/{k}": v for k, v in self.metrics.items()}

    @untouched()
    def save_weights(self) -> None:
        """The weights of all networks, whole or not at all."""
        with self.uncounted():
            save_weights(self.run_dir / WEIGHTS, self.step)

    @contextlib.contextmanager
    def uncounted(self) -> Iterator[None]:
        """What happens inside is no part of the time of a step."""
        start = time.perf_counter()
        yield
        self.since += time.perf_counter() - start


def save_weights(path: Path, step: TrainStep) -> None:
    """``torch.load(path)["networks"]["G"]`` is a state dict."""
    held = io.BytesIO()
    torch.save({"networks": {n: m.state_dict() for n, m in step.networks.items()}, "step": step.counters.step}, held)
    write_whole(path, held.getbuffer(), status=1)
