"""Does a call fit the op's signature?

check_call(Op("l1", parameters=("pred", "target"), required=("pred", "target")), 1, [], at=where)
# error[arguments]: `l1` needs `target`
"""

from __future__ import annotations

from collections.abc import Sequence

from ganflow.errors import GanflowError, Location, did_you_mean
from ganflow.experiment import Op


def usage(op: Op) -> str:
    """``l1(pred, target)``."""
    positional = ["..."] if op.variadic else []
    optional = [p for p in op.parameters if p not in op.required]
    parts = [p for p in op.parameters if p in op.required] + [f"{p}=" for p in (*optional, *op.keyword_only)]
    return f"{op.name}({', '.join(positional + parts)})"


def check_call(op: Op, positional: int, keywords: Sequence[str], *, at: Location) -> None:
    """Raise ``arguments`` if the call does not fit."""

    def refuse(message: str, hint: str = "") -> GanflowError:
        return GanflowError(message, location=at, hint=hint or f"usage: {usage(op)}", code="arguments")

    if positional > len(op.parameters) and not op.variadic:
        allowed = len(op.parameters)
        raise refuse(f"`{op.name}` takes at most {allowed} argument{'s' * (allowed != 1)}, {positional} given")
    by_position = op.parameters[:positional]
    for keyword in keywords:
        if keyword in by_position or list(keywords).count(keyword) > 1:
            raise refuse(f"`{op.name}` gets `{keyword}` twice")
        known = (*op.parameters, *op.keyword_only)
        if keyword not in known and not op.open_keywords:
            near = did_you_mean(keyword, known)
            raise refuse(
                f"`{op.name}` has no parameter `{keyword}`", f"{near + chr(10) if near else ''}usage: {usage(op)}"
            )
    missing = [p for p in op.required if p not in by_position and p not in keywords and p not in op.bound]
    if missing:
        raise refuse(f"`{op.name}` needs " + ", ".join(f"`{m}`" for m in missing))
