"""A comparison in one line, and values as people read them.

verdict(compare(a, b))          # 'same step graph, other numbers: lambda_A 100 → 10'
"""

from __future__ import annotations

from ganflow.diff.data import Change, Comparison, Section
from ganflow.diff.texts import is_number

INLINE = 3  # changes that one line still holds
KINDS: dict[Section, str] = {
    "networks": "networks", "terms": "numbers", "schedule": "numbers", "states": "numbers", "numbers": "numbers",
    "optimizers": "numbers", "ops": "settings of ops", "data": "data", "trainer": "settings of the run",
    "other": "bindings",
}  # fmt: skip


def verdict(comparison: Comparison) -> str:
    """``different step graphs``, ``same step graph, other numbers: …``, ``the same step graph; renamed: …`` …"""
    if comparison.same:
        if not comparison.renamed:
            return "the same experiment"
        return f"the same step graph; renamed: {renamed_text(comparison)}"
    if not comparison.same_graph:
        return f"different step graphs: {_subjects(comparison)}"
    written = comparison.written
    if all(c.level == "loop" for c in written):
        return f"the same training, other settings of the run{_inline(written)}"
    kinds = list(dict.fromkeys(_kind(c) for c in written))
    return f"same step graph, other {_and(kinds)}{_inline(written)}"


def _kind(c: Change) -> str:
    """What is another one, in a word: a network's ``ema_beta`` is a number, its class or width is the network."""
    if c.section == "optimizers" and c.what == "class":
        return "optimizers"
    number = c.section == "networks" and "." not in c.what and c.what != "class" and is_number(c.after)
    return "numbers" if number else KINDS[c.section]


def renamed_text(comparison: Comparison) -> str:
    """``fake_B → y, pred_fake → p``."""
    return ", ".join(f"{a} → {b}" for a, b in comparison.renamed)


def _subjects(comparison: Comparison) -> str:
    """What somebody wrote, in a few words, what makes another graph first."""
    found: dict[str, None] = {}
    for c in sorted(comparison.written, key=lambda c: c.level != "graph" and 0 not in (c.before, c.after)):
        sign = {"added": "+ ", "removed": "- ", "changed": ""}[c.kind]
        short = c.section not in ("values", "terms") and c.kind == "changed" and len(arrow(c)) <= 20
        what = f" {c.what}" if c.what and c.kind == "changed" and c.section not in ("values", "terms") else ""
        found.setdefault(f"{sign}{c.subject}{what}{f' {arrow(c)}' if short else ''}")
    told = [f for f in found if len(f) <= 40] or list(found)
    return "; ".join(told[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _inline(changes: tuple[Change, ...]) -> str:
    if len(changes) > INLINE:
        return ""
    parts = [f"{c.subject}{' ' + c.what if c.what else ''} {arrow(c)}" for c in changes]
    return f": {', '.join(parts)}" if sum(map(len, parts)) <= 60 else ""


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def arrow(change: Change) -> str:
    """``100 → 10``."""
    return f"{value_text(change.before)} → {value_text(change.after)}"


def value_text(value: object) -> str:
    """A plain value: numbers short, tuples in parentheses, strings without quotes."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (tuple, list)) and all(isinstance(v, str) for v in value):
        return ", ".join(value) or "none"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(value_text, value))
        return f"({inner}{',' if len(value) == 1 else ''})" if isinstance(value, tuple) else f"[{inner}]"
    return "none" if value is None else str(value)
