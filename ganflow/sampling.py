"""A finished run, used: pictures of a split, or a folder of images translated.

run = open_run("runs/pix2pix")
translate(run, "photos", "translated")                 # photos/a.jpg -> translated/a.png
sample_split(run, "test", "test-pictures")             # every test sample, a grid, the metrics
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ganflow import images, rundir
from ganflow.build import read_saved
from ganflow.config import load
from ganflow.data.loader import loader, splits
from ganflow.errors import GanflowError, did_you_mean
from ganflow.evaluate import Evaluator, evaluation
from ganflow.experiment import Experiment, Field, Text
from ganflow.inspection import inspect
from ganflow.saving import WEIGHTS
from ganflow.settings import Settings, settings_of
from ganflow.step import TrainStep
from ganflow.trainer import choose_device, dataset, default_show
from ganflow.validation import Validation

GRID_ROWS = 12


@dataclass(frozen=True)
class Run:
    """A run directory with its networks loaded."""

    path: Path
    experiment: Experiment
    step: TrainStep
    settings: Settings
    iteration: int


def open_run(path: str | Path, *, device: str = "auto") -> Run:
    """Networks of a run with the weights that it saved last.

    Raises:
        GanflowError: ``not-a-run``, ``no-weights``, ``bad-weights``.
    """
    files = rundir.load(path)
    experiment = replace(load(files.path / rundir.CONFIG), name=files.path.absolute().name)
    settings = settings_of(experiment)
    step = TrainStep(experiment, device=choose_device(device))
    saved = read_weights(files.path / WEIGHTS)
    for name, network in step.networks.items():
        try:
            network.load_state_dict(saved["networks"][name])
        except (KeyError, RuntimeError, TypeError, AttributeError) as error:
            message = str(error).strip().split("\n")[0]
            raise GanflowError(
                f"{files.path / WEIGHTS} does not fit network {name} of {files.path / rundir.CONFIG}: {message}",
                code="bad-weights", hint="the two files must be of the same run",
            ) from error  # fmt: skip
    settings = replace(settings, show=settings.show or default_show(experiment, inspect(experiment)))
    return Run(files.path, experiment, step, settings, int(saved.get("step", 0)))


def read_weights(path: Path) -> dict[str, Any]:
    """What a run saved; only tensors and numbers are read, never code."""
    try:
        found = read_saved(path)
    except FileNotFoundError:
        raise GanflowError(
            f"there are no weights: {path}", code="no-weights",
            hint="they are written every Trainer.checkpoint_every iterations and at the end of a run",
        ) from None  # fmt: skip
    except Exception as error:  # torch raises whatever comes of bytes that are not its own
        reason = str(error).strip().split("\n")[0]
        raise GanflowError(f"the weights {path} cannot be read: {reason}", code="bad-weights",
                           hint="the file is damaged, or no run wrote it") from error  # fmt: skip
    if not isinstance(found, dict) or not isinstance(found.get("networks"), dict):
        raise GanflowError(f"{path} holds no networks", code="bad-weights", hint="give a run's directory")
    return found


def translate(run: Run, folder: str | Path, out: str | Path, *, value: str | None = None) -> list[Path]:
    """Each image of a folder through the networks: ``folder/a.jpg`` -> ``out/a.png``; one after the other.

    Args:
        value: which value of the experiment; by default the first one shown that a single image field gives.

    Raises:
        GanflowError: nothing to be made of one image, an image that cannot be read, a place that cannot be written.
    """
    if Path(folder).resolve() == Path(out).resolve():
        raise GanflowError(f"{out} holds the images that are to be translated, and they would be overwritten",
                           hint="choose another folder with --out", code="cannot-write")  # fmt: skip
    name, field = _translation(run, value)
    assert field.shape is not None
    evaluator = Evaluator(run.step, {name: _text(run, name)}, stand_ins=run.settings.eval_networks)
    channels, *size = field.shape
    written = []
    for stem, image in images.read_folder(folder, (size[0], size[1]), channels):
        with evaluation(run.step, seed=run.settings.seed):
            made = evaluator({field.name: image[None]})[name]
        written.append(_save(made, Path(out) / f"{stem}.png", name))
    return written


def sample_split(
    run: Run, split: str, out: str | Path, *, value: str | None = None, count: int | None = None
) -> tuple[list[Path], dict[str, float]]:
    """Every sample of a split as a PNG, ``grid.png`` with all columns, and the metrics.

    Args:
        value: which value to write; by default the first one shown that is not itself in the data.
        count: no more than these.
    """
    data = dataset(run.experiment)
    if split not in splits(data):
        raise GanflowError(f"the data has no split `{split}`", hint=f"it has: {', '.join(splits(data))}",
                           code="unknown-split")  # fmt: skip
    name = value or _shown(run)
    _known(run, name)
    held = _Split(data, split)
    validation = Validation(run.step, held, replace(run.settings, samples=min(count or GRID_ROWS, GRID_ROWS)))
    written = [images.save(images.grid(validation.columns()), Path(out) / "grid.png")]
    evaluator = Evaluator(run.step, {name: _text(run, name)}, stand_ins=run.settings.eval_networks)
    for number, made in enumerate(_limited(_values(run, evaluator, name, data, split), count)):
        written.append(_save(made[None], Path(out) / f"{number:04}.png", name))
    return written, validation.metrics()


class _Split:
    """A dataset whose only split is this one."""

    def __init__(self, data: Any, split: str) -> None:
        self.data, self.splits = data, (split,)

    def open(self, split: str) -> Any:
        return self.data.open(split) if hasattr(self.data, "open") else self.data


def _values(run: Run, evaluator: Evaluator, name: str, data: Any, split: str) -> Iterator[Tensor]:
    batches = loader(data, split, batch_size=run.settings.batch_size, device=run.step.device)
    with evaluation(run.step, seed=run.settings.seed):
        for index, batch in enumerate(batches):
            made = evaluator(batch, index=index)[name]
            if not isinstance(made, Tensor) or made.ndim != 4:
                raise GanflowError(f"`{name}` is no image", hint="choose another value with --value", code="bad-grid")
            yield from made


def _limited(values: Iterator[Tensor], count: int | None) -> Iterator[Tensor]:
    for number, value in enumerate(values):
        if count is not None and number >= count:
            return
        yield value


def _save(made: Any, path: Path, name: str) -> Path:
    if not isinstance(made, Tensor) or made.ndim != 4:
        raise GanflowError(f"`{name}` is no image", hint="choose another value with --value", code="bad-grid")
    return images.save(images.grid({name: made[:1]}, scale=1, titles=False, gap=0), path)


def _text(run: Run, name: str) -> Text:
    return Text(name, run.experiment.location)


def _shown(run: Run) -> str:
    made = [t.source for t in run.settings.show if t.source not in (run.experiment.fields or {})]
    if not made:
        raise GanflowError("the experiment shows no generated value", code="no-value",
                           hint="choose one with --value, such as --value fake_B")  # fmt: skip
    return made[0]


def _known(run: Run, name: str) -> None:
    if name.isidentifier() and name not in run.experiment.definitions and name not in (run.experiment.fields or {}):
        known = [n for n, d in run.experiment.definitions.items() if isinstance(d.value, Text)]
        raise GanflowError(f"the experiment defines no `{name}`", code="unknown-name",
                           hint=did_you_mean(name, known) or f"it defines: {', '.join(known)}")  # fmt: skip


def _translation(run: Run, value: str | None) -> tuple[str, Field]:
    """The value to make, and the one image field that it is made of."""
    fields = run.experiment.fields or {}
    if value is not None:
        _known(run, value)
    candidates = [value] if value else [t.source for t in run.settings.show if t.source not in fields]
    for name in candidates:
        read = Evaluator(run.step, {name: _text(run, name)}).fields
        if len(read) == 1 and len(fields[read[0]].shape or ()) == 3:
            return name, fields[read[0]]
    what = f"`{value}` is" if value else "the experiment shows nothing that is"
    raise GanflowError(
        f"{what} made of exactly one image, so a folder of images cannot be translated", code="no-translation",
        hint="choose a value with --value, or give no folder to use the test split",
    )  # fmt: skip
