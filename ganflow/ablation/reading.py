"""Gin file -> Ablation: variants, grid, exclusions, seeds and metrics, checked as far as they can be without a base.

ablation = read("experiments/ablations/pix2pix_lambda.gin", overrides=["Trainer.steps = 500"])
[v.name for v in ablation.variants]         # ['lambda_A = 1', 'lambda_A = 10', ...]
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganflow import components
from ganflow.ablation.data import Ablation, Variant
from ganflow.bindings import Table, check_macros, plain
from ganflow.errors import GanflowError, Location, did_you_mean
from ganflow.ginfile import Line, isolated
from ganflow.ginfile import read as read_gin

MAX_VARIANTS, MAX_SEEDS = 1_000, 1_000
_KEY = re.compile(r"[\w.]+(/[\w.]+)*")
_DEFAULTS: Mapping[str, object] = {"variants": {}, "grid": {}, "exclude": (), "seeds": (0, 1, 2), "metrics": ()}


def read(path: str | Path, *, overrides: Sequence[str] = ()) -> Ablation:
    """The ablation that a gin file declares.

    Args:
        overrides: gin lines over the file, of every variant.

    Raises:
        GanflowError: ``ablation``: a binding of ``Ablation`` that cannot be used; what reading a gin file raises.
    """
    components.register()
    with isolated():
        reading = read_gin([path], overrides=overrides)
        table = Table(reading.lines)
        check_macros(reading.lines, table)
        lines = table.at("Ablation", "")
        values = {**_DEFAULTS, **{name: plain(line.value) for name, line in lines.items()}}
    if scoped := table.scopes("Ablation"):
        line = next(iter(table.at("Ablation", scoped[0]).values()))
        raise _wrong(line.location, f"`{scoped[0]}/Ablation` has a scope", "a file has one ablation; drop the scope")
    if not values["variants"] and not values["grid"]:
        raise _wrong(
            Location(str(path), 1), "there is nothing to compare",
            "bind Ablation.variants = {'base': {}, 'no L1': {'lambda_A': 0.0}}, or Ablation.grid",
        )  # fmt: skip
    variants = tuple(_variants(values, lines))
    _check_names(variants)
    first = next(iter(lines.values())).location
    return Ablation(
        Path(path), tuple(overrides), variants, _seeds(values["seeds"], lines), _metrics(values, lines), first
    )


def _wrong(location: Location, message: str, hint: str) -> GanflowError:
    return GanflowError(message, location=location, hint=hint, code="ablation")


# -- variants ------------------------------------------------------------------------------------------------


def _variants(values: Mapping[str, Any], lines: Mapping[str, Line]) -> Iterator[Variant]:
    """Every named variant with every point of the grid, less what is excluded."""
    named = _named(values["variants"], lines) or {"": {}}
    points = list(_points(values["grid"], lines))
    excluded = _exclusions(values["exclude"], lines)
    left = set(range(len(excluded)))
    for (name, bindings), (point, set_) in itertools.product(named.items(), points):
        both = {**bindings, **set_}
        full = ", ".join(filter(None, (name, point)))
        out = [k for k, e in enumerate(excluded) if _meets(e, full, both)]
        left -= set(out)
        if not out:
            where = _place(lines["variants" if name else "grid"], name or next(iter(set_), ""))
            yield Variant(full, both, tuple(f"{k} = {v!r}" for k, v in both.items()), _folder(full, where), where)
    if left:
        raise _wrong(lines["exclude"].location, f"`Ablation.exclude` has {excluded[min(left)]!r}, which is no variant",
                     "give a variant's name, or a dict of names and the values that exclude it")  # fmt: skip


def _named(given: object, lines: Mapping[str, Line]) -> dict[str, dict[str, object]]:
    if not isinstance(given, dict) or not all(isinstance(v, dict) and isinstance(k, str) for k, v in given.items()):
        raise _wrong(lines["variants"].location, "`Ablation.variants` takes a dict: name -> what is bound",
                     "such as {'base': {}, 'no L1': {'lambda_A': 0.0}}; expressions are strings")  # fmt: skip
    for name, bindings in given.items():
        if not name.strip() or not name.isprintable():
            raise _wrong(lines["variants"].location, f"a variant is called {name!r}", "give it a name to be shown")
        for key in bindings:
            _check_key(key, _place(lines["variants"], name), f"variant {name!r}: ")
    return {k: dict(v) for k, v in given.items()}


def _points(given: object, lines: Mapping[str, Line]) -> Iterator[tuple[str, dict[str, object]]]:
    """Every combination: its name and what it binds."""
    many = isinstance(given, dict) and all(isinstance(v, (tuple, list)) and v for v in given.values())
    if not isinstance(given, dict) or not many:
        raise _wrong(lines["grid"].location, "`Ablation.grid` takes a dict: name -> the values that it takes in turn",
                     "such as {'lambda_A': (1, 10, 100)}")  # fmt: skip
    for key in given:
        _check_key(key, lines["grid"].location, "")
    if len(list(itertools.islice(itertools.product(*given.values()), MAX_VARIANTS + 1))) > MAX_VARIANTS:
        raise _wrong(lines["grid"].location, f"`Ablation.grid` has more than {MAX_VARIANTS:,} combinations",
                     "fewer names, or fewer values of each")  # fmt: skip
    short = [k.rsplit(".", 1)[-1] for k in given]
    names = short if len(set(short)) == len(short) else list(given)
    for values in itertools.product(*given.values()):
        told = (f"{n} = {v if isinstance(v, str) else repr(v)}" for n, v in zip(names, values, strict=True))
        yield ", ".join(told), dict(zip(given, values, strict=True))


def _check_key(key: object, where: Location, of: str) -> None:
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        raise _wrong(where, f"{of}{key!r} is no name that can be bound",
                     "as on the left in a gin file: 'lambda_A', 'D/PatchDiscriminator.in_channels'")  # fmt: skip
    if key == "Trainer.seed" or key.rsplit(".", 1)[0].rsplit("/", 1)[-1] == "Ablation":
        hint = "every variant runs with the same seeds: Ablation.seeds = (0, 1, 2)"
        raise _wrong(where, f"{of}`{key}` cannot be bound in a variant", hint)


def _exclusions(given: object, lines: Mapping[str, Line]) -> tuple[object, ...]:
    if not isinstance(given, (tuple, list)) or not all(isinstance(e, (str, dict)) and e for e in given):
        raise _wrong(lines["exclude"].location, f"`Ablation.exclude` is {given!r}; it takes a list",
                     "of names of variants, and of dicts such as {'lambda_A': 1, 'lambda_GAN': 0.0}")  # fmt: skip
    return tuple(given)


def _meets(excluded: object, name: str, bindings: Mapping[str, object]) -> bool:
    if isinstance(excluded, str):
        return excluded == name
    assert isinstance(excluded, dict)
    return all(k in bindings and bindings[k] == v for k, v in excluded.items())


def _place(line: Line, word: str) -> Location:
    """The row in which a value of several rows has this name as a key."""
    where = line.location
    try:
        rows = Path(where.file).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError):
        rows = [where.text]
    begin = where.line - 1 if len(rows) > 1 else 0
    for number, row in enumerate(rows[begin:], where.line):
        for quoted in (f"'{word}'", f'"{word}"'):
            if word and quoted in row:
                return Location(where.file, number, row.index(quoted), len(quoted), row)
    return where


def _folder(name: str, where: Location) -> str:
    found = re.sub(r"[^\w.=]+", "-", name.replace(" = ", "=")).strip("-.")[:100]
    if not found:
        raise _wrong(where, f"variant {name!r} has no letter or digit in its name", "its runs lie in a folder of it")
    return found


def _check_names(variants: Sequence[Variant]) -> None:
    if not variants:
        raise GanflowError("`Ablation.exclude` leaves no variant", code="ablation", hint="exclude less")
    seen: dict[str, Variant] = {}
    for variant in variants:
        other = seen.setdefault(variant.folder.lower(), variant)  # some file systems do not tell A from a
        if other is not variant:
            raise _wrong(variant.location, f"variants {other.name!r} and {variant.name!r} would share one folder",
                         "give them names that differ in letters or digits")  # fmt: skip


# -- seeds and metrics ---------------------------------------------------------------------------------------


def _seeds(given: object, lines: Mapping[str, Line]) -> tuple[int, ...]:
    whole = isinstance(given, (tuple, list)) and all(isinstance(s, int) and not isinstance(s, bool) for s in given)
    if not isinstance(given, (tuple, list)) or not whole or not given or min(given) < 0 or len(given) > MAX_SEEDS:
        raise _wrong(lines["seeds"].location, f"`Ablation.seeds` is {given!r}; it takes a list of whole numbers from 0",
                     "such as (0, 1, 2, 3, 4, 5)")  # fmt: skip
    if len(set(given)) < len(given):
        raise _wrong(lines["seeds"].location, "`Ablation.seeds` has a seed twice",
                     "the same seed is the same run, and says nothing about chance")  # fmt: skip
    return tuple(given)


def _metrics(values: Mapping[str, Any], lines: Mapping[str, Line]) -> tuple[str, ...]:
    given = values["metrics"]
    given = (given,) if isinstance(given, str) else given
    if not isinstance(given, (tuple, list)) or not all(isinstance(m, str) for m in given):
        raise _wrong(lines["metrics"].location, f"`Ablation.metrics` is {given!r}; it takes a list of names",
                     "names of Trainer.metrics, such as ('l1', 'psnr')")  # fmt: skip
    return tuple(dict.fromkeys(given))


def metrics_of(ablation: Ablation, known: Sequence[str]) -> tuple[str, ...]:
    """The metrics that are compared, of those that an experiment measures.

    Raises:
        GanflowError: ``ablation``: one that it does not measure, or none at all.
    """
    for name in ablation.metrics:
        if name not in known:
            raise _wrong(ablation.location, f"`Ablation.metrics` has `{name}`, which is not measured",
                         did_you_mean(name, known) or f"Trainer.metrics has {', '.join(known) or 'none'}")  # fmt: skip
    if not known:
        raise _wrong(ablation.location, "there is no metric to compare by",
                     "bind Trainer.metrics = {'l1': 'l1(fake_B, real_B)'}")  # fmt: skip
    return ablation.metrics or tuple(known)
