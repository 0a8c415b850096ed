"""Lines of Python in blocks, and which value each of them is.

lines = Lines()
lines.line("fake = G(z)", ("with frozen['G']:",), node="fake")
lines.line("y = D(fake)", ("with frozen['G']:",), node="y")           # in the same block
"""

from __future__ import annotations

from ganflow.errors import shown


class Lines:
    """The text of a function as it grows.

    Attributes:
        out: its lines so far.
        lines: line number -> the node that is evaluated there.
    """

    def __init__(self) -> None:
        self.out: list[str] = []
        self.lines: dict[int, str] = {}
        self.context: tuple[str, ...] = ()
        self.depth = 1

    def line(self, text: str, context: tuple[str, ...] = (), node: str = "", comment: str = "") -> None:
        """One line inside its ``with``/``if`` blocks; neighbours with the same blocks share them."""
        shared = 0
        while shared < min(len(context), len(self.context)) and context[shared] == self.context[shared]:
            shared += 1
        for depth in range(shared, len(context)):
            self.out.append("    " * (depth + self.depth) + context[depth])
        self.context = context
        code = "    " * (len(context) + self.depth) + text
        self.out.append(f"{code:<76}  # {shown(comment, keep='')}" if comment else code)
        if node:
            self.lines[len(self.out)] = node

    def blank(self, text: str = "") -> None:
        self.context = ()
        self.out.append("    " * self.depth + text if text else "")

    def open(self, header: str) -> None:
        """A block that everything until :meth:`close` stands in."""
        self.line(header)
        self.depth += 1

    def close(self) -> None:
        self.context = ()
        self.depth -= 1
