"""Going on with a run: is it the same experiment, from which checkpoint, and what is told where it is not.

origin = opened(run_dir, experiment, inspection, allow=["Trainer.steps"], say=print)
origin.step, origin.payload            # (300, {...}); payload None: no checkpoint yet, the run begins anew
"""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ganflow import rundir
from ganflow.checkpoint import Store
from ganflow.config import load
from ganflow.diff import Comparison, compare, text
from ganflow.errors import GanflowError
from ganflow.experiment import Experiment, gin_text
from ganflow.files import cannot_write, write_whole
from ganflow.inspection import Inspection
from ganflow.rewind import rewind
from ganflow.saving import CHECKPOINTS, FORMAT, WEIGHTS
from ganflow.sides import side_of

NOTE = re.compile(r"(^|: )(note|warning|error)\[")
PLAN, DRAWS = "plan", "draws"  # what --allow may name beside the names in a comparison
CONFIG = "config"
MADE_BY = ("ganflow", "python", "platform", "cpu", "threads", "device", "gpu", "cuda")  # of what bits depend on


@dataclass(frozen=True)
class Origin:
    """Where a run goes on.

    Args:
        step: of the checkpoint; 0 without one.
        payload: what it holds; None where the run begins anew.
        changed: what differs from the run so far, as ``ganflow diff`` says it; empty for the same experiment.
    """

    step: int
    payload: Mapping[str, Any] | None
    changed: str = ""


def opened(
    run_dir: Path, experiment: Experiment, inspection: Inspection, *, allow: Collection[str] = (),
    everything: bool = False, step: int | None = None, device: str = "cpu", say: Callable[[str], None],
) -> Origin:  # fmt: skip
    """The checkpoint that a run goes on from.

    Args:
        allow: names of differences that are meant; ``everything``: all are.
        step: of the checkpoint; by default the newest that is whole.
        device: on which it goes on.
        say: is told what is not as it should be and does not stand in the way.

    Raises:
        GanflowError: ``other-experiment``: it differs from the run's in what is not allowed; ``bad-checkpoint``,
            ``no-checkpoint``, ``not-a-run``.
    """
    files = rundir.load(run_dir)
    store = Store(run_dir / CHECKPOINTS)
    found, payload = newest(store, step, say)
    if not everything and (later := next((s for s in store.latest() if s > found and store.is_whole(s)), None)):
        raise GanflowError(
            f"{run_dir} has a checkpoint of step {later}; going back to step {found} would lose what came after",
            code="options", hint=f"go on from there in a run of its own: --fork {_free(run_dir)}",
        )  # fmt: skip
    changed = differences(files, experiment, inspection, allow=allow, everything=everything)
    if payload is None:
        _refuse_lost(files)
        say(f"{run_dir} has no checkpoint yet: it begins anew")
        return Origin(0, None, changed)
    if not everything and CONFIG not in allow and payload["config"] not in _configs(files, found):
        raise _edited(files, payload["config"])
    for line in _elsewhere(payload["made_by"], rundir.environment(device=device)):
        say(line)
    return Origin(found, payload, changed)


def newest(
    store: Store, step: int | None, say: Callable[[str], None]
) -> tuple[int, dict[str, Any] | None]:  # fmt: skip
    """The checkpoint of that step, or the newest whole one; damaged ones on the way are told of."""
    if step is not None:
        return step, _checked(store, step)
    damaged, there = None, store.latest()
    for lost in (s for s in store.alone() if not there or s > there[0]):
        say(f"warning: {store.file(lost)} is not used: its .json, which says whether it is whole, is missing")
    for candidate in there:
        try:
            payload = _checked(store, candidate)
        except GanflowError as error:
            damaged = damaged or error
            say(f"warning: {error.message}")
        else:
            if damaged is not None:
                say(f"going on from step {candidate}, the newest checkpoint that is whole")
            return candidate, payload
    if damaged is not None:
        raise GanflowError(damaged.message, code=damaged.code,
                           hint="no checkpoint of this run is whole; --overwrite begins it anew")  # fmt: skip
    return 0, None


def _refuse_lost(files: rundir.RunFiles) -> None:
    """A run that had checkpoints is not begun anew over what is left of it."""
    forked = "forked_from" in files.environment
    if forked or (files.path / WEIGHTS).exists() or any((files.path / CHECKPOINTS).glob("*.pt")):
        what = "is a fork that was not finished" if forked else "has had checkpoints, and they are gone or damaged"
        raise GanflowError(f"{files.path} {what}: there is nothing to go on from", code="no-checkpoint",
                           hint="put them back; or begin the run anew with --overwrite, which deletes it")  # fmt: skip


def _configs(files: rundir.RunFiles, step: int) -> list[str]:
    """What the config may have been when the checkpoint of this step was made."""
    until = files.path / f"config-until-{step:06}.gin"
    return [files.config, *([until.read_text(encoding="utf-8")] if until.is_file() else [])]


def _edited(files: rundir.RunFiles, before: str) -> GanflowError:
    lines = difflib.unified_diff(before.splitlines(), files.config.splitlines(), "the checkpoint's config",
                                 str(files.path / rundir.CONFIG), "", "", 0, "")  # fmt: skip
    return GanflowError(
        f"{files.path / rundir.CONFIG} was edited since the checkpoint was made:\n\n" + "\n".join(lines),
        code="other-experiment", hint=f"put it back; if it is meant: --allow {CONFIG}, or --fork {_free(files.path)}",
    )  # fmt: skip


def _checked(store: Store, step: int) -> dict[str, Any]:
    payload = store.read(step)
    parts = {"format": int, "step": int, "state": dict, "data": dict, "loop": dict, "made_by": dict,
             "config": str}  # fmt: skip
    if not all(isinstance(payload.get(name), kind) for name, kind in parts.items()) or payload["format"] != FORMAT:
        raise GanflowError(f"{store.file(step)} is no checkpoint that this version of ganflow reads",
                           code="bad-checkpoint", hint="resume with the version that wrote it")  # fmt: skip
    return payload


# -- the same experiment? --------------------------------------------------------------------------------------


def differences(
    files: rundir.RunFiles, experiment: Experiment, inspection: Inspection, *, allow: Collection[str], everything: bool
) -> str:
    """What differs from the run's config and plan, in words.

    Raises:
        GanflowError: ``other-experiment``: some of it is not allowed.
    """
    comparison = None
    if gin_text(experiment) != files.config:
        before = replace(load(files.path / rundir.CONFIG), name=experiment.name)
        comparison = compare(side_of(before), side_of(experiment))
    names = _names(comparison)
    told = text(comparison, labels=(str(files.path), "now")) if comparison is not None and names else ""
    before, now = _bare(files.plan), _bare(inspection.plan)
    if not names and before != now:
        names, told = [PLAN], _plans(before, now)
    known = {CONFIG} | {short for name in names for short in (name, name.removeprefix("Trainer."))}
    unknown = [name for name in allow if name not in known and f"Trainer.{name}" not in known]
    if unknown and names:
        raise GanflowError(f"--allow {unknown[0]}: no such difference", code="allow",
                           hint=f"what differs: {', '.join(names)}")  # fmt: skip
    left = [n for n in names if n not in allow and n.removeprefix("Trainer.") not in allow]
    if left and not everything:
        raise _refused(files.path, left, told)
    return told


def _names(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return []
    prefix = {"trainer": "Trainer."}
    names = [f"{prefix.get(c.section, '')}{c.subject}" for c in comparison.written]
    return list(dict.fromkeys([*names, *([] if comparison.same_draws else [DRAWS])]))


def _bare(plan: str) -> str:
    """Without the notes below it, which name files and lines."""
    lines = plan.splitlines()
    notes = [k for k, line in enumerate(lines) if NOTE.search(line)]
    return "\n".join(lines[: notes[0]] if notes else lines).strip()


def _plans(before: str, now: str) -> str:
    """The plan changed though the config did not: the code did."""
    lines = difflib.unified_diff(before.splitlines(), now.splitlines(), "the run's plan", "the plan now", "", "", 0, "")
    return "the config is the same, but the code it runs is not:\n" + "\n".join(lines) + "\n"


def _refused(path: Path, names: Sequence[str], told: str) -> GanflowError:
    allowed = " ".join(f"--allow {name}" for name in names)
    return GanflowError(
        f"this is not the experiment that {path} ran:\n\n{told}", code="other-experiment",
        hint=f"if it is meant, go on with it here: {allowed}\nor in a run of its own, which leaves this one as it is: "
        f"--fork {_free(path)}",
    )  # fmt: skip


def _free(path: Path) -> str:
    return rundir.unique_name(path.parent, path.name).name


def _elsewhere(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What may cost the equality of bits."""
    pairs = [(name, before.get(name), now.get(name)) for name in MADE_BY]
    packages = before.get("packages"), now.get("packages")
    if all(isinstance(p, Mapping) for p in packages):
        pairs += [(name, packages[0].get(name), packages[1].get(name)) for name in ("torch", "numpy")]
    other = [f"{name} was {a} and is {b}" for name, a, b in pairs if a != b]
    return [f"warning: {'; '.join(other)}: the run goes on, but perhaps not bit for bit"] if other else []


# -- the files of a run that goes on ---------------------------------------------------------------------------


def go_back(run_dir: Path, step: int) -> None:
    """Drop what the run logged and saved after ``step``, of which there is a checkpoint; -1: everything.

    Later checkpoints, damaged or left aside by ``--checkpoint``, go first: a run that is killed after this goes on
    from ``step`` again, and not from one whose logs are gone.

    Raises:
        GanflowError: ``cannot-write``, ``disk-full``, status 1.
    """
    store = Store(run_dir / CHECKPOINTS)
    for later in (s for s in store.latest() if s > step):
        try:
            store.remove(later)
        except OSError as error:
            raise cannot_write(store.file(later), error, status=1) from error
    rewind(run_dir, step)


def fork(old: Path, new: Path, *, step: int | None, say: Callable[[str], None]) -> int:
    """A run of its own with the checkpoint, the logs and samples of another up to there; that one stays as it is.

    Raises:
        GanflowError: ``run-exists``, ``no-checkpoint``, ``bad-checkpoint``, ``disk-full``.
    """
    files = rundir.load(old)
    rundir.check_free(new)
    store = Store(old / CHECKPOINTS)
    found, payload = newest(store, step, say)
    if payload is None:
        raise GanflowError(f"{old} has no checkpoint to go on from", code="no-checkpoint",
                           hint="one is written every Trainer.checkpoint_every iterations")  # fmt: skip
    environment = {**files.environment, "forked_from": str(old), "forked_at": found}
    rundir.create(new, config=files.config, plan=files.plan, source=files.source, environment=environment)
    there = [p for p in sorted(old.iterdir()) if p.name in ("probe.txt", "samples") or _is_log(p)]
    try:
        for path in there:
            (shutil.copytree if path.is_dir() else shutil.copyfile)(path, new / path.name)
        Store(new / CHECKPOINTS).write(found, payload, metrics=store.metrics(found))
        go_back(new, found)
    except BaseException as error:
        shutil.rmtree(new, ignore_errors=True)  # half a fork would look like a run
        if isinstance(error, OSError):
            raise cannot_write(new, error, status=1) from error
        raise
    return found


def _is_log(path: Path) -> bool:
    return path.name in ("metrics.csv", "metrics.jsonl") or path.name.startswith("events.out.tfevents.")


def renew(run_dir: Path, step: int, *, config: str, plan: str, source: str) -> None:
    """Where a run goes on as something else, its files say so; what it was stays under another name."""
    before = rundir.load(run_dir)
    texts = {rundir.PLAN: (before.plan, plan), rundir.SOURCE: (before.source, source),
             rundir.CONFIG: (before.config, config)}  # fmt: skip
    for name, (old, _) in texts.items():
        stem, dot, ending = name.partition(".")
        until = run_dir / f"{stem}-until-{step:06}{dot}{ending}"
        if not until.exists():  # the second change at one step has no iterations in between
            write_whole(until, old, status=1)
    for name, (_, new) in texts.items():  # the config last: until then the run is what it was
        write_whole(run_dir / name, new, status=1)


def named_as(files: rundir.RunFiles) -> str:
    """What the experiment of a run is called: the first word of its plan."""
    return files.plan.partition(" · ")[0]
