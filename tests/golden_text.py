"""Texts meant for people, compared with files. ``GANFLOW_UPDATE_GOLDEN=1 pytest`` writes them: read the diff."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def check_golden(path: Path, text: str) -> None:
    """``text`` is what the file says."""
    if os.environ.get("GANFLOW_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path} says something else"
