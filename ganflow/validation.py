"""What a run shows and measures of itself: a grid at fixed inputs, and metrics on the held-out split.

validation = Validation(step, dataset, settings)
validation.columns()        # {"real_A": N×3×H×W, "fake_B": ..., "real_B": ...}: the same inputs every time
validation.metrics()        # {"l1": 0.21, "psnr": 17.3}: over the whole split
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ganflow import expr as E
from ganflow.data.loader import held_out, loader, some
from ganflow.errors import GanflowError
from ganflow.evaluate import Evaluator, evaluation
from ganflow.experiment import Experiment, Text
from ganflow.metrics import METRICS, make_metric
from ganflow.parsing import parse
from ganflow.resolve import resolve
from ganflow.settings import Settings
from ganflow.step import TrainStep


@dataclass(frozen=True)
class Measure:
    """One metric: a torchmetrics object fed with values, or the mean of a scalar expression if ``metric`` is empty."""

    name: str
    metric: str
    inputs: tuple[str, ...]
    text: Text


class Validation:
    """Samples and metrics of one step on one dataset.

    Args:
        step: whose networks are looked at; its training is not disturbed.
        dataset: with ``open(split)``, or a plain map-style dataset.
        settings: ``show``, ``metrics``, ``samples``, ``batch_size``, ``eval_networks``.

    Raises:
        GanflowError: an expression that cannot be read.
    """

    def __init__(self, step: TrainStep, dataset: Any, settings: Settings) -> None:
        self.step, self.settings = step, settings
        self.split = held_out(dataset)
        self.fixed = some(dataset, self.split, settings.samples, device=step.device)
        self.measures = measures(settings)
        self.batches = loader(dataset, self.split, batch_size=settings.batch_size, device=step.device)
        self._show = Evaluator(step, {t.source: t for t in settings.show}, stand_ins=settings.eval_networks)
        self._inputs = Evaluator(step, inputs_of(self.measures), stand_ins=settings.eval_networks)

    def columns(self) -> dict[str, Tensor]:
        """What is shown, at the fixed inputs: images N×C×H×W by name; a value that is no image is an error."""
        with evaluation(self.step, seed=self.settings.seed):
            values = self._show(self.fixed)
        for name, value in values.items():
            if not isinstance(value, Tensor) or value.ndim != 4:
                given = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
                raise GanflowError(
                    f"`{name}` in Trainer.show is {given}, which is no batch of images", code="bad-grid",
                    location=self.settings.show[0].location if self.settings.show else None,
                    hint="show values of shape N×C×H×W, in [-1, 1]",
                )  # fmt: skip
        return values

    def metrics(self, *, batches: Iterable[Mapping[str, Tensor]] | None = None) -> dict[str, float]:
        """Every metric over the held-out split, or over ``batches``; the host waits once, at the end."""
        if not self.measures:
            return {}
        found = {m.name: _metric(m, self.step.device) for m in self.measures}
        with evaluation(self.step, seed=self.settings.seed):
            for index, batch in enumerate(self.batches.epoch(0) if batches is None else batches):
                values = self._inputs(batch, index=index)
                for m in self.measures:
                    _update(m, found[m.name], values, len(next(iter(batch.values()))))
        return {name: float(metric.compute()) for name, metric in found.items()}

    def rehearse(self) -> None:
        """Everything once on a few samples: an error in an expression is found before hours of training."""
        self.columns()
        self.metrics(batches=[self.fixed])


def check_values(experiment: Experiment, settings: Settings) -> None:
    """Resolve everything that is shown or measured; raises what is wrong with it."""
    resolve(experiment, {t.source: t for t in settings.show})
    inputs = inputs_of(measures(settings))
    try:
        resolve(experiment, inputs)
    except GanflowError as error:
        hint = "\n".join(filter(None, (error.hint, f"metrics: {', '.join(METRICS)}, or a number made of values")))
        raise GanflowError(error.message, location=error.location, hint=hint, code=error.code) from None


def measures(settings: Settings) -> list[Measure]:
    """``Trainer.metrics``, read."""
    return [_measure(name, text) for name, text in settings.metrics.items()]


def inputs_of(measures: Iterable[Measure]) -> dict[str, Text]:
    """The expressions that metrics are fed with."""
    return {i: Text(i, m.text.location) for m in measures for i in m.inputs}


def _measure(name: str, text: Text) -> Measure:
    tree = parse(text.source, text.location)
    if isinstance(tree, E.Call) and isinstance(tree.function, E.Name) and tree.function.id in METRICS:
        if tree.keywords or len(tree.args) != 2:
            raise GanflowError(
                f"the metric `{name}` is {text.source!r}", location=text.location, code="arguments",
                hint=f"{tree.function.id} takes two images, the generated one first: {tree.function.id}(fake, real)",
            )  # fmt: skip
        return Measure(name, tree.function.id, tuple(E.show(a) for a in tree.args), text)
    if isinstance(tree, E.Name) and tree.id in METRICS:
        raise GanflowError(
            f"the metric `{name}` says not of what", location=text.location, code="arguments",
            hint=f"write an expression: Trainer.metrics = {{'{tree.id}': '{tree.id}(fake, real)'}}",
        )  # fmt: skip
    return Measure(name, "", (text.source,), text)


def _metric(measure: Measure, device: Any) -> Any:
    if measure.metric:
        return make_metric(measure.metric).to(device)
    from torchmetrics import MeanMetric

    return MeanMetric(nan_strategy="disable").to(device)


def _update(measure: Measure, metric: Any, values: Mapping[str, Any], count: int) -> None:
    given = [values[i] for i in measure.inputs]
    if not measure.metric:
        if isinstance(given[0], Tensor) and given[0].ndim:
            raise GanflowError(
                f"the metric `{measure.name}` has the shape {tuple(given[0].shape)}", location=measure.text.location,
                hint=f"a metric is a number: mean({measure.text.source})", code="not-scalar",
            )  # fmt: skip
        metric.update(given[0], weight=count)
        return
    try:
        metric.update(*given)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        shapes = ", ".join(f"{i} {tuple(getattr(v, 'shape', ()))}" for i, v in values.items() if i in measure.inputs)
        message = str(error).strip().split("\n")[0]
        raise GanflowError(
            f"the metric `{measure.name}` cannot be computed: {message}", location=measure.text.location,
            hint=f"it was given: {shapes}", code="metric",
        ) from error  # fmt: skip
