"""Checks cases one after the other, and says of each what it is before it begins."""

from __future__ import annotations

import faulthandler
import itertools
import sys
import traceback
from collections.abc import Callable

import numpy as np

from . import calls, functional, layers, sizes
from .space import Generator

Check = Callable[[Generator, Callable[[str], None]], None]
KINDS: tuple[Check, ...] = (
    *[functional.check] * 10, *[layers.check] * 6, *[calls.check] * 3, sizes.check,
)  # fmt: skip


def check(seed: int, case: int) -> str | None:
    """Check one case; the message of what is wrong, or None."""
    rng = np.random.default_rng([seed, case])
    kind = KINDS[rng.integers(len(KINDS))]

    def say(description: str) -> None:
        print(f"is {kind.__module__.rpartition('.')[2]} {description}", flush=True)

    try:
        kind(rng, say)
    except Exception as error:
        traceback.print_exc()
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


def main(seed: int, first: int, step: int) -> None:
    """Check the cases first, first + step, ... for ever; just `first` if step is 0."""
    faulthandler.enable()
    for case in itertools.count(first, step):
        print("begin", case, flush=True)
        wrong = check(seed, case)
        print("ok" if wrong is None else f"wrong {wrong}", flush=True)
        if step == 0:
            return


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
