"""Does a run that is interrupted and resumed give the same bits? Done, not believed, for an experiment of one's own.

verdict = verify_resume(["experiments/pix2pix.gin"], steps=22)
print(verdict.text); verdict.same

One process runs all iterations, another one goes on from the first one's checkpoint in the middle, and everything that
both left is compared. Where something differs, a third one runs all iterations again: perhaps it is not the resuming.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ganflow.codec import same
from ganflow.data.progress import say
from ganflow.errors import GanflowError
from ganflow.eventfiles import written_in
from ganflow.saving import CHECKPOINTS
from ganflow.store import Store

CLOCKS = ("started", "seconds")  # keys of what is no part of a run


@dataclass(frozen=True)
class Verdict:
    """What :func:`verify_resume` found.

    Args:
        same: bit for bit.
        text: how much was compared, or the first difference and what it means.
    """

    same: bool
    text: str


def verify_resume(
    configs: Sequence[str | Path], *, overrides: Sequence[str] = (), steps: int = 22
) -> Verdict:  # fmt: skip
    """Run it, resume it, compare; what it writes lies in a temporary folder and is deleted.

    Args:
        configs, overrides: as for ``ganflow.load``.
        steps: iterations, at least 2; the second process begins after half of them. By default 22 and 11, which is in
            the middle of most intervals.

    Raises:
        GanflowError: the experiment cannot be run, with what its run said.
    """
    assert steps > 1
    middle = steps // 2
    given = [*overrides, f"Trainer.steps = {steps}", "Trainer.epochs = None", f"Trainer.checkpoint_every = {middle}",
             "Trainer.keep_last = 100", "Trainer.log_every = 1", f"Trainer.sample_every = {middle}",
             f"Trainer.eval_every = {middle}", f"Trainer.watch_every = {steps}"]  # fmt: skip
    run = ["run", *map(str, configs), *(word for line in given for word in ("--set", line))]
    with tempfile.TemporaryDirectory(prefix="ganflow-") as folder:
        straight, resumed, again = (Path(folder, name) for name in ("straight", "resumed", "again"))
        say(f"{steps} iterations in one process ...")
        _ganflow(*run, "--runs", folder, "--name", straight.name)
        shutil.copytree(straight, resumed)
        if not Store(resumed / CHECKPOINTS).is_whole(middle):
            raise GanflowError(f"the run left no checkpoint of step {middle}", code="verify-resume", status=1)
        for step in Store(resumed / CHECKPOINTS).steps():
            if step > middle:
                Store(resumed / CHECKPOINTS).remove(step)
        say(f"the last {steps - middle} of them in another one ...")
        _ganflow("resume", str(resumed))
        found = next(differences(straight, resumed), None)
        if found is None:
            how = f"{steps} iterations in one process, and the last {steps - middle} of them in another"
            return Verdict(True, f"the same, bit for bit: {how}\n{_compared(straight)}")
        say("they differ; all iterations once more, for comparison ...")
        _ganflow(*run, "--runs", folder, "--name", again.name)
        return Verdict(False, _told(found, next(differences(straight, again), None)))


def _ganflow(*arguments: str) -> None:
    """A command in a process of its own, as a user would type it; what it prints is shown only where it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-m", "ganflow", *arguments], capture_output=True, text=True, env=environment
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        message = f"`ganflow {arguments[0]}` ended with status {done.returncode}:\n{said}"
        raise GanflowError(message, code="verify-resume", status=2 if done.returncode == 2 else 1)


def _told(found: str, between: str | None) -> str:
    if between is None:
        return (
            f"a resumed run differs from one that was never interrupted, first in\n  {found}\n"
            "two uninterrupted runs are the same, so the run keeps something that its checkpoints do not: state in a\n"
            "global or a closure, in an object that is no module, or in a dataset. Keep it in a buffer of a module,\n"
            "or give the module get_extra_state() and set_extra_state()"
        )
    return (
        f"a resumed run differs from one that was never interrupted, first in\n  {found}\n"
        f"but so do two uninterrupted runs, first in\n  {between}\n"
        "so the run is not deterministic by itself: --deterministic on a GPU; no time, process id or os.urandom in it"
    )


# -- what two runs left ------------------------------------------------------------------------------------------


def differences(a: Path, b: Path) -> Iterator[str]:
    """Where two finished runs differ: rows in the order of iterations, then pictures, then the state at the end."""
    yield from _rows(a, b)
    yield from _pictures(a, b)
    yield from _series(a, b)
    (x, y), step = (Store(run / CHECKPOINTS) for run in (a, b)), Store(a / CHECKPOINTS).latest()[0]
    for path, p, q in _walk(x.read(step), y.read(step), ()):
        yield f"the state after step {step}: {'.'.join(map(str, path))}: {_both(p, q)}"


def _rows(a: Path, b: Path) -> Iterator[str]:
    first, second = (_logged(run) for run in (a, b))
    for step in sorted({*first, *second}):
        p, q = first.get(step, {}), second.get(step, {})
        for tag in dict.fromkeys((*p, *q)):
            if tag not in p or tag not in q:
                yield f"step {step}: {tag}: only in {'the first' if tag in p else 'the second'}"
            elif not same(p[tag], q[tag]):
                yield f"step {step}: {tag}: {_both(p[tag], q[tag])}"


def _logged(run: Path) -> dict[int, dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {row["step"]: {k: v for k, v in row.items() if not k.startswith("time/")} for row in rows}


def _pictures(a: Path, b: Path) -> Iterator[str]:
    first, second = ({p.name: p.read_bytes() for p in sorted((run / "samples").glob("*.png"))} for run in (a, b))
    for name in sorted({*first, *second}):
        if first.get(name) != second.get(name):
            yield f"samples/{name}"


def _series(a: Path, b: Path) -> Iterator[str]:
    first, second = _shown(a), _shown(b)
    for (step, tag), values in first.items():
        if second.get((step, tag)) != values:
            yield f"TensorBoard's {tag} at step {step}"
    for step, tag in (key for key in second if key not in first):
        yield f"TensorBoard's {tag} at step {step}: only in the second"


def _shown(run: Path) -> dict[tuple[int, str], list[bytes]]:
    """What event files say of each tag and step, in order; clocks left out."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    found: dict[tuple[int, str], list[bytes]] = {}
    for path in written_in(run):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if not value.tag.startswith(("time/", "_hparams_/", "environment")):
                    found.setdefault((event.step, value.tag), []).append(value.SerializeToString(deterministic=True))
    return found


def _walk(a: Any, b: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Leaves of two nested values that differ, with their places."""
    if path and path[-1] in CLOCKS:
        return
    if isinstance(a, Mapping) and isinstance(b, Mapping) and list(a) == list(b):
        for key in a:
            yield from _walk(a[key], b[key], (*path, key))
    elif isinstance(a, (list, tuple)) and type(a) is type(b) and len(a) == len(b):
        for place, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _walk(x, y, (*path, place))
    elif not same(a, b):
        yield path, a, b


def _both(a: Any, b: Any) -> str:
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and a.is_floating_point():
        away = (a.double() - b.double()).abs()
        return f"{int((away != 0).sum())} of {a.numel()} numbers, by up to {float(away.max()):.3g}"
    if isinstance(a, float) and isinstance(b, float) and math.isfinite(a - b):
        return f"{a!r} and {b!r}, {abs(a - b):.3g} apart"
    return " and ".join(text if len(text) < 60 else f"{text[:57]}..." for text in map(repr, (a, b)))


def _compared(run: Path) -> str:
    rows, pictures = _logged(run), len(list((run / "samples").glob("*.png")))
    store = Store(run / CHECKPOINTS)
    leaves = list(_leaves(store.read(store.latest()[0])))
    numbers = sum(x.numel() for x in leaves if isinstance(x, Tensor))
    logged = (
        f"{sum(map(len, rows.values()))} logged numbers in {len(rows)} rows, {pictures} pictures, TensorBoard's data"
    )
    return f"  {logged}, and the state at the end: {len(leaves)} values, {numbers:,} numbers in tensors"


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (Mapping, list, tuple)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(part)
    else:
        yield value
