"""What a run does about numbers that are not finite: it looks where it reports and where it saves, goes back to the
last checkpoint to find where they came from, and stops or goes on from there.

    rescue = Rescue(settings, saving, say=print)
    if not rescue.check(averages):           # raises where the run is to stop
        averages = Averages()                # gone back: what was added since is of no use
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from ganflow.averages import Averages
from ganflow.checkpoint import Store, snapshot
from ganflow.errors import GanflowError
from ganflow.nonfinite import Finder, Found, counted, weights_finite
from ganflow.saving import Saving
from ganflow.settings import Settings
from ganflow.step import BATCH

NONFINITE = "nonfinite"  # where bundles lie
IN_A_ROW = 3  # rollbacks to one checkpoint
LARGE = 1e4  # a weight that says of itself that something went wrong
ONWARD = ("counters", "draws", "generators")  # of a step's state: what goes on where its weights go back


class Rescue:
    """Lives as long as its run.

    Args:
        saving: the run's checkpoints, and what one holds.
        replay: the command that runs an iteration again, for what is said.
    """

    def __init__(
        self, settings: Settings, saving: Saving, *, say: Callable[[str], None], replay: str = "ganflow replay RUN"
    ) -> None:
        self.settings, self.saving, self.say, self.replay = settings, saving, say, replay
        self.run_dir = saving.run_dir
        self.step = saving.closure.step
        self.counted = counted(self.step.graph) if self.step.guard is None else frozenset[str]()
        self.good = self.step.counters.step  # the last iteration after which all was finite
        self.back, self.times = -1, 0  # the checkpoint that was gone back to, and how often in a row
        self.origin: dict[str, Any] | None = None
        if settings.checkpoint_every and not saving.store.steps():
            self.origin = snapshot(saving.payload({}))

    def check(self, averages: Averages) -> bool:
        """Whether all is as it should be; the host waits. Where it is not, the run stops, or has gone back.

        Args:
            averages: of the iterations since the last report.

        Raises:
            GanflowError: ``not-finite``, status 1: what, where, in which iteration, and what to do.
        """
        first = averages.steps, {tag: at for tag, at in averages.nonfinite().items() if tag in self.counted}
        if not first[1] and weights_finite(self.step):
            self.good = self.step.counters.step
            if self.origin is not None and self.saving.store.steps():
                self.origin = None  # what is on the disk need not be held
            return True
        began = self.step.counters.step - first[0] + 1
        known = {tag: began + at for tag, at in first[1].items()}
        self.recover(known)
        return False

    def sound(self, averages: Averages) -> bool:
        """Whether the step is worth saving."""
        return not self.counted & averages.nonfinite().keys() and weights_finite(self.step)

    def recover(self, known: Mapping[str, int]) -> None:
        """Find out where it came from; then stop, or go back."""
        now, base = self.step.counters.step, self.base()
        onward = snapshot(self.saving.payload({})) if self.settings.on_nonfinite == "rollback" else None
        found, bundle = None, None
        if base is not None:
            tags = f"{', '.join(known)} since iteration {min(known.values())}" if known else "weights"
            self.say(f"not finite at step {now}: {tags}; going back to step {base['step']} to find out where from")
            found, bundle = self.located(base, now)
        if onward is None or base is None or self.too_often(base["step"]):
            raise self.stopped(found, bundle, known, now, base)
        state = {**base["state"], **{key: onward["state"][key] for key in ONWARD}}
        self.put({**base, "state": state, "data": onward["data"]})
        self.good = now
        told = str(found) if found else "what happened did not happen again when it was run once more"
        self.say(f"{told}; rolled back: weights, optimizers and states are those of step {base['step']}, "
                 f"data and draws go on after step {now}")  # fmt: skip

    def too_often(self, step: int) -> bool:
        """Whether going back to this checkpoint has been tried enough."""
        self.times = self.times + 1 if step == self.back else 1
        self.back = step
        return self.times > IN_A_ROW

    # -- going back -----------------------------------------------------------------------------------------

    def base(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, or the start."""
        self.saving.wait()
        for step in self.saving.store.latest():
            with contextlib.suppress(GanflowError):  # damaged: the one before
                return self.saving.store.read(step)
        return self.origin

    def put(self, payload: Mapping[str, Any]) -> None:
        """The step and its data as a payload has them."""
        self.saving.closure.restore(payload["state"])
        self.saving.batches.resume(payload["data"]["epoch"], payload["data"]["place"])

    def located(self, base: Mapping[str, Any], until: int) -> tuple[Found | None, Path | None]:
        """Run again from there on, the iterations that may be bad one by one, and keep what the first one began with.

        Where it does not happen again there is nothing to keep.
        """
        try:
            self.put(base)
            while self.step.counters.step < self.good:
                self.step()
            while self.step.counters.step < until:
                before, batches, finder = snapshot(self.saving.payload({})), Fetched(), Finder(self.step)
                found = finder.found(self.step(observe=_both(batches.observe, finder.observe)))
                if found is not None:
                    return found, self.bundle(before, batches.batches, found)
        except GanflowError as error:
            self.say(f"warning: {error.message}")
        return None, None

    def bundle(self, before: Mapping[str, Any], batches: list[dict[str, Tensor]], found: Found) -> Path:
        """``nonfinite/000123.pt``: all that iteration 123 depends on."""
        payload = {**before, "batch": batches, "found": asdict(found)}
        return Store(self.run_dir / NONFINITE).write(found.iteration, payload)

    # -- what is said ---------------------------------------------------------------------------------------

    def stopped(
        self, found: Found | None, bundle: Path | None, known: Mapping[str, int], now: int,
        base: Mapping[str, Any] | None,
    ) -> GanflowError:  # fmt: skip
        """The last word of a run."""
        lines: list[str] = []
        if found is None:
            what = "; ".join(f"{tag} is not finite since iteration {at}" for tag, at in known.items())
            what = what or f"weights are not finite, somewhere in iterations {self.good + 1} to {now}"
            why = "when these iterations were run again it did not happen: this device does not repeat its numbers"
            if base is None:
                why = "there is no checkpoint to go back to, so where it came from is not known"
            return GanflowError(f"{what} (noticed at step {now})", code="not-finite", status=1,
                                hint="\n".join([why, *remedies(None, self.settings)]))  # fmt: skip
        if found.first:
            lines.append(f"the first on the way to it: {found.first}")
        lines += [f"noticed at step {now}, everything before iteration {found.iteration} is finite"]
        if bundle is not None:
            lines += [f"what the iteration began with is in {bundle}; which operation it was, and on what:",
                      f"  {self.replay} --step {found.iteration}"]  # fmt: skip
        if self.times > IN_A_ROW:
            lines.append(f"it was rolled back {IN_A_ROW} times to step {self.back}, and came again")
        return GanflowError(str(found), location=found.location, code="not-finite", status=1,
                            hint="\n".join([*lines, *remedies(found, self.settings)]))  # fmt: skip


def remedies(found: Found | None, settings: Settings) -> Iterator[str]:
    """What to try, the likeliest first."""
    yield "what to try:"
    if found is not None and found.field:
        yield f"  look at the data: field `{found.field}` of that batch is {found.value}"
    for network, size in (found.largest if found is not None else {}).items():
        if not size <= LARGE:
            yield f"  a smaller learning rate for {network}: its weights are as large as {size:.3g}"
    if found is not None and found.kind == "weight":
        yield "  look at what the weight is computed from"
    yield "  an eps where roots, logarithms and divisions come near 0; a smaller lr; clip_norm for the update"
    if settings.on_nonfinite != "stop":
        return
    yield "  Trainer.on_nonfinite = 'skip' leaves out single bad steps, 'rollback' goes on from the last checkpoint"


class Fetched:
    """The batches of one iteration, as they came."""

    def __init__(self) -> None:
        self.batches: list[dict[str, Tensor]] = []

    def observe(self, phase: str, node: str, value: Any) -> None:
        """What generated code calls."""
        if phase == BATCH:
            if not self.batches or node in self.batches[-1]:
                self.batches.append({})
            self.batches[-1][node] = value


def _both(*observers: Callable[[str, str, Any], None]) -> Callable[[str, str, Any], None]:
    def observe(phase: str, node: str, value: Any) -> None:
        for each in observers:
            each(phase, node, value)

    return observe
