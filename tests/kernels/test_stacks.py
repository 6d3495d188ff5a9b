"""Stacks of layers and both directions as one call: values, bits on any threads, stops."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest
from fuzz.threads import use_threads
from layer_problems import LayerProblem, make_layer_problem, reference_results
from problems import assert_close, assert_same_bits, ragged
from rnnfast import LSTM
from rnnfast.layers import Recurrent
from rnnfast.reference import CELLS

STACKS = {
    "two": {"num_layers": 2},
    "four": {"num_layers": 4},
    "both": {"bidirectional": True},
    "two, both": {"num_layers": 2, "bidirectional": True},
}
# T, B, H: one small group, several, and threads that share the units of one
SIZES = ((50, 1, 20), (40, 3, 9), (30, 19, 12), (40, 2, 130))


def problem_of(cell: str, stack: str, sizes: tuple[int, int, int], dtype: str) -> LayerProblem:
    T, B, H = sizes
    layer = Recurrent(cell, 5, H, **STACKS[stack], dtype=dtype, rng=1)
    return make_layer_problem(layer, "ragged", 3, T=T, B=B, lengths=ragged(T, B))


@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("cell", CELLS)
def test_values_and_bits(
    cell: str, stack: str, sizes: tuple[int, int, int], checkpoint: bool
) -> None:
    """Every number of threads gives the same bits, and inference those of training."""
    problem = problem_of(cell, stack, sizes, "float32")
    with use_threads(1):
        want = problem.vjp(checkpoint=checkpoint)
        assert_same_bits(problem.run(), {name: want[name] for name in problem.run()})
    for threads in (2, 3, 8):
        with use_threads(threads):
            for _ in range(3):
                assert_same_bits(problem.vjp(checkpoint=checkpoint), want)
            assert_same_bits(problem.run(), {name: want[name] for name in problem.run()})
    exact = problem_of(cell, stack, sizes, "float64")
    with use_threads(2):
        assert_close(exact.vjp(checkpoint=checkpoint), reference_results(exact), exact.tolerance)


def test_layers_follow_each_other_for_long() -> None:
    """A thousand times each layer waits for the one before, in both passes."""
    layer = LSTM(3, 7, 4, rng=0)
    problem = make_layer_problem(layer, "whole", 0, T=3000, B=2)
    with use_threads(1):
        want = problem.vjp()
    for threads in (2, 4):
        with use_threads(threads):
            for _ in range(5):
                assert_same_bits(problem.vjp(), want)


@pytest.mark.parametrize("stack", STACKS)
def test_dropout_on_threads(stack: str) -> None:
    layer = Recurrent("gru_after", 5, 33, **STACKS[stack], rng=1)
    layer.dropout = 0.4
    x = np.random.default_rng(0).standard_normal((60, 3, 5), np.float32)

    def step() -> dict[str, Any]:
        y, _, pullback = layer.vjp(x, lengths=[60, 0, 31], rng=7, need_x=True)
        dx, _, grads = pullback(np.ones_like(y), retain=True)
        assert_same_bits({"dx": pullback(np.ones_like(y)).x}, {"dx": dx})
        return {"y": y, "dx": dx, **grads}

    with use_threads(1):
        want = step()
    with use_threads(2):
        assert_same_bits(step(), want)


class Stopped(Exception):
    pass


def for_ever(call: Callable[[], Any]) -> None:
    while True:
        call()


@pytest.mark.parametrize("hidden_size", [32, 300])
@pytest.mark.parametrize("stack", STACKS)
def test_a_stop_ends_all_layers(stack: str, hidden_size: int) -> None:
    """No thread waits for a layer that was stopped, and the next call is whole."""
    layer = Recurrent("lstm", 1, hidden_size, **STACKS[stack], rng=1)
    short = np.ones((20, 2, 1), np.float32)
    want = layer.vjp(short)[0]
    long = np.broadcast_to(np.float32(1), (3_000_000 // hidden_size, 2, 1))

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with use_threads(2):
            y, _, pullback = layer.vjp(long)
            for call in (lambda: layer(long), lambda: pullback(y, retain=True)):
                start = time.perf_counter()
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                with pytest.raises(Stopped):
                    for_ever(call)
                assert time.perf_counter() - start < 2
                assert_same_bits({"y": layer.vjp(short)[0]}, {"y": want})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_states_of_another_stack_are_refused() -> None:
    layer, x = LSTM(3, 4, 2, bidirectional=True, rng=0), np.ones((6, 2, 3), np.float32)
    few = np.zeros((2, 2, 4), np.float32)
    with pytest.raises(
        ValueError, match=r"^state\[0\] has shape \(2, 2, 4\), expected \(4, 2, 4\)"
    ):
        layer(x, (few, few))
    with pytest.raises(ValueError, match=r"^lengths\[0\] is 7, expected"):
        layer(x, lengths=[7, 1])
