"""The golden files of the C++ tests are what make_golden.py writes today."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

FOLDER = Path(__file__).parent
MAKE = runpy.run_path(str(FOLDER / "make_golden.py"))
encode: Callable[..., bytes] = MAKE["encode"]
FILES = sorted((FOLDER / "golden").rglob("*.golden"))
# All results follow from float32 inputs in float64; machines differ in the order of their sums.
BOUND = 200 * np.finfo(np.float64).eps


def decode(file: bytes) -> tuple[str, dict[str, NDArray[Any]]]:
    head, body = file.split(b"\ndata\n", 1)
    arrays = {}
    for line in head.decode().splitlines()[3:]:
        kind, key, *shape = line.split()
        count = int(np.prod([int(n) for n in shape]))
        arrays[key] = np.frombuffer(body, f"<{kind}", count)
        body = body[arrays[key].nbytes :]
    assert body == b""
    return head.decode(), arrays


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden_file_is_current(path: Path) -> None:
    case = MAKE["CASES"][path.stem]
    head, arrays = decode(path.read_bytes())
    head_now, arrays_now = decode(encode(path.parent.name, path.stem, case))
    assert head == head_now
    for key, values in arrays.items():
        exact = values.dtype != np.float64
        scale = max(1.0, float(np.abs(values).max(initial=0)))
        np.testing.assert_allclose(
            arrays_now[key], values, rtol=0, atol=0 if exact else BOUND * scale, err_msg=key
        )


def test_every_cell_has_every_case() -> None:
    cells = {path.parent.name for path in FILES}
    assert {(path.parent.name, path.stem) for path in FILES} == {
        (cell, case) for cell in cells for case in MAKE["CASES"]
    }
    assert sum(path.stat().st_size for path in FILES) < 1_000_000
