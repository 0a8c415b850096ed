"""Small experiments made by hand, for tests of the compiler alone (no gin, no torch)."""

from __future__ import annotations

from ganflow.errors import Location
from ganflow.experiment import Definition, Experiment, Network, Op, Optimizer, Text, Update

WHERE = Location("toy.gin", 1)
ARITIES = {"cat": 0, "gan": 2, "l1": 2, "mse": 2, "bcel": 2, "mean": 1, "sum": 1, "square": 1, "flat": 1, "softplus": 1}


def ops() -> dict[str, Op]:
    """A few ops with the arities of the library's."""
    found = {n: Op(n, parameters=("a", "b")[:k], required=("a", "b")[:k], variadic=k == 0) for n, k in ARITIES.items()}
    found["randn"] = Op("randn", kind="random", variadic=True)
    return found


def experiment(
    definitions: dict[str, object],
    updates: dict[str, str],
    schedule: list[object],
    trains: dict[str, tuple] | None = None,
) -> Experiment:
    """Networks are the upper-case letters that the texts mention or updates train."""
    trains = {u: (trains or {}).get(u, (u.split("/")[0],)) for u in updates}
    words = {w for t in [*definitions.values(), *updates.values()] if isinstance(t, str)
             for w in "".join(c if c.isalnum() or c == "_" else " " for c in t).split()}  # fmt: skip
    names = sorted({w for w in words if w[0].isupper() and w not in definitions and w not in ("True", "False")}
                   | {t.split(".")[0] for ts in trains.values() for t in ts})  # fmt: skip
    adam = Optimizer("Adam", {"lr": 2e-4}, WHERE)
    return Experiment(
        name="toy",
        definitions={
            k: Definition(k, Text(v, WHERE) if isinstance(v, str) else v, WHERE) for k, v in definitions.items()
        },
        networks={n: Network(n, WHERE, optimizer=adam) for n in names},
        updates={u: Update(u, WHERE, minimize=Text(v, WHERE), trains=trains[u]) for u, v in updates.items()},
        states={},
        schedule=tuple(g if isinstance(g, tuple) else (g,) for g in schedule),
        ops=ops(),
    )
