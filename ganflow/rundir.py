"""The directory of one run: made once, never silently overwritten, and read back.

    path = unique_name("runs", "pix2pix")                 # runs/pix2pix, or runs/pix2pix-2 if that is taken
    create(path, config=text, plan=plan, source=source, environment=environment(device="cpu"))
    load(path).config                                     # the gin text that reproduces the run

It starts as ``config.gin plan.txt step.py environment.json``; what the run writes later lies beside them.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

from ganflow.errors import GanflowError
from ganflow.files import cannot_write, write_whole
from ganflow.version import __version__

CONFIG, PLAN, SOURCE, ENVIRONMENT = "config.gin", "plan.txt", "step.py", "environment.json"
FILES = (CONFIG, PLAN, SOURCE, ENVIRONMENT)
LONGEST = 200  # bytes of a run's name: file systems take 255, and files beside it have longer names
PACKAGES = ("torch", "gin-config", "numpy", "tensorboard", "torchmetrics", "h5py", "Pillow", "rich", "typer")


@dataclass(frozen=True)
class RunFiles:
    """What a run directory started with.

    Args:
        path: the directory.
        config: the flattened gin text that reproduces the run.
        plan: the printed plan.
        source: the generated step.
        environment: versions and device, as :func:`environment` gives them.
    """

    path: Path
    config: str
    plan: str
    source: str
    environment: dict[str, Any]


def plain_name(name: str, *, option: str = "--name") -> str:
    """``plain_name("pix2pix-2")``: the name, if a run's directory may be called so, in any folder on any system.

    Raises:
        GanflowError: ``name``: empty, ``.`` or ``..``, separators of folders, characters that no terminal shows, or
            more than 200 bytes.
    """
    checks = {
        "is empty": not name.strip(),
        "is no name": name in (".", ".."),
        "begins or ends with a blank": name != name.strip(),
        "begins with a -, as options do": name.startswith("-"),
        "has a folder in it": any(sign in name for sign in "/\\"),
        "has characters that cannot be shown": not name.isprintable(),
        f"is longer than {LONGEST} bytes": len(name.encode("utf-8", "replace")) > LONGEST,
    }
    wrong = next((why for why, is_so in checks.items() if is_so), None)
    if wrong is not None:
        hint = "take letters, digits, - and _, such as pix2pix-2; --runs says in which folder it lies"
        raise GanflowError(f"{option} {name!r} {wrong}", hint=hint, code="name")
    return name


def unique_name(root: str | os.PathLike[str], stem: str) -> Path:
    """``unique_name("runs", "pix2pix")``: runs/pix2pix, else runs/pix2pix-2, -3 ...: the first that is free."""
    names = itertools.chain([stem], (f"{stem}-{i}" for i in itertools.count(2)))
    return next(path for path in (Path(root) / name for name in names) if _is_free(path))


def check_free(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Would :func:`create` find a place there? Asked before the long preparations of a run.

    Raises:
        GanflowError: ``run-exists`` or ``cannot-write``.
    """
    path = Path(path)
    if not _is_free(path):
        if not overwrite:
            raise _exists(path)
        _check_run(path)
    there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        number = errno.EACCES if there.is_dir() else errno.ENOTDIR
        raise cannot_write(path, OSError(number, "", str(there)), after=f"it would lie in {there}")


def create(
    path: str | os.PathLike[str],
    *,
    config: str,
    plan: str,
    source: str,
    environment: dict[str, Any],
    overwrite: bool = False,
) -> Path:
    """Make the directory and its first four files; a failure leaves none of them behind.

    Args:
        path: it may exist if it is empty; missing parents are made.
        config, plan, source, environment: see :class:`RunFiles`.
        overwrite: first delete all that is in the directory, if it is a run's.

    Raises:
        GanflowError: ``run-exists``: something is there; ``cannot-write``: a read-only place (status 2);
            ``disk-full`` (status 1).
    """
    path = Path(path)
    if overwrite and not _is_free(path):
        _clear(path)
    existed = path.is_dir()
    texts = {PLAN: plan, SOURCE: source, CONFIG: config}
    with _claim(path):
        try:
            for name, text in texts.items():
                write_whole(path / name, text)
            # the claim is replaced last: only a whole directory has an environment that can be read
            write_whole(path / ENVIRONMENT, json.dumps(environment, indent=2) + "\n")
        except BaseException:
            _undo(path, keep=existed)
            raise
    return path


def is_begun(path: str | os.PathLike[str]) -> bool:
    """Whether a run is there to go on with. What is left of one that was killed while it was made is taken away.

    Raises:
        GanflowError: ``run-in-use``: a process is making it just now; ``cannot-write``.
    """
    path = Path(path)
    if _is_free(path):
        return False
    names = {child.name for child in path.iterdir()} if path.is_dir() else set()
    claim = path / ENVIRONMENT
    if not all(n in FILES or ".writing-" in n for n in names) or not _is_empty(claim):
        return True
    with in_use(path):
        for name in names - {ENVIRONMENT}:
            (path / name).unlink(missing_ok=True)
        claim.unlink(missing_ok=True)
    return False


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


@contextlib.contextmanager
def in_use(path: str | os.PathLike[str]) -> Iterator[Callable[[], bool]]:
    """While a run goes on, no other process writes it; the system ends this however the process ends.

    Gives a function that says whether the directory is still there, and still this run's.

    Raises:
        GanflowError: ``run-in-use``.
    """
    path = Path(path)
    if not (path / ENVIRONMENT).is_file():
        raise _not_a_run(path, f"is not a run directory: it has no {ENVIRONMENT}")
    with open(path / ENVIRONMENT, "rb") as file:
        if not _try_lock(file):
            raise GanflowError(f"{path} is still running in another process", code="run-in-use",
                               hint="wait for it, or end it first; it saves a checkpoint when it is ended by Ctrl-C or "
                               "SIGTERM")  # fmt: skip

        def is_there() -> bool:
            try:
                return os.path.samestat(os.fstat(file.fileno()), os.stat(path / ENVIRONMENT))
            except OSError:
                return False

        yield is_there


def is_in_use(path: str | os.PathLike[str]) -> bool:
    """Whether a process is still writing this run, as far as this system can tell."""
    with open(Path(path) / ENVIRONMENT, "rb") as file:
        return not _try_lock(file)


def _try_lock(file: IO[bytes]) -> bool:
    """Whether nobody else holds it, as far as this system can tell."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows
        return True
    except OSError as error:  # some network disks have no locks
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def load(run: str | os.PathLike[str]) -> RunFiles:
    """``load("runs/pix2pix")``: what :func:`create` wrote there.

    Raises:
        GanflowError: ``not-a-run``: no such directory, or files are missing or damaged.
    """
    path = Path(run)
    if not path.is_dir():
        raise _not_a_run(path, "is not a directory" if path.exists() else "does not exist")
    missing = [name for name in FILES if not (path / name).is_file()]
    if missing:
        raise _not_a_run(path, f"is not a run directory: it has no {', '.join(missing)}")
    config, plan, source, environment = (_read(path, name) for name in FILES)
    try:
        return RunFiles(path, config, plan, source, json.loads(environment))
    except ValueError as error:
        raise _not_a_run(path, f"is damaged: {ENVIRONMENT} is not JSON ({error})") from error


def environment(*, device: str = "cpu", imports: Sequence[str] = ()) -> dict[str, Any]:
    """``environment(device="cuda")``: versions, processor, device and threads.

    Args:
        imports: modules that the gin file imports; their folders are kept, so that the run can be used from anywhere.
    """
    import torch

    found: dict[str, Any] = {
        "ganflow": _version("ganflow") or __version__,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
    }
    files = [getattr(sys.modules.get(name.split(".")[0]), "__file__", None) for name in imports]
    if folders := list(dict.fromkeys(str(Path(file).resolve().parent) for file in files if file)):
        found["module_folders"] = folders
    if torch.device(device).type == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return found


def _is_free(path: Path) -> bool:
    try:
        return not os.path.lexists(path) or (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise cannot_write(path, error) from error


def _claim(path: Path) -> IO[bytes]:
    """Of two processes that want ``path`` at once, one gets it, and has it locked until it closes what is returned."""
    if not _is_free(path):
        raise _exists(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = open(path / ENVIRONMENT, "xb")  # noqa: SIM115 - the caller's
        _try_lock(file)
        return file
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        there = next(above for above in path.absolute().parents if above.exists())
        raise cannot_write(path, error, after=f"it would lie in {there}") from error


def _exists(path: Path) -> GanflowError:
    what = "is not empty" if path.is_dir() else "is a file"
    hint = f"choose another name with --name, such as --name {unique_name(path.parent, path.name).name}"
    return GanflowError(
        f"the run directory {path} {what}, and a run is never overwritten by itself",
        hint=f"{hint},\nor delete the old run with --overwrite",
        code="run-exists",
    )


def _clear(path: Path) -> None:
    """Delete a run, the files that show that it is one last; whatever else the directory may be stays."""
    _check_run(path)
    try:
        for child in sorted(path.iterdir(), key=lambda child: child.name in FILES):
            if child.is_dir() and not child.is_symlink():
                shutil.rmtree(child)
            else:
                child.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error


def _check_run(path: Path) -> None:
    if not all((path / name).is_file() for name in FILES):
        raise GanflowError(
            f"{path} is not a run directory, so --overwrite deletes nothing there",
            hint="choose another name with --name, or delete it yourself",
            code="run-exists",
        )
    if is_in_use(path):
        raise GanflowError(f"{path} is still running, so --overwrite deletes nothing there", code="run-exists",
                           hint="choose another name with --name, or end that run first")  # fmt: skip


def _undo(path: Path, *, keep: bool) -> None:
    with contextlib.suppress(OSError):  # what went wrong first is what the user is told
        for name in FILES:
            (path / name).unlink(missing_ok=True)
        if not keep:
            path.rmdir()


def _read(path: Path, name: str) -> str:
    try:
        return (path / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _not_a_run(path, f"is damaged: {name} cannot be read ({error})") from error


def _not_a_run(path: Path, why: str) -> GanflowError:
    hint = "give the directory that `ganflow run` made, such as runs/pix2pix"
    return GanflowError(f"{path} {why}", hint=hint, code="not-a-run")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    """The processor's name. Python knows it on some systems only."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
