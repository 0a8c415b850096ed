"""Large numbers as text.

count_text(7_312_451)          # '7.31 M'
pair_text(17, 4417)            # '17 → 4.42 k'
pair_text(5_100_000, 1_900_000, "FLOP")     # '5.1 → 1.9 MFLOP': a unit that both share is said once
"""

from __future__ import annotations


def count_text(count: float, unit: str = "") -> str:
    """Three digits and a prefix."""
    number, prefix = _scaled(count)
    return f"{number} {prefix}{unit}".rstrip()


def pair_text(before: float, after: float, unit: str = "") -> str:
    """What it was, and what it is."""
    (x, of_x), (y, of_y) = _scaled(before), _scaled(after)
    if after and (of_x == of_y or not before):
        return f"{x} → {y} {of_y}{unit}".rstrip()
    return f"{count_text(before, unit)} → {count_text(after, unit) if after else 0}"


def _scaled(count: float) -> tuple[str, str]:
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * scale:
            return f"{count / scale:.3g}", prefix
    return f"{count:.3g}", ""
