"""Objects of the extension in several threads, with overlapping memory, without __init__."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from threading import Thread
from typing import Any

import numpy as np
import pytest
from problems import assert_same_bits, make
from rnnfast import _rnnfast, functional
from rnnfast.reference import CELLS


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = _rnnfast.num_threads()
    _rnnfast.set_num_threads(1)
    yield
    _rnnfast.set_num_threads(before)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_one_pullback_with_and_without_retain(one_thread: None, checkpoint: bool) -> None:
    problem = make("lstm", 200, 32, 8, 128, dtype="float32")
    want = problem.vjp(functional, checkpoint=checkpoint)
    for _ in range(4):
        _, _, pullback = functional.run_vjp(
            *problem.layer, **problem.options, checkpoint=checkpoint
        )
        got: dict[str, Any] = {}
        retaining = Thread(
            target=lambda p=pullback, g=got: g.update(p(problem.da, problem.dstate, retain=True))
        )
        retaining.start()
        time.sleep(0.002)  # it is on its way by now, and far from the end
        last = pullback(problem.da, problem.dstate)
        retaining.join()
        for grads in (got, last):
            assert_same_bits(grads, {name: want[f"d{name}"] for name in grads})
        with pytest.raises(RuntimeError, match="retain"):
            pullback(problem.da, problem.dstate)


def test_a_pullback_keeps_no_result() -> None:
    problem = make("lstm", 3, 4, 2, 5)
    alone = functional.run(*problem.layer, **problem.options)
    *results, pullback = functional.run_vjp(*problem.layer, **problem.options)
    counts = [
        [sys.getrefcount(array) for array in (a, a_T, c_T)] for a, (a_T, c_T) in (alone, results)
    ]
    assert counts[0] == counts[1]
    assert pullback(problem.da, problem.dstate)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("B", [4, 8, 32])
def test_a_step_into_its_own_input(cell: str, B: int) -> None:
    H = 6
    problem = make(cell, 1, B, H, H)
    weights = (*problem.layer[3:], problem.peephole)

    def step(x: Any, out: Any = None) -> Any:
        stream = _rnnfast.Stream(cell, [weights], B)
        stream.set_state(problem.stacked_state)
        return stream.step(x, out)

    want = step(problem.x[0])
    for offset in (-1, 0, 1):
        buffer = np.zeros((B + 2, H))
        x, out = buffer[1 : B + 1], buffer[1 + offset : B + 1 + offset]
        x[...] = problem.x[0]
        assert step(x, out) is out
        assert_same_bits({"a": out}, {"a": want})


def test_objects_without_init() -> None:
    problem = make("lstm", 1, 2, 3, 4)
    stream = _rnnfast.Stream.__new__(_rnnfast.Stream)
    calls: list[Any] = [
        lambda: stream.step(problem.x[0]),
        lambda: stream.state,
        lambda: stream.set_state(None),
        stream.reset,
        _rnnfast.Pullback.__new__(_rnnfast.Pullback),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"^self is a (Stream|Pullback), expected an init"):
            call()
    packed = _rnnfast.Packed.__new__(_rnnfast.Packed)
    with pytest.raises(TypeError, match=r"^packed is a Packed, expected an initialised Packed"):
        _rnnfast.run(*problem.layer, None, None, False, None, packed=packed)
    with pytest.raises(TypeError, match=r"^packed is a int, expected an initialised Packed"):
        _rnnfast.run(*problem.layer, None, None, False, None, packed=3)  # type: ignore[arg-type]
