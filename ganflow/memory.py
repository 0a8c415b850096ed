"""Out of memory, said with what the plan holds and what makes it smaller.

with explained(experiment, inspection):
    ...                                   # train
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

from ganflow.cost import Cost
from ganflow.errors import GanflowError
from ganflow.experiment import Experiment
from ganflow.graph import StepGraph
from ganflow.inspection import Inspection
from ganflow.quantities import count_text
from ganflow.running import out_of_memory
from ganflow.settings import settings_of

BYTES = 4  # of a weight: float32
LARGEST = 3  # values of an update that are named
_ASKED = re.compile(r"[Tt]ried to allocate ([\d.]+) ?(bytes|[KMGT]iB)")


@contextlib.contextmanager
def explained(experiment: Experiment, inspection: Inspection) -> Iterator[None]:
    """An error that says that there is not enough memory says what needs it.

    Raises:
        GanflowError: ``out-of-memory``, status 1, in place of what torch or Python raised.
    """
    try:
        yield
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise too_large(error, experiment, inspection) from error


def too_large(error: Exception, experiment: Experiment, inspection: Inspection) -> GanflowError:
    """The message: where it happened, what the plan holds, what to change."""
    where = error.message.partition(":")[0] if isinstance(error, GanflowError) else ""
    size = settings_of(experiment).batch_size
    held = table(inspection.graph, inspection.cost)
    lines = [f"what the plan holds, with batches of {size}:", *(f"  {row}" for row in held)] if held else [
        "what the plan holds is not known: the dataset declares no shapes, or a module cannot be measured"
    ]  # fmt: skip
    return GanflowError(
        ": ".join(filter(None, ("there is not enough memory", where, asked(error)))),
        location=getattr(error, "location", None), code="out-of-memory", status=1,
        hint="\n".join([*lines, "what makes it smaller:", *(f"  {line}" for line in remedies(inspection, size))]),
    )  # fmt: skip


def asked(error: Exception) -> str:
    """How much was wanted at once, where the allocator says so."""
    said = _ASKED.search(str(error))
    if said is None:
        return ""
    units = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    return f"{count_text(float(said[1]) * units[said[2]], 'B')} were asked for at once"


def by_phase(cost: Cost) -> dict[str, dict[str, int]]:
    """Phase -> value -> bytes that it has, and that are held for the backward pass; the largest first."""
    found: dict[str, dict[str, int]] = {}
    for (phase, value), spent in cost.spent.items():
        if held := spent.value + spent.kept:
            found.setdefault(phase, {})[value] = held
    return {phase: dict(sorted(own.items(), key=lambda item: -item[1])) for phase, own in found.items()}


def table(graph: StepGraph, cost: Cost) -> list[str]:
    """A row for the weights, and one for each update or group."""
    rows: list[tuple[str, int, str]] = []
    if cost.parameters:
        names = ", ".join(f"{n} {count_text(p * BYTES, 'B')}" for n, p in cost.parameters.items())
        rows.append(("weights", sum(cost.parameters.values()) * BYTES,
                     f"{names}; as much again for gradients, and up to twice for an optimizer's moments"))  # fmt: skip
    titles = {p.name: f"update {', '.join(u.name for u in p.updates)}" for p in graph.walk() if p.updates}
    for phase, own in by_phase(cost).items():
        most = ", ".join(f"{shown(graph, v)} {count_text(n, 'B')}" for v, n in list(own.items())[:LARGEST])
        rows.append((titles.get(phase, phase), sum(own.values()), f"most in {most}"))
    return _aligned(rows)


def shown(graph: StepGraph, value: str) -> str:
    """A value as the plan writes it."""
    return f"`{graph.nodes[value].label}`" if value in graph.nodes else value


def _aligned(rows: Sequence[tuple[str, int, str]]) -> list[str]:
    cells = [(title, count_text(number, "B"), text) for title, number, text in rows]
    wide = [max((len(row[i]) for row in cells), default=0) for i in (0, 1)]
    return [f"{title:<{wide[0]}}  {number:>{wide[1]}}  {text}" for title, number, text in cells]


def remedies(inspection: Inspection, size: int) -> Iterator[str]:
    """What to bind, the surest first."""
    sums = {phase: sum(own.values()) for phase, own in by_phase(inspection.cost).items()}
    if sum(inspection.cost.parameters.values()) * BYTES > max(sums.values(), default=0):
        yield "smaller networks: their weights take most of it, whatever the batch"
    if size > 1:
        yield f"Trainer.batch_size = {size // 2}: half of what the updates hold"
        phases = [p for p in inspection.graph.walk() if p.updates]
        if largest := max(phases, key=lambda p: sums.get(p.name, 0), default=None):
            for update in largest.updates:
                parts = update.microbatches * 2
                if parts <= size:
                    yield f"{update.name}/Update.microbatches = {parts}: {parts} parts of a batch, one after the other"
    yield "smaller networks or images, or a machine with more memory"
