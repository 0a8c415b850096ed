"""When and what a run saves: a checkpoint with everything in it, and the weights alone.

saving = Saving(run_dir, settings, closure, batches)
saving.save({"averages": ...})              # at once back; written in the background
saving.finish({"averages": ...})            # this one is on the disk when it returns
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ganflow.checkpoint import Store, Writer
from ganflow.closure import Closure
from ganflow.codec import encode
from ganflow.data.loader import Batches
from ganflow.errors import GanflowError
from ganflow.files import write_whole
from ganflow.settings import Settings
from ganflow.snapshots import copied

CHECKPOINTS, WEIGHTS = "checkpoints", "weights.pt"
FORMAT = 1
TO_DISK = ("metrics.jsonl", "metrics.csv", "events.out.tfevents.*")


class Saving:
    """The checkpoints of one run.

    Args:
        made_by: versions and machine, as ``rundir.environment`` gives them.
        config: the flattened gin text of the run.
        check: raises ``run-gone`` where the directory is no longer this run's; called before each write.
        say: is told of a checkpoint that could not be written, while the run goes on.
    """

    def __init__(
        self, run_dir: Path, settings: Settings, closure: Closure, batches: Batches, *,
        made_by: Mapping[str, Any], config: str, say: Callable[[str], None] = lambda line: None,
        check: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self.run_dir, self.settings, self.closure, self.batches, self.say = run_dir, settings, closure, batches, say
        self.store = Store(run_dir / CHECKPOINTS, check=check)
        self.writer = Writer(self.store)
        self.made_by, self.config, self.strange = dict(made_by), config, False

    def payload(self, loop: Mapping[str, Any]) -> dict[str, Any]:
        """Everything; tensors are those of the step."""
        epoch, place = self.batches.position
        if self.closure.step._peeked is not None:  # looked at before the first iteration, and not used yet
            place -= 1
        data = {"epoch": epoch, "place": place, "samples": len(self.batches.samples), "batches": len(self.batches)}
        return {"format": FORMAT, "step": self.closure.step.counters.step, "state": self.closure.state(), "data": data,
                "loop": dict(loop), "made_by": self.made_by, "config": self.config}  # fmt: skip

    def save(self, loop: Mapping[str, Any], *, metrics: Mapping[str, float] | None = None) -> None:
        """A checkpoint of the step as it is now; it is written while the run goes on.

        Args:
            loop: the loop's own state.
            metrics: measured in this very iteration.
        """
        self.tell_of_strangers()
        held = self.writer.snapshot({**self.payload(loop), "weights": self.state_dicts()})
        step, weights = held["step"], held.pop("weights")
        self.writer.put(
            step, held, metrics=metrics, before=[self.logs_to_disk],
            then=[partial(self.save_weights, weights, step), self.prune],
            keep=metrics is not None and self.settings.keep_best is not None,
        )  # fmt: skip

    def finish(self, loop: Mapping[str, Any], *, metrics: Mapping[str, float] | None = None) -> None:
        """The last checkpoint of this process: it is on the disk afterwards.

        Raises:
            GanflowError: it is not, or an earlier one could not be written and nobody was told.
        """
        self.check()
        self.save(loop, metrics=metrics)
        self.writer.wait()

    def rehearse(self, loop: Mapping[str, Any]) -> None:
        """What cannot be saved is found before hours of training.

        Raises:
            GanflowError: ``bad-state``, ``cannot-save``.
        """
        copied({**self.payload(loop), "weights": self.state_dicts()}, lambda tensor: tensor)

    def state_dicts(self) -> dict[str, Any]:
        """Of all networks."""
        return {n: encode(dict(m.state_dict())) for n, m in self.closure.step.networks.items()}

    def tell_of_strangers(self) -> None:
        """Once: a network that builds itself while it trains cannot be built again from its config."""
        names = [] if self.strange else self.closure.strangers()
        if names:
            self.strange = True
            self.say(f"warning: {', '.join(names[:5])}: parameters that came or went since the network was built; "
                     "checkpoints of this run cannot be resumed, only their weights used")  # fmt: skip

    def weights(self) -> None:
        """The weights alone, as they are: a run may have been killed between its last checkpoint and these."""
        step = self.closure.step
        self.save_weights(self.state_dicts(), step.counters.step)

    def save_weights(self, networks: Mapping[str, Mapping[str, Any]], step: int) -> None:
        """``torch.load(path)["networks"]["G"]`` is a state dict."""
        held = io.BytesIO()
        torch.save({"networks": networks, "step": step}, held)
        self.store.check()
        write_whole(self.run_dir / WEIGHTS, held.getbuffer(), status=1)

    def check(self) -> None:
        """Say what went wrong in the background; the run goes on, and the next checkpoint is another attempt.

        Raises:
            GanflowError: ``run-gone``: there will be no other.
        """
        error = self.writer.check()
        if error is not None and error.code == "run-gone":
            raise error
        if error is not None:
            there = self.store.steps()
            last = f"the last checkpoint is that of step {there[-1]}" if there else "there is no checkpoint yet"
            self.say(f"warning: {error.message}; training goes on, and {last}")

    def wait(self) -> None:
        """Until what was saved is written; an error is said, never raised: another one may be on its way."""
        with contextlib.suppress(GanflowError):
            self.check()
        try:
            self.writer.wait()
        except GanflowError as error:
            if error.code != "run-gone":
                self.say(f"warning: {error.message}")

    def prune(self) -> None:
        """Keep the last ones, and the best."""
        best = self.best()
        self.store.prune(self.settings.keep_last, () if best is None else (best,))

    def best(self) -> int | None:
        """The step of the best checkpoint by ``Trainer.keep_best``."""
        wanted = self.settings.keep_best
        return None if wanted is None else self.store.best(wanted.metric, larger=wanted.larger)

    def logs_to_disk(self) -> None:
        """A checkpoint never survives a power cut that its logs do not."""
        for pattern in TO_DISK:
            for path in self.run_dir.glob(pattern):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
