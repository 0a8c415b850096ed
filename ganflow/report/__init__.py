"""One page about a run: what ran, what is wrong with it, its curves, its samples, how to repeat it.

report(Path("runs/pix2pix"))                             # runs/pix2pix/report.html
report(Path("runs/pix2pix"), out=Path("notes.md"))       # and the curves in notes-files/

``reading`` reads the run, ``ganflow.diagnosis`` says what its numbers mean, ``curves`` decides what is drawn together,
``drawing`` draws, ``page`` and ``markdown`` write.
"""

from __future__ import annotations

from pathlib import Path

from ganflow.errors import GanflowError
from ganflow.files import cannot_write, write_whole
from ganflow.report.markdown import markdown
from ganflow.report.page import page
from ganflow.report.reading import read

NAME = "report.html"
HTML, MARKDOWN = (".html", ".htm"), (".md", ".markdown")


def report(run: Path, out: Path | None = None, *, command: str = "ganflow") -> Path:
    """Write the page and return where it is.

    Args:
        run: its directory; it may still be running.
        out: by default ``report.html`` in it. HTML is one self-contained file; Markdown has its curves in a folder
            beside it and shows the samples where they lie.
        command: how the user calls ganflow, for the lines that repeat the run.

    Raises:
        GanflowError: no run, or a damaged one; an ending that says no format; no matplotlib; a place that cannot be
            written.
    """
    out = out if out is not None else run / NAME
    ending = out.suffix.lower()
    if ending not in (*HTML, *MARKDOWN):
        raise GanflowError(f"which format {out} should have cannot be told from its name", code="unknown-format",
                           hint=f"end the name in {', '.join((*HTML, *MARKDOWN))}")  # fmt: skip
    found = read(run)
    if ending in HTML:
        return write_whole(out, _utf8(page(found, command=command)))
    text, pictures = markdown(found, out, command=command)
    for path, svg in pictures.items():
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(path.parent, error) from error
        write_whole(path, svg)
    return write_whole(out, _utf8(text))


def _utf8(text: str) -> bytes:
    """A directory may have a name that is no UTF-8; a question mark stands for what cannot be written."""
    return text.encode("utf-8", errors="replace")
