"""``python -m rnnfast bench accuracy``, ``memory`` and ``conditions``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import rnnfast
from fresh_process import process_and_budget
from rnnfast.bench import cli, conditions, memory
from rnnfast.bench.conditions import Condition
from rnnfast.bench.timing import Timing

ROW = "grid-rnn_tanh-100-32-64-64-training"


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_options(parser)
    return cli.run(parser.parse_args(arguments))


def test_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("accuracy", "--rows", "grid-rnn_tanh-1-1-32-32-*") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "rnn_tanh" in line]
    assert len(lines) == 1
    cells = [cell.strip() for cell in lines[0].split("|")]
    assert cells[1] == "grid-rnn_tanh-1-1-32-32-training"
    assert cells[2] == "torch is not installed" or 1e-9 < float(cells[2]) < 1e-6


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_of_a_step() -> None:
    """The tape of 100 steps of 32 rows of 64 units, and the gradients of x, beside small things."""
    arguments = ["-m", "rnnfast", "bench", "memory", "--rows", ROW, "--measure-here", "rnnfast"]
    out = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    step, peak = json.loads(out.stdout)
    array = 100 * 32 * 64 * 4
    assert array < step < 8 * array
    assert step < peak


def test_table_of_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    MiB = 2**20
    found = {"rnnfast": (3 * MiB, 50 * MiB), "checkpoint": (MiB, 48 * MiB), "torch": (6 * MiB, 0)}
    monkeypatch.setattr(memory, "measure_apart", lambda case, program, threads: found[program])
    assert command("memory", "--rows", ROW) == 0
    cells = capsys.readouterr().out.splitlines()[-1].split("|")
    words = [ROW, "3.0", "50.0", "1.0", "48.0", "6.0", "0.0", "0.50", "0.17"]
    assert [cell.strip() for cell in cells[1:-1]] == words


@pytest.mark.parametrize(("ratio", "status"), [(1.2, 0), (1.3, 1)])
def test_a_condition_that_is_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ratio: float, status: int
) -> None:
    made = {
        "good": lambda: Condition(lambda budget: (1e-6, 0.5), lambda seconds: 1.0),
        "other": lambda: Condition(lambda budget: (1e-6, ratio), lambda seconds: 1.25),
        "absent": lambda: Condition(lambda budget: None, lambda seconds: 1.0),
    }
    monkeypatch.setattr(conditions, "lines", lambda: made)
    assert command("conditions") == status
    good, other, absent = capsys.readouterr().out.splitlines()
    assert good.endswith(" 1.0 us,  0.50 times, at most 1.00")
    assert other.endswith("MISSED") == bool(status)
    assert absent.endswith("needs the packages of the extra bench")


def test_a_real_condition(capsys: pytest.CaptureFixture[str]) -> None:
    command("conditions", "--rows", "batch-rnn_tanh-1", "--budget", "0.05")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("batch-rnn_tanh-1 ")
    command("conditions", "--list")
    names = capsys.readouterr().out.split()
    assert len(names) == len(set(names)) == len(conditions.lines()) > 100
    assert {"beside-pools", "set-16", "set-16-then-2"} < set(names)
    assert sum("-sweep-lstm-50-24-100-100-" in name for name in names) == 2


def test_more_threads_are_set_after_two(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def compare(calls: dict[str, conditions.Call], budget: float) -> dict[str, Timing]:
        ((name, call),) = calls.items()
        call()
        seen.append(rnnfast.num_threads())
        return {name: Timing({2: 2.0, 3: 5.0}[seen[-1]], 0.0, 1)}

    monkeypatch.setattr(conditions, "compare", compare)
    with rnnfast.threads(1):
        assert conditions.more_threads(3, 3, 0.1) == (2.0, 2.5)
        assert conditions.more_threads(3, 2, 0.1) == (2.0, 1.0)
    assert seen == [2, 3, 2, 2]


def test_a_fresh_process() -> None:
    condition = conditions.in_a_fresh_process(process_and_budget, 1.1)
    found = condition.measure(0.5)
    assert found is not None
    assert found[0] != os.getpid()
    assert found[1] == 0.5
    assert condition.most(found[0]) == 1.1


def test_beside_pools() -> None:
    with rnnfast.threads(2):
        found = conditions.beside_pools(0.05)
    if find_spec("torch") is None or find_spec("onnxruntime") is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] > 0
        assert found[1] >= 1
