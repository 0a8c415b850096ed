"""What all commands share: the application, the options that many have, and how a command ends.

@command
def check(config: Config, set_: Set = []) -> None: ...
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
from typing import Annotated, Any

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
