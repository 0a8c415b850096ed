"""The commands that train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganflow.cli.app import Config, Set, Strict, command, program
from ganflow.errors import GanflowError


@command
def run(
    config: Config,
    set_: Set = [],  # noqa: B006 - typer copies it
    name: Annotated[str | None, typer.Option(help="Of the run's directory.  [default: the gin file's name]")] = None,
    runs: Annotated[Path, typer.Option(help="Where runs lie.")] = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete a run of this name first.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    strict: Strict = False,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits each time on a device, too, or an error.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Start TensorBoard beside it, reachable from this machine only.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="TensorBoard's.  [default: one that is free]", min=0, max=65535)
    ] = None,
) -> None:
    """Train an experiment: losses, samples, metrics and weights go to runs/NAME."""
    from ganflow.config import load
    from ganflow.rundir import plain_name, unique_name
    from ganflow.trainer import Trainer, ending

    if name is not None:
        plain_name(name, option="--name")
    given = {"device": device, "deterministic": deterministic or None}
    options = [f"Trainer.{option} = {value!r}" for option, value in given.items() if value is not None]
    experiment = load(config, [*set_, *options])
    if port is not None and not tensorboard:
        raise GanflowError("--port is TensorBoard's, which is not asked for", code="port", hint="add --tensorboard")
    own = runs / (name or experiment.name)
    place = own if name or overwrite else unique_name(runs, experiment.name)
    beside = (port or 0) if tensorboard else None
    result = Trainer(experiment, place, overwrite=overwrite, strict=strict, tensorboard=beside).fit()
    print(ending(result, program()))
