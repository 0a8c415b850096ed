"""What a gin file says about the loop: ``Trainer`` bindings, checked, as a frozen value.

settings = settings_of(experiment)
settings.steps, settings.batch_size, settings.show       # (2000, 8, ('real_A', 'fake_B', 'real_B'))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ganflow.errors import GanflowError, Location
from ganflow.experiment import Experiment, Text
from ganflow.metrics import LARGER_IS_BETTER

DEVICES = ("auto", "cpu", "cuda", "mps")
ON_NONFINITE = ("stop", "skip", "rollback")


@dataclass(frozen=True)
class Best:
    """Which checkpoint is the best one: by a metric's name, and whether more of it is better."""

    metric: str
    larger: bool


@dataclass(frozen=True)
class Settings:
    """The loop's numbers; intervals are in iterations, and 0 switches one off.

    Args:
        steps, epochs: how long; what is reached first ends the run.
        batch_size: samples in a batch.
        seed: of initialisation, of the order of the data, of every draw, of dropout.
        device: ``auto`` takes cuda, then mps, then cpu.
        log_every: between two rows of losses and gradient norms.
        sample_every, eval_every, checkpoint_every: between two grids, two evaluations, two checkpoints.
        keep_last: checkpoints that are kept; with fewer than 2, a damaged one leaves nothing to go back to.
        keep_best: the best one is kept besides, and made whenever an evaluation is better than all before.
        watch_every: between two iterations that are looked at closely: gradients term by term, histograms, health.
        cut_norms: whether rows of gradient norms have those of single terms, where these can be told apart.
        show: what a grid shows, column by column; empty: the images of the batch and of the networks.
        metrics: name -> expression, evaluated on the held-out split.
        eval_networks: network -> the one that stands in for it when values are shown or measured.
        samples: rows of a grid.
        workers: processes that read data ahead.
        health: measure how the game goes (``docs/health.md``) in the iterations that are looked at.
        probe: measure before the first iteration which term gives which network a gradient, and refuse what the plan
            does not say.
        histograms: of weights and gradients, for TensorBoard, in iterations that are looked at closely.
        deterministic: on a device, too, only algorithms that give the same bits each time; the others are refused.
        on_nonfinite: what is done about a loss or gradient that is not finite: ``stop`` says where it was first;
            ``skip`` leaves out steps whose gradients are not finite, for which the host waits in every update;
            ``rollback`` goes on from the last checkpoint with other data.
    """

    steps: int | None = None
    epochs: int | None = None
    batch_size: int = 1
    seed: int = 0
    device: str = "auto"
    log_every: int = 50
    sample_every: int = 500
    eval_every: int = 1000
    checkpoint_every: int = 1000
    keep_last: int = 2
    keep_best: Best | None = None
    watch_every: int = 500
    cut_norms: bool = True
    show: tuple[Text, ...] = ()
    metrics: Mapping[str, Text] = field(default_factory=dict)
    eval_networks: Mapping[str, str] = field(default_factory=dict)
    samples: int = 8
    workers: int = 0
    health: bool = True
    probe: bool = True
    histograms: bool = True
    deterministic: bool = False
    on_nonfinite: str = "stop"


def settings_of(experiment: Experiment) -> Settings:
    """The ``Trainer`` bindings of an experiment.

    Raises:
        GanflowError: ``type`` for a value that cannot be used, ``no-length`` without steps and epochs, ``not-yet``.
    """
    given = dict(experiment.trainer)
    read = {name: _READERS[name](experiment, name, given[name]) for name in given if name in _READERS}
    _refuse_later(experiment, given)
    return Settings(**read)


def check_length(experiment: Experiment, settings: Settings) -> None:
    """A run needs an end."""
    if settings.steps is None and settings.epochs is None:
        raise GanflowError(
            "nothing says how long to train", location=experiment.location, code="no-length",
            hint="bind Trainer.steps = 2000 or Trainer.epochs = 10",
        )  # fmt: skip


def _refuse_later(experiment: Experiment, given: Mapping[str, object]) -> None:
    for name, only in (("precision", "float32"), ("compile", False)):
        if given.get(name, only) != only:
            raise GanflowError(
                f"`Trainer.{name} = {given[name]!r}` is part of the language, but this version cannot run it yet",
                location=_where(experiment, name), hint=f"allowed today: {only!r}", code="not-yet",
            )  # fmt: skip


def _where(experiment: Experiment, name: str) -> Location:
    return experiment.trainer_where.get(name, experiment.location)


def _wrong(experiment: Experiment, name: str, value: object, allowed: str) -> GanflowError:
    message = f"`Trainer.{name}` is {value!r}; it takes {allowed}"
    return GanflowError(message, location=_where(experiment, name), code="type")


def _whole(least: int, none: bool = False) -> Callable[[Experiment, str, object], int | None]:
    def read(experiment: Experiment, name: str, value: object) -> int | None:
        if none and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
            raise _wrong(experiment, name, value, f"a whole number from {least}{' or None' if none else ''}")
        return value

    return read


def _flag(experiment: Experiment, name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(experiment, name, value, "True or False")
    return value


def _device(experiment: Experiment, name: str, value: object) -> str:
    if not isinstance(value, str) or value.split(":")[0] not in DEVICES:
        raise _wrong(experiment, name, value, "'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'")
    return value


def _on_nonfinite(experiment: Experiment, name: str, value: object) -> str:
    if not isinstance(value, str) or value not in ON_NONFINITE:
        raise _wrong(experiment, name, value, "'stop', 'skip' or 'rollback'")
    return value


def _text(experiment: Experiment, name: str, value: object) -> Text:
    where = _where(experiment, name)
    column = where.text.find(str(value))  # in a list of several lines only the first is known
    return Text(str(value), where if column < 0 else where.shifted(column))


def _show(experiment: Experiment, name: str, value: object) -> tuple[Text, ...]:
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, (tuple, list)) or not all(isinstance(v, str) for v in items):
        raise _wrong(experiment, name, value, "a list of names or expressions, such as ['real_A', 'fake_B']")
    return tuple(_text(experiment, name, v) for v in items)


def _strings(experiment: Experiment, name: str, value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for kv in value.items() for v in kv):
        raise _wrong(experiment, name, value, "a dict of strings")
    return dict(value)


def _metrics(experiment: Experiment, name: str, value: object) -> dict[str, Text]:
    if isinstance(value, (tuple, list)):
        value = {v: v for v in value}
    return {k: _text(experiment, name, v) for k, v in _strings(experiment, name, value).items()}


def _eval_networks(experiment: Experiment, name: str, value: object) -> dict[str, str]:
    found = _strings(experiment, name, value)
    for network in (*found, *found.values()):
        if network not in experiment.networks:
            allowed = f"names of networks ({', '.join(experiment.networks)}); `{network}` is none"
            raise _wrong(experiment, name, value, allowed)
    return found


def _best(experiment: Experiment, name: str, value: object) -> Best | None:
    """``'psnr'``, or ``'max mine'`` of a metric of which ganflow does not know what is better."""
    if value is None:
        return None
    texts = {k: v.source for k, v in _metrics(experiment, "metrics", experiment.trainer.get("metrics")).items()}
    words = value.split() if isinstance(value, str) else []
    direction, metric = (words[0], words[1]) if len(words) == 2 else ("", "".join(words))
    if metric not in texts or direction not in ("", "max", "min"):
        raise _wrong(experiment, name, value, f"the name of a metric ({', '.join(texts) or 'there are none'})")
    larger = LARGER_IS_BETTER.get(texts[metric].partition("(")[0].strip())
    if not direction and larger is None:
        raise _wrong(experiment, name, value, f"'max {metric}' or 'min {metric}', since more may be better or worse")
    return Best(metric, larger if larger is not None and not direction else direction == "max")


_READERS: Mapping[str, Callable[[Experiment, str, object], Any]] = {
    "steps": _whole(1, none=True), "epochs": _whole(1, none=True), "batch_size": _whole(1), "seed": _whole(0),
    "device": _device, "log_every": _whole(0), "sample_every": _whole(0), "eval_every": _whole(0),
    "checkpoint_every": _whole(0), "keep_last": _whole(1), "keep_best": _best, "watch_every": _whole(0),
    "cut_norms": _flag, "histograms": _flag, "health": _flag, "show": _show, "metrics": _metrics,
    "eval_networks": _eval_networks, "samples": _whole(1), "workers": _whole(0), "probe": _flag,
    "deterministic": _flag,
    "on_nonfinite": _on_nonfinite,
}  # fmt: skip
