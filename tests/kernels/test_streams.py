"""Native streams: stacks of layers, on any number of threads, used by several callers at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType
from typing import Any

import numpy as np
import pytest
from layer_problems import LayerProblem, make_layer_problem
from problems import Array, assert_close, assert_same_bits
from rnnfast import _rnnfast
from rnnfast.layers import Recurrent
from rnnfast.reference import CELLS

every_cell = pytest.mark.parametrize("cell", CELLS)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
DEPTHS, BATCHES, THREADS = (1, 2, 3), (1, 7, 8, 33), (1, 2, 5)
T = 4


@pytest.fixture
def every_size_shared() -> Iterator[None]:
    """Threads take part in the smallest of steps."""
    before = _rnnfast.num_threads(), _rnnfast._parallel_operations()
    _rnnfast._set_parallel_operations(0)
    yield
    _rnnfast.set_num_threads(before[0])
    _rnnfast._set_parallel_operations(before[1])


def make_problem(cell: str, dtype: str, depth: int, B: int, H: int = 9) -> LayerProblem:
    layer = Recurrent(cell, 5, H, depth, dtype=dtype, rng=1)
    return make_layer_problem(layer, T=T, B=B)


def native(problem: LayerProblem) -> _rnnfast.Stream:
    """A stream of the problem's layer, from the problem's state."""
    layer, B = problem.layer, problem.x.shape[1]
    stream = _rnnfast.Stream(layer.cell, layer._weights, B)
    stream.set_state(problem.tree(problem.state))
    return stream


def steps(problem: LayerProblem, stream: Any, threads: tuple[int, ...] = ()) -> dict[str, Array]:
    """What stepping through the problem gives, named as by LayerProblem.run.

    Every second step writes into an array, and the numbers of threads take turns.
    """
    y = np.empty((*problem.x.shape[:2], problem.layer.hidden_size), problem.x.dtype)
    for t, x_t in enumerate(problem.x):
        if threads:
            _rnnfast.set_num_threads(threads[t % len(threads)])
        if t % 2:
            assert stream.step(x_t, y[t]).base is y
        else:
            y[t] = stream.step(x_t)
    return {"y": y} | problem.named("state", stream.state)


@every_cell
@both_dtypes
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("B", BATCHES)
def test_is_the_whole_sequence(cell: str, dtype: str, depth: int, B: int) -> None:
    problem = make_problem(cell, dtype, depth, B)
    assert_close(steps(problem, native(problem)), problem.run(), problem.tolerance)


@every_cell
@both_dtypes
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("B", "H"), [*[(B, 9) for B in BATCHES], (1, 150), (3, 150)])
def test_same_bits_on_all_threads(
    cell: str, dtype: str, depth: int, B: int, H: int, every_size_shared: None
) -> None:
    """From the first step to the last, and where their number changes between two steps."""
    problem = make_problem(cell, dtype, depth, B, H)
    _rnnfast._set_parallel_operations(1e9)
    want = steps(problem, native(problem))
    _rnnfast._set_parallel_operations(0)
    for threads in (*[(n,) for n in THREADS], (1, 5, 2), (5, 1)):
        assert_same_bits(steps(problem, native(problem), threads), want)


@every_cell
@both_dtypes
def test_weights_with_strides(cell: str, dtype: str) -> None:
    """Copies are made of them, which must last until they are packed."""
    problem = make_problem(cell, dtype, 3, 7, 40)
    want = steps(problem, native(problem))
    strided = [
        tuple(None if w is None else np.repeat(w, 2, axis=-1)[..., ::2] for w in weights)
        for weights in problem.layer._weights
    ]
    stream = _rnnfast.Stream(cell, strided, 7)  # type: ignore[arg-type]
    stream.set_state(problem.tree(problem.state))
    assert_same_bits(steps(problem, stream), want)


def test_threads_take_part(every_size_shared: None) -> None:
    problem = make_problem("lstm", "float32", 2, 256, 64)
    stream = native(problem)
    _rnnfast.set_num_threads(2)
    end = time.monotonic() + 30  # a busy machine may have no second thread to spare before
    took_part = 1
    while took_part < 2 and time.monotonic() < end:
        stream.step(problem.x[0])
        took_part = _rnnfast._last_threads()
    assert took_part == 2
    _rnnfast.set_num_threads(1)
    stream.step(problem.x[0])
    assert _rnnfast._last_threads() == 1


@every_cell
def test_state(cell: str) -> None:
    """Copies out and in, None and parts that are None; rows to zero in every layer."""
    problem = make_problem(cell, "float64", 3, 7)
    want = native(problem)
    steps(problem, want)
    other = _rnnfast.Stream(cell, problem.layer._weights, 7)
    for name, part in problem.named("state", other.state).items():
        assert part.shape == (3, 7, 9), name
        assert not part.any(), name
    other.set_state(want.state)
    assert_same_bits(steps(problem, other), steps(problem, want))
    other.reset([0, 5])
    left = problem.named("state", want.state)
    for part in left.values():
        part[:, [0, 5]] = 0
    assert_same_bits(problem.named("state", other.state), left)
    other.set_state(None)
    assert not any(part.any() for part in problem.named("state", other.state).values())


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    problem = make_problem("lstm", "float64", 2, 7)
    stream, (a, c) = native(problem), problem.state
    before = problem.named("state", stream.state)
    for wrong, kind, words in (
        ((a, c[:1]), ValueError, r"^c0 has shape \(1, 7, 9\), expected \(num_layers, B, H\)"),
        ((a[:, :3], c), ValueError, r"^a0 has shape \(2, 3, 9\), expected \(num_layers, B, H\)"),
        ((a, c.astype("float32")), TypeError, r"^c0 has dtype float32, expected float64"),
        (a, TypeError, "^state is a ndarray of dtype float64, expected a tuple of two arrays"),
    ):
        with pytest.raises(kind, match=words):
            stream.set_state(wrong)
        assert_same_bits(problem.named("state", stream.state), before)


def test_layers_that_do_not_fit() -> None:
    def weights(inputs: int, H: int, dtype: str = "float64") -> Any:
        return Recurrent("lstm", inputs, H, dtype=dtype, rng=1)._weights[0]

    first: Any = weights(5, 9)
    for layers, kind, words in (
        (first, TypeError, "^layers is a tuple, expected a list of tuples"),
        ([], TypeError, "^layers is a list, expected a list of tuples .*, one at least"),
        ([first[:4]], TypeError, "^a layer is a tuple, expected a tuple "),
        ([first, None], TypeError, "^a layer is a None, expected a tuple "),
        ([None], TypeError, "^W_ax is a None, expected a numpy.ndarray"),
        ([first, first], ValueError, r"^W_ax has shape \(36, 5\), expected \(4\*H, I\)"),
        ([first, weights(9, 8)], ValueError, "^a layer has H = 8, expected H = 9 as the layer be"),
        ([first, weights(9, 9, "float32")], TypeError, "^W_ax has dtype float32, expected float64"),
    ):
        with pytest.raises(kind, match=words):
            _rnnfast.Stream("lstm", layers, 2)


def large_stream() -> tuple[LayerProblem, _rnnfast.Stream]:
    """Its steps take some 50 milliseconds of one thread's time."""
    layer = Recurrent("lstm", 512, 512, 2, dtype="float32", rng=1)
    problem = make_layer_problem(layer, T=1, B=512)
    return problem, native(problem)


USES: dict[str, Any] = {
    "step": lambda stream, problem: stream.step(problem.x[0]),
    "state": lambda stream, problem: stream.state,
    "set_state": lambda stream, problem: stream.set_state(problem.tree(problem.state)),
    "reset": lambda stream, problem: stream.reset([]),
}


@pytest.mark.parametrize("use", USES)
def test_used_by_two_threads_at_once(use: str) -> None:
    """Whoever comes while a step is under way is refused, and the step is taken as ever."""
    problem, stream = large_stream()
    want = steps(problem, native(problem))
    with ThreadPoolExecutor(1) as pool:
        for _ in range(100):
            stream.set_state(problem.tree(problem.state))
            step = pool.submit(stream.step, problem.x[0])
            time.sleep(0.002)  # it is on its way by now, and far from the end
            try:
                USES[use](stream, problem)
            except RuntimeError:
                break
            wait([step])
        else:
            pytest.fail("none was refused")
    got = {"y": step.result()[None]} | problem.named("state", stream.state)
    assert_same_bits(got, want)


def test_two_streams_in_two_threads() -> None:
    problem, _ = large_stream()
    streams = [native(problem) for _ in range(2)]
    want = steps(problem, native(problem))
    with ThreadPoolExecutor(2) as pool:
        for got in pool.map(lambda stream: steps(problem, stream), streams):
            assert_same_bits(got, want)


def test_an_interrupted_step_leaves_the_state() -> None:
    layer = Recurrent("lstm", 1024, 1024, 4, dtype="float32", rng=1)
    problem = make_layer_problem(layer, T=1, B=512)
    stream = native(problem)
    before = problem.named("state", stream.state)

    def raise_it(number: int, frame: FrameType | None) -> None:
        with pytest.raises(RuntimeError, match="in the middle of a step"):
            _ = stream.state
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, raise_it)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            stream.step(problem.x[0])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    assert_same_bits(problem.named("state", stream.state), before)
