"""Text in lines.

head_lines(lane)                  # [('update D', 'head'), ('trains D', 'trains D'), ('when step % 4 == 0', 'fact')]
"""

from __future__ import annotations

from ganflow.pictures.model import Lane


def head_lines(lane: Lane, *, longest: int = 24) -> list[tuple[str, str]]:
    """What stands in a lane's head: text, and what kind of line it is."""
    found = [(line, "head") for line in wrapped(lane.title, 15)]
    for word, networks in (("trains", lane.trains), ("freezes", lane.freezes)):
        found += [(f"{word} {n}", f"{word} {n.split('.')[0]}") for n in networks]
    return found + [(line, "fact") for fact in lane.facts for line in wrapped(fact, longest)]


def wrapped(text: str, longest: int) -> list[str]:
    """Lines of at most ``longest`` letters, broken between words where that is possible."""
    lines = [""]
    for word in text.split():
        while len(word) > longest:
            lines, word = [*lines, word[:longest]], word[longest:]
        if lines[-1] and len(lines[-1]) + 1 + len(word) > longest:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return [line for line in lines if line]
