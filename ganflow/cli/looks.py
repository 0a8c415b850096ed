"""The commands that look at an experiment or its data before it runs."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ganflow.cli.app import Config, Set, Strict, command


@command
def plan(
    config: Config,
    set_: Set = [],  # noqa: B006
    shapes: Annotated[bool, typer.Option("--shapes/--no-shapes", help="Shapes and cost, from meta tensors.")] = True,
    strict: Strict = False,
    form: Annotated[
        str | None, typer.Option("--format", help="text, mermaid, dot, svg, html or json.  [default: text]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file, whose ending says the format without --format.")
    ] = None,
) -> None:
    """Show the step graph: what is evaluated, detached, frozen, reused and stepped, and what it costs."""
    from ganflow.config import load
    from ganflow.inspection import inspect, refuse
    from ganflow.pictures import check_format, format_of

    chosen = check_format(form) if form else format_of(out) if out else "text"
    inspection = inspect(load(config, set_), shapes=shapes)
    _give(inspection.shown(chosen), out, utf8=chosen != "text")
    _warn(f for f in inspection.findings if f not in inspection.cost.notes)  # which stand below the plan
    refuse(inspection.findings, strict=strict)


def _give(text: str, out: Path | None, *, utf8: bool) -> None:
    """To a file, whose name is printed, or to standard output; what says of itself that it is UTF-8 stays that."""
    if out is None:
        if utf8 and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        print(text, end="")
        return
    from ganflow.files import write_whole

    print(write_whole(out, text))


@command
def source(config: Config, set_: Set = []) -> None:  # noqa: B006
    """Print the Python that a training step runs."""
    from ganflow.config import load
    from ganflow.scheduler import schedule

    print(schedule(load(config, set_)).source, end="")


@command
def check(
    config: Config,
    set_: Set = [],  # noqa: B006
    strict: Strict = False,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Run one iteration and measure which term gives which network a gradient: "
                     "needs the data, and the time of two or three iterations."),
    ] = False,
) -> None:  # fmt: skip
    """Find what is wrong or suspicious in an experiment, without running it."""
    from ganflow.config import load
    from ganflow.inspection import inspect

    experiment = load(config, set_)
    findings = inspect(experiment).findings
    starved = [f for f in findings if f.code == "gradient-starved"]  # where, only the probe knows
    if probe and not any(f.level == "error" for f in findings if f not in starved):
        from ganflow.trainer import probe_of

        found = probe_of(experiment)
        print(f"{found}\n")
        findings = (*(f for f in findings if f not in (*starved, *found.findings)), *found.findings)
    for finding in findings:
        print(finding)
    counts = {level: sum(f.level == level for f in findings) for level in ("error", "warning", "note")}
    print(", ".join(f"{n} {level}{'s' * (n != 1)}" for level, n in counts.items()))
    if counts["error"] or (strict and counts["warning"]):
        raise typer.Exit(2)


@command
def profile(
    config: Config,
    set_: Set = [],  # noqa: B006
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="Iterations that are measured.")] = 10,
    out: Annotated[
        list[Path], typer.Option(help="Write it here, too: .html, .json or .txt; may be repeated.", metavar="FILE")
    ] = [],  # noqa: B006
    trace: Annotated[
        Path | None, typer.Option(help="Write a trace of one iteration, for chrome://tracing or Perfetto.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Random batches of the declared shapes in place of the data.")
    ] = False,
    textbook: Annotated[bool, typer.Option(help="Run the textbook loop beside it.")] = True,
) -> None:
    """Run a few iterations and say where time, FLOPs and memory go, value by value, and what the plan avoids."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # its profiler warns of memory that was there before it
    from ganflow.config import load
    from ganflow.profile import run

    run(load(config, set_), steps=steps, device=device, synthetic=synthetic, textbook=textbook, out=out, trace=trace)


@command
def diff(
    a: Annotated[Path, typer.Argument(help="A gin file or a run's directory.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="What is compared with it.", metavar="B")],
    set_: Annotated[
        list[str], typer.Option("--set", metavar="NAME=VALUE", help="Override a binding of B; may be repeated.")
    ] = [],  # noqa: B006
    format_: Annotated[Literal["text", "json"], typer.Option("--format", help="text is for people.")] = "text",
    shapes: Annotated[bool, typer.Option("--shapes/--no-shapes", help="Compare parameters and FLOPs too.")] = True,
) -> None:
    """Say how experiment B differs from A: networks, values, terms, schedule, numbers, and what follows of it.

    Exit status: 0 they are the same but for names of definitions, 1 they differ, 2 the input is wrong.
    """
    from ganflow.diff import compare, to_json
    from ganflow.sides import print_comparison, side

    comparison = compare(side(a, shapes=shapes), side(b, overrides=set_, shapes=shapes))
    labels = str(a), ", ".join([str(b), *set_])
    if format_ == "json":
        print(to_json(comparison, labels=labels))
    else:
        print_comparison(comparison, labels=labels)
    if not comparison.same:
        raise typer.Exit(1)


@command
def data(
    name: Annotated[str, typer.Argument(help="A dataset such as earth, or a gin file.")],
    set_: Set = [],  # noqa: B006
    preview: Annotated[Path | None, typer.Option(help="Write a grid of samples to this PNG.")] = None,
    split: Annotated[str, typer.Option(help="Of the preview.")] = "train",
    count: Annotated[int, typer.Option(min=1, help="Samples in the preview.")] = 8,
) -> None:
    """Make a dataset's files if they are not there, say what is in it, show some of it."""
    from ganflow.datasets import describe, named

    dataset = named(name, set_)
    print(describe(dataset))
    if preview is not None:
        from ganflow.preview import preview as write

        print(write(dataset, preview, split=split, count=count))


def _warn(findings: Any) -> None:
    for finding in findings:
        if finding.level != "error":
            print(finding, file=sys.stderr)
