"""The command line, called in this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from unittest.mock import patch

import pytest

from ganflow.cli import main


@dataclass(frozen=True)
class Outcome:
    """Exit status and what was printed."""

    status: int
    out: str
    err: str


def ganflow(capsys: pytest.CaptureFixture[str], *arguments: object) -> Outcome:
    """``ganflow(capsys, "plan", "pix2pix.gin")``."""
    capsys.readouterr()
    with patch.object(sys, "argv", ["ganflow", *map(str, arguments)]), pytest.raises(SystemExit) as exit_:
        main()
    printed = capsys.readouterr()
    code = exit_.value.code
    return Outcome(code if isinstance(code, int) else int(bool(code)), printed.out, printed.err)
