"""What a gin file declares, as frozen plain data.

    experiment = ganflow.load("experiments/pix2pix.gin")
    experiment.networks["G"].module        # Reference('UNetGenerator', evaluate=True)
    experiment.updates["D"].minimize       # Text('0.5 * (D_fake + D_real)')

An :class:`Experiment` is self-contained: it holds every binding of the gin file, so two can be loaded, built and
stepped in one process in any order although gin's own configuration is global. Nothing here imports torch or gin.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ganflow.errors import Location, render

Level = Literal["error", "warning", "note"]

COUNTERS = ("step", "epoch", "epoch_step", "images", "batch_size")
RESERVED = frozenset(
    {"frozen", "detach", "grad", "draws", "batch", "Schedule", "Trainer", "Update", "Network", "State"}
)


@dataclass(frozen=True)
class Text:
    """A string of the gin file that is read as an expression.

    Args:
        source: the expression.
        location: where its first character stands.
    """

    source: str
    location: Location


@dataclass(frozen=True)
class Reference:
    """``@scope/name`` or ``@scope/name()`` of a gin file, before anything is built.

    Args:
        name: the configurable, with its scopes: ``UNetGenerator``, ``gamma/cosine_with_warmup``.
        evaluate: whether it was written with ``()``.
    """

    name: str
    evaluate: bool

    def __repr__(self) -> str:
        return f"@{self.name}{'()' if self.evaluate else ''}"


@dataclass(frozen=True)
class Binding:
    """One line of the gin file: ``scope/selector.parameter = value``, a macro if ``parameter`` is empty."""

    scope: str
    selector: str
    parameter: str
    value: str  # in gin's syntax
    location: Location

    @property
    def key(self) -> str:
        scope = f"{self.scope}/" if self.scope else ""
        return f"{scope}{self.selector}{'.' + self.parameter if self.parameter else ''}"


@dataclass(frozen=True)
class Definition:
    """A named value: an expression (when something reads it), a constant, or an object such as a schedule.

    Args:
        value: ``Text`` for a string, a :class:`Reference` for ``@name()``, otherwise the constant itself.
        read_by_gin: ``%name`` stands somewhere in the file.
    """

    name: str
    value: object
    location: Location
    read_by_gin: bool = False


@dataclass(frozen=True)
class Field:
    """A field of the batch: shape without the batch dimension (None: unknown), dtype, domain."""

    name: str
    shape: tuple[int, ...] | None = None
    dtype: str = "float32"
    domain: str = ""


@dataclass(frozen=True)
class Op:
    """What the scheduler must know of a function that expressions may call.

    Args:
        name: its gin name, which is its name in expressions.
        kind: ``random`` ops are draws, ``stateful`` ones run once per batch and keep a state.
        parameters: parameter names in order, without ``generator`` and ``state``.
        required: how many arguments it needs at least, bound parameters left out.
        variadic: it takes any number of positional arguments.
        open_keywords: it takes any keyword.
        host: it returns a host number when all its arguments are host numbers.
        host_result: it always returns a host number (`size`).
        bound: parameters that the gin file binds, as plain values.
        transforms: a random op whose value also depends on the values that it is given.
    """

    name: str
    kind: Literal["pure", "random", "stateful"] = "pure"
    parameters: tuple[str, ...] = ()
    keyword_only: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    variadic: bool = False
    open_keywords: bool = False
    host: bool = False
    host_result: bool = False
    bound: Mapping[str, object] = field(default_factory=dict)
    transforms: bool = False


@dataclass(frozen=True)
class Optimizer:
    """An optimizer that a network or an update owns: its gin name and bound arguments.

    ``arguments`` holds numbers, tuples, ``Text`` (expressions over counters) and ``Reference`` (schedules); ``where``
    the line of each.
    """

    name: str
    arguments: Mapping[str, object]
    location: Location
    where: Mapping[str, Location] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Network:
    """A network: language.md §3. ``where`` maps a parameter name to the line that bound it."""

    name: str
    location: Location
    module: Reference | None = None
    optimizer: Optimizer | None = None
    init: str | None = None
    trainable: bool = True
    mode: str | None = None
    eval_mode: str = "eval"
    clamp: tuple[float, float] | None = None
    ema_of: str | None = None
    ema_beta: object = None
    ema_buffers: str = "copy"
    unroll_of: str | None = None
    unroll_minimize: object = None
    unroll_steps: int = 0
    unroll_lr: float = 0.0
    unroll_first_order: bool = False
    buffers_in: tuple[str, ...] | None = None
    load: str | None = None
    entry_points: tuple[str, ...] | None = None  # None: the class is not known before it is built
    where: Mapping[str, Location] = field(default_factory=dict, compare=False)

    @property
    def derived(self) -> bool:
        """Its weights are a function of another network's."""
        return self.ema_of is not None or self.unroll_of is not None


@dataclass(frozen=True)
class Update:
    """One optimizer step of what it trains: language.md §3."""

    name: str
    location: Location
    minimize: Text | None = None
    trains: tuple[str, ...] = ()
    when: Text | None = None
    every: int = 1
    repeat: int = 1
    fresh: tuple[str, ...] = ()
    repeat_fresh: tuple[str, ...] = ("*",)
    optimizer: Optimizer | None = None
    gain: float = 1.0
    nan_to_num: bool = False
    clip_norm: float | None = None
    clip_value: float | None = None
    microbatches: int = 1
    where: Mapping[str, Location] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class State:
    """A value that outlives the iteration: language.md §4. ``init``: a constant, or an expression over draws."""

    name: str
    location: Location
    init: object = 0.0
    next: Text | None = None
    after: str | None = None
    when: Text | None = None
    where: Mapping[str, Location] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Diagnostic:
    """One finding of a check: a stable code, the level, and the message with its place and cure."""

    level: Level
    code: str
    message: str
    location: Location | None = None
    hint: str = ""

    def __str__(self) -> str:
        return render(self.level, self.message, self.location, self.hint, self.code)


@dataclass(frozen=True)
class Experiment:
    """Everything that a gin file declares.

    Args:
        name: of the file, without ``.gin``.
        fields: what the dataset declares, or ``None`` without a dataset: then an unknown name is a batch field.
        schedule: groups of update names in order; a group of one is a plain update.
        trainer: what the file binds of ``Trainer``: numbers, strings, containers, references.
        bindings: every line, in order: they rebuild gin's configuration.
        diagnostics: warnings found while reading.
    """

    name: str
    definitions: Mapping[str, Definition]
    networks: Mapping[str, Network]
    updates: Mapping[str, Update]
    states: Mapping[str, State]
    schedule: tuple[tuple[str, ...], ...]
    ops: Mapping[str, Op]
    fields: Mapping[str, Field] | None = None
    trainer: Mapping[str, object] = field(default_factory=dict)
    trainer_where: Mapping[str, Location] = field(default_factory=dict)
    bindings: tuple[Binding, ...] = ()
    imports: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    location: Location = Location("<string>", 1)


def gin_text(experiment: Experiment) -> str:
    """The flattened gin file: every import and binding, the last of each name, in order of first appearance."""
    values = {b.key: b.value for b in experiment.bindings}
    lines = [f"import {module}" for module in experiment.imports]
    lines += [f"{key} = {_gin_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _gin_value(text: str) -> str:
    """A value in gin's syntax; a string of several lines, comments included, keeps its lines."""
    quotes = "'" * 3
    if r"\n" not in text or text[0] not in "\"'":
        return text
    value = str(ast.literal_eval(text))
    plain = quotes not in value and "\\" not in value and not value.endswith("'")
    return f"{quotes}{value}{quotes}" if plain else text
