"""The least time that this machine needs for a case, from what the native probe measures of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnfast import _rnnfast

from .cases import TRAINING, Case

# Bytes of each cache where the system does not say.
CACHES = {"L1": 32 << 10, "L2": 1 << 20, "L3": 32 << 20}
SYSTEM_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True)
class Level:
    """A level of the memory's hierarchy, as one thread sees it."""

    name: str
    capacity: float  # bytes
    bandwidth: float  # bytes a second


@dataclass(frozen=True)
class Machine:
    """What one thread can do at most, and how many there are."""

    threads: int
    peak: dict[str, float]  # operations a second, by dtype
    levels: tuple[Level, ...]  # from the nearest; the last one holds everything
    chain: dict[str, dict[str, float]]  # seconds of a dependent step forwards, by dtype and cell


def probe(threads: int) -> Machine:
    """Measure this machine, which takes a second or two."""
    found = _rnnfast.probe()
    sizes = {**_cache_sizes(), "memory": 2.0**63}
    sizes["L3"] /= threads  # the cores share it
    return Machine(
        threads,
        {dtype: 1e9 * gflops for dtype, gflops in found["peak_gflops"].items()},
        tuple(Level(name, sizes[name], 1e9 * gbs) for name, gbs in found["bandwidth_gbs"].items()),
        {
            dtype: {cell: 1e-9 * ns for cell, ns in cells.items()}
            for dtype, cells in found["chain_ns"].items()
        },
    )


def _cache_sizes() -> dict[str, float]:
    """Return the bytes of each level's cache for data."""
    sizes: dict[str, float] = dict(CACHES)
    for cache in SYSTEM_CACHES.glob("index*"):
        if (cache / "type").read_text().strip() != "Instruction":
            kib = (cache / "size").read_text().strip().removesuffix("K")
            sizes[f"L{(cache / 'level').read_text().strip()}"] = 1024 * int(kib)
    return sizes


def floor(case: Case, machine: Machine) -> float:
    """Return the seconds that a case takes at least on this machine.

    The largest of the operations over the peak, the bytes over the bandwidth (the recurrent
    weights once a step, and once more in BPTT, from the level that holds them; inputs, outputs
    and their gradients once), and the steps times the latency of one step's dependent chain (of
    the forward pass: that of BPTT is not measured).
    """
    return max(
        case.operations / (machine.threads * machine.peak[case.dtype]),
        _bytes_time(case, machine),
        case.T * machine.chain[case.dtype][case.cell],
    )


def _bytes_time(case: Case, machine: Machine) -> float:
    itemsize = np.dtype(case.dtype).itemsize
    passes = 2 if case.mode == TRAINING else 1
    matrices = case.layers * case.directions
    weights = matrices * case.gates * case.H * case.H * itemsize
    once = passes * case.steps * (case.I + case.directions * case.H) * itemsize
    return passes * case.T * _read_time(weights, machine) + _read_time(once, machine)


def _read_time(size: float, machine: Machine) -> float:
    """Return how long all threads take to read `size` bytes once, each its share."""
    share = size / machine.threads
    level = next((x for x in machine.levels if share <= x.capacity), machine.levels[-1])
    return share / level.bandwidth
