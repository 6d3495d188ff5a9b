"""Ctrl-C ends a long call soon, in whatever phase it comes, and changes no argument."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
import pytest
from problems import Problem, assert_same_bits, make
from rnnfast import _rnnfast, functional
from rnnfast.reference import CELLS

SOON = 0.5  # seconds; a tenth of one on a machine with nothing else to do

Interrupt = Callable[[float, Callable[[], Any]], None]


def for_ever(function: Callable[[], Any]) -> None:
    """Call again and again: a fast machine may be through with one call before the signal."""
    while True:
        function()


@pytest.fixture
def interrupt() -> Iterator[Interrupt]:
    """Call a function, raise KeyboardInterrupt in it after some seconds, and see it end soon."""

    def raise_it(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def call(after: float, function: Callable[[], Any]) -> None:
        start = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, after)
        with pytest.raises(KeyboardInterrupt):
            for_ever(function)
        assert time.perf_counter() - start < after + SOON

    before, threads = signal.signal(signal.SIGALRM, raise_it), _rnnfast.num_threads()
    _rnnfast.set_num_threads(min(threads, 2))  # more would be through before the first signal
    yield call
    _rnnfast.set_num_threads(threads)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def long_forward(cell: str) -> tuple[Problem, Callable[[], Any]]:
    """Minutes of work."""
    problem = make(cell, 1, 32, 1, 256, dtype="float32").with_(da=None)
    x = np.broadcast_to(problem.x, (1_000_000, 32, 1))
    options = (problem.peephole, None, False, None, False)
    return problem, lambda: _rnnfast.run(cell, x, *problem.layer[2:], *options)


@pytest.mark.parametrize("cell", CELLS)
def test_forward(cell: str, interrupt: Interrupt) -> None:
    problem, call = long_forward(cell)
    copies = {name: array.copy() for name, array in problem.arrays()}
    interrupt(0.1, call)
    assert_same_bits(dict(problem.arrays()), copies)


# Large weights, whose units threads share and then the gradients; small ones, by groups of rows.
@pytest.mark.parametrize(
    ("sizes", "times"),
    [((120, 64, 1024, 1024), (0.1, 0.4, 0.8)), ((1500, 32, 256, 256), (0.1, 0.25))],
)
@pytest.mark.parametrize("checkpoint", [False, True])
def test_pullback(sizes: Any, times: Any, checkpoint: bool, interrupt: Interrupt) -> None:
    problem = make("lstm", *sizes, dtype="float32")
    copies = {name: array.copy() for name, array in problem.arrays()}
    _, _, pullback = functional.run_vjp(*problem.layer, **problem.options, checkpoint=checkpoint)
    for after in times:
        interrupt(after, lambda: pullback(problem.da, problem.dstate, retain=True))
    assert_same_bits(dict(problem.arrays()), copies)


def test_dense(interrupt: Interrupt) -> None:
    x, W = np.ones((1, 4096), "f4"), np.ones((2048, 4096), "f4")
    many = np.broadcast_to(x, (30_000, 4096)).copy()  # seconds of work
    interrupt(0.2, lambda: _rnnfast.dense(many, W, None, "tanh"))
    y = np.ones((len(many), len(W)), "f4")
    for after in (0.1, 0.6):
        interrupt(after, lambda: _rnnfast.dense_vjp(many, W, y, y, "tanh", True))
    assert (many == 1).all()
    assert (y == 1).all()
