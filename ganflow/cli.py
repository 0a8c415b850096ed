"""The command line: one thin function per command. What it calls is imported when it runs.

ganflow run experiments/pix2pix.gin --set "lambda_A = 10"

Exit status: 0; 1 the run failed; 2 the input is wrong; 130 and 143 interrupted. An error is one message on stderr.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ganflow.errors import GanflowError, Terminated, raised_at
from ganflow.version import __version__

PROGRAM = "GANFLOW_PROGRAM"  # what the user typed, where a script stands before this one
DEBUG = "--debug"

app = typer.Typer(
    help="Train GANs and other loops with several networks and optimizers, declared in a gin file.",
    epilog="ganflow COMMAND --help says more. --debug, anywhere, shows the traceback of an error.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip

Config = Annotated[list[Path], typer.Argument(help="Gin files; later ones override earlier ones.", metavar="CONFIG...")]
Set = Annotated[
    list[str], typer.Option("--set", metavar="NAME=VALUE", help="Override a binding, in gin's syntax; may be repeated.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Warnings are errors.")]
RunDir = Annotated[Path, typer.Argument(help="A run's directory.", metavar="RUN")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]


def _version(asked: bool) -> None:
    if asked:
        print(f"ganflow {__version__}")
        raise typer.Exit


@app.callback()
def _all(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """What stands before the command."""


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no ✂ shows a question mark
    arguments = [a for a in sys.argv[1:] if a != DEBUG]
    app(args=arguments, prog_name=program())


def program() -> str:
    """The command as the user typed it."""
    return os.environ.get(PROGRAM, "ganflow")


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A command whose errors are one message and an exit status."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            with terminated():
                function(*args, **kwargs)
                sys.stdout.flush()
        except (typer.Exit, Terminated):
            raise
        except GanflowError as error:
            _fail(str(error), error.status, error)
        except KeyboardInterrupt as error:
            _fail("interrupted", 130, error)
        except BrokenPipeError:  # `ganflow plan ... | head`
            _close_stdout()
        except OSError as error:  # files have messages of their own
            if error.filename is not None:
                _fail(f"error[file]: {error.filename}: {error.strerror or error}", 2, error)
            _close_stdout()
            _fail(f"error[cannot-write]: the output cannot be written: {error.strerror or error}", 1, error)
        except Exception as error:
            cause = error.__cause__ or error
            _fail(f"error[internal]: {type(cause).__name__}: {cause}\n"
                  f"  this is a bug in ganflow; {DEBUG} shows where it happened", 1, error)  # fmt: skip
        except BaseException as error:  # what a network, an op or a dataset does must not pass for success
            _fail(str(GanflowError(f"user code {_deed(error)}", hint=raised_at(error), code="exit")), 2, error)

    return app.command()(run)


@contextlib.contextmanager
def terminated() -> Any:
    """SIGTERM ends a command as Ctrl-C does, with status 143."""

    def stop(*_: object) -> None:
        raise Terminated(143)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _deed(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"called sys.exit({'' if error.code is None else repr(error.code)})"
    return f"raised {type(error).__name__}: {error}".removesuffix(": ")


def _close_stdout() -> None:
    """What is still in its buffer would be written at the end, and fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, status: int, error: BaseException) -> None:
    if DEBUG in sys.argv:
        traceback.print_exception(error)
    else:
        print(message, file=sys.stderr)
    raise typer.Exit(status)


@command
def run(
    config: Config,
    set_: Set = [],  # noqa: B006 - typer copies it
    name: Annotated[str | None, typer.Option(help="Of the run's directory.  [default: the gin file's name]")] = None,
    runs: Annotated[Path, typer.Option(help="Where runs lie.")] = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete a run of this name first.")] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    strict: Strict = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Start TensorBoard beside it, reachable from this machine only.")
    ] = False,
    port: Annotated[
        int | None, typer.Option(help="TensorBoard's.  [default: one that is free]", min=0, max=65535)
    ] = None,
) -> None:
    """Train an experiment: losses, samples, metrics and weights go to runs/NAME."""
    from ganflow.config import load
    from ganflow.rundir import unique_name
    from ganflow.trainer import Trainer, ending

    experiment = load(config, [*set_, *([f"Trainer.device = {device!r}"] if device else [])])
    if name is not None and Path(name).name != name:
        raise GanflowError(f"--name {name} is not a plain name", code="name",
                           hint="say with --runs in which directory it lies")  # fmt: skip
    if port is not None and not tensorboard:
        raise GanflowError("--port is TensorBoard's, which is not asked for", code="port", hint="add --tensorboard")
    given = runs / (name or experiment.name)
    place = given if name or overwrite else unique_name(runs, experiment.name)
    beside = (port or 0) if tensorboard else None
    result = Trainer(experiment, place, overwrite=overwrite, strict=strict, tensorboard=beside).fit()
    print(ending(result, program()))


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


@command
def sample(
    run: RunDir,
    folder: Annotated[Path | None, typer.Argument(help="Images to translate; none: a split of the data.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the PNGs go.  [default: RUN/translated or RUN/SPLIT]")] = None,
    value: Annotated[str | None, typer.Option(help="Which value of the experiment, such as fake_B.")] = None,
    split: Annotated[str, typer.Option(help="Of the data, where no folder is given.")] = "test",
    count: Annotated[int | None, typer.Option(min=1, help="No more samples than these.")] = None,
    device: Device = "auto",
) -> None:
    """Use a run: translate a folder of images, or the test split with its metrics."""
    from ganflow.sampling import open_run, sample_split, translate

    opened = open_run(run, device=device)
    if folder is not None:
        written = translate(opened, folder, out or run / "translated", value=value)
        print(f"{_images(len(written))} in {out or run / 'translated'}")
        return
    written, metrics = sample_split(opened, split, out or run / split, value=value, count=count)
    print(f"{_images(len(written) - 1)} of split {split} and grid.png in {out or run / split}")
    if metrics:
        print("all of it: " * (count is not None) + "  ".join(f"{k} {v:.4g}" for k, v in metrics.items()))


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


def _warn(findings: Any) -> None:
    for finding in findings:
        if finding.level != "error":
            print(finding, file=sys.stderr)
