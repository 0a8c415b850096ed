"""TensorBoard on some runs, on this machine's loopback only.

serve([Path("runs/pix2pix")], port=6006)          # until Ctrl-C
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ganflow.errors import GanflowError

HOST = "127.0.0.1"
EVENTS = "events.out.tfevents.*"


def serve(runs: Sequence[Path], *, port: int) -> None:
    """Run TensorBoard until it is interrupted.

    Raises:
        GanflowError: no such directory, a directory without event files, a port that is taken.
    """
    _check(runs)
    port = _free(port)
    given = ["--logdir", str(runs[0])]
    if len(runs) > 1 or any(runs[0].glob(EVENTS)):  # so that each run is shown under its name
        given = ["--logdir_spec", ",".join(f"{run.absolute().name}:{run}" for run in runs)]
    print(f"TensorBoard: http://{HOST}:{port}/  (Ctrl-C ends it)", flush=True)
    command = [sys.executable, "-m", "tensorboard.main", *given, "--host", HOST, "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        _, errors = process.communicate()
    finally:
        process.terminate()
    if process.returncode:
        last = errors.strip().splitlines()[-1:] or [f"status {process.returncode}"]
        raise GanflowError(f"TensorBoard ended: {last[0]}", code="tensorboard", status=1)


def _check(runs: Sequence[Path]) -> None:
    for run in runs:
        if not run.is_dir():
            raise GanflowError(f"{run} is not a directory", code="not-a-run", hint="give a run, such as runs/pix2pix")
        if not any(run.rglob(EVENTS)):
            raise GanflowError(f"nothing in {run} was logged for TensorBoard", code="not-a-run",
                               hint="give a run, such as runs/pix2pix, or a directory of runs")  # fmt: skip


def _free(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise GanflowError(f"port {port} cannot be used: {error.strerror}", code="port",
                               hint="choose another with --port, or --port 0 for any") from error  # fmt: skip
        found: int = probe.getsockname()[1]
    return found
