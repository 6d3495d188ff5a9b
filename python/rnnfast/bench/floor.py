"""The least time that this machine needs for a case, from what a native probe measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnfast import _rnnfast

from .cases import TRAINING, Case


@dataclass(frozen=True)
class Level:
    """A level of the memory's hierarchy, as one core sees it."""

    name: str
    capacity: float  # bytes
    bandwidth: float  # bytes a second


@dataclass(frozen=True)
class Machine:
    """What one core can do at most, and how many of them are used."""

    threads: int
    peak: dict[str, float]  # operations a second, by dtype
    levels: tuple[Level, ...]  # from the nearest; the last one holds everything
    chain: dict[tuple[str, str], tuple[float, float]]  # seconds a step, forward and backward


def probe(threads: int) -> Machine | None:
    """Measure this machine; None in a build without the probe."""
    measure: Any = getattr(_rnnfast, "probe", None)
    if measure is None:
        return None
    found = measure()
    return Machine(
        threads,
        dict(found["peak"]),
        tuple(Level(*level) for level in found["levels"]),
        {(cell, dtype): (f, b) for cell, dtype, f, b in found["chain"]},
    )


def floor(case: Case, machine: Machine) -> float:
    """Return the seconds that a case takes at least on this machine.

    The largest of the operations over the peak, the bytes over the bandwidth (the recurrent
    weights once a step, and once more in BPTT, from the level that holds them; inputs, outputs
    and their gradients once), and the steps times the latency of one step's dependent chain.
    """
    return max(
        case.operations / (machine.threads * machine.peak[case.dtype]),
        _bytes_time(case, machine),
        _chain_time(case, machine),
    )


def _bytes_time(case: Case, machine: Machine) -> float:
    itemsize = np.dtype(case.dtype).itemsize
    passes = 2 if case.mode == TRAINING else 1
    matrices = case.layers * case.directions
    weights = matrices * case.gates * case.H * case.H * itemsize
    once = passes * case.steps * (case.I + case.directions * case.H) * itemsize
    steps = passes * case.T
    return steps * _seconds(weights, machine) + _seconds(once, machine)


def _seconds(size: float, machine: Machine) -> float:
    """How long all threads take to read `size` bytes once, each its share."""
    share = size / machine.threads
    level = next((x for x in machine.levels if share <= x.capacity), machine.levels[-1])
    return share / level.bandwidth


def _chain_time(case: Case, machine: Machine) -> float:
    forward, backward = machine.chain.get((case.cell, case.dtype), (0.0, 0.0))
    step = forward + backward if case.mode == TRAINING else forward
    return case.T * step
