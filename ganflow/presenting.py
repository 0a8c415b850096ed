"""What a run tells TensorBoard before its first iteration and after its last: texts, the step graph, a row of HParams.

with Logs(run_dir, layout=layout_of(graph)) as logs, presented(logs, run_dir, experiment, inspection, probe):
    ...                                           # train
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ganflow import rundir
from ganflow.board_layout import losses_of, sections
from ganflow.cost import cost_cells
from ganflow.errors import GanflowError
from ganflow.experiment import Experiment
from ganflow.files import write_whole
from ganflow.graph import StepGraph
from ganflow.inspection import Inspection
from ganflow.logs import Layout, Logs
from ganflow.parameters import columns, flat
from ganflow.pictures.graphdef import Operation, operations_of
from ganflow.probe import Probe
from ganflow.resume import Origin
from ganflow.settings import settings_of

PROBE = "probe.txt"


@contextlib.contextmanager
def presented(
    logs: Logs, run_dir: Path, experiment: Experiment, inspection: Inspection, found: Probe | None, *,
    origin: Origin | None = None,
) -> Iterator[None]:  # fmt: skip
    """Inside, the run goes on; how it ends is written, too, unless the process is killed.

    Args:
        origin: where a resumed run goes on: it has said all of this, but for what has changed since.
    """
    if origin is None or origin.payload is None:
        write_texts(logs, run_dir, found)
        logs.graph(operations(experiment, inspection))
        logs.begins(flat(experiment), metrics=results(experiment, inspection.graph), first=columns(experiment))
    elif origin.changed:
        write_files(logs, run_dir, step=origin.step)
        logs.text("changed", origin.changed, step=origin.step)
    try:
        yield
    except BaseException:
        with contextlib.suppress(GanflowError):  # a full disk: what went wrong first is what the user is told
            logs.ends("failure")
        raise
    logs.ends("success")


def layout_of(graph: StepGraph) -> Layout:
    """From the tags of scalars to the charts of the Custom Scalars tab."""
    return partial(sections, losses=losses_of(graph))


def write_texts(logs: Logs, run_dir: Path, found: Probe | None) -> None:
    """Under TensorBoard's Text: what runs."""
    write_files(logs, run_dir)
    logs.text("environment", json.dumps(rundir.load(run_dir).environment, indent=2))
    if found is not None:
        write_whole(run_dir / PROBE, f"{found}\n", status=1)
        logs.text("probe", str(found))


def write_files(logs: Logs, run_dir: Path, *, step: int = 0) -> None:
    """The config and what was made of it."""
    files = rundir.load(run_dir)
    for tag, text in (("config", files.config), ("plan", files.plan), ("source", files.source)):
        logs.text(tag, text, step=step)


def operations(experiment: Experiment, inspection: Inspection) -> tuple[Operation, ...]:
    """The step graph, with the shapes and the cost that are known."""
    size = str(settings_of(experiment).batch_size)
    shapes = {n: "×".join([size, *map(str, f.shape)]) for n, f in (experiment.fields or {}).items() if f.shape}
    return operations_of(inspection.graph, cost_cells(inspection.graph, inspection.cost), shapes)


def results(experiment: Experiment, graph: StepGraph) -> Sequence[str]:
    """Tags of what says how good a run was: its metrics, or what its updates minimize."""
    metrics = [f"metric/{name}" for name in settings_of(experiment).metrics]
    return metrics or [f"loss/{u.name}" for u in graph.updates]
