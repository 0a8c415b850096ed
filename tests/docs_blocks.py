"""The fenced blocks of the pages under ``docs/``, each with the files that stand around it.

    for block in blocks(page):
        block.language, block.text          # 'gin', "include 'gan.gin'\\n..."

A block whose first line is ``# name.gin`` or ``# name.py`` is the file of that name; any other gin block is
``example.gin`` until the next one. A text block is what a terminal shows, ``$ ganflow plan example.gin`` and what it
prints; a line ``...`` in it stands for any number of lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ("language.md", "reference.md", "health.md")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_NAMED = re.compile(r"# (\w+\.(?:gin|py))\n")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Args:
        line: of its fence, for messages; ``number``: which block of the page it is.
        example: for a block of text, the gin block above it.
    """

    page: str
    line: int
    number: int
    language: str
    text: str
    example: Block | None = None

    @property
    def file(self) -> str:
        """The file that it is, or nothing for text and for Python that is only run."""
        named = _NAMED.match(self.text)
        return named[1] if named else "example.gin" if self.language == "gin" else ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """Every block of a page, in order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    found: list[Block] = []
    example: Block | None = None
    for match in _FENCE.finditer(text):
        line = text[: match.start()].count("\n") + 1
        block = Block(page, line, len(found), match[1], match[2], example)
        example = block if block.language == "gin" else example
        found.append(block)
    return found


def commands(block: Block) -> list[tuple[str, str]]:
    """(command, what it prints) of a block of text."""
    parts = re.split(r"^\$ (.*)\n", block.text, flags=re.M)
    assert not parts[0], f"{block}: text is shown, and no command that prints it"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def matches(shown: str, real: str) -> bool:
    """Is this what was printed, ``...`` standing for lines that are left out?"""
    pieces = [re.escape(piece) for piece in re.split(r"^\.\.\.\n", shown, flags=re.M)]
    return re.fullmatch(r"(?:.*\n)*?".join(pieces), real) is not None


def written(block: Block, printed: list[str]) -> None:
    """Put what the commands of a block really print into the page; what is shown in part stays as it is."""
    text = "".join(
        f"$ {command}\n{shown if '...' in shown.splitlines() else real}"
        for (command, shown), real in zip(commands(block), printed, strict=True)
    )
    page = DOCS / block.page
    whole = page.read_text(encoding="utf-8")
    fence = list(_FENCE.finditer(whole))[block.number]
    page.write_text(f"{whole[: fence.start(2)]}{text}{whole[fence.end(2) :]}", encoding="utf-8")
