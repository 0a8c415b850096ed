"""A profile as JSON: every number of it, in seconds, FLOPs and bytes per iteration.

json.loads(to_json(profile))["sections"][0]["rows"][0]["forward"]
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from ganflow.profile.model import Profile, Row, Section

VERSION = 1
_LEFT_OUT = ("graph", "trace", "sections")


def to_json(profile: Profile) -> str:
    """``null`` stands for what could not be measured."""
    plain = {f.name: getattr(profile, f.name) for f in fields(profile) if f.name not in _LEFT_OUT}
    middle, low, high = plain.pop("plain")
    plain["without_profiler"] = {"seconds": middle, "low": low, "high": high}
    plain["textbook"] = asdict(profile.textbook) if profile.textbook else None
    plain["savings"] = [asdict(s) for s in profile.savings]
    plain["sections"] = [_section(profile, s) for s in profile.sections]
    return json.dumps({"version": VERSION, **plain}, indent=1, ensure_ascii=False) + "\n"


def _section(profile: Profile, section: Section) -> dict[str, Any]:
    return {
        "name": section.name, "title": section.title, "runs": section.runs, "seconds": section.time,
        "share": profile.share(section.time), "peak": section.peak, "rows": [_row(profile, r) for r in section.rows],
    }  # fmt: skip


def _row(profile: Profile, row: Row) -> dict[str, Any]:
    return {**asdict(row), "share": profile.share(row.time)}
