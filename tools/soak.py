#!/usr/bin/env python3
"""Whether a long run stays as it began: its step time, memory, open files and threads over 100,000 iterations.

    python tools/soak.py                                # ten minutes or so; a table, and the ratios at its end
    python tools/soak.py --steps 20000 --json           # for a program to read

A small GAN of two MLPs is trained as a user would train it, by `ganflow run` in a process of its own, with losses,
samples, close looks, evaluations and checkpoints. It is watched from outside, through /proc (Linux only), and by what
it logs. The ratios compare the last tenth of the run with the second: the first is still filling caches and pools.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TENTHS = 10

PARTS = """
import gin, torch
from torch.utils.data import Dataset


@gin.configurable
class Points(Dataset):
    fields = {"real": (2,)}

    def __init__(self, count=4096):
        angle = torch.rand(count, generator=torch.Generator().manual_seed(0)) * 6.2832
        self.points = torch.stack([angle.cos(), angle.sin()], 1)

    def __len__(self):
        return len(self.points)

    def __getitem__(self, i):
        return {"real": self.points[i] + 0.05 * torch.randn(2)}


@gin.configurable
def picture(points):
    return torch.tanh(points)[:, None, None, :].repeat(1, 3, 8, 4)
"""

GIN = """
import soak_parts

G/Network.module = @G/MLP()
G_ema/Network.ema_of = 'G'
G_ema/Network.ema_beta = '0.99'
D/Network.module = @D/MLP()
Network.optimizer = @Adam
Adam.lr = 2e-4
G/MLP.in_features = 4
G/MLP.out_features = 2
D/MLP.in_features = 2
D/MLP.out_features = 1
MLP.hidden = (32, 32)

fake = 'G(randn(batch_size, 4))'
seen = 'pool(fake, 50)'
grid = 'picture(fake)'
gap  = 'mean(D(real)) - mean(D(seen))'
D/Update.minimize = 'mean(softplus(D(seen))) + mean(softplus(-D(real)))'
G/Update.minimize = 'mean(softplus(-D(fake)))'
balance/State.init = 0.0
balance/State.next = 'lerp(balance, gap, 0.01)'
balance/State.after = 'D'
Schedule.updates = ['D', 'G']

Trainer.data = @Points()
Trainer.batch_size = 8
Trainer.device = 'cpu'
Trainer.log_every = 50
Trainer.watch_every = 500
Trainer.sample_every = 1000
Trainer.eval_every = 2000
Trainer.checkpoint_every = 500
Trainer.show = ['grid']
Trainer.metrics = {'gap': 'gap'}
Trainer.eval_networks = {'G': 'G_ema'}
"""


@dataclass(frozen=True)
class Look:
    """At the process, at one moment.

    Args:
        step: the last iteration that it had logged.
        memory: resident, in MiB.
        files: open handles.
        threads: of the process.
    """

    step: int
    memory: float
    files: int
    threads: int


@dataclass(frozen=True)
class Soaked:
    """What was seen of a run: the median of each tenth; the ratios are the last to the second."""

    steps: int
    seconds: float
    step_time: list[float]
    memory: list[float]
    files: list[float]
    threads: list[float]

    def ratio(self, name: str) -> float:
        tenths = getattr(self, name)
        return float(tenths[-1] / tenths[1])


def soak(steps: int, folder: Path, *, every: float = 0.25, say: Callable[[Look], object] = lambda look: None) -> Soaked:
    """Train that long, and look every so many seconds.

    Raises:
        SystemExit: the run failed.
    """
    (folder / "soak_parts.py").write_text(PARTS)
    (folder / "soak.gin").write_text(f"{GIN}\nTrainer.steps = {steps}\n")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    with open(folder / "said", "wb") as said:
        words = [sys.executable, "-m", "ganflow", "run", "soak.gin", "--name", "soak"]
        process = subprocess.Popen(words, cwd=folder, stdout=said, stderr=said, env=environment)
        try:
            looks = _watched(process, folder / "runs" / "soak" / "metrics.jsonl", every, say)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        sys.exit((folder / "said").read_text(errors="replace")[-2000:])
    times = _times(folder / "runs" / "soak" / "metrics.jsonl")
    return Soaked(
        steps, time.monotonic() - start, _tenths(times, steps),
        *(_tenths([(k.step, getattr(k, name)) for k in looks], steps) for name in ("memory", "files", "threads")),
    )  # fmt: skip


def _watched(
    process: subprocess.Popen[bytes], rows: Path, every: float, say: Callable[[Look], object]
) -> list[Look]:  # fmt: skip
    """Every look while the process lives and iterates."""
    looks: list[Look] = []
    while process.poll() is None:
        time.sleep(every)
        try:
            looks.append(_look(process.pid, _last_step(rows)))
        except (OSError, ValueError, IndexError, KeyError):  # not yet, or no longer
            continue
        say(looks[-1])
    return looks


def _look(pid: int, step: int) -> Look:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    files = len(os.listdir(f"/proc/{pid}/fd"))
    return Look(step, int(fields["VmRSS"].split()[0]) / 1024, files, int(fields["Threads"]))


def _last_step(rows: Path) -> int:
    with open(rows, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 20_000))
        whole = [line for line in file.read().split(b"\n")[:-1] if line.startswith(b'{"step"')]
    return int(json.loads(whole[-1])["step"])


def _times(rows: Path) -> list[tuple[int, float]]:
    found = [json.loads(line) for line in rows.read_text().splitlines()]
    return [(row["step"], 1000 * row["time/step"]) for row in found if "time/step" in row]


def _tenths(values: Sequence[tuple[int, float]], steps: int) -> list[float]:
    """The median in each tenth of the run."""
    held: list[list[float]] = [[] for _ in range(TENTHS)]
    for step, value in values:
        held[min(TENTHS - 1, step * TENTHS // steps)].append(value)
    return [statistics.median(each) if each else float("nan") for each in held]


def table(found: Soaked) -> str:
    """For people."""
    rows = [("step, ms", found.step_time, "step_time", ".3f"), ("memory, MiB", found.memory, "memory", ".1f"),
            ("open files", found.files, "files", ".0f"), ("threads", found.threads, "threads", ".0f")]  # fmt: skip
    heads = "".join(f"{f'{k + 1}0%':>9}" for k in range(TENTHS))
    lines = [f"{found.steps:,} iterations in {found.seconds:.0f} s; medians of each tenth",
             f"{'':<12}{heads}{'last/2nd':>10}"]  # fmt: skip
    for name, tenths, key, form in rows:
        lines.append(f"{name:<12}" + "".join(f"{v:>9{form}}" for v in tenths) + f"{found.ratio(key):>10.3f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__), formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--json", action="store_true", help="for a program to read")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ganflow-soak-") as folder:
        found = soak(given.steps, Path(folder))
    print(json.dumps(asdict(found)) if given.json else table(found))


if __name__ == "__main__":
    main()
