"""What must not cost time, on a quiet machine.

Two calls are timed in turn; a line says how many times longer the second takes, and the most that
it may. The process fails if a line exceeds that.
"""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from multiprocessing import get_context
from types import FrameType
from typing import Any

import numpy as np

import rnnfast
from rnnfast._check import Array
from rnnfast._optional import require
from rnnfast.layers import Recurrent

from .cases import CASES, FORWARD, HEADLINE, SWEEP, TRAINING, Case, Data, select
from .peers import Unavailable, build
from .timing import compare

Call = Callable[[], Any]
BUDGET = 2.0  # seconds a line


@dataclass(frozen=True)
class Condition:
    """What is measured, and the most that it may be.

    measure : given the seconds to spend, returns how many times longer, or None if it can not
        be measured here
    most : of what `measure` returns, given the seconds of the first call
    unit : of what `measure` returns
    """

    measure: Callable[[float], tuple[float, float] | None]  # seconds of the first call, ratio
    most: Callable[[float], float]
    unit: str = "times"


def times_longer(
    first: Call, second: Call, per: float = 1
) -> Callable[[float], tuple[float, float]]:
    """Return what measures the median time of `second`, divided by `per`, over that of `first`."""

    def measure(budget: float) -> tuple[float, float]:
        timings = compare({"first": first, "second": second}, budget)
        seconds = timings["first"].median
        return seconds, timings["second"].median / per / seconds

    return measure


def layer(cell: str, T: int, B: int, H: int) -> tuple[Recurrent, Data, Any]:
    """Return a layer, the arrays of a call of it and the initial state."""
    case = Case("grid", FORWARD, cell, T, B, H, H)
    data = case.data()
    made: Recurrent = Recurrent(cell, H, H)
    made.load({name: data.params[name] for name in made.params})
    return made, data, data.state if len(data.state) > 1 else data.state[0]


def decay(cell: str) -> Call:
    """Return a call whose state halves at every step, and is denormal after 130 of them."""
    still, data, state = layer(cell, 2000, 4, 64)
    params = {name: np.zeros_like(p) for name, p in still.params.items()}
    rows = len(params["weight_hh_l0"])
    params["weight_hh_l0"] += 0.5 * np.tile(np.eye(64, dtype="f4"), (rows // 64, 1))
    still.load(params)
    x = np.zeros_like(data.x)
    last = still(x, state)[0][-1]
    if np.abs(last).max() >= np.finfo("f4").tiny:
        raise RuntimeError(f"the state of {cell} does not decay")
    return lambda: still(x, state)


def a_state_that_decays(cell: str) -> Condition:
    usual, data, state = layer(cell, 2000, 4, 64)
    measure = times_longer(lambda: usual(data.x, state), decay(cell))
    return Condition(measure, lambda seconds: 1.1)


def others_threads() -> Condition:
    """The same call in a process whose PyTorch has just started its threads, and before."""
    lstm, data, state = layer("lstm", 50, 32, 128)

    def after(other: Call) -> float:
        samples = []
        for _ in range(30):
            other()
            time.sleep(0.05)
            lstm(data.x, state)  # wakes our own threads
            start = time.perf_counter()
            lstm(data.x, state)
            samples.append(time.perf_counter() - start)
        return float(np.median(samples))

    def measure(budget: float) -> tuple[float, float] | None:
        try:
            torch = require("torch", "bench", "this condition")
        except ImportError:
            return None
        alone = after(lambda: None)
        torch.set_num_threads(rnnfast.num_threads())
        a = torch.rand(1000, 1000)
        return alone, after(lambda: torch.mm(a, a)) / alone

    return Condition(measure, lambda seconds: 1.2)


def beside_pools(budget: float) -> tuple[float, float] | None:
    """The best short call and the median over it, while others' threads still spin."""
    case, longer = (Case("grid", FORWARD, "lstm", T, 32, 64, 64) for T in (1, 50))
    threads = rnnfast.num_threads()
    try:
        others = [build(name, longer, longer.data(), threads) for name in ("torch", "onnxruntime")]
    except Unavailable:
        return None
    call = build("rnnfast", case, case.data(), threads).call
    samples, end = [], time.perf_counter() + budget
    while time.perf_counter() < end:
        for other in others:
            other.call()
        for _ in range(5):
            start = time.perf_counter()
            call()
            samples.append(time.perf_counter() - start)
    return min(samples), float(np.median(samples)) / min(samples)


def more_threads(n: int, then: int, budget: float) -> tuple[float, float]:
    """A training step on two threads, and then on `then` of them, after some steps on `n`."""
    case = Case("grid", TRAINING, "lstm", 100, 1, 64, 64)
    call = build("rnnfast", case, case.data(), 2).call
    seconds = [compare({"two": call}, budget / 2)["two"].median]
    rnnfast.set_num_threads(n)
    for _ in range(10):
        call()
    rnnfast.set_num_threads(then)
    seconds.append(compare({"then": call}, budget / 2)["then"].median)
    return seconds[0], seconds[1] / seconds[0]


def in_a_fresh_process(measure: Callable[[float], Any], most: float) -> Condition:
    """Threads that a process has started, and others' pools, stay for as long as it lives."""

    def apart(budget: float) -> tuple[float, float] | None:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found: tuple[float, float] | None = pool.submit(measure, budget).result()
        return found

    return Condition(apart, lambda seconds: most)


def an_interrupt() -> Condition:
    """Minutes of work, interrupted after 0.2 seconds: the seconds until it ends."""
    lstm = rnnfast.LSTM(256, 256, rng=0)
    x = np.random.default_rng(0).standard_normal((1, 32, 256), "f4")
    long: Array = np.broadcast_to(x, (1_000_000, 32, 256))

    def raise_it(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def measure(budget: float) -> tuple[float, float]:
        before = signal.signal(signal.SIGALRM, raise_it)
        start = time.perf_counter()
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            lstm(long, return_sequence=False)
        except KeyboardInterrupt:
            pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        return 0.2, time.perf_counter() - start - 0.2

    return Condition(measure, lambda seconds: 1.0, "s")


def ten_times_the_steps(cell: str, B: int) -> Condition:
    """A step takes as long in a long sequence as in a short one.

    Of 16 rows of a plain layer, x and a of 82 MB pass through memory; 8 MB stay in a cache.
    """
    short, few, state = layer(cell, 1000, B, 64)
    long, many, _ = layer(cell, 10_000, B, 64)
    most = 1.5 if (cell, B) == (HEADLINE[0], 16) else 1.15
    measure = times_longer(lambda: short(few.x, state), lambda: long(many.x, state), per=10)
    return Condition(measure, lambda seconds: most)


def twice_the_batch(cell: str, B: int) -> Condition:
    one, few, one_state = layer(cell, 50, B, 128)
    two, many, two_state = layer(cell, 50, 2 * B, 128)
    measure = times_longer(lambda: one(few.x, one_state), lambda: two(many.x, two_state))
    return Condition(measure, lambda seconds: 2.05)


def checkpointing(cell: str, T: int, B: int, H: int) -> Condition:
    """Running the forward pass again costs at most its time."""
    recurrent, data, state = layer(cell, T, B, H)

    def step(checkpoint: bool) -> None:
        _, _, pullback = recurrent.vjp(data.x, state, checkpoint=checkpoint, need_x=True)
        pullback(data.dy)

    measure = times_longer(lambda: step(False), lambda: step(True))
    return Condition(measure, lambda seconds: 1.45)


def a_second_thread(case: Case) -> Condition:
    """1 / 1.8 of the time where one thread takes 100 microseconds, and never more."""
    run = build("rnnfast", case, case.data(), 1).call

    def with_threads(n: int) -> Call:
        def call() -> None:
            with rnnfast.threads(n):
                run()

        return call

    measure = times_longer(with_threads(1), with_threads(2))
    return Condition(measure, lambda one: 1 / (1.8 if one >= 1e-4 else 0.97))


def lines() -> dict[str, Callable[[], Condition]]:
    """Return what makes each line ready, by its name; its arrays may be large."""
    made: dict[str, Callable[[], Condition]] = {}
    for cell in HEADLINE:
        made[f"decay-{cell}"] = partial(a_state_that_decays, cell)
        for B in (1, 16):
            made[f"steps-{cell}-{B}"] = partial(ten_times_the_steps, cell, B)
        for B in (1, 2, 4, 8, 16, 32, 64):
            made[f"batch-{cell}-{B}"] = partial(twice_the_batch, cell, B)
        for T, B, H in ((1000, 16, 64), (200, 32, 256)):
            made[f"checkpoint-{cell}-{T}-{B}-{H}"] = partial(checkpointing, cell, T, B, H)
    made["beside-torch"], made["interrupt"] = others_threads, an_interrupt
    made["beside-pools"] = partial(in_a_fresh_process, beside_pools, 1.3)
    for n in (4, 8, 16, 64):
        for name, then in ((f"set-{n}", n), (f"set-{n}-then-2", 2)):
            measure = partial(more_threads, n, then)
            made[name] = partial(in_a_fresh_process, measure, 1.1)
    grid = [case for case in select(CASES, kinds=["grid"]) if case.H >= 64 and case.T > 1]
    uneven = [case for case in SWEEP if case.H == 100 and case.B in (12, 24, 40)]
    for case in (*grid, *uneven):
        made[f"threads-{case.id}"] = partial(a_second_thread, case)
    return made


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options that `run` reads."""
    add = parser.add_argument
    add("--rows", nargs="+", default=["*"], metavar="PATTERN", help='names, such as "batch-lstm-*"')
    add("--budget", type=float, default=BUDGET, help="seconds a line (%(default)s)")
    add("--list", action="store_true", help="print the names of the lines only")


def run(options: argparse.Namespace) -> int:
    """Print the lines that the options choose; return 1 if one is more than it may be."""
    missed = 0
    for name, make in lines().items():
        if not any(fnmatchcase(name, pattern) for pattern in options.rows):
            continue
        if options.list:
            print(name)
            continue
        condition = make()
        found = condition.measure(options.budget)
        if found is None:
            print(f"{name:<40} needs the packages of the extra bench")
            continue
        seconds, value = found
        most = condition.most(seconds)
        missed += value > most
        words = f"{seconds * 1e6:9.1f} us, {value:5.2f} {condition.unit}, at most {most:.2f}"
        print(f"{name:<40} {words}{'  MISSED' if value > most else ''}")
    return 1 if missed else 0
