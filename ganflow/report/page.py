"""RunData -> one HTML page that needs no other file, no script and no network.

page(read(Path("runs/pix2pix")))          # '<!doctype html>...'
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape
from importlib.resources import files
from pathlib import Path

from ganflow.diagnosis import Finding, diagnose
from ganflow.errors import GanflowError
from ganflow.palette import BAND, CARD, LINE, PAGE, QUIET, TEXT, Themed, colour
from ganflow.report.curves import Chart, Line, groups
from ganflow.report.drawing import drawn
from ganflow.report.reading import WEIGHTS, RunData
from ganflow.report.words import LEVELS, chosen, commands, described, exactness, facts, last_value, linked, lost
from ganflow.report.words import size_text as size
from ganflow.webpage import head

WIDTH, HEIGHT = 560, 1400  # of a picture, in pixels at most
ACCENT = Themed("#0b63ce", "#7ab8ff")
WARN, GOOD, NOTE = Themed("#b3261e", "#ff8a80"), Themed("#1a7f37", "#6fdd8b"), Themed("#8a5a00", "#f0b95a")
_COLOURS = {"page": PAGE, "band": BAND, "card": CARD, "text": TEXT, "quiet": QUIET, "line": LINE, "accent": ACCENT,
            "warning": WARN, "fine": GOOD, "note": NOTE, "unknown": QUIET}  # fmt: skip


def page(run: RunData, *, command: str = "ganflow") -> str:
    """The page."""
    findings = diagnose(run.rows)
    sections = [
        ("Findings", _findings(findings)), ("What ran", _facts(run)), ("Samples over time", _samples(run)),
        *((group.title, _charts(group.charts, k, run.step)) for k, group in enumerate(groups(run))),
        ("Gradient of each term", _text(run.probe)), ("The plan", _text(run.files.plan)),
        ("Do it again", _again(run, command)),
    ]  # fmt: skip
    there = [(title, body) for title, body in sections if body]
    links = " ".join(f'<a href="#{_anchor(title)}">{escape(title)}</a>' for title, _ in there)
    body = "\n".join(f'<section id="{_anchor(title)}">\n<h2>{escape(title)}</h2>\n{body}\n</section>'
                     for title, body in there)  # fmt: skip
    style = f"{_variables()}\n{files('ganflow.report').joinpath('page.css').read_text(encoding='utf-8')}"
    return f"""{head(f"{run.name}: report", style)}<body>
<header>
<h1>{escape(run.name)}</h1>
<p>{_summary(run, findings)}</p>
<nav aria-label="Sections">{links}</nav>
</header>
<main>
{body}
</main>
</body>
</html>
"""


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _summary(run: RunData, findings: list[Finding]) -> str:
    """One line about all of it."""
    wrong = sum(f.level == "warning" for f in findings)
    notes = sum(f.level == "note" for f in findings)
    told = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((wrong, "warning"), (notes, "note")) if n]
    metrics = [f"{chart.title} {last_value(chart.lines[0])}" for g in groups(run) if g.title == "Held-out metrics"
               for chart in g.charts]  # fmt: skip
    parts = [run.state, f"step {run.step}", f"{run.took}" if run.rows else "", *metrics[:4], ", ".join(told)]
    return " · ".join(f"<span>{escape(p)}</span>" for p in parts if p)


# -- sections ---------------------------------------------------------------------------------------------------


def _findings(findings: list[Finding]) -> str:
    return "\n".join(_finding(f) for f in findings)


def _finding(f: Finding) -> str:
    rows = (("Means", f.means), ("Try", f.tries), ("Seen", f.evidence))
    said = "".join(f"<dt>{name}</dt><dd>{_rich(text)}</dd>" for name, text in rows if text)
    return (f'<article class="finding {f.level}"><h3><span class="level">{LEVELS[f.level]}</span> {_rich(f.says)}'
            f' <code class="code">{escape(f.code)}</code></h3><dl>{said}</dl></article>')  # fmt: skip


def _rich(text: str) -> str:
    found = []
    for kind, part in linked(text):
        if kind == "code":
            found.append(f"<code>{escape(part)}</code>")
        elif kind == "arxiv":
            found.append(f'<a href="https://arxiv.org/abs/{part.removeprefix("arXiv:")}">{part}</a>')
        else:
            found.append(escape(part))
    return "".join(found)


def _facts(run: RunData) -> str:
    said = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts(run).items())
    swatches = "".join(f'<span class="chip"><i style="background: {colour(k).fill}"></i>{escape(n)}</span>'
                       for k, n in enumerate(run.networks))  # fmt: skip
    return f'<dl class="facts">{said}</dl>\n<p class="chips" aria-label="Colours of the networks">{swatches}</p>'


def _samples(run: RunData) -> str:
    places = chosen(run.pictures)
    if not places:
        return ""
    shown = "\n".join(_picture(*run.pictures[p]) for p in places)
    left = len(run.pictures) - len(places)
    more = f'<p class="quiet">{left} more in {escape(str(run.path / "samples"))}</p>' if left else ""
    return f'<div class="samples" tabindex="0" role="group" aria-label="Samples">\n{shown}\n</div>\n{more}'


def _picture(step: int, path: Path) -> str:
    width, height, data = inline(path)
    return (f'<figure><figcaption>step {step}</figcaption><img src="{data}" width="{width}" height="{height}" '
            f'alt="samples after {step} iterations" loading="lazy"></figure>')  # fmt: skip


def inline(path: Path) -> tuple[int, int, str]:
    """A picture of moderate size as a data URI, smaller where it is large."""
    from PIL import Image

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise GanflowError(f"the run is damaged: the picture {path} cannot be read ({error})", code="not-a-run",
                           hint="delete that picture") from error  # fmt: skip
    image.thumbnail((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    image.save(held, format="JPEG", quality=88, optimize=True)
    return image.width, image.height, f"data:image/jpeg;base64,{base64.b64encode(held.getvalue()).decode()}"


def _charts(charts: tuple[Chart, ...], group: int, end: int) -> str:
    drawn_ = "\n".join(_chart(chart, f"c{group}-{k}", end) for k, chart in enumerate(charts))
    return f'<div class="charts">\n{drawn_}\n</div>'


def _chart(chart: Chart, prefix: str, end: int) -> str:
    keys = "".join(_key(line, alone=line.label == chart.title) for line in chart.lines)
    note = f'<p class="quiet">{escape(chart.note)}</p>' if chart.note else ""
    picture = drawn(chart, variables=True, prefix=prefix, end=end)
    return (f'<figure class="chart"><figcaption><strong>{escape(chart.title)}</strong>{keys}</figcaption>'
            f'<div role="img" aria-label="{escape(described(chart), quote=True)}">{picture}</div>{note}</figure>'
            )  # fmt: skip


def _key(line: Line, *, alone: bool) -> str:
    ink = f"var(--n{line.network % 8})" if line.network >= 0 else "var(--text)"
    style = ("solid", "dashed", "dotted", "dashed")[line.dash % 4]
    warn = f" <em>{escape(lost(line))}</em>" if lost(line) else ""
    label = "" if alone else f"{escape(line.label)} "
    return (f'<span class="key"><i style="border-top: 2px {style} {ink}"></i>{label}'
            f"<b>{escape(last_value(line))}</b>{warn}</span>")  # fmt: skip


def _text(text: str) -> str:
    return f'<pre tabindex="0">{escape(text.rstrip())}</pre>' if text.strip() else ""


def _again(run: RunData, command: str) -> str:
    lines = "".join(f"<dt>{escape(what)}</dt><dd><code>{escape(line)}</code></dd>"
                    for line, what in commands(run, command))  # fmt: skip
    kept = "".join(_listed(run))
    return (f'<dl class="commands">{lines}</dl>\n<p>{escape(exactness(run))}</p>\n{kept}'
            f"<details><summary>config.gin</summary>{_text(run.files.config)}</details>\n"
            f"<details><summary>step.py, the Python that ran</summary>{_text(run.files.source)}</details>")  # fmt: skip


def _listed(run: RunData) -> Iterator[str]:
    packages = run.files.environment.get("packages")
    if isinstance(packages, dict):
        text = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
        yield f'<p class="quiet">{escape(text)}</p>\n'
    weights = run.path / WEIGHTS
    if weights.is_file():
        yield f'<p class="quiet">weights: {escape(str(weights))}, {size(weights.stat().st_size)}</p>\n'


def _variables() -> str:
    def rule(theme: str) -> str:
        own = {name: getattr(c, theme) for name, c in _COLOURS.items()}
        own |= {f"n{k}": getattr(colour(k).ink, theme) for k in range(8)}
        return "; ".join(f"--{name}: {value}" for name, value in own.items())

    return (
        f":root {{ {rule('light')} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {rule('dark')} }} }}"
    )
