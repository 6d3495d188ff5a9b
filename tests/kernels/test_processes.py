"""What the library does to its process: threads that cannot be had, signals, denormal numbers."""

from __future__ import annotations

import sys

import pytest
from child_process import run_in_child

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at Linux's limits and threads")

NO_THREAD = """
import os, resource, threading
from problems import assert_same_bits, make
from rnnfast import _rnnfast, functional

problems = [make("lstm", 5, 64, 3, 9), make("gru_before", 5, 1, 3, 150)]  # tasks, and a gang
_rnnfast.set_num_threads(1)
want = [problem.vjp(functional) for problem in problems]
_rnnfast.set_num_threads(8)
_rnnfast._set_parallel_operations(0)

if os.getuid() == 0:
    os.setuid(54321)  # root has no limit
_, most = resource.getrlimit(resource.RLIMIT_NPROC)
resource.setrlimit(resource.RLIMIT_NPROC, (1, most))
try:
    threading.Thread(target=print).start()
except RuntimeError:
    pass
else:
    raise SystemExit("there are threads to be had after all")
for problem, result in zip(problems, want, strict=True):
    assert_same_bits(problem.vjp(functional), result)
    assert _rnnfast._last_threads() == 1

resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
took_part = set()
for _ in range(10_000):  # now there are; on a busy machine they come late
    assert_same_bits(problems[0].vjp(functional), want[0])
    took_part.add(_rnnfast._last_threads())
    if max(took_part) > 1:
        break
print(max(took_part) > 1)
"""


@linux
def test_a_process_without_threads_to_be_had() -> None:
    assert run_in_child(NO_THREAD) == "True\n"


SIGNALS = """
import os, signal, time
from pathlib import Path
from problems import make
from rnnfast import _rnnfast, functional


def tasks():
    return set(os.listdir("/proc/self/task"))


_rnnfast.set_num_threads(3)
_rnnfast._set_parallel_operations(0)
before = tasks()
make("lstm", 5, 64, 3, 9).run(functional)
workers = tasks() - before
assert len(workers) == 2, workers


def blocked_by(worker):
    status = Path("/proc/self/task", worker, "status").read_text()
    return int(status.split("SigBlk:")[1].split()[0], 16)


for worker in workers:
    while (blocked := blocked_by(worker)) >> 31 & 1:
        time.sleep(0.01)  # the C library blocks this one too, until the thread has begun
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1, signal.SIGCHLD):
        assert blocked >> (number - 1) & 1, (worker, number)
assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
print("blocked")
"""


@linux
def test_workers_take_no_signals() -> None:
    assert run_in_child(SIGNALS) == "blocked\n"


HANDLER = """
import signal
import numpy as np
from problems import assert_same_bits, make
from rnnfast import _rnnfast, functional

small = make("gru_after", 5, 64, 3, 9)
tiny, tenth = np.full(4, 2e-38, "f4"), np.full(4, 0.1, "f4")
want, product = small.vjp(functional), (tiny * tenth).tolist()
assert 0 < product[0] < np.finfo("f4").tiny
seen = []


def handler(number, frame):
    assert_same_bits(small.vjp(functional), want)  # the library within itself
    seen.append((tiny * tenth).tolist())
    raise KeyboardInterrupt


signal.signal(signal.SIGALRM, handler)
_rnnfast.set_num_threads(2)
_rnnfast._set_parallel_operations(0)
long = make("lstm", 1, 32, 1, 256, dtype="float32")
x = np.broadcast_to(long.x, (1_000_000, 32, 1))
signal.setitimer(signal.ITIMER_REAL, 0.1)
try:
    _rnnfast.run("lstm", x, *long.layer[2:], None, None, False, None, False)
except KeyboardInterrupt:
    pass
assert seen == [product], seen
assert (tiny * tenth).tolist() == product
print("as before")
"""


def test_a_signal_handler_finds_the_process_as_it_was() -> None:
    assert run_in_child(HANDLER) == "as before\n"
