"""The commands that train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ganflow.cli.app import Config, RunDir, Set, Strict, command, program
from ganflow.errors import GanflowError

Runs = Annotated[Path, typer.Option(help="Where runs lie.")]
Tensorboard = Annotated[
    bool, typer.Option("--tensorboard", help="Start TensorBoard beside it, reachable from this machine only.")
]
Port = Annotated[int | None, typer.Option(help="TensorBoard's.  [default: one that is free]", min=0, max=65535)]
OnDevice = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Allow = Annotated[
    list[str], typer.Option("--allow", metavar="NAME", help="What may differ from the run so far; may be repeated.")
]
Fork = Annotated[
    str | None,
    typer.Option("--fork", metavar="NEW", help="Go on in a run of this name; anything may differ. The old one stays."),
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="The same bits each time on a device, too, or an error.")
]
Step = Annotated[
    int | None, typer.Option("--checkpoint", metavar="STEP", help="Which one.  [default: the newest that is whole]")
]


@command
def run(
    config: Config,
    set_: Set = [],  # noqa: B006 - typer copies it
    name: Annotated[str | None, typer.Option(help="Of the run's directory.  [default: the gin file's name]")] = None,
    runs: Runs = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete a run of this name first.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run of this name, bit for bit; begin it if there is none.")
    ] = False,
    allow: Allow = [],  # noqa: B006
    fork: Fork = None,
    checkpoint: Step = None,
    device: OnDevice = None,
    deterministic: Deterministic = False,
    strict: Strict = False,
    tensorboard: Tensorboard = False,
    port: Port = None,
) -> None:
    """Train an experiment: losses, samples, metrics and checkpoints go to runs/NAME."""
    from ganflow.config import load
    from ganflow.rundir import plain_name, unique_name

    if resume and overwrite:
        raise GanflowError(
            "--resume goes on with a run, and --overwrite deletes it", code="options", hint="one of them"
        )
    experiment = load(config, [*set_, *_options(device, deterministic)])
    given = runs / (plain_name(name) if name is not None else plain_name(experiment.name, option="the gin file's name"))
    place = given if name or overwrite or resume or fork else unique_name(runs, experiment.name)
    _train(experiment, place, resume=resume, overwrite=overwrite, allow=allow, fork=fork, checkpoint=checkpoint,
           strict=strict, tensorboard=tensorboard, port=port)  # fmt: skip


@command
def resume(
    run: RunDir,
    set_: Set = [],  # noqa: B006
    allow: Allow = [],  # noqa: B006
    fork: Fork = None,
    checkpoint: Step = None,
    device: OnDevice = None,
    deterministic: Deterministic = False,
    strict: Strict = False,
    tensorboard: Tensorboard = False,
    port: Port = None,
) -> None:
    """Go on with a run where its last checkpoint was made, bit for bit."""
    from dataclasses import replace

    from ganflow import rundir
    from ganflow.config import load
    from ganflow.resume import named_as

    run = run if run.name not in ("", "..") else run.resolve()  # `.` has no name to fork from
    files = rundir.load(run)
    experiment = replace(load(run / rundir.CONFIG, [*set_, *_options(device, deterministic)]), name=named_as(files))
    _train(experiment, run, resume=True, allow=allow, fork=fork, checkpoint=checkpoint, strict=strict,
           tensorboard=tensorboard, port=port)  # fmt: skip


@command
def verify_resume(
    config: Config,
    set_: Set = [],  # noqa: B006
    steps: Annotated[int, typer.Option(min=2, max=100_000, help="Iterations; the second half is resumed.")] = 22,
    device: OnDevice = None,
    deterministic: Deterministic = False,
) -> None:
    """Prove that a resumed run gives the same bits: run it, resume it in another process, compare everything.

    Exit status: 0 the same, 1 they differ, 2 the input is wrong. Nothing is left behind.
    """
    from ganflow.config import load
    from ganflow.inspection import inspect, refuse
    from ganflow.verify_resume import verify_resume

    refuse(inspect(load(config, set_)).findings)
    verdict = verify_resume(config, overrides=[*set_, *_options(device, deterministic)], steps=steps)
    print(verdict.text)
    if not verdict.same:
        raise typer.Exit(1)


def _train(
    experiment: Any, place: Path, *, resume: bool, allow: list[str], fork: str | None, checkpoint: int | None,
    tensorboard: bool, port: int | None, **options: Any,
) -> None:  # fmt: skip
    """Begin, go on, or branch off."""
    from ganflow.rundir import plain_name
    from ganflow.trainer import Trainer, ending

    if port is not None and not tensorboard:
        raise GanflowError("--port is TensorBoard's, which is not asked for", code="port", hint="add --tensorboard")
    if not (resume or fork) and (allow or checkpoint is not None):
        option = "--allow" if allow else "--checkpoint"
        raise GanflowError(f"{option} is about a run that goes on", code="options", hint="add --resume")
    old, new = (place, place.parent / plain_name(fork, option="--fork")) if fork is not None else (None, place)
    beside = (port or 0) if tensorboard else None
    result = Trainer(
        experiment, new, resume=resume, fork=old, allow=allow, checkpoint=checkpoint, tensorboard=beside,
        command=program(), **options,
    ).fit()  # fmt: skip
    print(ending(result, program()))


def _options(device: str | None, deterministic: bool) -> list[str]:
    """As bindings."""
    given = {"device": device, "deterministic": deterministic or None}
    return [f"Trainer.{option} = {value!r}" for option, value in given.items() if value is not None]
