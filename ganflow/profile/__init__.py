"""Where the time, the FLOPs and the bytes of an iteration go, value by value: ``ganflow profile CONFIG``.

    found = measure(ganflow.load("experiments/pix2pix.gin"), steps=10)
    print(text(found))                # html(found), to_json(found)

``stepping`` runs the step in ranges, ``attribution`` reads the profiler's events, ``memory`` its allocations, ``rows``
puts them beside what ``cost.measure`` counted; ``table``, ``page`` and ``json_view`` show it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ganflow.errors import GanflowError
from ganflow.experiment import Experiment
from ganflow.files import cannot_write, write_whole
from ganflow.profile.json_view import to_json
from ganflow.profile.measure import STEPS, measure
from ganflow.profile.model import Profile
from ganflow.profile.page import html
from ganflow.profile.table import lines, text

__all__ = ["STEPS", "Profile", "check_files", "html", "measure", "print_profile", "run", "text", "to_json"]

_FORMS: Mapping[str, Callable[[Profile], str]] = {".html": html, ".htm": html, ".json": to_json, ".txt": text}
_STYLES = {"title": "bold", "section": "bold cyan", "head": "dim", "hot": "yellow", "quiet": "dim"}


def run(
    experiment: Experiment, *, steps: int, device: str | None, synthetic: bool, textbook: bool, out: Sequence[Path],
    trace: Path | None,
) -> None:  # fmt: skip
    """What the command does: measure, print the table, write the files and say where they are."""
    check_files([*out, *([trace] if trace else [])], forms=out)
    found = measure(
        experiment, steps=steps, device=device, synthetic=synthetic, textbook=textbook, trace=trace is not None
    )
    written = [write_whole(path, _FORMS[path.suffix.lower()](found)) for path in out]
    written += [write_whole(trace, found.trace)] if trace is not None else []
    print_profile(found)
    for path in written:
        print(path)


def check_files(paths: Sequence[Path], *, forms: Sequence[Path] = ()) -> None:
    """Before anything runs: what cannot be written afterwards.

    Args:
        forms: those whose ending says what is written.
    """
    for path in forms:
        if path.suffix.lower() not in _FORMS:
            raise GanflowError(f"which format {path} should have cannot be told from its name", code="unknown-format",
                               hint=f"end the name in {', '.join(_FORMS)}")  # fmt: skip
    for path in paths:
        place = path.absolute().parent
        if not place.exists():
            raise cannot_write(path, OSError(errno.ENOENT, ""))
        if not place.is_dir():
            raise cannot_write(path, OSError(errno.ENOTDIR, ""))
        if path.is_dir():
            raise cannot_write(path, OSError(errno.EISDIR, ""))
        if not os.access(place, os.W_OK):
            raise cannot_write(path, OSError(errno.EACCES, ""))


def print_profile(profile: Profile) -> None:
    """The table on stdout, in colour in a terminal, plain in a pipe."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        print(text(profile), end="")
        return
    for line in lines(profile):
        console.print(Text(line.text, style=_STYLES.get(line.style, "")))
