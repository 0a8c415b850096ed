#!/usr/bin/env python3
"""What a checkpoint costs the steps beside which it is written.

    python tools/bench_checkpoint.py                         # both experiments, a table
    python tools/bench_checkpoint.py --experiment mlp --json # for a program to read

In every round each way of writing has its turn, in random order: some steps without, one checkpoint, the steps while it
is written, some steps without. Step times are divided by the median of the steps without of the same turn. "none"
writes nothing: its ratio is what the machine does to equal code, and the others are judged beyond it.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(ROOT / "tests")]

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import ganflow  # noqa: E402
from bench_step import CASES, machine, networks  # noqa: E402
from ganflow.checkpoint import SHARE, Store, Writer, snapshot  # noqa: E402
from ganflow.snapshots import tensors  # noqa: E402

WITHOUT = {"pix2pix": 6, "mlp": 60}  # steps before and after each checkpoint
LENGTH = {"pix2pix": 9, "mlp": 12}  # steps that "none" counts


@dataclass(frozen=True)
class Way:
    """How a checkpoint is written: None: not at all.

    Args:
        share: of its time that the writer works; 1.0: it never rests.
        again: whether the snapshot is in memory that was used before.
    """

    share: float | None
    again: bool = True


WAYS = {
    "none": Way(None),
    "as it is": Way(SHARE),
    "fresh memory": Way(SHARE, again=False),
    "without rests": Way(1.0),
}


@dataclass
class Times:
    """Of one way, over all rounds.

    Args:
        pause: seconds that snapshot and put() took.
        writing: seconds until all was on the disk.
        without: seconds of a step, median of each turn.
        beside: times of steps while it was written, over ``without``.
        lost: seconds that these steps took longer than so many without, for each checkpoint.
    """

    pause: list[float] = field(default_factory=list)
    writing: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)


def measure(name: str, rounds: int, folder: Path) -> tuple[float, dict[str, Times]]:
    """Megabytes of a checkpoint, and the times of every way."""
    case = CASES[name]()
    step = ganflow.TrainStep(case.experiment, case.batches, networks=networks(case))
    for _ in range(5):
        step()
    store = Store(folder / name)
    writers = {way: Writer(store, share=w.share) for way, w in WAYS.items() if w.share is not None}
    for writer in writers.values():
        writer.put(0, writer.snapshot(state(step)))  # the memory that is used again
        writer.close()
    size = sum({t.untyped_storage().data_ptr(): t.nbytes for t in tensors(state(step))}.values()) / 1e6
    times, chance = {way: Times() for way in WAYS}, random.Random(0)
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for way in chance.sample(list(WAYS), len(WAYS)):
            turn(name, step, WAYS[way], writers.get(way), times[way])
    gc.unfreeze()
    return size, times


def turn(name: str, step: ganflow.TrainStep, way: Way, writer: Writer | None, times: Times) -> None:
    without = [seconds(step) for _ in range(WITHOUT[name])]
    beside: list[float] = []
    start = time.perf_counter()
    if writer is None:
        beside += [seconds(step) for _ in range(LENGTH[name])]
    else:
        writer.put(0, writer.snapshot(state(step)) if way.again else snapshot(state(step)))
        put = time.perf_counter()
        while writer.busy:
            beside.append(seconds(step))
        times.pause.append(put - start)
        times.writing.append(time.perf_counter() - put)
        writer.close()
    without += [seconds(step) for _ in range(WITHOUT[name])]
    median = statistics.median(without)
    times.without.append(median)
    times.beside += [t / median for t in beside]
    times.lost.append(sum(beside) - median * len(beside))


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def state(step: ganflow.TrainStep) -> dict[str, Any]:
    """What weighs in a checkpoint."""
    nets = {n: m.state_dict() for n, m in step.networks.items()}
    return {"networks": nets, "optimizers": {n: o.state_dict() for n, o in step.optimizers.items()}}


# -- the command --------------------------------------------------------------------------------------------


def table(name: str, size: float, all_times: Mapping[str, Times]) -> Table:
    step = statistics.median(all_times["none"].without)
    shown = Table(
        title=f"{name}: {size:,.2f} MB beside steps of {step * 1e3:,.2f} ms, {len(all_times['none'].lost)} rounds"
    )
    for column in ("", *all_times):
        shown.add_column(column, justify="right" if column else "left")

    def row(label: str, cell: Callable[[Times], str]) -> None:
        shown.add_row(label, *(cell(t) for t in all_times.values()))

    row("step beside / without: median", lambda t: f"{statistics.median(t.beside):.3f}")
    row("… mean", lambda t: f"{statistics.fmean(t.beside):.3f} ± {error(t.beside):.3f}")
    row("… 95 % are below", lambda t: f"{statistics.quantiles(t.beside, n=20)[-1]:.3f}")
    row("steps beside it", lambda t: f"{len(t.beside) / len(t.lost):.1f}")
    shown.add_section()
    row("lost by one checkpoint, ms", lambda t: f"{statistics.median(t.lost) * 1e3:+.2f}")
    row("pause of snapshot and put(), ms", lambda t: f"{statistics.median(t.pause) * 1e3:.2f}" if t.pause else "")
    row("until it is on the disk, s", lambda t: f"{statistics.median(t.writing):.3f}" if t.writing else "")
    return shown


def error(values: Sequence[float]) -> float:
    """Standard error of the mean."""
    return statistics.stdev(values) / len(values) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description="What a checkpoint costs the steps beside which it is written.")
    parser.add_argument("--experiment", choices=[*CASES, "all"], default="all")
    parser.add_argument("--rounds", type=int, help="checkpoints of each way; 10 and 100 by default")
    parser.add_argument("--threads", type=int, default=1, help="for torch")
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    before, folder = machine(), Path(tempfile.mkdtemp(dir=given.folder))
    default = {"pix2pix": 10, "mlp": 100}
    try:
        names = [name for name in CASES if given.experiment in (name, "all")]
        found = {name: measure(name, given.rounds or default[name], folder) for name in names}
    finally:
        shutil.rmtree(folder)
    if given.json:
        results = {
            n: {"megabytes": size, "times": {w: asdict(t) for w, t in times.items()}}
            for n, (size, times) in found.items()
        }
        print(json.dumps({"machine": before, "results": results}, indent=2))
        return
    console = Console()
    for name, (size, times) in found.items():
        console.print(table(name, size, times))
    console.print(", ".join(f"{k} {v}" for k, v in before.items()), style="dim")


if __name__ == "__main__":
    main()
