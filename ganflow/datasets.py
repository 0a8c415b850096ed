"""Datasets by name, for the command line.

data = named("earth", ["earth.size = 32"])
print(describe(data))                        # train 4519 · val 23 · test 37, fields, files
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gin import config as gin_config

from ganflow import components
from ganflow.config import load
from ganflow.data.loader import splits
from ganflow.errors import GanflowError
from ganflow.ginfile import isolated, read
from ganflow.trainer import dataset


def named(name: str, overrides: Sequence[str] = ()) -> Any:
    """The dataset of a gin file, or the one that gin knows by ``name``; its files are made if they are not there."""
    if name.endswith(".gin"):
        return dataset(load(name, overrides))
    components.register()
    if not any(name == known.rsplit(".", 1)[-1] for known in components.datasets()):
        raise GanflowError(f"unknown dataset `{name}`", code="unknown-configurable",
                           hint=f"datasets: {', '.join(components.datasets())}, or give a gin file")  # fmt: skip
    with isolated():
        read([], text="", overrides=overrides)
        data = gin_config.get_configurable(name)()
    if hasattr(data, "prepare"):
        data.prepare()
    return data


def describe(data: Any) -> str:
    """Splits with their sizes, fields, and the file."""
    sizes = {s: len(data.open(s)) if hasattr(data, "open") else len(data) for s in splits(data)}
    lines = [f"{data}", "  " + " · ".join(f"{split} {count}" for split, count in sizes.items())]
    for name, field in getattr(data, "fields", {}).items():
        domain = f"  ({field.domain})" if field.domain else ""
        lines.append(f"  {name}  {'×'.join(map(str, field.shape))} {field.dtype}{domain}")
    if hasattr(data, "path"):
        lines.append(f"  {data.path()}")
    return "\n".join(lines)
