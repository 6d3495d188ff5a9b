"""Code that runs in a process of its own: what it may break or end is not the test run."""

from __future__ import annotations

import os
import subprocess
import sys


def run_in_child(code: str, *arguments: str, timeout: float = 60) -> str:
    """Return what the code prints; an AssertionError with its errors unless it ends well."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"the child ended with {done.returncode}:\n{done.stderr}"
    return done.stdout
