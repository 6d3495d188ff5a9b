"""Sizes beyond all memory are a MemoryError."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rnnfast.layers import Recurrent

from .space import DTYPES, Generator, draw_cell, pick


def check(rng: Generator, say: Callable[[str], None]) -> None:
    """Ask for the backward pass over a sequence that no memory can hold."""
    cell, dtype = draw_cell(rng), pick(rng, DTYPES)
    power = int(rng.integers(44, 60))
    T, H = 2**power + int(rng.integers(-1, 2)), int(rng.integers(1, 40))
    B = int(rng.integers(1, 5)) if power < 55 else 1  # NumPy itself can say no more than 2**63
    I = int(rng.integers(0, 9)) if power < 55 else 1  # noqa: E741
    checkpoint = power > 57 and bool(rng.integers(2))  # which needs only sqrt(T)
    say(f"{cell} {dtype} T={T} B={B} I={I} H={H} checkpoint={checkpoint}")
    x = np.broadcast_to(np.zeros((), dtype), (T, B, I)) if I else np.zeros((T, B, 0), dtype)
    layer = Recurrent(cell, I, H, dtype=dtype, rng=0)
    try:
        layer.vjp(x, return_sequence=False, checkpoint=checkpoint)
    except MemoryError:
        return
    raise AssertionError("T steps were kept, which no memory can hold")
