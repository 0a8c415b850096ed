"""Gin files -> statements with their places; gin's own configuration, borrowed and given back.

    with isolated():                      # gin's global configuration is empty inside, and as before outside
        lines = read("experiments/pix2pix.gin", overrides=["lambda_A = 10"])

Parsing and semantics are gin's own (its ConfigParser gives the locations); includes are looked up relative to the
including file, then the working directory, then the installed package.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gin import config as gin_config
from gin import config_parser

from ganflow.errors import GanflowError, Location, Terminated, did_you_mean, raised_at

_GLOBALS = ("_CONFIG", "_OPERATIVE_CONFIG", "_SINGLETONS")

# More than anyone writes by hand, and still read in a second.
MAX_CHARACTERS = 250_000  # of a file
MAX_BLANKS = 1_000  # in a row
_BLANKS = re.compile(rf"[ \t\f]{{{MAX_BLANKS + 1}}}")
MAX_FILES = 500  # with what they include: files that include others twice grow exponentially
MAX_DEPTH = 40  # of files that include files
MAX_NESTING = 30  # of lists in lists


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Gin's configuration is global; inside this block it is ours alone, afterwards it is what it was."""
    kept = {name: dict(getattr(gin_config, name)) for name in _GLOBALS}
    imports, locked = set(gin_config._IMPORTS), gin_config._CONFIG_IS_LOCKED
    try:
        for name in _GLOBALS:
            getattr(gin_config, name).clear()
        gin_config._set_config_is_locked(False)
        yield
    finally:
        for name in _GLOBALS:
            getattr(gin_config, name).clear()
            getattr(gin_config, name).update(kept[name])
        gin_config._IMPORTS.clear()
        gin_config._IMPORTS.update(imports)
        gin_config._set_config_is_locked(locked)


@dataclass(frozen=True)
class Line:
    """One binding: a macro if ``parameter`` is empty. ``string`` is where a string value's text starts."""

    scope: str
    selector: str
    parameter: str
    value: Any
    location: Location
    string: Location
    source: str  # the file it stands in


@dataclass(frozen=True)
class Reading:
    """What was read: lines in order, imported modules, files."""

    lines: tuple[Line, ...]
    imports: tuple[str, ...]
    files: tuple[str, ...]


def read(sources: Sequence[str | Path], *, text: str | None = None, overrides: Sequence[str] = ()) -> Reading:
    """Read gin files (or one text) and then the overrides, binding everything in gin as it goes.

    Raises:
        GanflowError: ``missing-file``, ``gin-syntax``, ``unknown-configurable``, ``unknown-parameter``, ``import``.
    """
    reader = _Reader()
    if text is not None:
        reader.text(text, "<string>")
    for source in sources:
        reader.file(Path(source), None)
    for number, override in enumerate(overrides, 1):
        reader.text(override, f"--set ({number})")
    return Reading(tuple(reader.lines), tuple(dict.fromkeys(reader.imports)), tuple(reader.files))


class _Reader:
    """Collects lines; lives for one call of :func:`read`."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.imports: list[str] = []
        self.files: list[str] = []
        self.open: list[Path] = []

    def file(self, path: Path, at: Location | None) -> None:
        try:
            with path.open(encoding="utf-8-sig") as file:  # editors on Windows mark their files
                text = file.read(MAX_CHARACTERS + 1)  # of /dev/zero, too
        except FileNotFoundError:
            near = [p.name for p in path.parent.glob("*.gin")] if path.parent.is_dir() else []
            hint = did_you_mean(path.name, near) or (f"in {path.parent}: {', '.join(sorted(near)[:8])}" if near else "")
            raise GanflowError(f"no such file: {path}", location=at, hint=hint, code="missing-file") from None
        except OSError as error:
            raise GanflowError(f"cannot read {path}: {error.strerror}", location=at, code="unreadable-file") from None
        except UnicodeDecodeError as error:
            raise GanflowError(f"{path} is no text: byte {error.start} is not UTF-8", location=at,
                               code="unreadable-file", hint="a gin file is a text file in UTF-8") from None  # fmt: skip
        resolved = path.resolve()
        if resolved in self.open:
            raise GanflowError(f"{path} includes itself", location=at, code="cycle")
        if len(self.open) >= MAX_DEPTH or len(self.files) >= MAX_FILES:
            what = f"{MAX_DEPTH} files deep" if len(self.open) >= MAX_DEPTH else f"in {MAX_FILES} files"
            raise GanflowError(f"the experiment is more than {what}, with all that is included", location=at,
                               code="too-large", hint="include each file once, where it is first needed")  # fmt: skip
        self.open.append(resolved)
        self.files.append(str(path))
        self.text(text, str(path), path.parent)
        self.open.pop()

    def text(self, text: str, label: str, folder: Path | None = None) -> None:
        if len(text) > MAX_CHARACTERS:
            raise GanflowError(f"more than {MAX_CHARACTERS:,} characters are no gin file", location=Location(label, 1),
                               code="too-large", hint="large data belong into a dataset")  # fmt: skip
        rows = text.split("\n")
        if found := _BLANKS.search(text):  # Python's tokenizer takes time in the square of their number
            raise GanflowError(f"more than {MAX_BLANKS:,} blanks in a row", code="too-large",
                               location=Location(label, text.count("\n", 0, found.start()) + 1),
                               hint="take them out: they say nothing")  # fmt: skip
        for statement in _statements(text, label, rows):
            where = _place(statement.location, label, rows)
            if isinstance(statement, config_parser.BindingStatement):
                self.binding(statement, where, rows, label)
            elif isinstance(statement, config_parser.IncludeStatement):
                self.file(_find(statement.filename, folder, where), where)
            elif isinstance(statement, config_parser.ImportStatement):
                self.module(statement.module, where, folder)
            elif isinstance(statement, config_parser.BlockDeclaration):
                _configurable(statement.selector, where)

    def binding(self, statement: Any, where: Location, rows: list[str], label: str) -> None:
        scope, selector, parameter, value, _ = statement
        if _nesting(value) > MAX_NESTING:
            raise GanflowError(f"the value of `{selector}` is nested deeper than {MAX_NESTING} levels", location=where,
                               code="gin-syntax")  # fmt: skip
        string = _string_start(rows, where)
        if not parameter:
            if scope:
                raise GanflowError(
                    f"`{scope}/{selector}` is a definition with a scope", location=where, code="gin-syntax",
                    hint=f"write `{selector} = ...`, or name a parameter: `{scope}/{selector}.parameter = ...`",
                )  # fmt: skip
            gin_config.bind_parameter((selector, "gin.macro", "value"), value)
        else:
            known = _configurable(selector, where)
            try:
                gin_config.bind_parameter((scope, selector, parameter), value)
            except ValueError as error:
                raise _unknown_parameter(known, selector, parameter, where, error) from None
        self.lines.append(Line(scope, selector, parameter, value, where, string, label))

    def module(self, name: str, where: Location, folder: Path | None) -> None:
        """Import a user's module; one beside the gin file is found too."""
        import importlib

        folders = (folder, Path.cwd(), *_recorded(folder))
        added = [str(p) for p in folders if p is not None and str(p) not in sys.path]
        sys.path[:0] = added
        try:
            _check_namesake(name, where)
            importlib.import_module(name)
        except (GanflowError, KeyboardInterrupt, Terminated):
            raise
        except BaseException as error:  # whatever a user's module raises is the user's to read
            looked = "modules are looked up beside the gin file, in the working directory, and in the environment"
            raise GanflowError(
                f"cannot import `{name}`: {type(error).__name__}: {error}", location=where, code="import",
                hint=looked if isinstance(error, ModuleNotFoundError) else raised_at(error),
            ) from error  # fmt: skip
        finally:
            for path in added:
                with contextlib.suppress(ValueError):
                    sys.path.remove(path)
        self.imports.append(name)


def _recorded(folder: Path | None) -> list[Path]:
    """Beside a run's flattened config, the environment says where the modules that it imports were found."""
    try:
        found = json.loads((folder / "environment.json").read_text(encoding="utf-8")) if folder else {}
        return [Path(p) for p in found.get("module_folders", [])]
    except (OSError, ValueError, AttributeError, TypeError):
        return []


def _check_namesake(name: str, where: Location) -> None:
    """Python keeps one module of each name: another experiment's code would run in place of this one's."""
    import importlib.machinery

    loaded = getattr(sys.modules.get(name), "__file__", None)
    found = importlib.machinery.PathFinder.find_spec(name) if loaded and "." not in name else None
    if found is not None and found.origin is not None and Path(found.origin).resolve() != Path(loaded).resolve():
        raise GanflowError(
            f"`{name}` here is {found.origin}, but another module of this name is loaded already: {loaded}",
            location=where, code="import", hint="give one of the two another name, or load them in two processes",
        )  # fmt: skip


def _statements(text: str, label: str, rows: list[str]) -> Iterator[Any]:
    delegate = _Delegate(label, rows)
    try:
        yield from config_parser.ConfigParser(io.StringIO(text), delegate)
    except SyntaxError as error:
        raise _syntax(error, label, rows) from None
    except GanflowError:
        if delegate.error is not None:  # gin adds its own place to the message
            raise delegate.error from None
        raise
    except (tokenize.TokenError, IndentationError) as error:
        line = error.args[1][0] if len(error.args) > 1 and isinstance(error.args[1], tuple) else len(rows)
        where = Location(label, min(max(int(line), 1), len(rows)), None, 1, rows[min(max(int(line), 1), len(rows)) - 1])
        raise GanflowError(f"not gin syntax: {error.args[0]}", location=where, code="gin-syntax") from None
    except (RecursionError, MemoryError):
        raise GanflowError(f"{label} is nested too deeply to read", code="gin-syntax") from None


class _Delegate(gin_config.ParserDelegate):  # type: ignore[misc]
    """Gin's own references; an unknown name is reported with the nearest known ones."""

    def __init__(self, label: str, rows: list[str]) -> None:
        super().__init__()
        self.label, self.rows = label, rows
        self.error: GanflowError | None = None

    def configurable_reference(self, scoped_name: str, evaluate: bool) -> Any:
        selector = scoped_name.rsplit("/", 1)[-1]
        line = next((i for i, row in enumerate(self.rows, 1) if f"@{scoped_name}" in row), 1)
        try:
            _configurable(selector, _caret(Location(self.label, line, None, 1, self.rows[line - 1]), selector))
        except GanflowError as error:
            found = {"location": error.location, "hint": error.hint, "code": error.code}
            self.error = GanflowError(error.message, **found)  # type: ignore[arg-type]
            raise
        return super().configurable_reference(scoped_name, evaluate)


def _syntax(error: SyntaxError, label: str, rows: list[str]) -> GanflowError:
    place = error.args[1] if len(error.args) > 1 else (label, 1, 0, "")
    line = min(max(place[1] or 1, 1), len(rows))
    column = place[2] if isinstance(place[2], int) else None
    where = Location(label, line, column, 1, rows[line - 1])
    message, hint = str(error.args[0]), ""
    if "Failed to parse token" in message or "malformed node" in message:  # gin shows an address in memory
        word = rows[line - 1][column or 0 :].split()[:1]
        message = f"`{word[0] if word else rows[line - 1].strip()}` is not a value"
        hint = (
            "a value is a number, a string in quotes, True, False, None, a list, tuple or dict of these, @name or %name"
        )
    return GanflowError(f"not gin syntax: {message}", location=where, hint=hint, code="gin-syntax")


def _place(location: Any, label: str, rows: list[str]) -> Location:
    line = min(max(location.line_num, 1), len(rows))
    return Location(label, line, None, 1, rows[line - 1])


def _caret(where: Location, word: str) -> Location:
    column = where.text.find(word)
    return where.shifted(column, len(word)) if column >= 0 else where


def _nesting(value: Any) -> int:
    """Of lists, tuples and dicts in one another."""
    depth, level = 0, [value]
    while level := [v for v in level if isinstance(v, (list, tuple, dict)) and v]:
        depth += 1
        level = [x for v in level for x in (v.values() if isinstance(v, dict) else v)]
    return depth


def _configurable(selector: str, where: Location) -> Any:
    try:
        found = gin_config._parse_context().get_configurable(selector)
    except (KeyError, ValueError) as error:
        raise GanflowError(str(error).strip("'\""), location=_caret(where, selector), code="ambiguous") from None
    if found is None:
        known = {name.rsplit(".", 1)[-1] for name, _ in gin_config._REGISTRY.items()}
        raise GanflowError(
            f"unknown configurable `{selector}`", location=_caret(where, selector), code="unknown-configurable",
            hint=did_you_mean(selector, known) or f"built-ins: {_built_ins()}; your own need an `import`",
        )  # fmt: skip
    return found


def _built_ins() -> str:
    """What gin files can name without an import, ops left out: those are called in expressions."""
    names = (name for name, found in gin_config._REGISTRY.items() if name.startswith("ganflow."))
    return ", ".join(sorted(name.rsplit(".", 1)[-1] for name in names if name[8:9].isupper()))


def _unknown_parameter(known: Any, selector: str, parameter: str, where: Location, error: Exception) -> GanflowError:
    import inspect

    try:
        names = [n for n in inspect.signature(known.wrapped).parameters if n != "self"]
    except (TypeError, ValueError):
        return GanflowError(str(error), location=where, code="unknown-parameter")
    hint = did_you_mean(parameter, names) or f"it has: {', '.join(names)}"
    return GanflowError(
        f"`{selector}` has no parameter `{parameter}`", location=_caret(where, parameter), hint=hint,
        code="unknown-parameter",
    )  # fmt: skip


def _find(name: str, folder: Path | None, where: Location) -> Path:
    path = Path(name)
    candidates = [path] if path.is_absolute() else []
    package = Path(__file__).resolve().parent
    candidates += [p / name for p in (folder, Path.cwd(), package.parent, package) if p is not None]
    for candidate in candidates:
        with contextlib.suppress(OSError, ValueError):  # a name that is too long is no file
            if candidate.is_file():
                return candidate
    tried = "\n".join(f"  {c}" for c in dict.fromkeys(candidates))
    raise GanflowError(
        f"cannot find the included file {name!r}", location=_caret(where, name), hint=f"looked for\n{tried}",
        code="missing-file",
    )  # fmt: skip


def _string_start(rows: list[str], where: Location) -> Location:
    """Where the text of a string value starts: behind the quotes that follow ``=``."""
    following = (f"{row}\n" for row in itertools.islice(rows, where.line - 1, None))
    try:
        seen_equals = False
        for token in tokenize.generate_tokens(lambda: next(following, "")):
            if token.type == tokenize.STRING and seen_equals:
                body = token.string.lstrip("rRuUbB")
                quotes = 3 if body[:3] in ('"""', "'''") else 1
                column = token.start[1] + (len(token.string) - len(body)) + quotes
                line = where.line + token.start[0] - 1
                return Location(where.file, line, column, 1, rows[line - 1])
            if token.string == "=":
                seen_equals = True
            elif seen_equals and token.type not in (tokenize.NL, tokenize.COMMENT):
                return where
    except (tokenize.TokenError, SyntaxError):
        pass
    return where
