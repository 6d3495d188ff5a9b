"""RNNFAST_NUM_THREADS and OMP_NUM_THREADS, read in this order when a process starts."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import pytest

NAMES = ("RNNFAST_NUM_THREADS", "OMP_NUM_THREADS")
NO_NUMBERS = (
    "",
    "0",
    "-1",
    "many",
    "1000000000000000000000000",
    "-1000000000000000000000000",
    ".5",
)


@cache
def threads(ours: str | None, openmp: str | None) -> int:
    """How many threads a process with these values has at first."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    given = {
        name: value for name, value in zip(NAMES, (ours, openmp), strict=True) if value is not None
    }
    environment |= given | {"PYTHONPATH": os.pathsep.join(sys.path)}
    code = "import rnnfast; print(rnnfast.num_threads())"
    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return int(found.stdout)


def cores() -> int:
    """The processors that a process may use: what it takes when it is told nothing."""
    return threads(None, None)


def test_all_cores() -> None:
    assert 1 <= cores() <= len(os.sched_getaffinity(0))


@pytest.mark.parametrize("name", NAMES)
def test_each_alone(name: str) -> None:
    for n in range(1, min(cores(), 4) + 1):
        assert threads(*(str(n) if name == given else None for given in NAMES)) == n


def test_ours_comes_first() -> None:
    assert threads("1", "2") == 1
    assert threads("2", "1") == min(2, cores())


def test_no_more_than_the_cores() -> None:
    assert threads("1000", None) == threads(None, "1000") == cores()


def test_a_list_of_levels_begins_with_the_first() -> None:
    """OpenMP has one number for each level of nested regions."""
    assert threads(None, "1,8") == 1


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_positive_number_is_passed_over(text: str) -> None:
    assert threads(text, "1") == 1
    assert threads(text, None) == threads(None, text) == cores()


def test_the_command_that_shows_it() -> None:
    out = subprocess.run(
        [sys.executable, "-m", "rnnfast", "info"], capture_output=True, text=True, check=True,
        env=os.environ | {NAMES[0]: "1", "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=60,
    ).stdout  # fmt: skip
    assert "\nthreads: 1\n" in out


def test_set_num_threads_may_exceed_the_cores() -> None:
    code = "import rnnfast; rnnfast.set_num_threads(77); print(rnnfast.num_threads())"
    environment = os.environ | {NAMES[0]: "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    assert int(out.stdout) == 77
