"""What a few seeds can say, and what they cannot.

summary([23.1, 23.4, 22.9])                    # mean, standard deviation, 95% interval of the mean
paired([23.1, 23.4, 22.9], [22.0, 22.6, 22.1]) # differences seed by seed, their interval, an exact test

Student's t here has a whole number of degrees of freedom, for which its distribution is a finite sum: no package is
needed for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.05
EXACT = 20  # more signs than this are too many to try them all


@dataclass(frozen=True)
class Summary:
    """Some numbers.

    Args:
        sd: with n - 1 in the denominator; None for one number.
        low, high: the 95% interval of the mean by Student's t, which takes the numbers to be near normal; None for one.
    """

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Paired:
    """One variant minus another, seed by seed.

    Args:
        difference: mean and interval of the differences.
        p: of the test; None for fewer than two pairs.
        least: the smallest p that so many pairs can give, whatever they are.
    """

    difference: Summary
    p: float | None
    least: float

    @property
    def supported(self) -> bool:
        """Both say that there is a difference: the interval excludes 0, and p is at most 0.05."""
        d = self.difference
        apart = d.low is not None and d.high is not None and (d.low > 0 or d.high < 0)
        return apart and self.p is not None and self.p <= LEVEL


def summary(values: Sequence[float]) -> Summary:
    """``summary([1.0, 2.0, 4.0])``: mean 2.33, sd 1.53, 95% interval -1.46 to 6.13.

    A number that is not finite makes the mean NaN: a variant of which one run diverged has no mean, and the others
    are not to hide it.
    """
    n = len(values)
    mean = math.fsum(values) / n if all(map(math.isfinite, values)) and n else math.nan
    if n < 2 or math.isnan(mean):
        return Summary(n, mean)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = student_quantile(1 - LEVEL, n - 1) * sd / math.sqrt(n)
    return Summary(n, mean, sd, mean - half, mean + half)


def paired(a: Sequence[float], b: Sequence[float]) -> Paired:
    """``a`` minus ``b``, where ``a[i]`` and ``b[i]`` are of one seed, so of the same data order and draws.

    The test is the exact sign-flip permutation test (Fisher 1935): if the two variants were the same, each difference
    could as well have had the other sign, so p is the share of all 2^n choices of signs whose mean is at least as far
    from 0. Unlike the paired t-test it needs no normal distribution, which three or five numbers cannot show, and it
    does not claim more than so few can say: with n pairs no p is below 2 / 2^n, so at least 6 are needed for 0.05.
    Beyond 20 pairs, where there are too many signs to try, p is that of the paired t-test, and the two hardly differ.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    found = summary(differences)
    n = found.n
    if n < 2 or math.isnan(found.mean):
        return Paired(found, None, least_p(n))
    return Paired(found, sign_flip(differences) if n <= EXACT else _t_test(found), least_p(n))


def least_p(n: int) -> float:
    """The smallest p that n pairs can give."""
    return min(1.0, 2.0 / 2.0**n)


def sign_flip(differences: Sequence[float]) -> float:
    """``sign_flip([1, 2, 3])``: 0.25, two of the eight choices of signs."""
    sums = np.array([0.0])
    for d in differences:
        sums = np.concatenate([sums + d, sums - d])
    observed = abs(math.fsum(differences))
    slack = 1e-12 * sum(map(abs, differences))  # the same sum in another order is the same
    return float(np.mean(np.abs(sums) >= observed - slack))


def _t_test(found: Summary) -> float:
    assert found.sd is not None
    if not found.sd:
        return 0.0 if found.mean else 1.0
    return 1 - student_inside(abs(found.mean) / (found.sd / math.sqrt(found.n)), found.n - 1)


# -- Student's t ---------------------------------------------------------------------------------------------


def student_inside(t: float, degrees: int) -> float:
    """The probability of -t to t, for a whole number of degrees of freedom (Abramowitz and Stegun 1964, 26.7.3-4)."""
    assert degrees > 0 and t >= 0
    angle = math.atan(t / math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    term, total, odd = cosine if degrees % 2 else 1.0, 0.0, degrees % 2
    for k in range(1 + odd, degrees, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def student_quantile(inside: float, degrees: int) -> float:
    """``student_quantile(0.95, 2)``: 4.303; between minus it and it lies this probability."""
    assert 0 < inside < 1
    low, high = 0.0, 1.0
    while student_inside(high, degrees) < inside:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_inside(middle, degrees) < inside else (low, middle)
    return (low + high) / 2
