"""Our own numbers under pytest-benchmark: ``pytest bench/ -k "grid and lstm"``."""

from __future__ import annotations

import pytest
import rnnfast
from pytest_benchmark.fixture import BenchmarkFixture
from rnnfast.bench import CASES, Case
from rnnfast.bench.rows import prepare


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case, benchmark: BenchmarkFixture) -> None:
    ready, absent = prepare(case, rnnfast.num_threads(), ["rnnfast"])
    assert not absent
    benchmark.group = f"{case.kind} {case.mode}"
    benchmark(ready["rnnfast"].call)
    benchmark.extra_info["operations"] = case.operations
    if benchmark.stats is not None:  # None with --benchmark-disable
        gflops = case.operations / benchmark.stats.stats.median / 1e9
        benchmark.extra_info["GFLOP/s"] = round(gflops, 2)
