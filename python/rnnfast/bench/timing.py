"""Timing of several programs in one go: in blocks, in rotating order, with a pause between."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from statistics import median, quantiles
from time import perf_counter, process_time, sleep
from typing import Any

Call = Callable[[], Any]

PAUSE = 0.005  # seconds of rest before a block
LONGEST_WAIT = 0.5  # seconds after which threads that still run are taken as they are
WARM_UP = 0.01  # seconds of calls before a block, at least one call: threads and caches wake
BLOCK = 0.01  # seconds of calls of one program in a row, at least one call
SAMPLE = 1e-4  # seconds of calls timed together, so that the clock costs nothing
ROUNDS = (3, 50)  # blocks of each program, at least and at most


@dataclass(frozen=True)
class Timing:
    """Seconds a call."""

    median: float
    spread: float  # half the distance of the quartiles, relative to the median
    calls: int


def summary(samples: Sequence[float], calls: int) -> Timing:
    """Return the median and the spread of samples of the time of a call."""
    middle = median(samples)
    if len(samples) < 2:
        return Timing(middle, 0.0, calls)
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return Timing(middle, (high - low) / 2 / middle, calls)


def combine(timings: Sequence[Timing]) -> Timing:
    """Return the median run of several."""
    return Timing(
        median(t.median for t in timings),
        median(t.spread for t in timings),
        sum(t.calls for t in timings),
    )


def compare(
    calls: Mapping[str, Call], budget: float, before: Mapping[str, Call] | None = None
) -> dict[str, Timing]:
    """Time each call under the same conditions.

    A program's blocks are spread over the whole time, and who goes before it changes from round
    to round, so that no program alone meets a slow moment of the machine.

    Parameters
    ----------
    calls : mapping of str to callable
        What to time.
    budget : float
        Seconds for all of them together. Every program gets its least number of blocks even if
        that takes longer, but one whose single call does gets one.
    before : mapping of str to callable, optional
        What makes the process ready for a program, run before each of its blocks.
    """
    before = before or {}
    blocks = {name: _Block(call, before.get(name)) for name, call in calls.items()}
    if not blocks:
        return {}
    rounds = _rounds(sum(block.seconds for block in blocks.values()), budget)
    names = list(blocks)
    with _no_collection():
        for number in range(rounds):
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                if number == 0 or blocks[name].least < budget:
                    rest()
                    blocks[name].run()
    return {name: summary(block.samples, block.calls) for name, block in blocks.items()}


def once(call: Call) -> Timing:
    """Time one block, of at least three samples."""
    block = _Block(call)
    block.length = max(block.length, 3)
    with _no_collection():
        rest()
        block.run()
    return summary(block.samples, block.calls)


@contextmanager
def _no_collection() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def rest() -> None:
    """Sleep until no thread of this process runs: some pools spin for long after a call."""
    for _ in range(round(LONGEST_WAIT / PAUSE)):
        before = process_time()
        sleep(PAUSE)
        if process_time() - before < PAUSE / 5:
            return


def _rounds(seconds: float, budget: float) -> int:
    return max(ROUNDS[0], min(ROUNDS[1], round(budget / seconds)))


class _Block:
    """The calls of one program that are made in a row, and their times."""

    def __init__(self, call: Call, before: Call | None = None) -> None:
        self.call, self.before = call, before or (lambda: None)
        self.before()
        self.least = self._estimate()  # seconds of a call at best
        self.repeats = max(1, round(SAMPLE / self.least))  # calls in a sample
        self.length = max(1, round(BLOCK / (self.repeats * self.least)))  # samples in a block
        self.samples: list[float] = []
        self.calls = 0

    @property
    def seconds(self) -> float:
        """How long a block takes, with all that goes before."""
        warm_up = max(WARM_UP, self.least)
        return PAUSE + warm_up + self.length * self.repeats * self.least

    def run(self) -> None:
        """Add one block's samples."""
        self.before()
        start = perf_counter()
        self.call()
        while perf_counter() - start < WARM_UP:
            self.call()
        self.samples += [self._time(self.repeats) for _ in range(self.length)]
        self.least = min(self.least, *self.samples)
        self.calls += self.length * self.repeats

    def _time(self, repeats: int) -> float:
        call = self.call
        start = perf_counter()
        for _ in repeat(None, repeats):
            call()
        return (perf_counter() - start) / repeats

    def _estimate(self) -> float:
        """Return about how long a call takes, from more and more of them."""
        repeats, seconds = 1, self._time(1)
        while repeats * seconds < SAMPLE:
            repeats *= 2
            seconds = self._time(repeats)
        return seconds
