"""Errors that a user can act on: what was given, what is allowed, where, what to do.

    raise GanflowError("unknown name `fake_C`", location=where, hint="did you mean `fake_B`?")

Every message that reaches a user goes through :class:`GanflowError`; ``assert`` is for our own bugs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

_KEY = re.compile(r"\s*(?P<key>[\w./]+)\s*[=:]")  # `G/Update.minimize = ...`, `D/Update:`

_PACKAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")

# What a person reads at a glance; longer texts are shown by their ends.
LINE, MESSAGE, LABEL = 200, 2_000, 300
SUGGESTED = 100  # a name of more characters is no slip of the finger, and comparing it takes minutes


@dataclass(frozen=True)
class Location:
    """A place in a gin file.

    Args:
        file: path as the user wrote it, or a label such as ``<string>``.
        line: 1-based line number.
        column: 0-based column of the caret, or ``None`` when only the line is known.
        length: how many characters the caret underlines.
        text: the source line, shown under the message; empty when unknown.
    """

    file: str
    line: int
    column: int | None = None
    length: int = 1
    text: str = ""

    def __str__(self) -> str:
        return f"{shown(self.file, LABEL, keep='')}:{self.line}"

    def shifted(self, column: int, length: int = 1) -> Location:
        """The same line with the caret at ``column``."""
        return replace(self, column=column, length=max(1, length))

    def excerpt(self) -> str:
        """The source line with a caret below it, below what is bound where no column is known; empty without text."""
        if not self.text.strip():
            return ""
        line = _visible(self.text.rstrip("\n").expandtabs(1))
        column, length = self.column, self.length
        if column is None:
            key = _KEY.match(line)
            column, length = key.span("key") if key else (len(line) + 1, 0)
            length -= column
        line, column = _window(line, column)
        if column > len(line):
            return f"    {line}"
        width = max(1, min(length, len(line) - column))
        return f"    {line}\n    {' ' * column}{'^' * width}"


def _window(line: str, column: int) -> tuple[str, int]:
    """The part of a very long line that has the caret in it, and the caret's place there."""
    if len(line) <= LINE:
        return line, column
    begin = max(0, min(column, len(line)) - LINE // 2)
    end = begin + LINE
    left, right = "… " * (begin > 0), " …" * (end < len(line))
    return left + line[begin:end] + right, (column - begin + len(left) if column <= len(line) else LINE * 2)


def _visible(line: str) -> str:
    """One character for each: a terminal obeys escape sequences, and Windows' line ends move the caret."""
    return line if line.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in line)


def shown(text: str, most: int = MESSAGE, *, keep: str = "\n") -> str:
    """``text`` as a person can read it: control characters as escapes, the middle of a very long text left out."""
    if len(text) > most:
        text = f"{text[: most // 2]} … {text[-(most // 2) :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


class GanflowError(Exception):
    """Input that cannot be used, said in one message.

    Args:
        message: what was given and why it cannot be used.
        location: the gin file and line it was given at, where there is one.
        hint: what is allowed, or what to do.
        code: a stable name such as ``unknown-name``, printed in brackets.
        status: exit status of the command line, 2 for bad input and 1 for a run that failed.
    """

    def __init__(
        self,
        message: str,
        *,
        location: Location | None = None,
        hint: str = "",
        code: str = "",
        status: int = 2,
    ) -> None:
        self.message, self.location, self.hint = message, location, hint
        self.code, self.status = code, status
        super().__init__(str(self))

    def __str__(self) -> str:
        return render("error", self.message, self.location, self.hint, self.code)


class Terminated(SystemExit):
    """SIGTERM ended the command: unlike a ``sys.exit()`` in a network or a dataset, this is to end it."""


def raised_at(error: BaseException) -> str:
    """``raised at nets.py:12``: the last place in the user's own code, or nothing where it was all ganflow's."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and not file.startswith(_PACKAGE):
            place = f"raised at {file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


def render(level: str, message: str, location: Location | None, hint: str = "", code: str = "") -> str:
    """One diagnostic as text: ``file:line: error[code]: message``, excerpt with caret, hint."""
    where = f"{location}: " if location else ""
    label = f"{level}[{code}]" if code else level
    lines = [f"{where}{label}: {shown(message)}"]
    if location and location.excerpt():
        lines.append(location.excerpt())
    if hint:
        lines.append("  " + shown(hint).replace("\n", "\n  "))
    return "\n".join(lines)


def nearest(name: str, known: Iterable[object], count: int = 3) -> list[str]:
    """The known names most like ``name``, best first."""
    import difflib

    if len(name) > SUGGESTED:
        return []
    candidates = [k for k in dict.fromkeys(str(k) for k in known) if len(k) <= SUGGESTED]
    return difflib.get_close_matches(name, candidates, n=count, cutoff=0.6)


def did_you_mean(name: str, known: Iterable[object]) -> str:
    """``did you mean `fake_B`?``, or an empty string when nothing is near."""
    close = nearest(name, known)
    return "did you mean " + " or ".join(f"`{c}`" for c in close) + "?" if close else ""
