"""A long run holds no more memory, files and threads at its end than when it was warm. (Not a test of time.)"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "tools"))

from soak import soak, table  # noqa: E402


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="looks at a process through /proc")
def test_a_long_run_stays_as_it_began(tmp_path: Path) -> None:
    """Between the second tenth and the last lie 8,000 iterations: 400 bytes that stay of each are 3 MiB."""
    found = soak(10_000, tmp_path)
    growth = {name: getattr(found, name)[-1] - getattr(found, name)[1] for name in ("memory", "files", "threads")}
    assert growth["memory"] < 3 and growth["files"] <= 0 and growth["threads"] <= 0, table(found)
