"""What an ablation is made of: frozen data.

ablation = read("experiments/ablations/pix2pix_table1.gin")
ablation.variants[0]                  # Variant('L1', {'lambda_GAN': 0.0}, ('lambda_GAN = 0.0',), Location(...))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ganflow.errors import GanflowError, Location
from ganflow.experiment import Experiment


@dataclass(frozen=True)
class Variant:
    """A few bindings over the base experiment.

    Args:
        name: as tables show it.
        bindings: name -> value.
        overrides: the same as gin lines.
        folder: its runs lie in a folder of this name.
        location: where the file says it.
    """

    name: str
    bindings: Mapping[str, object]
    overrides: tuple[str, ...]
    folder: str
    location: Location


@dataclass(frozen=True)
class Ablation:
    """Variants × seeds of one experiment.

    Args:
        path: the gin file, which includes the base experiment; ``overrides``: gin lines over it, of every variant.
        seeds: of each variant, one run each.
        metrics: names of ``Trainer.metrics``; empty: all that the experiment has.
        location: of the first ``Ablation`` binding.
    """

    path: Path
    overrides: tuple[str, ...]
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    location: Location

    @property
    def name(self) -> str:
        return self.path.stem

    def named(self, name: str) -> Variant:
        """The variant of this name, or with this folder."""
        return next(v for v in self.variants if name in (v.name, v.folder))


@dataclass(frozen=True, eq=False)
class Run:
    """One variant with one seed.

    Args:
        experiment: of this run, its seed included.
        path: its directory; ``log``: what its process prints.
        overrides: gin lines over the file, the seed included.
    """

    variant: Variant
    seed: int
    experiment: Experiment
    path: Path
    overrides: tuple[str, ...]

    @property
    def log(self) -> Path:
        return self.path.with_name(f"{self.path.name}.log")

    def __str__(self) -> str:
        return f"{self.variant.name}, seed {self.seed}"


def of_variant(error: GanflowError, variant: Variant, *, also: str = "") -> GanflowError:
    """The error of a variant: it names the variant, and the place in the file where the variant is written.

    Args:
        also: a line more for the hint.
    """
    where = error.location
    if where is None or where.file.startswith("--set"):
        word = where.text[where.column : where.column + where.length] if where and where.column is not None else ""
        where = variant.location
        column = where.text.find(word) if word else -1
        where = where.shifted(column, len(word)) if column >= 0 else where
    return GanflowError(
        f"variant {variant.name!r}: {error.message}", location=where, code=error.code, status=error.status,
        hint="\n".join(filter(None, (error.hint, also))),
    )  # fmt: skip


def with_seed(overrides: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Gin lines of one run."""
    return (*overrides, f"Trainer.seed = {seed}")
