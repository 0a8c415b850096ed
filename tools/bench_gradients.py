#!/usr/bin/env python3
"""What it costs to see the gradients of single terms.

    python tools/bench_gradients.py                         # pix2pix as shipped, a table
    python tools/bench_gradients.py --device cuda --json

Sides of one process, on the same weights and batches, each in an order of its own in every round:

    plain           an iteration that logs nothing
    norms           one that logs gradient norms, as every ``Trainer.log_every``-th does, without ``Trainer.cut_norms``
    norms again     the same: what it differs from the first is what the machine does to equal code
    at cuts         one with ``Trainer.cut_norms``
    all terms       one that is watched, as every ``Trainer.watch_every``-th: each term differentiated on its own

Each round runs every side once; ratios are of neighbours in time, so a machine that is busy for a while slows all.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]  # so that it measures this checkout

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import ganflow  # noqa: E402
from bench_step import CASES, Case, Spread, machine, networks, spread, text  # noqa: E402
from ganflow.termgrads import TermGradients  # noqa: E402

SIDES = ("plain", "norms", "norms again", "at cuts", "all terms")
BASE = "norms"
CLOCKS = {"wall": time.perf_counter_ns, "cpu": time.process_time_ns}


@dataclass(frozen=True)
class Result:
    """Figures of one case.

    Args:
        times: side -> milliseconds of an iteration.
        ratios: side -> its time over that of ``norms``, of neighbours.
        errors: side -> standard error of the median ratio, by drawing the rounds again.
        tags: what ``at cuts`` logs.
    """

    case: str
    batch_size: int
    rounds: int
    times: Mapping[str, Spread]
    ratios: Mapping[str, Spread]
    errors: Mapping[str, float]
    tags: Sequence[str]


def iterations(case: Case, device: str) -> tuple[dict[str, Callable[[], Any]], list[str]]:
    """Side -> one iteration, all that it started on the device included."""

    def step(*, cut_norms: bool) -> ganflow.TrainStep:
        batches = [{k: v.to(device) for k, v in b.items()} for b in case.batches]
        return ganflow.TrainStep(case.experiment, batches, networks=networks(case), device=device, cut_norms=cut_norms)

    cuts, none = step(cut_norms=True), step(cut_norms=False)

    def finished(run: Callable[[], Any]) -> Callable[[], Any]:
        def iteration() -> Any:
            found = run()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            return found

        return iteration

    def watched() -> None:
        shares = TermGradients(none)
        none(log_gradients=True, observe=shares.observe)

    runs = {
        "plain": none, "norms": lambda: none(log_gradients=True), "norms again": lambda: none(log_gradients=True),
        "at cuts": lambda: cuts(log_gradients=True), "all terms": watched,
    }  # fmt: skip
    tags = [t for t in cuts(log_gradients=True) if t.startswith("grad_at/")]
    return {side: finished(runs[side]) for side in SIDES}, tags


def measure(case: Case, rounds: int, device: str, clock: Callable[[], int]) -> Result:
    runs, tags = iterations(case, device)
    for side in SIDES * 3:
        runs[side]()  # memory is mapped, variants are written, optimizers have their state
    order, draws = list(SIDES), random.Random(0)
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        draws.shuffle(order)
        for side in order:
            start = clock()
            runs[side]()
            times[side].append((clock() - start) / 1e6)
    gc.unfreeze()
    ratios = {s: [a / b for a, b in zip(times[s], times[BASE], strict=True)] for s in SIDES}
    errors = {s: statistics.stdev(statistics.median(draws.choices(r, k=rounds)) for _ in range(200))
              for s, r in ratios.items()}  # fmt: skip
    return Result(case.name, case.batch_size, rounds, {s: spread(t) for s, t in times.items()},
                  {s: spread(r) for s, r in ratios.items()}, errors, tags)  # fmt: skip


def table(result: Result) -> Table:
    shown = Table(title=f"{result.case}, batches of {result.batch_size}, {result.rounds} rounds: median and quartiles")
    for column in ("", "ms", f"over {BASE!r}", "± of the median"):
        shown.add_column(column, justify="right" if column else "left")
    for side in SIDES:
        error = f"{result.errors[side]:.4f}"
        shown.add_row(side, text(result.times[side], ",.1f"), text(result.ratios[side], ".4f"), error)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to see the gradients of single terms.")
    parser.add_argument("--experiment", choices=list(CASES), default="pix2pix")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=1, help="for torch on the CPU")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: where other programs run too")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    before = machine()
    result = measure(CASES[given.experiment](), max(2, given.rounds), given.device, CLOCKS[given.clock])
    if given.json:
        print(
            json.dumps(
                {"machine": before, "device": given.device, "clock": given.clock, "result": asdict(result)}, indent=2
            )
        )
        return
    console = Console()
    console.print(table(result))
    console.print(f"at cuts: {', '.join(result.tags) or 'nothing to tell apart'}", style="dim")
    console.print(
        ", ".join(f"{k} {v}" for k, v in {**before, "device": given.device, "clock": given.clock}.items()), style="dim"
    )


if __name__ == "__main__":
    main()
