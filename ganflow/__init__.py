"""ganflow: a declarative experiment framework for GANs and loops with several networks and optimizers.

    import ganflow
    experiment = ganflow.load("experiments/pix2pix.gin")
    print(ganflow.schedule(experiment))

The parts are imported when they are first used, so that ``import ganflow`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

from ganflow.version import __version__

_WHERE = {
    "load": "config", "loads": "config", "schedule": "scheduler", "GanflowError": "errors", "StepGraph": "graph",
    "Experiment": "experiment", "TrainStep": "step", "Trainer": "trainer",
}  # fmt: skip
__all__ = [*_WHERE, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(importlib.import_module(f"ganflow.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'ganflow' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
