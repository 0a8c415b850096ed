"""Rows of a run -> what is wrong with it, in plain words: pure functions over what was logged.

    for finding in diagnose(rows):          # [{"step": 50, "loss/G": 1.2, "health/accuracy_real/D": 0.98, ...}, ...]
        print(finding.level, finding.code, finding.says, finding.evidence)

Better silent than wrong: a finding needs several rows that agree, what is normal for some method is a note, and what a
run is too short for is said. ``docs/health.md`` has every threshold with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Row = Mapping[str, float]
Series = list[tuple[int, float]]

NONFINITE = "health/nonfinite/"
LEAST, LOOKS, LONG = 3, 5, 10  # rows that agree before anything is said: of a discriminator; from which on is a trend
SURE, CHANCE = 0.99, 0.05  # accuracy; distance from 1/2
COLLAPSED, FELL = 0.1, 0.2  # diversity: of that of real samples, of the highest that it was
SATURATED = 0.5
FAST, SLOW = 1e-1, 1e-5  # of a step against the weights: ten times out of 1e-4 ... 1e-2
DECAYED = 0.1  # of the highest learning rate: from there on small steps are meant
GREW, GREW_SIGNED, VANISHED = 10.0, 1e3, 1e-3
LOST = 0.5  # of what a metric had gained
UP, DOWN = (
    ("psnr", "ssim", "acc", "iou", "dice", "f1", "is"),
    ("l1", "mse", "mae", "rmse", "fid", "kid", "lpips", "nll"),
)


@dataclass(frozen=True)
class Finding:
    """What was found.

    Args:
        level: ``warning``, ``note`` (normal for some methods), ``unknown`` (too short to tell) or ``fine``.
        says: what was found; ``means``: of what it is a sign; ``tries``: what may help.
        evidence: the steps and numbers that it was read from.
    """

    level: Literal["warning", "note", "unknown", "fine"]
    code: str
    says: str
    means: str = ""
    tries: str = ""
    evidence: str = ""


def diagnose(rows: Sequence[Row]) -> list[Finding]:
    """Every finding, warnings first; the last one says if nothing was found, or what could not be told."""
    merged = by_step(rows)
    checks = (not_finite, judges, collapsed, saturated, step_sizes, diverging, vanished, worse)
    found = [f for check in checks for f in check(merged)]
    found.sort(key=lambda f: ("warning", "note").index(f.level))
    return [*found, *_told(merged, found)]


def by_step(rows: Sequence[Row]) -> list[dict[str, float]]:
    """One row for each step, in order: losses and metrics of the same step stand in two."""
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        found.setdefault(int(row["step"]), {}).update(row)
    return [found[step] for step in sorted(found)]


def series(rows: Sequence[Row], tag: str) -> Series:
    """(step, value) where it was logged."""
    return [(int(row["step"]), row[tag]) for row in rows if tag in row]


def tagged(rows: Sequence[Row], start: str) -> dict[str, Series]:
    """What stands behind ``start`` in a tag -> its series."""
    tags = dict.fromkeys(tag for row in rows for tag in row if tag.startswith(start))
    return {tag.removeprefix(start): series(rows, tag) for tag in tags}


def _finite(found: Series) -> Series:
    return [(step, value) for step, value in found if math.isfinite(value)]


def _number(value: float) -> str:
    return f"{value:.3g}"


def _shown(found: Series, count: int = LEAST) -> str:
    """``0.98 (step 400), 1 (step 500)``: the last ones."""
    return ", ".join(f"{_number(value)} (step {step})" for step, value in found[-count:])


# -- what can be wrong ------------------------------------------------------------------------------------------


def not_finite(rows: Sequence[Row]) -> Iterator[Finding]:
    """A loss or a gradient that is no number."""
    first: dict[str, int] = {}
    for row in rows:
        for tag, value in row.items():
            if tag.startswith(("loss/", "grad_norm/", "metric/")) and not math.isfinite(value):
                first.setdefault(tag, int(row["step"]))
    if first:
        step = min(first.values())
        begin = [tag for tag, at in first.items() if at == step]
        recovered = all(math.isfinite(rows[-1].get(tag, 0.0)) for tag in first)
        yield Finding(
            "note" if recovered and all(tag.startswith("grad_norm/") for tag in first) else "warning", "not-finite",
            f"{', '.join(begin[:4])} {'is' if len(begin) == 1 else 'are'} not finite from step {step}",
            "an overflow, a division by 0, or a logarithm or a root at 0; weights that took such a step stay NaN",
            "a smaller learning rate, `Update.clip_norm`, an eps inside sqrt, log and divisions; "
            "`ganflow check --probe` measures which term it is at the start",
            "; ".join(f"{tag} first at step {at}" for tag, at in list(first.items())[:6]),
        )  # fmt: skip


def judges(rows: Sequence[Row]) -> Iterator[Finding]:
    """A discriminator that is always right, or right as often as a coin."""
    real, fake = tagged(rows, "health/accuracy_real/"), tagged(rows, "health/accuracy_fake/")
    for judge in (j for j in real if j in fake):
        both = dict(fake[judge])
        pairs = [(step, r, both[step]) for step, r in real[judge] if step in both and math.isfinite(r + both[step])]
        last = pairs[-max(LOOKS, len(pairs) // 3) :]
        if len(pairs) < LOOKS:
            continue
        evidence = "; ".join(f"step {s}: real {r:.0%}, generated {f:.0%}" for s, r, f in last[-LEAST:])
        if all(min(r, f) >= SURE for _, r, f in last):
            yield _wins(rows, judge, evidence, len(last))
        elif all(abs((r + f) / 2 - 0.5) <= CHANCE for _, r, f in last):
            never = all((r + f) / 2 < 0.6 for _, r, f in pairs)
            yield Finding(
                "note", "judge-at-chance",
                f"{judge} tells real from generated no better than a coin"
                + (", and never did" if never else f" in the last {len(last)} looks"),
                f"{judge} has learned nothing, and what plays against it is told nothing" if never else
                "either what is generated cannot be told from what is real, which samples and metrics would show, or "
                f"{judge} has stopped to learn",
                f"look at grad_norm and update_ratio of {judge}: a larger learning rate or a larger network for it; "
                "check that real and generated samples are scaled alike",
                evidence,
            )  # fmt: skip


def _wins(rows: Sequence[Row], judge: str, evidence: str, count: int) -> Finding:
    """Bad where what plays against it gets no gradient any more; else worth knowing."""
    for pair in tagged(rows, "health/grad_ratio/"):
        name = pair.partition(",")[2]
        norms = _finite(next(iter(tagged(rows, f"grad_norm/{name}").values()), []))
        start = max((v for _, v in norms[: max(1, len(norms) // 5)]), default=0.0)
        if len(norms) >= LEAST and (now := median(v for _, v in norms[-LEAST:])) < 0.05 * start:
            return Finding(
                "warning", "judge-wins",
                f"{judge} is always right, and update {name} hardly gets a gradient any more",
                "a perfect discriminator is flat where the generated samples are (Arjovsky & Bottou 2017, "
                "arXiv:1701.04862), so the generator stops to learn",
                f"a smaller learning rate or fewer repeats for {judge}; the non-saturating loss; r1 or another "
                "gradient penalty; noise or augmentation on what it is shown; smoothed labels (0.9)",
                f"{evidence}; the gradient of {name} was {_number(start)} and is {_number(now)}",
            )  # fmt: skip
    return Finding(
        "note", "judge-wins", f"{judge} has been right about all samples in the last {count} looks",
        "it tells real from generated without effort. What plays against it still gets a gradient, so this alone is "
        "no failure; if samples do not improve any more, it is the first thing to change",
        f"a smaller learning rate for {judge}, a gradient penalty (r1), augmentation of what it is shown; with little "
        "data it may know the training samples by heart (Karras et al. 2020, arXiv:2006.06676)",
        evidence,
    )  # fmt: skip


def collapsed(rows: Sequence[Row]) -> Iterator[Finding]:
    """Generated samples that are all alike."""
    for value, found in tagged(rows, "health/diversity/").items():
        known = _finite(found)
        if len(known) < LEAST:
            continue
        top = max(v for _, v in known)
        last = [v for _, v in known[-LEAST:]]
        fell = top >= 0.3 and all(v <= FELL * top for v in last)
        if fell or all(v <= COLLAPSED for v in last):
            when = next(step for step, v in known if v == top)
            yield Finding(
                "warning", "collapse",
                f"samples of `{value}` are nearly alike: they differ {last[-1]:.0%} as much as real ones",
                "mode collapse: the generator makes the same few samples whatever it is given (Goodfellow 2016, "
                "arXiv:1701.00160, section 5.1); or, with a loss such as l1 alone, it ignores its noise",
                "a smaller learning rate for the generator, more updates for the discriminator, another loss (hinge, "
                "wgan with a penalty, relativistic), minibatch statistics (Salimans et al. 2016, arXiv:1606.03498)",
                f"diversity {_shown(known)}; highest {_number(top)} (step {when})",
            )  # fmt: skip


def saturated(rows: Sequence[Row]) -> Iterator[Finding]:
    """Outputs at the ends of their range, where a tanh has no slope, and much more of them than real ones."""
    found = tagged(rows, "health/saturated/")
    made = tagged(rows, "health/diversity/")
    real = max((median(v for _, v in _finite(s)) for n, s in found.items() if n not in made and _finite(s)), default=0)
    for value in (v for v in found if v in made):
        known = _finite(found[value])
        if len(known) >= LEAST and all(v >= max(SATURATED, real + 0.3) for _, v in known[-LEAST:]):
            yield Finding(
                "warning", "saturated", f"{known[-1][1]:.0%} of the numbers in `{value}` are at the end of their range",
                "a tanh that is saturated passes no gradient, so these pixels do not change any more",
                "a smaller learning rate, normalisation before the last layer, a smaller initialisation of it; check "
                "that the data is in [-1, 1]",
                f"beyond ±0.99: {_shown(known)}; of real ones {real:.0%}",
            )  # fmt: skip


def step_sizes(rows: Sequence[Row]) -> Iterator[Finding]:
    """Steps that are far too large or too small for the weights."""
    for network, found in tagged(rows, "health/update_ratio/").items():
        rates = series(rows, f"lr/{network}")
        top = max((rate for _, rate in rates), default=0.0)
        kept = [(s, v) for s, v in _finite(found) if not rates or _at(rates, s) >= DECAYED * top]
        last = kept[len(kept) // 2 :]
        if len(last) < LEAST:
            continue
        middle = median(v for _, v in last)
        if middle > FAST:
            yield Finding(
                "warning", "step-too-large",
                f"an iteration changes the weights of {network} by {middle:.0%} of their size",
                "so large a step forgets what was learned; about 1/1000 is usual (the notes of Stanford's CS231n give "
                "1e-3 for plain SGD), and 1e-4 to 1e-2 works for most",
                f"a smaller learning rate for {network}: a tenth of it", f"update_ratio {_shown(kept)}",
            )  # fmt: skip
        elif middle < SLOW:
            yield Finding(
                "warning", "step-too-small",
                f"an iteration changes the weights of {network} by {_number(middle)} of their size",
                f"{network} hardly moves: a learning rate that is too small, or a gradient that has vanished",
                f"look at grad_norm of {network}; if it is not tiny, a larger learning rate",
                f"update_ratio {_shown(kept)}",
            )  # fmt: skip


def _at(rates: Series, step: int) -> float:
    """The rate at a step: the one that was logged last, or else the first."""
    return next((rate for s, rate in reversed(rates) if s <= step), rates[0][1])


def _fifths(found: Series) -> list[float]:
    """Medians of five equal parts of a series."""
    cuts = [round(k * len(found) / 5) for k in range(6)]
    return [median(v for _, v in found[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]


def diverging(rows: Sequence[Row]) -> Iterator[Finding]:
    """Losses that grow and grow."""
    for name, found in tagged(rows, "loss/").items():
        known = _finite(found)
        if len(known) < LONG:
            continue
        parts = _fifths([(s, abs(v)) for s, v in known])
        signed = any(v < 0 for _, v in known)
        start = max(abs(known[0][1]), parts[0], parts[1])  # a discriminator that won early may lose that again
        limit = GREW_SIGNED * max(start, 1.0) if signed else GREW * start
        if parts[4] > limit and parts[4] > parts[3] > parts[2]:
            yield Finding(
                "warning", "diverging",
                f"loss {name} grows and grows: it was {_number(start)}, and is {_number(parts[4])}",
                "training runs away; of an adversarial term: what it is played against is winning",
                "a smaller learning rate, `Update.clip_norm`; for a Wasserstein critic a penalty or a clamp",
                "medians of five parts of the run: " + ", ".join(map(_number, parts)),
            )  # fmt: skip


def vanished(rows: Sequence[Row]) -> Iterator[Finding]:
    """Gradients that have become nothing."""
    for name, found in tagged(rows, "grad_norm/").items():
        known = _finite(found)
        if len(known) < LONG:
            continue
        parts = _fifths(known)
        if parts[4] < VANISHED * max(parts[:2]) and parts[4] <= parts[3]:
            yield Finding(
                "warning", "gradient-vanished",
                f"the gradient of {name} is {_number(parts[4])}, and was {_number(max(parts[:2]))}",
                "nothing that it minimizes can be improved from here: its loss is at a minimum, or saturated",
                "of a generator: see whether the discriminator is always right; of a discriminator: whether what it is "
                "shown can still be told apart",
                "medians of five parts of the run: " + ", ".join(map(_number, parts)),
            )  # fmt: skip


def worse(rows: Sequence[Row]) -> Iterator[Finding]:
    """Held-out metrics that have lost half of what they had gained."""
    for name, found in tagged(rows, "metric/").items():
        known, sign = _finite(found), _direction(name)
        if len(known) < 5 or not sign:
            continue
        best_at, best = max(known, key=lambda pair: sign * pair[1])
        after = [v for s, v in known if s > best_at]
        gained, now = sign * (best - known[0][1]), median(after[-LEAST:]) if after else best
        if len(after) >= LEAST and gained > 0 and sign * (best - now) > LOST * gained:
            yield Finding(
                "warning", "worse-than-before", f"{name} was best at step {best_at}, and has become worse since",
                "on held-out samples; overfitting if the training loss still falls, else training has gone wrong",
                "more data or augmentation, an earlier end; `Trainer.checkpoint_every` keeps weights only of the last "
                "step, so train to the best step again: `--set 'Trainer.steps = " + str(best_at) + "'`",
                f"best {_number(best)} (step {best_at}); last: {_shown(known)}",
            )  # fmt: skip


def _direction(name: str) -> int:
    """1 where more is better, -1 where less is, 0 where a name does not say."""
    words = name.lower().replace("-", "_").split("_")
    more, less = any(w in UP or w == "accuracy" for w in words), any(w in DOWN for w in words)
    return int(more) - int(less)


# -- what is said at the end ------------------------------------------------------------------------------------


def _told(rows: Sequence[Row], found: Sequence[Finding]) -> Iterator[Finding]:
    # how many numbers are not finite comes with the histograms, which say nothing of the game
    looks = ([tag for tag in row if tag.startswith("health/") and not tag.startswith(NONFINITE)] for row in rows)
    watched = sum(map(bool, looks))
    logged = sum(any(tag.startswith("loss/") for tag in row) for row in rows)
    untold = []
    if watched < LOOKS:
        untold.append(f"discriminators, collapse, saturation and step sizes need {LOOKS} close looks, and there "
                      f"{'is' if watched == 1 else 'are'} {watched or 'none'}")  # fmt: skip
    if logged < LONG:
        untold.append(
            f"trends need {LONG} rows of losses, and there {'is' if logged == 1 else 'are'} {logged or 'none'}"
        )
    if untold:
        yield Finding("unknown", "too-short", "too short to tell everything", "; ".join(untold),
                      "train longer, or look more often: a smaller `Trainer.watch_every` or `Trainer.log_every`"
                      )  # fmt: skip
    elif not found:
        yield Finding("fine", "nothing-found", "nothing wrong was found",
                      f"in {logged} rows of losses and {watched} close looks; what no number shows, samples may"
                      )  # fmt: skip
