#!/usr/bin/env python3
"""What the generated step costs beside the same loop written by hand.

    python tools/bench_step.py                              # both experiments, a table
    python tools/bench_step.py --experiment mlp --json      # for a program to read

Both sides run in one process on the same weights and batches, with the same optimizer class, and log as the trainer
does: losses are summed on the device, read once in ``LOG_EVERY`` iterations, and gradient norms are computed only then.
They take turns, every order of them equally often, and each figure compares neighbours in time, so a machine that is
busy for a while slows all of them. The loop written by hand runs twice: what the second differs from the first is what
the machine does to equal code, and a ratio is judged beyond that.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # so that it measures this checkout, and the loops in tests/

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import ganflow  # noqa: E402
from ganflow import build  # noqa: E402
from ganflow.averages import Averages  # noqa: E402
from handwritten.mlp_gan import MLPGAN  # noqa: E402
from handwritten.pix2pix import Pix2Pix  # noqa: E402

LOG_EVERY = 50
SIDES = ("generated", "by hand", "by hand again")

POINTS = """
# Goodfellow et al. 2014, Generative Adversarial Networks: networks so small that a step is nearly all Python
G/Network.module  = @G/MLP()
D/Network.module  = @D/MLP()
Network.optimizer = @Adam
Adam.lr           = 2e-4
Adam.betas        = (0.5, 0.999)

G/MLP.in_features  = 2
G/MLP.out_features = 2
D/MLP.in_features  = 2
D/MLP.out_features = 1
MLP.hidden         = (32, 32)

z      = 'randn(batch_size, 2)'
fake   = 'G(z)'
D_real = 'gan(D(real), True)'
D_fake = 'gan(D(fake), False)'
G_GAN  = 'gan(D(fake), True)'

D/Update.minimize = 'D_real + D_fake'
G/Update.minimize = 'G_GAN'
Schedule.updates  = ['D', 'G']
"""
POINTS_BATCH = 128

Batch = Mapping[str, Tensor]
Iteration = Callable[[int], None]  # runs one iteration, given its number from 1


@dataclass(frozen=True)
class Case:
    """An experiment and its loop written by hand.

    Args:
        batch_size: samples in a batch.
        batches: what both sides read, again and again.
        hand: networks -> the loop, with ``log_gradients`` and optimizers as attributes.
        step: (loop, batch) -> losses.
        turn: iterations before the other side has its turn; a few of a fast step, or it would run in cold caches.
        iterations: of each side, unless the command says otherwise.
    """

    name: str
    experiment: ganflow.Experiment
    batch_size: int
    batches: Sequence[Batch]
    hand: Callable[[Mapping[str, nn.Module]], Any]
    step: Callable[[Any, Batch], dict[str, Tensor]]
    turn: int
    iterations: int


@dataclass(frozen=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Result:
    """Figures of one case; times in microseconds per iteration.

    Args:
        times: side -> time of an iteration, logging included.
        ratio: the generated step's time over that of the loop by hand, of neighbours.
        control: the loop by hand over itself, likewise.
        beyond: ratio of the medians above, which is what the machine does not explain.
        extra_us: the generated step's time less that of the loop by hand.
        control_us: the loop by hand less itself.
        error: standard error of ``beyond``, by drawing the rounds again.
    """

    case: str
    batch_size: int
    iterations: int
    times: Mapping[str, Spread]
    ratio: Spread
    control: Spread
    beyond: float
    error: float
    extra_us: Spread
    control_us: Spread


# -- the two experiments ------------------------------------------------------------------------------------


def pix2pix() -> Case:
    """The shipped experiment at its own size; its images are noise, which costs the same."""
    experiment = ganflow.load(ROOT / "experiments" / "pix2pix.gin")
    size = int(experiment.trainer.get("batch_size", 1))  # type: ignore[call-overload]
    assert experiment.fields is not None
    shapes = {name: (size, *field.shape) for name, field in experiment.fields.items() if field.shape}
    data = synthetic({k: shapes[k] for k in ("real_A", "real_B")}, count=8)
    return Case(
        "pix2pix", experiment, size, data, lambda n: Pix2Pix(n["G"], n["D"], fused=True),
        lambda loop, batch: loop.step(batch["real_A"], batch["real_B"]), turn=1, iterations=200,
    )  # fmt: skip


def mlp() -> Case:
    """A GAN on points in the plane."""

    def step(loop: MLPGAN, batch: Batch) -> dict[str, Tensor]:
        real = batch["real"]
        return loop.step(real, torch.randn(len(real), 2))

    data = synthetic({"real": (POINTS_BATCH, 2)}, count=64)
    return Case(
        "mlp", ganflow.loads(POINTS), POINTS_BATCH, data, lambda n: MLPGAN(n["G"], n["D"], fused=True), step,
        turn=5, iterations=6000,
    )  # fmt: skip


CASES = {"pix2pix": pix2pix, "mlp": mlp}


def synthetic(shapes: Mapping[str, tuple[int, ...]], *, count: int) -> list[Batch]:
    """Batches of standard normal numbers clipped to [-1, 1], the range of images."""
    g = torch.Generator().manual_seed(0)
    return [{k: torch.randn(s, generator=g).clamp_(-1, 1) for k, s in shapes.items()} for _ in range(count)]


# -- the two sides ------------------------------------------------------------------------------------------


class Global:
    """Draws from torch's global generator, as the loops by hand do: only to compare their numbers."""

    def draw(self, site: str, kind: str, *args: Any, **_: Any) -> Tensor:
        return torch.randn(*args)


def networks(case: Case) -> dict[str, nn.Module]:
    return {name: build.network(case.experiment, name) for name in case.experiment.networks}


def generated(case: Case) -> Iteration:
    """The step as the trainer runs it."""
    step = ganflow.TrainStep(case.experiment, case.batches, networks=networks(case))
    averages = Averages()

    def iteration(number: int) -> None:
        logging = number % LOG_EVERY == 0
        averages.add(step(log_gradients=logging))
        if logging:
            averages.means()

    return iteration


def by_hand(case: Case) -> Iteration:
    """The loop and its logging as a careful engineer writes them."""
    loop, batches, sums = case.hand(networks(case)), again(case.batches), {}  # type: ignore[var-annotated]

    def iteration(number: int) -> None:
        logging = loop.log_gradients = number % LOG_EVERY == 0
        for name, loss in case.step(loop, next(batches)).items():
            if name in sums:
                sums[name] += loss
            else:
                sums[name] = loss.clone()
        if logging:
            _ = {name: total.item() / LOG_EVERY for name, total in sums.items()}
            sums.clear()

    return iteration


def again(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from batches


def check(case: Case) -> None:
    """Both sides must do the same work: they give the same losses, and their optimizers are set alike."""
    step = ganflow.TrainStep(case.experiment, case.batches, networks=networks(case), random=Global())
    loop, batches = case.hand(networks(case)), again(case.batches)
    for optimizer, other in ((step.optimizers[n], getattr(loop, f"{n}_optimizer")) for n in ("G", "D")):
        a, b = ({k: v for k, v in o.param_groups[0].items() if k != "params"} for o in (optimizer, other))
        assert type(optimizer) is type(other) and a == b, f"{case.name}: the optimizers differ: {a} and {b}"
    for number in range(3):
        torch.manual_seed(number)
        ours = step()
        torch.manual_seed(number)
        theirs = case.step(loop, next(batches))
        different = [k for k, v in theirs.items() if not torch.equal(ours[k], v)]
        assert not different, f"{case.name}: {different} differ in iteration {number + 1}"


# -- measuring ----------------------------------------------------------------------------------------------


def measure(case: Case, iterations: int) -> Result:
    """Rounds of ``LOG_EVERY`` iterations of each side, one of which logs; within a round the sides take turns."""
    check(case)
    runs = {"generated": generated(case), "by hand": by_hand(case), "by hand again": by_hand(case)}
    orders = itertools.cycle(itertools.permutations(SIDES))
    for name in SIDES:
        turn(runs[name], 0, max(3, case.turn))  # memory is mapped, optimizers have their state
    gc.collect()
    gc.freeze()  # collections look at what the rounds make, and at nothing from before
    times = [one_round(case, runs, orders) for _ in range(max(2, round(iterations / LOG_EVERY)))]
    gc.unfreeze()
    return result(case, {side: [t[side] for t in times] for side in SIDES})


def one_round(case: Case, runs: Mapping[str, Iteration], orders: Iterator[tuple[str, ...]]) -> dict[str, float]:
    """Side -> microseconds per iteration."""
    spent = dict.fromkeys(SIDES, 0.0)
    for done in range(0, LOG_EVERY, case.turn):
        for side in next(orders):
            spent[side] += turn(runs[side], done, case.turn) / LOG_EVERY
    return spent


def turn(run: Iteration, done: int, count: int) -> float:
    """Microseconds that the next ``count`` iterations take."""
    start = time.perf_counter_ns()
    for number in range(done + 1, done + count + 1):
        run(number)
    return (time.perf_counter_ns() - start) / 1e3


def result(case: Case, times: Mapping[str, Sequence[float]]) -> Result:
    ours, hand, again = (times[side] for side in SIDES)
    rounds = list(zip(ours, hand, again, strict=True))
    draws = random.Random(0)
    drawn = [beyond(draws.choices(rounds, k=len(rounds))) for _ in range(200)]
    return Result(
        case.name, case.batch_size, LOG_EVERY * len(rounds), {side: spread(t) for side, t in times.items()},
        spread([a / b for a, b, _ in rounds]), spread([c / b for _, b, c in rounds]), beyond(rounds),
        statistics.stdev(drawn), spread([a - b for a, b, _ in rounds]), spread([c - b for _, b, c in rounds]),
    )  # fmt: skip


def beyond(rounds: Sequence[tuple[float, float, float]]) -> float:
    """The median ratio over the median ratio of the control."""
    return statistics.median(a / b for a, b, _ in rounds) / statistics.median(c / b for _, b, c in rounds)


def spread(values: Sequence[float]) -> Spread:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


# -- the command --------------------------------------------------------------------------------------------


def table(results: Sequence[Result]) -> Table:
    shown = Table(title="One iteration, logging as the trainer does: median and quartiles of rounds")
    for column in ("", *(r.case for r in results)):
        shown.add_column(column, justify="right" if column else "left")

    def row(name: str, cell: Callable[[Result], str]) -> None:
        shown.add_row(name, *map(cell, results))

    for side in SIDES:
        row(f"{side}, µs", lambda r, side=side: text(r.times[side], ",.0f"))
    shown.add_section()
    row("generated / by hand", lambda r: text(r.ratio, ".4f"))
    row("control: by hand / itself", lambda r: text(r.control, ".4f"))
    row("beyond the control", lambda r: f"{r.beyond:.4f} ± {r.error:.4f}")
    shown.add_section()
    row("generated - by hand, µs", lambda r: text(r.extra_us, "+,.1f"))
    row("control: by hand - itself, µs", lambda r: text(r.control_us, "+,.1f"))
    shown.add_section()
    row("batch size", lambda r: str(r.batch_size))
    row("iterations of each side", lambda r: f"{r.iterations:,}")
    return shown


def text(s: Spread, form: str) -> str:
    return f"{s.median:{form}} [{s.low:{form}} … {s.high:{form}}]"


def machine() -> dict[str, Any]:
    """What the times depend on."""
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {"torch": torch.__version__, "threads": torch.get_num_threads(), "cpus": os.cpu_count(), "load": load}


def main() -> None:
    parser = argparse.ArgumentParser(description="The generated step beside the same loop written by hand.")
    parser.add_argument("--experiment", choices=[*CASES, "all"], default="all")
    parser.add_argument("--iterations", type=int, help=f"of each side, in rounds of {LOG_EVERY}")
    threads = "for torch; 1 by default: several wait for each other where other programs run too, and hide all else"
    parser.add_argument("--threads", type=int, default=1, help=threads)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    before = machine()
    cases = [make() for name, make in CASES.items() if given.experiment in (name, "all")]
    results = [measure(case, given.iterations or case.iterations) for case in cases]
    if given.json:
        print(json.dumps({"machine": before, "results": [asdict(r) for r in results]}, indent=2))
        return
    console = Console()
    console.print(table(results))
    console.print(", ".join(f"{k} {v}" for k, v in before.items()), style="dim")


if __name__ == "__main__":
    main()
