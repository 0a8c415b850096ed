"""A trace of one iteration -> the most bytes that were allocated at one time, in all and in each phase.

peaks(trace, step.labels, device="cpu")       # Peaks(total=31_000_000, phases={'D': 21_000_000, 'G': 31_000_000})
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

_DEVICE = {"cpu": 0, "cuda": 1}  # as c10 numbers them


@dataclass
class Peaks:
    """Bytes above what was allocated when the iteration began."""

    total: int = 0
    phases: dict[str, int] = field(default_factory=dict)


def peaks(trace: str, labels: Mapping[str, tuple[str, str]], *, device: str) -> Peaks | None:
    """``None`` where the profiler does not see the device's memory.

    Args:
        trace: in Chrome's format, of a profiler with ``profile_memory``.
    """
    if device not in _DEVICE:
        return None
    events = [e for e in json.loads(trace)["traceEvents"] if "ts" in e]
    found, now, phase = Peaks(), 0, ""
    for event in sorted(events, key=lambda e: float(e["ts"])):
        if event.get("cat") == "user_annotation" and event["name"] in labels:
            phase = labels[event["name"]][0]
            found.phases.setdefault(phase, 0)
        elif event.get("name") == "[memory]" and event["args"].get("Device Type") == _DEVICE[device]:
            now += event["args"]["Bytes"]
            found.total = max(found.total, now)
        else:
            continue
        found.phases[phase] = max(found.phases.get(phase, 0), now)
    return found
