"""RunData -> Markdown, with its curves as pictures in a folder beside it.

text, pictures = markdown(run, Path("notes.md"))         # {Path("notes-files/loss-d.svg"): "<svg...", ...}
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from ganflow.diagnosis import diagnose
from ganflow.report.curves import groups
from ganflow.report.drawing import drawn
from ganflow.report.reading import RunData
from ganflow.report.words import LEVELS, chosen, commands, described, exactness, facts


def markdown(run: RunData, out: Path, *, command: str = "ganflow") -> tuple[str, dict[Path, str]]:
    """The text, and the pictures that it shows."""
    folder = out.parent / f"{out.stem}-files"
    pictures: dict[Path, str] = {}
    lines = [f"# {_plain(run.name)}", "", "## Findings", ""]
    for f in diagnose(run.rows):
        lines += [f"* **{LEVELS[f.level]}: {f.says}** (`{f.code}`)", *(
            f"  * {name}: {text}" for name, text in (("means", f.means), ("try", f.tries), ("seen", f.evidence)) if text
        )]  # fmt: skip
    lines += ["", "## What ran", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in facts(run).items()]
    lines += _samples(run, out)
    for group in groups(run):
        lines += ["", f"## {group.title}", ""]
        for chart in group.charts:
            path = folder / f"{_slug(group.title)}-{len(pictures) + 1:02}-{_slug(chart.title)}.svg"
            pictures[path] = drawn(chart, variables=False, end=run.step)
            link = quote(os.path.relpath(path, out.parent))
            title, note = _plain(chart.title), f" · {chart.note}" if chart.note else ""
            lines += [f"**{title}**: {_plain(described(chart))}{note}", "", f"![{title}]({link})", ""]
    for title, text in (("Gradient of each term", run.probe), ("The plan", run.files.plan)):
        if text.strip():
            lines += ["", f"## {title}", "", *_fenced(text)]
    lines += [
        "",
        "## Do it again",
        "",
        *_fenced("\n".join(f"{line}  # {what}" for line, what in commands(run, command))),
    ]
    lines += ["", exactness(run), "", "### config.gin", "", *_fenced(run.files.config, "gin")]
    return "\n".join(lines) + "\n", pictures


def _samples(run: RunData, out: Path) -> Iterator[str]:
    for k, place in enumerate(chosen(run.pictures)):
        step, path = run.pictures[place]
        if not k:
            yield from ("", "## Samples over time", "")
        yield from (f"step {step}", "", f"![samples after {step} iterations]({quote(_from(path, out.parent))})", "")


def _from(path: Path, folder: Path) -> str:
    try:
        return os.path.relpath(path, folder)
    except ValueError:  # another drive
        return str(path.absolute())


def _fenced(text: str, language: str = "") -> list[str]:
    """As it is; the fence is longer than any in it."""
    fence = "`" * max(3, 1 + max((len(m) for m in re.findall(r"`+", text)), default=0))
    return [f"{fence}{language}", text.rstrip("\n"), fence]


def _plain(text: str) -> str:
    """No character that means something."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "chart"
