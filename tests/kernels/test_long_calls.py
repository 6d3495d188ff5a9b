"""A forked child works, and memory does not grow."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from problems import assert_same_bits, make, ragged
from rnnfast import _rnnfast, functional
from rnnfast.reference import CELLS

every_cell = pytest.mark.parametrize("cell", CELLS)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Two threads for any amount of work."""
    before = _rnnfast.num_threads(), _rnnfast._parallel_operations()
    _rnnfast.set_num_threads(2)
    _rnnfast._set_parallel_operations(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the process forks with threads is the point
        yield
    _rnnfast.set_num_threads(before[0])
    _rnnfast._set_parallel_operations(before[1])


def wait_for(child: int) -> None:
    """Fail unless a child process ends well within 20 seconds."""
    deadline = time.monotonic() + 20
    ended, status = os.waitpid(child, os.WNOHANG)
    while not ended and time.monotonic() < deadline:
        time.sleep(0.001)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended, "the child hangs"
    assert status == 0


can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@can_fork
def test_forked_children(two_threads: None) -> None:
    problem = make("gru_after", 5, 64, 3, 9)
    want = problem.vjp(functional)
    for _ in range(20):
        child = os.fork()
        if child == 0:
            try:
                assert_same_bits(problem.vjp(functional), want)
                os._exit(0)
            finally:
                os._exit(1)
        assert_same_bits(problem.vjp(functional), want)
        wait_for(child)


@can_fork
def test_a_forked_child_has_threads_of_its_own(two_threads: None) -> None:
    """In several tries: a second thread may come late on a busy machine."""
    problem = make("lstm", 100, 64, 8, 64, dtype="float32")
    problem.run(functional)
    child = os.fork()
    if child == 0:
        end, took_part = time.monotonic() + 30, 1
        try:
            while took_part < 2 and time.monotonic() < end:
                problem.run(functional)
                took_part = _rnnfast._last_threads()
        finally:
            os._exit(0 if took_part == 2 else 1)
    wait_for(child)


def in_a_child(seed: int) -> dict[str, Any]:
    return make("lstm", 5, 64, 3, 9, seed=seed).vjp(functional)


@can_fork
def test_multiprocessing_pool(two_threads: None) -> None:
    want = [in_a_child(seed) for seed in range(8)]
    with multiprocessing.get_context("fork").Pool(3) as pool:
        got = pool.map_async(in_a_child, range(8)).get(timeout=20)
    for g, w in zip(got, want, strict=True):
        assert_same_bits(g, w)


def resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@every_cell
def test_no_growth(cell: str) -> None:
    problem = make(cell, 20, 16, 8, 32, lengths=ragged(20, 16))

    def calls(n: int) -> None:
        for _ in range(n):
            problem.run(functional)
            problem.vjp(functional)
            problem.vjp(functional, checkpoint=True)
            functional.run_vjp(*problem.layer, **problem.options)  # a pullback never called

    calls(20)
    before = resident()
    calls(100)
    assert resident() - before < 2_000_000  # one call's gates kept each time would be 30 MB


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_no_growth_with_shapes() -> None:
    rng = np.random.default_rng(0)
    problems = [
        make(cell, *map(int, rng.integers(1, 40, 4)), dtype="float32")
        for cell in CELLS
        for _ in range(25)
    ]

    def calls(n: int) -> None:
        for i in range(n):
            problem = problems[i % len(problems)]
            problem.run(functional) if i % 3 else problem.vjp(functional)

    calls(1000)
    before = resident()
    calls(10_000)
    assert resident() - before < 2_000_000
