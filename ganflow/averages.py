"""Means between two reports, and which value was not finite first: nothing waits for the device until it is asked.

averages = Averages()
averages.add(train_step())               # in every iteration; no host sync
averages.nonfinite()                     # {"loss/D": 41}: in the 42nd iteration since the last means()
averages.means()                         # {"loss/G": 0.7, "loss/D": nan}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

FOLD = 256  # steps whose values are kept one by one; older ones are sums
NEVER = 2**62


class Averages:
    """Means of a step's values over the steps since the last ``means()``; the host waits only there.

        averages.add({"loss/G": g, "loss/D": d})         # 0-d tensors on any device
        averages.means()                                 # {"loss/G": 0.7, "loss/D": 0.3}

    Keys may differ from step to step: each mean is over the steps that had the key. A value that was NaN or
    infinite makes its mean so. Half precision is added in float32.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, ...], _Group] = {}
        self.steps = 0  # since the last ``means()``

    def add(self, logs: Mapping[str, Tensor | float]) -> None:
        """Add one step's values, 0-d tensors: one operation for each device.

        Numbers, such as the weights of terms, are left out: whoever reports has them without waiting.
        """
        names = tuple([name for name, value in logs.items() if isinstance(value, Tensor)])
        values: list[Tensor] = [logs[name] for name in names]  # type: ignore[misc]
        group = self._groups.get(names)
        if group is None:
            group = self._groups[names] = _Group(names, values)
        group.add(values, self.steps)
        self.steps += 1

    def means(self) -> dict[str, float]:
        """The mean of each key, in the order in which they first came; one transfer per device. Starts anew."""
        groups, self._groups, self.steps = list(self._groups.values()), {}, 0
        totals: dict[str, float] = {}
        counts: dict[str, int] = {}
        for group in groups:
            for name, total, count in group.sums():
                totals[name] = totals.get(name, 0.0) + total
                counts[name] = counts.get(name, 0) + count
        return {name: total / counts[name] for name, total in totals.items()}

    def nonfinite(self) -> dict[str, int]:
        """Key -> the first step since the last ``means()`` that gave it a value which is not finite; the host waits.

        Steps count from 0; the first one of all comes first, and of one step's keys those that it logs first.
        """
        found: dict[str, int] = {}
        for group in self._groups.values():
            for name, first in group.firsts():
                found[name] = min(first, found.get(name, first))
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def state_dict(self) -> dict[str, Any]:
        """What was added since the last ``means()``, to go on from bit for bit."""
        return {"steps": self.steps, "groups": [g.state_dict() for g in self._groups.values()]}

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device | str = "cpu") -> None:
        """``averages.load_state_dict(other.state_dict())``."""
        self.steps, self._groups = int(state["steps"]), {}
        for held in state["groups"]:
            group = _Group.of(held, torch.device(device))
            self._groups[group.names] = group


class _Group:
    """The steps that had the same keys."""

    def __init__(self, names: tuple[str, ...], values: list[Tensor]) -> None:
        assert all(value.ndim == 0 for value in values), "logs hold 0-d tensors"
        devices: dict[torch.device, list[int]] = {}
        for place, value in enumerate(values):
            devices.setdefault(value.device, []).append(place)
        self.names, self.count = names, 0
        self.parts = [_Part(places) for places in devices.values()]

    def add(self, values: list[Tensor], step: int) -> None:
        for part in self.parts:
            part.add(values if len(self.parts) == 1 else [values[i] for i in part.places], step)
        self.count += 1

    def sums(self) -> Iterable[tuple[str, float, int]]:
        """Name, sum and number of steps, in order."""
        found = [0.0] * len(self.names)
        for part in self.parts:
            for place, total in zip(part.places, part.folded()[0].tolist(), strict=True):
                found[place] = total
        return ((name, total, self.count) for name, total in zip(self.names, found, strict=True))

    def firsts(self) -> Iterable[tuple[str, int]]:
        """Names that were not finite, and when."""
        found = dict[int, int]()
        for part in self.parts:
            found |= dict(zip(part.places, part.folded()[1].tolist(), strict=True))
        return ((self.names[place], first) for place, first in sorted(found.items()) if first < NEVER)

    def state_dict(self) -> dict[str, Any]:
        return {"names": list(self.names), "count": self.count, "parts": [p.state_dict() for p in self.parts]}

    @staticmethod
    def of(state: Mapping[str, Any], device: torch.device) -> _Group:
        group = _Group(tuple(state["names"]), [])
        group.count, group.parts = int(state["count"]), [_Part.of(p, device) for p in state["parts"]]
        return group


class _Part:
    """The values of a group that are on one device: ``places`` says which.

    A step's values are copied into one tensor, for the step may use its own again, and the tensors of many steps are
    folded into two: what they add up to, and when each was not finite first.
    """

    def __init__(self, places: list[int]) -> None:
        self.places = places
        self.rows: list[Tensor] = []
        self.steps: list[int] = []
        self.total: Tensor | None = None
        self.first: Tensor | None = None

    def add(self, values: list[Tensor], step: int) -> None:
        row = torch.stack(values)
        self.rows.append(row.detach() if row.requires_grad else row)
        self.steps.append(step)
        if len(self.rows) == FOLD:
            self.total, self.first = self.folded()
            self.rows, self.steps = [], []

    def folded(self) -> tuple[Tensor, Tensor]:
        """Sums and first steps of all that was added; nothing changes, so that asking makes no difference."""
        if not self.rows:
            assert self.total is not None and self.first is not None, "a part is made when there is something to add"
            return self.total, self.first
        rows = torch.stack(self.rows)
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        # not blocking: a copy from memory that is not pinned is staged at once, and the host goes on
        steps = torch.tensor(self.steps).to(rows.device, non_blocking=True)
        first = torch.where(rows.isfinite(), NEVER, steps[:, None]).amin(0)
        total = rows.sum(0)
        if self.total is None or self.first is None:
            return total, first
        return self.total + total, torch.minimum(self.first, first)

    def state_dict(self) -> dict[str, Any]:
        held = torch.stack(self.rows) if self.rows else None
        device = str(next(x.device for x in (held, self.total) if x is not None))
        return {"places": self.places, "device": device, "rows": held, "steps": list(self.steps), "total": self.total,
                "first": self.first}  # fmt: skip

    @staticmethod
    def of(state: Mapping[str, Any], device: torch.device) -> _Part:
        part, where = _Part(list(state["places"])), "cpu" if state["device"] == "cpu" else device
        rows, part.total, part.first = (
            None if state[key] is None else state[key].to(where) for key in ("rows", "total", "first")
        )
        part.rows, part.steps = [] if rows is None else list(rows.unbind()), list(state["steps"])
        return part
