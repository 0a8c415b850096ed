"""What every test starts from: one thread, a cache of its own, reproducible properties."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Before anything imports torch. With the tests on all cores, more threads only wait for one another,
# and sums are added in one order. An environment variable, so that commands which tests start get it too
# and tests of the compiler half need not import torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A time limit for each example fails on a busy machine, not on a slow program.
settings.register_profile("ganflow", deadline=None, derandomize="CI" in os.environ, print_blob=True)
settings.load_profile("ganflow")

# A shell starts what it puts in the background with SIGINT ignored; tests interrupt runs all the same.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``GANFLOW_CACHE`` for this run of the tests: datasets are built once and shared by its processes.

    Never the user's own cache: an old file there would hide a mistake, and a test could spoil it.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANFLOW_CACHE", str(base / "ganflow-cache"))
        yield str(base / "ganflow-cache")
