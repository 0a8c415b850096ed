"""Learning rates that change, looked at over the whole run before it starts.

    for finding in check_rates("D", declared, {"lr": function}, settings):
        print(finding)      # error[learning-rate] where one is negative, warning[learning-rate] where it is 0 too soon

A schedule that counts iterations where epochs are meant ends after the first few minutes; one that falls on below 0
trains uphill.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from ganflow.experiment import Diagnostic, Optimizer
from ganflow.settings import Settings

POINTS = 16  # of a run that are looked at


def check_rates(
    name: str, declared: Optimizer, changing: Mapping[str, Callable[[Any], float]], settings: Settings
) -> Iterator[Diagnostic]:
    """Findings about one optimizer.

    Args:
        changing: its arguments that are functions of the counters.
    """
    rate, place = changing.get("lr"), declared.where.get("lr", declared.location)
    if rate is None:
        return
    for counter, length in (("step", settings.steps), ("epoch", settings.epochs)):
        found = _over(rate, counter, length or 0, settings.batch_size)
        negative = next(((k, v) for k, v in found if v < 0), None)
        late = [v for k, v in found if 2 * k >= (length or 0)]
        if negative is not None:
            yield Diagnostic(
                "error", "learning-rate",
                f"the learning rate of {name} is {negative[1]:.3g} at {counter} {negative[0]} of {length}: it trains "
                "uphill", place, f"it may not fall below 0: maximum(0.0, ...); or it ends before {counter} {length}",
            )  # fmt: skip
        elif late and not any(late) and any(v for _, v in found):
            yield Diagnostic(
                "warning", "learning-rate",
                f"the learning rate of {name} is 0 in the second half of the run, which has {length} {counter}s", place,
                f"is it meant to count {'epochs' if counter == 'step' else 'steps'}?\n"
                f"where learning is to stop, {name}/Update.when = '{counter} < ...' saves the work as well",
            )  # fmt: skip


def _over(rate: Callable[[Any], float], counter: str, length: int, batch_size: int) -> list[tuple[int, float]]:
    """(counter, rate) at some points of the run, the last among them; none where it reads what is not known."""
    points = sorted({k * (length - 1) // (POINTS - 1) for k in range(POINTS)}) if length else []
    found: list[tuple[int, float]] = []
    for k in points:
        known = {counter: k, "batch_size": batch_size} | ({"images": k * batch_size} if counter == "step" else {})
        try:
            found.append((k, float(rate(SimpleNamespace(**known)))))
        except (AttributeError, ArithmeticError, ValueError, TypeError):
            return []
    return found
