"""The number of threads does not change a bit, and more than one of them takes part."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rnnfast
from child_process import run_in_child
from problems import assert_close, assert_same_bits, make, ragged, tolerance
from rnnfast import _rnnfast, functional, reference
from rnnfast.reference import CELLS

COUNTS = (1, 2, 3, 8)
BUSY = 30  # seconds after which even a busy machine has had a second thread to spare

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's threads")


@pytest.fixture
def use_threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, with no least amount of work for them."""
    before = _rnnfast.num_threads(), _rnnfast._parallel_operations()
    _rnnfast._set_parallel_operations(0)
    yield _rnnfast.set_num_threads
    _rnnfast.set_num_threads(before[0])
    _rnnfast._set_parallel_operations(before[1])


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "sizes",
    [
        *[(7, 141, 6, 19), (3, 200, 3, 5), (4, 2, 3, 9)],
        *[(5, 1, 3, 64), (4, 3, 5, 150)],  # threads share the units of one group
        (2, 66, 3, 420),  # weights of several MB: two groups of 33 rows
    ],
)
def test_same_bits(
    cell: str, dtype: str, sizes: tuple[int, ...], use_threads: Callable[[int], None]
) -> None:
    T, B, _, _ = sizes
    for lengths in (None, ragged(T, B)):
        problem = make(cell, *sizes, dtype=dtype, lengths=lengths)
        results = []
        for count in COUNTS:
            use_threads(count)
            assert _rnnfast.num_threads() == count
            results.append(problem.run(functional) | problem.vjp(functional))
            assert _rnnfast._last_threads() <= count
        for other in results[1:]:
            assert_same_bits(other, results[0])


@pytest.mark.parametrize("H", [61, 120])
@pytest.mark.parametrize("B", [1, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", ["gru_before", "lstm"])
def test_same_bits_in_long_runs(
    cell: str, dtype: str, B: int, H: int, use_threads: Callable[[int], None]
) -> None:
    """Threads that share the units, whose last vector is not full, meet a thousand times."""
    problem = make(cell, T=500, B=B, I=4, H=H, dtype=dtype)
    use_threads(1)
    want = problem.vjp(functional)
    use_threads(2)
    for _ in range(10):
        assert_same_bits(problem.vjp(functional), want)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("longest", [0, 1, 30])
def test_sequences_that_all_end_early(
    cell: str, dtype: str, checkpoint: bool, longest: int, use_threads: Callable[[int], None]
) -> None:
    """Where threads share the units of one group."""
    problem = make(cell, T=50, B=4, I=8, H=130, dtype=dtype, lengths=np.full(4, longest))
    use_threads(2)
    got = problem.vjp(functional, checkpoint=checkpoint)
    assert_close(got, problem.astype("float64").vjp(reference), tolerance(problem))
    use_threads(1)
    assert_same_bits(problem.vjp(functional, checkpoint=checkpoint), got)


def test_threads_take_part(use_threads: Callable[[int], None]) -> None:
    """Long calls, and more than one try: a second thread may come late on a busy machine."""
    problem = make("lstm", T=100, B=64, I=8, H=64, dtype="float32")
    use_threads(1)
    want = problem.run(functional) | problem.vjp(functional)
    assert _rnnfast._last_threads() == 1
    use_threads(2)
    end = time.monotonic() + BUSY
    took_part = 1
    while took_part < 2 and time.monotonic() < end:
        assert_same_bits(problem.run(functional) | problem.vjp(functional), want)
        took_part = _rnnfast._last_threads()
    assert took_part == 2


@pytest.mark.parametrize("cell", CELLS)
def test_calls_from_many_threads(cell: str, use_threads: Callable[[int], None]) -> None:
    use_threads(2)
    problems = [make(cell, 5, 2 + n, 3, 9, seed=n) for n in range(12)]
    want = [problem.vjp(functional) for problem in problems]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            for w, g in zip(want, pool.map(lambda p: p.vjp(functional), problems), strict=True):
                assert_same_bits(g, w)


def test_one_layer_in_many_threads(use_threads: Callable[[int], None]) -> None:
    use_threads(2)
    layer = rnnfast.LSTM(6, 70, 2, bidirectional=True, rng=0)
    inputs = [np.random.default_rng(n).standard_normal((4, 1 + n, 6), "f4") for n in range(8)]

    def step(x: np.ndarray) -> dict[str, np.ndarray]:
        y, _, pullback = layer.vjp(x, need_x=True)
        dx, _, grads = pullback(y)
        return {"y": y, "again": layer(x)[0], "dx": dx, **grads}

    want = [step(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            for w, g in zip(want, pool.map(step, inputs), strict=True):
                assert_same_bits(g, w)


def test_a_weight_changed_in_place_is_seen() -> None:
    layer = rnnfast.GRU(5, 33, rng=0)
    x = np.random.default_rng(1).standard_normal((3, 40, 5), "f4")
    before = layer(x)[0]
    layer.params["weight_hh_l0"][7, 8] += 1
    after = layer(x)[0]
    fresh = rnnfast.GRU(5, 33, rng=1)
    fresh.load(layer.params)
    assert not np.array_equal(after, before)
    assert np.array_equal(after, fresh(x)[0])


MANY_SMALL_CALLS = """
from problems import make
from rnnfast import _rnnfast, functional

layer = make("rnn_identity", 1, 100, 1, 1).layer
_rnnfast._set_parallel_operations(0)
for threads in (8, 2):
    _rnnfast.set_num_threads(threads)
    for _ in range(60_000):
        functional.run(*layer)
"""


def test_a_late_thread_holds_up_no_call() -> None:
    """More threads than cores wake up after the work is done, while the next call starts."""
    subprocess.run(
        [sys.executable, "-c", MANY_SMALL_CALLS],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        timeout=60,
    )


IDLE_WORKERS = """
import time
from pathlib import Path
from problems import make
from rnnfast import _rnnfast, functional


def sleeps(known=()):
    found = {}
    for task in Path("/proc/self/task").iterdir():
        if task.name not in known:
            status = (task / "status").read_text()
            found[task.name] = int(status.split("\\nvoluntary_ctxt_switches:")[1].split()[0])
    return found


many = make("lstm", 2, 600, 3, 9).layer
others = sleeps()
_rnnfast.set_num_threads(64)
_rnnfast._set_parallel_operations(0)
functional.run(*many)
before = {}
while before != sleeps(others):  # until all of them sleep
    before = sleeps(others)
    time.sleep(0.2)
assert len(before) > 8, before
_rnnfast.set_num_threads(3)
for _ in range(200):
    functional.run(*many)
after = sleeps(others)
print(len([worker for worker in before if after[worker] != before[worker]]) <= 2)
"""


@linux
def test_only_the_workers_that_a_job_needs_wake() -> None:
    assert run_in_child(IDLE_WORKERS) == "True\n"


FEW_WORKERS = """
import os
from problems import assert_same_bits, make
from rnnfast import _rnnfast, functional

training = make("lstm", 100, 1, 64, 64, dtype="float32")
_rnnfast.set_num_threads(1)
want = training.run(functional) | training.vjp(functional)
before = len(os.listdir("/proc/self/task"))
for count in (2, 4, 64):
    _rnnfast.set_num_threads(count)
    assert _rnnfast.num_threads() == count
    for _ in range(20):
        assert_same_bits(training.run(functional) | training.vjp(functional), want)
workers = len(os.listdir("/proc/self/task")) - before
print(workers < len(os.sched_getaffinity(0)), workers <= 18)
"""


@linux
def test_a_call_takes_no_more_threads_than_make_sense() -> None:
    """Not more than processors, nor than one for a million operations: 19 million in BPTT."""
    assert run_in_child(FEW_WORKERS) == "True True\n"


STRESS = """
import os, threading, time
from problems import assert_same_bits, make
from rnnfast import _rnnfast, functional

sizes = {"lstm": (5, 40, 3, 9), "gru_before": (20, 1, 3, 150), "rnn_tanh": (3, 7, 5, 40)}
problems = [make(cell, *size) for cell, size in sizes.items()]
_rnnfast.set_num_threads(1)
want = [problem.vjp(functional) for problem in problems]
_rnnfast._set_parallel_operations(0)
stop, failures = time.monotonic() + float({seconds}), []


def calls(counts):
    try:
        while time.monotonic() < stop:
            for count in counts:
                _rnnfast.set_num_threads(count)
                for problem, result in zip(problems, want, strict=True):
                    assert_same_bits(problem.vjp(functional), result)
    except BaseException as error:
        failures.append(error)


callers = [threading.Thread(target=calls, args=(c,)) for c in [(1, 2, 5), (64, 2), (5, 1, 64)]]
for caller in callers:
    caller.start()
children = 0
while time.monotonic() < stop:
    child = os.fork()
    if child == 0:
        for count in (2, 5, 1):
            _rnnfast.set_num_threads(count)
            for problem, result in zip(problems, want, strict=True):
                assert_same_bits(problem.vjp(functional), result)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    children += 1
for caller in callers:
    caller.join()
assert not failures, failures
print(children > 0)
"""


@linux
def test_numbers_that_change_under_callers_and_forks() -> None:
    assert run_in_child(STRESS.replace("{seconds}", "2")) == "True\n"


NO_POLL = """
import sys, threading, time
import numpy as np
from problems import make
from rnnfast import _rnnfast

_rnnfast.set_num_threads(1)
layer = make("lstm", 1, 32, 1, 256, dtype="float32")
T = 1500  # some hundred milliseconds
x = np.broadcast_to(layer.x, (T, 32, 1))
out = np.full((T, 32, 256), 9, "f4")
options = (layer.peephole, None, False, out, True)
began = threading.Event()


def call():
    began.set()
    _rnnfast.run("lstm", x, *layer.layer[2:], *options)


sys.setswitchinterval(60)  # who waits for the interpreter waits for its owner to give it up
caller = threading.Thread(target=call)
caller.start()
began.wait()
end = time.monotonic() + 20
while (out[-1] == 9).any() and time.monotonic() < end:
    pass  # keeps the interpreter to itself
print(not (out[-1] == 9).any())
"""


def test_a_call_from_a_side_thread_waits_for_no_other() -> None:
    """There Python answers no signals, so the call does not ask."""
    assert run_in_child(NO_POLL) == "True\n"
