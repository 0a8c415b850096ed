"""What a report says, whatever it is written in: facts, commands, captions.

facts(run)["steps"]             # '3500 of 3500'
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence

from ganflow.report.curves import Chart, Line
from ganflow.report.drawing import STYLES
from ganflow.report.reading import RunData

LEVELS = {"warning": "Warning", "note": "Note", "unknown": "Too short to tell", "fine": "Fine"}
SHOWN = 5  # pictures


def facts(run: RunData) -> dict[str, str]:
    """What ran, name -> text."""
    e, s = run.files.environment, run.settings
    packages = e.get("packages") if isinstance(e.get("packages"), dict) else {}
    steps = f"{run.step} of {s['steps']}" if isinstance(s.get("steps"), int) else f"{run.step}"
    networks = " · ".join(f"{n} {count}".strip() for n, count in run.networks.items())
    updates = " · ".join(f"{u} trains {', '.join(t)}" for u, t in run.updates.items())
    found = {
        "state": run.state, "iterations": steps,
        "batch size": str(s.get("batch_size", 1)), "seed": str(s.get("seed", 0)),
        "networks": f"{networks} parameters" if any(run.networks.values()) else networks, "updates": updates,
        "started": f"{run.started:%Y-%m-%d %H:%M:%S %Z}",
        "took": f"{run.took} until it was logged last" if run.rows else "",
        "device": " ".join(str(e[k]) for k in ("device", "gpu") if e.get(k)),
        "machine": ", ".join(str(e[k]) for k in ("cpu", "platform") if e.get(k)),
        "software": ", ".join(f"{n} {v}" for n, v in {
            "ganflow": e.get("ganflow"), "Python": e.get("python"), "torch": (packages or {}).get("torch"),
            "CUDA": e.get("cuda")}.items() if v),
    }  # fmt: skip
    return {name: text for name, text in found.items() if text}


def commands(run: RunData, command: str) -> list[tuple[str, str]]:
    """What to type, and what it does."""
    path = shlex.quote(str(run.path))
    again = shlex.quote(f"{run.name}-again")
    found = [
        (f"{command} run {path}/config.gin --name {again}", "train it again, from the same seed"),
        (f"{command} diff {path} runs/{again}", "say what two runs differ in"),
        (f"{command} tensorboard {path}", "look at the curves while they grow, and at the generated source"),
    ]
    if any((run.path / "checkpoints").glob("*.pt")):
        found.insert(1, (f"{command} resume {path}", "go on where its last checkpoint was made"))
    if (run.path / "weights.pt").exists():
        found.append((f"{command} sample {path}", "generate with the weights that were saved last"))
    return found


def exactness(run: RunData) -> str:
    """What repeating it gives."""
    threads = run.files.environment.get("threads")
    on = f"{threads} thread{'s' * (threads != 1)}" if isinstance(threads, int) else "the same number of threads"
    same = "The same numbers, bit for bit, are to be expected only with the same versions on the same kind of device"
    return f"{same} ({on}); {_set(run)}"


def _set(run: RunData) -> str:
    """Where everything stands that was set, also of a run that went on as something else."""
    before = sorted(path.name for path in run.path.glob("config-until-*.gin"))
    forked = run.files.environment.get("forked_from")
    origin = f"it began with the state of {forked} at step {run.files.environment.get('forked_at')}" if forked else ""
    if not before:
        return (
            f"{origin}; from there on, config.gin says it all."
            if origin
            else "everything that was set is in config.gin."
        )
    until = ", ".join(f"{name} until step {int(name[len('config-until-') : -len('.gin')])}" for name in before)
    return f"{origin + '; ' if origin else ''}what was set changed on the way: {until}, then config.gin."


def chosen(pictures: Sequence[tuple[int, object]], count: int = SHOWN) -> list[int]:
    """The first, the last and some evenly between: their places."""
    if len(pictures) <= count:
        return list(range(len(pictures)))
    return [round(k * (len(pictures) - 1) / (count - 1)) for k in range(count)]


def last_value(line: Line) -> str:
    """``0.254``, or that there is none."""
    return f"{line.points[-1][1]:.4g}" if line.points else "none"


def lost(line: Line) -> str:
    """``not finite from step 40``, where something is not."""
    bad = [step for step, value in line.points if not math.isfinite(value)]
    return f"not finite in {len(bad)} of {len(line.points)} rows, from step {bad[0]}" if bad else ""


def described(chart: Chart) -> str:
    """A chart in words."""
    parts = []
    for line in chart.lines:
        style = f" ({STYLES[line.dash % len(STYLES)]})" if len(chart.lines) > 1 else ""
        parts.append(f"{line.label}{style} {last_value(line)}" + (f", {lost(line)}" if lost(line) else ""))
    return "; ".join(parts)


def size_text(count: int) -> str:
    """``31 MB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def linked(text: str) -> list[tuple[str, str]]:
    """Text cut at what stands in backticks and at arXiv numbers: (kind, text) with kinds text, code, arxiv."""
    found = []
    for part in re.split(r"(`[^`]+`|arXiv:\d{4}\.\d{4,5})", text):
        kind = "code" if part.startswith("`") else "arxiv" if part.startswith("arXiv:") else "text"
        if part:
            found.append((kind, part.strip("`") if kind == "code" else part))
    return found
