"""Every instruction set of this machine, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rnnfast import _rnnfast

COMPACT = Path(__file__).parent / "compact.py"


@pytest.mark.parametrize("tier", _rnnfast.isas())
def test_parity(tier: str) -> None:
    environment = {"RNNFAST_ISA": tier, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        [sys.executable, "-W", "error", str(COMPACT), tier],
        env=os.environ | environment,
        check=True,
        timeout=60,
    )


def test_this_process_runs_the_tier_it_was_told() -> None:
    assert "baseline" in _rnnfast.isas()
    assert _rnnfast.isa() == os.environ.get("RNNFAST_ISA", _rnnfast.isas()[-1])
