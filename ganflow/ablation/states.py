"""What is on the disk of each run: nothing, a part, all of it, or another experiment.

state_of(run)            # State('begun', step=300, total=2000)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ganflow import rundir
from ganflow.ablation.data import Run
from ganflow.errors import GanflowError
from ganflow.experiment import gin_text
from ganflow.inspection import Inspection
from ganflow.resume import differences
from ganflow.saving import CHECKPOINTS
from ganflow.settings import settings_of
from ganflow.store import Store
from ganflow.trainer import run_length

Kind = Literal["new", "begun", "finished", "other"]


@dataclass(frozen=True)
class State:
    """Of one run.

    Args:
        kind: ``new``: nothing is there; ``begun``: it can go on; ``finished``: all its iterations are done and saved;
            ``other``: what lies there was written differently.
        step: of its newest whole checkpoint; ``total``: how many iterations it is to have, None where only its data
            know it.
        threads: that it was begun with: with others its sums have other bits.
    """

    kind: Kind
    step: int = 0
    total: int | None = None
    threads: int | None = None


def state_of(run: Run) -> State:
    """What is there; nothing changes on the disk but what a killed process left half made.

    Raises:
        GanflowError: ``not-a-run``, ``run-in-use``, ``bad-checkpoint``.
    """
    settings = settings_of(run.experiment)
    total = settings.steps if settings.epochs is None else None
    if not rundir.is_begun(run.path):
        return State("new", total=total)
    files = rundir.load(run.path)
    store = Store(run.path / CHECKPOINTS)
    step = next((s for s in store.latest() if store.is_whole(s)), 0)
    if total is None and step:
        total = run_length(settings, store.read(step)["data"]["batches"])
    kind: Kind = "finished" if total is not None and step >= total else "begun"
    if files.config != gin_text(run.experiment):
        kind = "other"
    threads = files.environment.get("threads") if isinstance(files.environment, dict) else None
    return State(kind, step, total, threads if isinstance(threads, int) else None)


def checked(run: Run, inspection: Inspection) -> State:
    """The state of a run that can go on or has ended.

    Raises:
        GanflowError: ``other-experiment``: what lies there is not this variant, shown as ``ganflow diff`` does;
            ``run-in-use``.
    """
    state = state_of(run)
    if state.kind == "new":
        return state
    if rundir.is_in_use(run.path):
        raise GanflowError(f"{run.path} is still running in another process", code="run-in-use",
                           hint="wait for it, or end it first: SIGTERM makes it save and end")  # fmt: skip
    try:
        differences(rundir.load(run.path), run.experiment, inspection, allow=(), everything=False)
    except GanflowError as error:
        if error.code != "other-experiment":
            raise
        hint = f"give the variant another name, delete {run.path}, or take another folder with --runs"
        raise GanflowError(error.message, location=error.location, code=error.code, hint=hint) from None
    if state.kind == "other":  # written differently, the same all the same
        done = state.total is not None and state.step >= state.total
        return State("finished" if done else "begun", state.step, state.total, state.threads)
    return state
