"""The commands that use what a run left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganflow.cli.app import Device, RunDir, command, program


@command
def sample(
    run: RunDir,
    folder: Annotated[Path | None, typer.Argument(help="Images to translate; none: a split of the data.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the PNGs go.  [default: RUN/translated or RUN/SPLIT]")] = None,
    value: Annotated[str | None, typer.Option(help="Which value of the experiment, such as fake_B.")] = None,
    split: Annotated[str, typer.Option(help="Of the data, where no folder is given.")] = "test",
    count: Annotated[int | None, typer.Option(min=1, help="No more samples than these.")] = None,
    checkpoint: Annotated[
        str, typer.Option(help="last, best (Trainer.keep_best) or a step.", metavar="WHICH")
    ] = "last",
    device: Device = "auto",
) -> None:
    """Use a run: translate a folder of images, or the test split with its metrics."""
    from ganflow.sampling import open_run, sample_split, translate

    opened = open_run(run, device=device, checkpoint=checkpoint)
    if folder is not None:
        written = translate(opened, folder, out or run / "translated", value=value)
        print(f"{_images(len(written))} in {out or run / 'translated'}")
        return
    written, metrics = sample_split(opened, split, out or run / split, value=value, count=count)
    print(f"{_images(len(written) - 1)} of split {split} and grid.png in {out or run / split}")
    if metrics:
        print("all of it: " * (count is not None) + "  ".join(f"{k} {v:.4g}" for k, v in metrics.items()))


@command
def replay(
    run: RunDir,
    step: Annotated[int | None, typer.Option(help="Which iteration.  [default: the last that was kept]")] = None,
    device: Device = "auto",
) -> None:
    """Run again the iteration in which a loss or a gradient was not finite, and say which operation made it so."""
    from ganflow.replay import replay as again

    print(again(run, step, device=device))


@command
def tensorboard(
    runs: Annotated[list[Path] | None, typer.Argument(help="Runs, or directories of runs.  [default: runs]")] = None,
    port: Annotated[int, typer.Option(help="0 chooses a free one.", min=0, max=65535)] = 6006,
) -> None:
    """Start TensorBoard on these runs, reachable from this machine only, and print its address."""
    from ganflow.board import serve

    serve(runs or [Path("runs")], port=port)


@command
def report(
    run: RunDir,
    out: Annotated[
        Path | None, typer.Option(help="An .html or .md file.  [default: RUN/report.html]", show_default=False)
    ] = None,
) -> None:
    """Write one page about a run: what ran, findings in plain words, curves, samples over time, how to repeat it."""
    from ganflow.report import report as write

    print(write(run, out, command=program()))


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"
