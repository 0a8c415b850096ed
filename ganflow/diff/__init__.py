"""How two experiments differ: networks, values, terms, schedule, numbers, and what follows of it.

    from ganflow.diff import Side, compare, text

    print(text(compare(Side(a, schedule(a)), Side(b, schedule(b)))))

One file each: ``matching`` (which value is which), ``values`` ``terms`` ``schedule`` ``declared`` (what differs),
``compare`` (all of it, as a frozen value), ``verdict`` ``shown`` (for people), ``written`` (for programs).
"""

from __future__ import annotations

from ganflow.diff.compare import compare
from ganflow.diff.data import SECTIONS, Change, Comparison, Measured, Side
from ganflow.diff.shown import lines, text
from ganflow.diff.verdict import verdict
from ganflow.diff.written import to_json

__all__ = ["SECTIONS", "Change", "Comparison", "Measured", "Side", "compare", "lines", "text", "to_json", "verdict"]
