"""Calls in random orders: many live pullbacks, several Python threads, one pullback shared."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from problems import Problem, assert_same_bits
from rnnfast import functional
from rnnfast.layers import Recurrent

from .functional import describe, draw_problem
from .space import Generator, Results, pick
from .threads import use_threads

Case = tuple[Problem, Results]  # a problem and its right results
Operation = Callable[[], None]


def check(rng: Generator, say: Callable[[str], None]) -> None:
    """Draw problems, and work on them from one Python thread and from three at once."""
    problems = [draw_problem(rng) for _ in range(int(rng.integers(1, 4)))]
    threads, callers = pick(rng, (1, 2, 2, 5)), pick(rng, (1, 2, 3))
    say(f"threads={threads} callers={callers} {' | '.join(map(describe, problems))}")
    with use_threads(1):
        cases = [(problem, problem.vjp(functional)) for problem in problems]
    with use_threads(threads):
        in_order(rng, cases)
        with ThreadPoolExecutor(callers) as pool:
            operations = [draw_operation(rng, cases) for _ in range(12)]
            for done in [pool.submit(operation) for operation in operations]:
                done.result()
            shared(rng, pool, pick(rng, cases))


def in_order(rng: Generator, cases: list[Case]) -> None:
    """Up to six pullbacks live at a time, called in any order, some of them again."""
    live: list[tuple[Case, Any]] = []
    for _ in range(20):
        if len(live) < 6 and rng.random() < 0.5:
            case = pick(rng, cases)
            a, _, pullback = functional.run_vjp(*case[0].layer, **case[0].options)
            assert_same_bits({"a": a}, {"a": case[1]["a"]})
            live.append((case, pullback))
        elif live:
            k, retain = int(rng.integers(len(live))), bool(rng.integers(2))
            (problem, want), pullback = live[k] if retain else live.pop(k)
            same_gradients(pullback(problem.da, problem.dstate, retain=retain), want)


def same_gradients(grads: Results, want: Results) -> None:
    assert_same_bits(grads, {name: want[f"d{name}"] for name in grads})


def draw_operation(rng: Generator, cases: list[Case]) -> Operation:
    """A call that compares its own results."""
    kind, (problem, want) = pick(rng, ("run", "vjp", "stream")), pick(rng, cases)

    def run() -> None:
        results = problem.run(functional)
        assert_same_bits(results, {name: want[name] for name in results})

    def vjp() -> None:
        assert_same_bits(problem.vjp(functional), want)

    stream = overlapping_stream(problem, int(rng.integers(1 << 30)))
    return {"run": run, "vjp": vjp, "stream": stream}[kind]


def overlapping_stream(problem: Problem, seed: int) -> Operation:
    """A stream whose output lies over its input gives what it gives elsewhere."""
    H, B = problem.W_aa.shape[1], max(problem.x.shape[1], 1)
    layer: Recurrent = Recurrent(problem.cell, H, H, dtype=str(problem.x.dtype), rng=0)

    def operation() -> None:
        rng = np.random.default_rng(seed)
        apart, over = layer.stream(B), layer.stream(B)
        for _ in range(3):
            memory = rng.standard_normal((B + 1, H)).astype(layer.dtype)
            first = int(rng.integers(2))
            x_t, out = memory[first : B + first], memory[1 - first : B + 1 - first]
            want = {"y": apart.step(x_t.copy())}
            assert_same_bits({"y": over.step(x_t, out)}, want)

    return operation


def shared(rng: Generator, pool: ThreadPoolExecutor, case: Case) -> None:
    """One pullback, called by all at once: whoever is answered is answered rightly."""
    problem, want = case
    _, _, pullback = functional.run_vjp(*problem.layer, **problem.options)
    may_end = bool(rng.integers(2))  # one of the calls gives up the memory

    def call(retain: bool) -> None:
        try:
            grads = pullback(problem.da, problem.dstate, retain=retain)
        except RuntimeError:
            assert may_end, "a pullback that was always retained gave up its memory"
        else:
            same_gradients(grads, want)

    calls = [pool.submit(call, not (may_end and k == 2)) for k in range(5)]
    for done in calls:
        done.result()
