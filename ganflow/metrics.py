"""Image metrics for validation: a name in, an object with ``update``, ``compute``, ``reset`` and ``to`` out.

    psnr = make_metric("psnr").to(device)
    psnr.update(fake_B, real_B)      # N×C×H×W in [-1, 1], batch by batch
    psnr.compute()                   # 0-d tensor, decibels

Torchmetrics does the work. Importing it takes seconds, so it is imported when a metric is made. Images are in
[-1, 1], hence a data range of 2. States are added up over batches: how a test set is cut into batches does
not change the result, and a metric that is computed once at the end waits for the device once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from ganflow.errors import GanflowError, did_you_mean

if TYPE_CHECKING:
    from torchmetrics import Metric


def _l1() -> Metric:
    """Mean absolute error on the [-1, 1] scale, 0 to 2; half of it is the error on [0, 1]."""
    from torchmetrics import MeanAbsoluteError

    return MeanAbsoluteError()


def _mse() -> Metric:
    """Mean squared error on the [-1, 1] scale, 0 to 4."""
    from torchmetrics import MeanSquaredError

    return MeanSquaredError()


def _psnr() -> Metric:
    """10 log10(4 / MSE) in dB, from the MSE of the whole set: not the mean of the images' PSNRs."""
    from torchmetrics.image import PeakSignalNoiseRatio

    return PeakSignalNoiseRatio(data_range=2.0)


def _ssim() -> Metric:
    """Mean over images of SSIM (Wang et al. 2004), at most 1: Gaussian window of 11 pixels, σ 1.5.

    Borders are mirrored and count, which some implementations leave out. Sides of 6 pixels or more.
    """
    from torchmetrics.image import StructuralSimilarityIndexMeasure

    return StructuralSimilarityIndexMeasure(data_range=2.0)


METRICS: Mapping[str, Callable[[], Metric]] = MappingProxyType({"l1": _l1, "mse": _mse, "psnr": _psnr, "ssim": _ssim})
LARGER_IS_BETTER: Mapping[str, bool] = MappingProxyType({"l1": False, "mse": False, "psnr": True, "ssim": True})


def make_metric(name: str) -> Metric:
    """``make_metric("ssim")``: a new metric of this name, empty, on the CPU.

    Raises:
        GanflowError: a name that is not in :data:`METRICS`.
    """
    factory = METRICS.get(name)
    if factory is None:
        near = did_you_mean(str(name), METRICS)
        hint = f"allowed: {', '.join(METRICS)}{'; ' + near if near else ''}"
        raise GanflowError(f"unknown metric {name!r}", hint=hint, code="unknown-metric")
    return factory()
