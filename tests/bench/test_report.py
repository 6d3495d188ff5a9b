"""Timing, ratios, means, floors and tables, on numbers that are known."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rnnfast import _rnnfast
from rnnfast.bench import cli
from rnnfast.bench.cases import CASES, FORWARD, KINDS, TRAINING, Case, short
from rnnfast.bench.floor import Level, Machine, floor, probe
from rnnfast.bench.report import Setting, markdown, to_json
from rnnfast.bench.rows import FAILED, Row, geomean, measure_all
from rnnfast.bench.timing import Timing, combine, compare, once, summary
from rnnfast.reference import CELLS

CASE = Case("grid", FORWARD, "lstm", 100, 8, 32, 32)
MACHINE = Machine(
    threads=2,
    peak={"float32": 1e11, "float64": 5e10},
    levels=(Level("L1", 32e3, 2e11), Level("L2", 1e6, 1e11), Level("memory", 2.0**63, 1e10)),
    chain={"float32": {"lstm": 5e-8}},
)
SETTING = Setting("command", "cpu", "avx2", 2, 1, 0.5, {"rnnfast": "0"}, MACHINE)


def row(case: Case = CASE, floor: float | None = None, **microseconds: float) -> Row:
    """A row with these medians."""
    timings = {name: Timing(us * 1e-6, 0.02, 10) for name, us in microseconds.items()}
    return Row(case, timings, {}, floor)


def test_summary() -> None:
    timing = summary([1.0, 2.0, 3.0, 4.0, 10.0], 50)
    assert timing == Timing(3.0, pytest.approx((4 - 2) / 2 / 3), 50)
    assert summary([2.0], 1) == Timing(2.0, 0.0, 1)


def test_combine_takes_the_median_run() -> None:
    runs = [Timing(5.0, 0.1, 10), Timing(1.0, 0.3, 20), Timing(2.0, 0.2, 30)]
    assert combine(runs) == Timing(2.0, 0.2, 60)


def sleeper(name: str, order: list[str]) -> Callable[[], None]:
    def call() -> None:
        order.append(name)
        time.sleep(0.012)

    return call


def test_programs_take_turns_in_rotating_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnnfast.bench.timing.ROUNDS", (3, 3))
    order: list[str] = []
    timings = compare({name: sleeper(name, order) for name in "abc"}, budget=1.0)
    # the first to see how long they take; then each once to warm up and once to be timed
    assert "".join(order) == "abc" + "aabbcc" + "bbccaa" + "ccaabb"
    assert {name: timing.calls for name, timing in timings.items()} == {"a": 3, "b": 3, "c": 3}
    assert all(timing.median >= 0.012 for timing in timings.values())


def test_a_call_longer_than_the_budget_is_timed_once() -> None:
    order: list[str] = []
    timings = compare({"slow": sleeper("slow", order), "fast": lambda: None}, budget=0.01)
    assert timings["slow"].calls == 1
    assert timings["fast"].calls > 100


def test_one_block_has_three_samples_of_a_long_call() -> None:
    order: list[str] = []
    timing = once(sleeper("a", order))
    assert timing.calls == 3
    assert timing.median >= 0.012
    assert len(order) == 1 + 1 + 3  # to see how long it takes, to warm up, to be timed


def test_ratios() -> None:
    r = row(rnnfast=10, frozen=8, torch=50, onnxruntime=20, jax=30, numpy=1)
    assert r.best_peer == "onnxruntime"  # NumPy is no peer
    assert r.ratio() == pytest.approx(2)
    assert r.ratio("torch") == pytest.approx(5)
    assert r.ratio("torch", "frozen") == pytest.approx(6.25)
    assert r.gflops() == pytest.approx(CASE.operations / 1e-5 / 1e9)
    assert r.share() is None
    assert row(floor=5e-6, rnnfast=10).share() == pytest.approx(0.5)
    assert row(rnnfast=10).ratio() is None
    assert row(torch=10).ratio() is None


def test_geomean() -> None:
    rows = [row(rnnfast=1, torch=2), row(rnnfast=1, torch=8), row(rnnfast=1)]
    assert geomean(rows) == pytest.approx(4)
    assert geomean(rows, "torch") == pytest.approx(4)
    assert geomean(rows, "jax") is None


def test_floor_of_arithmetic() -> None:
    case = Case("grid", TRAINING, "lstm", 50, 512, 512, 512)
    assert floor(case, MACHINE) == pytest.approx(case.operations / 2e11)


def test_floor_of_the_chain() -> None:
    case = Case("grid", FORWARD, "lstm", 1000, 1, 8, 8)
    assert floor(case, MACHINE) == pytest.approx(1000 * 5e-8)
    assert floor(replace(case, T=7), MACHINE) == pytest.approx(7 * 5e-8)


def test_floor_of_bytes() -> None:
    case = Case("grid", FORWARD, "lstm", 100, 1, 256, 256)
    weights = 4 * 256 * 256 * 4 / 2  # half of W_aa, which fits L2
    activations = 100 * 512 * 4 / 2  # and half of x and a, too
    assert floor(case, MACHINE) == pytest.approx((100 * weights + activations) / 1e11)
    large = replace(case, I=2048, H=2048)
    weights, activations = 4 * 2048 * 2048 * 4 / 2, 100 * 4096 * 4 / 2
    assert floor(large, MACHINE) == pytest.approx(100 * weights / 1e10 + activations / 1e11)


def test_probe_knows_every_cell_and_level() -> None:
    machine = probe(2)
    for dtype in ("float32", "float64"):
        assert set(machine.chain[dtype]) == set(CELLS)
        assert min(machine.chain[dtype].values()) > 1e-10  # no step in a third of a cycle
        assert machine.peak[dtype] > 1e8
    assert [level.name for level in machine.levels] == ["L1", "L2", "L3", "memory"]
    capacities = [level.capacity for level in machine.levels]
    assert capacities == sorted(capacities)
    assert capacities[-1] > 1e15


def test_handover_takes_from_nanoseconds_to_a_thread_switch() -> None:
    before = _rnnfast.num_threads()
    try:
        _rnnfast.set_num_threads(1)  # the measurement needs two whatever a layer may use
        found = _rnnfast.handover()
    finally:
        _rnnfast.set_num_threads(before)
    if len(os.sched_getaffinity(0)) == 1:
        assert found is None
    else:
        assert found is not None
        assert 1 < found < 1e6


def test_report_shows_the_handover_of_the_median_run() -> None:
    shown = replace(row(rnnfast=30, torch=20), handover=1.23e-7)
    assert "| hand-over |" in markdown([shown], SETTING)
    assert " 123 |" in markdown([shown], SETTING)
    assert json.loads(to_json([shown], SETTING))["rows"][0]["handover"] == 1.23e-7
    assert "hand-over |" not in markdown([row(rnnfast=30)], SETTING)


def test_report_shows_losing_rows_and_reasons() -> None:
    losing = replace(row(rnnfast=30, torch=20, floor=3e-6), absent={"jax": "jax is not installed"})
    failing = replace(row(torch=20), absent={"rnnfast": f"{FAILED}y is off by 1"})
    text = markdown([losing, failing], SETTING)
    assert "0.67" in text
    assert "10%" in text  # of the floor
    assert "jax: jax is not installed" in text
    assert f"rnnfast: {FAILED}y is off by 1" in text
    assert text.count("| lstm | 100 |") == 2
    assert failing.wrong == ("rnnfast",)
    assert losing.wrong == ()
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert all(len({len(line) for line in table}) == 1 for table in tables)


def test_report_lists_the_rows_in_which_a_peer_is_faster() -> None:
    rows = [row(rnnfast=30, frozen=10, torch=20), row(rnnfast=10, torch=20)]
    behind = replace(rows[0], case=replace(CASE, H=40))
    text = markdown([*rows, behind], SETTING)
    assert "## Rows under 1: 2" in text
    words = [line.split() for line in text.splitlines() if "-forward" in line]
    assert [w[1] for w in words] == [CASE.id, behind.case.id]
    assert words[0][3::2] == ["0.67", "torch", "2.00"]
    assert "## Rows under 1" not in markdown(rows[1:], SETTING)


def test_report_sets_stacks_beside_a_single_layer() -> None:
    def stack(B: int, H: int, layers: int, us: float) -> Row:
        case = replace(CASE, kind="stacks", B=B, I=H, H=H, layers=layers)
        return row(case, rnnfast=us, single=10)

    rows = [stack(1, 64, 2, 13), stack(1, 32, 2, 11), stack(1, 128, 2, 19), stack(8, 32, 4, 33)]
    assert [r.times_single for r in rows] == pytest.approx([1.3, 1.1, 1.9, 3.3])
    assert row(rnnfast=10).times_single is None
    text = markdown(rows, SETTING)
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    words = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tables[1][2:]]
    assert words == [
        ["stacks", FORWARD, "2", "lstm", "1.30", "100 1 64 64", "1.90", "100 1 128 128"],
        ["stacks", FORWARD, "4", "lstm", "", "", "3.30", "100 8 32 32"],
    ]
    header, _, first = (line.split("|")[1:-1] for line in tables[2][:3])
    assert dict(zip(map(str.strip, header), map(str.strip, first), strict=True)) == {
        "cell": "lstm", "layers": "2", "T": "100", "B": "1", "I": "64", "H": "64",
        "rnnfast": "13.0 ±2%", "single": "10.0 ±2%", "times single": "1.30", "/ torch": "",
        "GFLOP/s": first[8].strip(), "/ best peer": "",
    }  # fmt: skip
    assert "times single" not in markdown([row(rnnfast=10)], SETTING)
    assert json.loads(to_json(rows, SETTING))["rows"][0]["times_single"] == pytest.approx(1.3)


def test_report_shows_the_vocabulary() -> None:
    model = replace(CASE, kind="model", mode=TRAINING)
    text = markdown(
        [row(model, rnnfast=1), row(replace(model, vocabulary=900), rnnfast=1)], SETTING
    )
    assert "| cell | vocabulary |" in text
    assert "| lstm |        900 |" in text


def test_json_has_everything() -> None:
    found = json.loads(to_json([row(rnnfast=10, torch=20, floor=1e-6)], SETTING))
    (one,) = found["rows"]
    assert one["id"] == CASE.id
    assert one["timings"]["torch"]["median"] == pytest.approx(2e-5)
    assert one["ratio_to_torch"]["rnnfast"] == pytest.approx(2)
    assert one["operations"] == CASE.operations
    assert found["setting"]["machine"]["chain"] == {"float32": {"lstm": 5e-8}}


def test_runs_are_combined(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([30, 10, 20])

    def measured(case: Case, **options: Any) -> Row:
        return row(case, rnnfast=next(times))

    monkeypatch.setattr("rnnfast.bench.rows.measure", measured)
    (found,) = measure_all([CASE], threads=1, budget=1, runs=3)
    assert found.timings["rnnfast"].median == pytest.approx(2e-5)


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_options(parser)
    return cli.run(parser.parse_args(arguments))


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rows", "grid-lstm-100-1-32-32-*", "--programs", "rnnfast", "frozen"]
    assert command(*arguments, "--budget", "0.02", "--out", str(tmp_path), "--threads", "2") == 0
    printed = capsys.readouterr().out
    assert "| lstm | 100 |" in printed
    assert (tmp_path / "compare.md").read_text(encoding="utf-8") == printed
    rows = json.loads((tmp_path / "compare.json").read_text())["rows"]
    assert [r["mode"] for r in rows] == [FORWARD, TRAINING]
    assert command("--cells", "none") == 2


def test_all_rows_or_a_few(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--list") == 0
    assert capsys.readouterr().out.split() == [case.id for case in short()]
    for options in (["--all"], []):
        assert command(*options, "--list", "--kinds", "ragged") == 0
        assert capsys.readouterr().out.split() == [c.id for c in CASES if c.kind == "ragged"]


def test_help_explains_the_kinds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command("--help")
    text = capsys.readouterr().out
    for kind, words in KINDS.items():
        assert re.search(rf"^  {kind} +{re.escape(words)}$", text, re.MULTILINE)
