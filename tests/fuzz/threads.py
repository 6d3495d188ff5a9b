"""Any number of threads for any amount of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rnnfast import _rnnfast


@contextmanager
def use_threads(n: int) -> Iterator[None]:
    """Let a call use `n` threads, however little it has to do."""
    before = _rnnfast.num_threads(), _rnnfast._parallel_operations()
    _rnnfast._set_parallel_operations(0)
    _rnnfast.set_num_threads(n)
    try:
        yield
    finally:
        _rnnfast.set_num_threads(before[0])
        _rnnfast._set_parallel_operations(before[1])
