"""TensorBoard on some runs, on this machine's loopback only.

serve([Path("runs/pix2pix")], port=6006)          # until Ctrl-C
with started([Path("runs/pix2pix")]) as address:  # as long as something else goes on
    ...
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ganflow.data.progress import say
from ganflow.errors import GanflowError

HOST = "127.0.0.1"
EVENTS = "events.out.tfevents.*"
FIRST_PAGE = "#custom_scalars"
PATIENCE = 120.0  # seconds until it must have said where it listens
MERCY = 5.0  # seconds to end by itself
# TensorBoard itself keeps 10 pictures of a tag; a slider over the whole run is what they are for.
KEPT = "images=200,histograms=200,distributions=200"
# A thread of TensorBoard's own process waits for the end of ours, however that comes, even by SIGKILL.
CHILD = """
import os, signal, sys, threading

def wait():
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=wait, daemon=True).start()
from tensorboard.main import run_main
run_main()
"""


class Board:
    """A TensorBoard that runs.

    Attributes:
        address: of its first page.
    """

    def __init__(self, process: subprocess.Popen[bytes], said: Path, folder: Path) -> None:
        self.process, self.said, self.folder = process, said, folder
        self.address = f"{_address(process, said)}{FIRST_PAGE}"

    def show(self, run: Path) -> None:
        """One run more, by its name."""
        _link(run, self.folder / _name(run, 1))


class NoBoard:
    """Shows nothing."""

    def show(self, run: Path) -> None:
        pass


def serve(runs: Sequence[Path], *, port: int) -> None:
    """Run TensorBoard until it is interrupted.

    Raises:
        GanflowError: no such directory, a directory without event files, a port that is taken.
    """
    _check(runs)
    with started(runs, port=port) as board:
        print(f"TensorBoard: {board.address}  (Ctrl-C ends it)", flush=True)
        board.process.wait()
        raise _ended(board.process, board.said)


@contextlib.contextmanager
def beside(port: int | None) -> Iterator[Board | NoBoard]:
    """While a run goes on; without a port there is none."""
    if port is None:
        yield NoBoard()
        return
    with started([], port=port) as board:
        say(f"TensorBoard: {board.address}")
        yield board


@contextlib.contextmanager
def started(runs: Sequence[Path], *, port: int = 0) -> Iterator[Board]:
    """Inside, TensorBoard answers; it has ended afterwards, whatever happens.

    Args:
        runs: directories of runs, or of several.
        port: 0 is any that is free.

    Raises:
        GanflowError: ``port``: it is taken; ``tensorboard``: it does not start.
    """
    if port:
        _check_port(port)
    with tempfile.TemporaryDirectory(prefix="ganflow-tensorboard-") as place:
        said, folder = Path(place) / "said", Path(place) / "runs"
        folder.mkdir()
        shown = _shown(runs, folder)
        # beside the links, and by a short name: the page shows it
        command = [sys.executable, "-c", CHILD, "--logdir", shown, "--host", HOST, "--port", str(port)]
        command += ["--samples_per_plugin", KEPT]
        with open(said, "wb") as file:
            # a session of its own: Ctrl-C in a terminal is for us, and we end it
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=file, stderr=file, start_new_session=True, cwd=place
            )  # fmt: skip
        try:
            yield Board(process, said, folder)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(MERCY)
            process.kill()
            process.communicate()


def _shown(runs: Sequence[Path], folder: Path) -> str:
    """The directory that TensorBoard reads: links by which each run has its name, whatever is in that name."""
    if len(runs) == 1 and not any(runs[0].glob(EVENTS)):
        return str(runs[0].absolute())  # of runs, which have their names there
    for name, run in _names(runs).items():
        _link(run, folder / name)
    return folder.name


def _link(run: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(run.resolve(), target_is_directory=True)


def _names(runs: Sequence[Path]) -> dict[str, Path]:
    """The ends of their paths, so long that none is the beginning of another, which would be a link and a directory."""
    places = list(dict.fromkeys(run.resolve() for run in runs))
    ends = dict.fromkeys(places, 1)
    while True:
        names = {place: _name(place, ends[place]) for place in places}
        same = {a for a in places for b in places if a != b and f"{names[b]}/".startswith(f"{names[a]}/")}
        short = {place for place in same if ends[place] < len(place.parts)}
        if not short:
            return {name: place for place, name in names.items()}
        ends |= {place: ends[place] + 1 for place in short}


def _name(run: Path, parts: int) -> str:
    return "/".join(run.resolve().parts[-parts:]).lstrip("/") or "root"


def _address(process: subprocess.Popen[bytes], said: Path) -> str:
    """Where it says that it listens."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ended = process.poll() is not None
        if found := re.search(rf"http://{re.escape(HOST)}:\d+/", said.read_text(errors="replace")):
            return found[0]
        if ended:
            raise _ended(process, said)
        time.sleep(0.05)
    raise GanflowError(f"TensorBoard did not start within {PATIENCE:g} s", code="tensorboard", status=1)


def _ended(process: subprocess.Popen[bytes], said: Path) -> GanflowError:
    lines = said.read_text(errors="replace").strip().splitlines()
    last = lines[-1] if lines else f"status {process.returncode}"
    return GanflowError(f"TensorBoard ended: {last}", code="tensorboard", status=1)


def _check(runs: Sequence[Path]) -> None:
    for run in runs:
        if not run.is_dir():
            raise GanflowError(f"{run} is not a directory", code="not-a-run", hint="give a run, such as runs/pix2pix")
        if not any(run.rglob(EVENTS)):
            raise GanflowError(f"nothing in {run} was logged for TensorBoard", code="not-a-run",
                               hint="give a run, such as runs/pix2pix, or a directory of runs")  # fmt: skip


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise GanflowError(f"port {port} cannot be used: {error.strerror}", code="port",
                               hint="choose another with --port, or --port 0 for any") from error  # fmt: skip
