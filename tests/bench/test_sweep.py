"""The sweep: what it measures, and the rules of its map on figures that are made up."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import rnnfast
from rnnfast.bench import cli, comparison, sweep, sweep_report
from rnnfast.bench.cases import (
    FORWARD,
    MODES,
    SWEEP,
    SWEEP_B,
    SWEEP_H,
    SWEEP_T,
    TRAINING,
    Case,
    thinned,
)
from rnnfast.bench.sweep import BETTER, LARGER, SMALLER, Break, breaks
from rnnfast.bench.timing import Timing


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    with rnnfast.threads(rnnfast.num_threads()):
        yield


def point(H: int, B: int, mode: str = FORWARD, cell: str = "lstm") -> Case:
    return Case("sweep", mode, cell, SWEEP_T, B, H, H)


def made(rates: dict[tuple[int, int], float]) -> dict[Case, float]:
    """Seconds of the points (H, B) that make these GFLOP/s."""
    points = {point(H, B): gflops for (H, B), gflops in rates.items()}
    return {case: case.operations / gflops / 1e9 for case, gflops in points.items()}


def found(rates: dict[tuple[int, int], float], rule: str) -> dict[tuple[int, int], Break]:
    return {(b.case.H, b.case.B): b for b in breaks(made(rates)) if b.rule == rule}


def test_every_point_is_there() -> None:
    assert len(SWEEP) == len(set(SWEEP)) == 3 * 2 * len(SWEEP_H) * len(SWEEP_B) == 1512
    assert {(c.T, c.I - c.H, c.dtype) for c in SWEEP} == {(50, 0, "float32")}
    assert {(c.cell, c.mode) for c in SWEEP} == {
        (cell, mode) for cell in ("rnn_tanh", "lstm", "gru_after") for mode in MODES
    }
    assert 0 < len(thinned()) < len(SWEEP) / 3
    assert set(thinned()) < set(SWEEP)


def test_a_larger_point_is_faster() -> None:
    even = {(H, B): 100.0 for H in (20, 40) for B in (1, 2, 3)}
    assert not breaks(made(even))
    # (40, 3) has 12 times the operations of (20, 1): as fast, it is slower than all but that one
    rates = even | {(40, 3): 1200.0 * 1.02}
    assert not [b for b in found(rates, LARGER).values() if b.case == point(20, 1)]
    broken = found(even | {(40, 3): 1200.0 * 1.04}, LARGER)
    assert broken.keys() == even.keys() - {(40, 3)}
    assert broken[20, 1].beside == point(40, 3)
    assert broken[20, 1].share == pytest.approx(1 / 1.04)
    assert broken[40, 2].share == pytest.approx(1 / 1.04 / 8)


def test_a_point_below_its_better_neighbour() -> None:
    rates = {(H, 1): 100.0 for H in (16, 20, 24, 33)}
    assert not found(rates | {(20, 1): 86.0}, BETTER)
    broken = found(rates | {(20, 1): 84.0, (33, 1): 110.0}, BETTER)
    assert broken.keys() == {(20, 1)}
    assert broken[20, 1].share == pytest.approx(0.84)
    # the neighbour with the most operations a second counts, in H or in B; a far one does not
    rates = {(H, B): 100.0 for H in (16, 20, 24) for B in (1, 2, 3)}
    broken = found(rates | {(20, 3): 130.0, (24, 2): 120.0}, BETTER)
    assert {at: (b.beside.H, b.beside.B) for at, b in broken.items()} == {
        (16, 3): (20, 3),
        (20, 2): (20, 3),
        (24, 3): (20, 3),
        (24, 1): (24, 2),
    }


def test_a_point_below_its_smaller_neighbour() -> None:
    # operations a second grow with the size, as where steps wait: only the second rule minds
    grows = {(H, B): 1.0 * H * B for H in (16, 20, 24) for B in (1, 2, 4)}
    assert len(found(grows, BETTER)) == 8
    assert not found(grows, SMALLER)
    broken = found(grows | {(24, 4): 0.84 * 20 * 4}, SMALLER)
    assert broken.keys() == {(24, 4)}
    assert broken[24, 4].beside == point(20, 4)
    assert broken[24, 4].share == pytest.approx(0.84)
    # a far one does not count
    assert not found({(20, 1): 130.0, (20, 2): 112.0, (20, 4): 100.0}, SMALLER)
    assert not found({(16, 1): 130.0, (20, 1): 112.0, (24, 1): 100.0}, SMALLER)


@pytest.mark.parametrize("rule", [BETTER, SMALLER])
def test_few_units_may_be_further_apart(rule: str) -> None:
    assert found({(12, 1): 100.0, (12, 2): 84.0}, rule) == {}
    assert len(found({(12, 1): 100.0, (12, 2): 59.0}, rule)) == 1
    assert len(found({(16, 1): 100.0, (16, 2): 84.0}, rule)) == 1


def test_cells_and_modes_are_apart_and_the_worst_comes_first() -> None:
    times = made({(20, 1): 100.0, (20, 2): 80.0, (20, 3): 40.0})
    times |= {point(20, 4, TRAINING): 1.0, point(20, 5, cell="gru_after"): 1e-9}
    assert [(b.rule, b.case.B) for b in breaks(times)] == [
        (BETTER, 3), (BETTER, 2), (SMALLER, 3), (SMALLER, 2),
    ]  # fmt: skip


def test_measure_takes_the_fastest_pass_and_a_new_order_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = [point(4, B) for B in range(1, 9)]
    order: list[Case] = []
    seconds = iter([7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, *[3.5] * 7])

    def built(name: str, case: Case, *rest: object) -> SimpleNamespace:
        return SimpleNamespace(call=case)

    def once(call: Case) -> Timing:
        order.append(call)
        return Timing(next(seconds), 0.0, 1)

    def prepare(case: Case, *rest: object) -> tuple[dict[str, SimpleNamespace], dict[str, str]]:
        good = case.B < 8
        return ({"rnnfast": built("", case)}, {}) if good else ({}, {"rnnfast": "is off"})

    monkeypatch.setattr(sweep, "build", built)
    monkeypatch.setattr(sweep, "once", once)
    monkeypatch.setattr(sweep, "prepare", prepare)
    times, wrong = sweep.measure(cases, threads=2, passes=2)
    assert wrong == {cases[-1]: "is off"}
    first, second = order[:7], order[7:]
    assert set(first) == set(second) == set(cases[:-1])
    assert first != second
    assert times == {case: min(7.0 - first.index(case), 3.5) for case in second}


def test_measure() -> None:
    cases = [point(5, 1), point(6, 2, TRAINING)]
    times, wrong = sweep.measure(cases, threads=2, passes=1)
    assert times.keys() == set(cases)
    assert min(times.values()) > 0
    assert not wrong


def test_report_counts_and_shows_the_worst() -> None:
    times = made({(20, 1): 100.0, (20, 2): 70.0, (24, 1): 101.0, (24, 2): 98.0})
    text = sweep_report.markdown(times, ["lstm is off"])
    assert text.endswith("lstm is off\n")
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert all(len({len(line) for line in table}) == 1 for table in tables)
    counts, better, smaller, in_H_and_B = tables
    assert cells(counts[2]) == ["lstm", "forward", "4", "0", "1, 0.70", "1, 0.70"]
    assert cells(counts[3]) == ["all", "", "4", "0", "1", "1"]
    words = cells(better[-1])
    assert words[:4] == ["lstm", "forward", "20", "2"]
    assert [words[i] for i in (5, 6, 7, 9, 10)] == ["70.00", "20", "1", "100.00", "0.70"]
    assert cells(smaller[-1]) == words
    assert [cells(line) for line in in_H_and_B[-2:]] == [
        ["20", "100.0", "-!70.0"],
        ["24", "101.0", "98.0"],
    ]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_json_has_points_and_breaks() -> None:
    times = made({(20, 1): 100.0, (20, 2): 70.0})
    as_json = sweep.as_json(times)
    assert [p["gflops"] for p in as_json["points"]] == pytest.approx([100.0, 70.0])
    assert [(p["H"], p["B"], p["cell"]) for p in as_json["points"]] == [
        (20, 1, "lstm"), (20, 2, "lstm"),
    ]  # fmt: skip
    assert {b["rule"] for b in as_json["breaks"]} == {BETTER, SMALLER}
    assert as_json["breaks"][0]["beside"] == point(20, 1).id


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    cli.add_options(parser)
    return cli.run(parser.parse_args(arguments))


@pytest.fixture
def canvas(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """Stands for matplotlib's module of figures, whose figures write a file."""
    module = MagicMock()
    figure: MagicMock = module.Figure.return_value
    figure.subplots.side_effect = lambda rows, columns, **rest: [
        [figure.axes[i, j] for j in range(columns)] for i in range(rows)
    ]
    figure.axes = {(i, j): MagicMock() for i in range(2) for j in range(3)}
    for axes in figure.axes.values():
        axes.get_legend_handles_labels.return_value = ([], [])
    figure.savefig.side_effect = lambda path, dpi: path.write_bytes(b"PNG")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", module)
    return figure


def test_picture(canvas: MagicMock, tmp_path: Path) -> None:
    times = made({(20, 1): 100.0, (20, 2): 70.0, (24, 1): 200.0})
    times |= {point(20, 1, TRAINING, "gru_after"): point(20, 1, TRAINING).operations / 5e9}
    sweep_report.save(times, tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes() == b"PNG"
    lstm = canvas.axes[0, 0]
    (values,), scale = lstm.pcolormesh.call_args
    assert values[0] == pytest.approx([100.0, 70.0])
    assert values[1] == pytest.approx([200.0, float("nan")], nan_ok=True)
    gru = canvas.axes[1, 1]
    assert scale["vmax"] == pytest.approx(200.0)
    assert gru.pcolormesh.call_args[1] == scale  # the colours of all panels are the same
    marked = {c[1]["label"]: (c[0][0], c[0][1]) for c in lstm.scatter.call_args_list}
    assert marked[SMALLER] == ([1.5], [0.5])
    assert marked[LARGER] == ([0.5], [0.5])
    assert gru.scatter.call_args_list[0][0] == ([], [])


def test_command(
    canvas: MagicMock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    points = (point(5, 1), point(5, 2), point(5, 2, cell="rnn_tanh"))
    monkeypatch.setattr(comparison, "SWEEP", points)
    arguments = ("--kinds", "sweep", "--cells", "lstm", "--threads", "2")
    assert command(*arguments, "--list") == 0
    assert capsys.readouterr().out.split() == [case.id for case in points[:2]]
    assert command(*arguments, "--out", str(tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "## Sweep of H and B" in printed
    assert (tmp_path / "sweep.md").read_text(encoding="utf-8") == printed
    written = json.loads((tmp_path / "sweep.json").read_text())
    assert [p["B"] for p in sorted(written["points"], key=lambda p: p["B"])] == [1, 2]
    assert written["setting"]["threads"] == 2
    assert (tmp_path / "sweep.png").exists()
    assert not (tmp_path / "compare.md").exists()


def test_a_wrong_point_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(comparison, "SWEEP", (point(5, 1), point(5, 2)))
    wrong: Callable[..., object] = lambda cases, **rest: ({cases[0]: 1.0}, {cases[1]: "is off"})  # noqa: E731
    monkeypatch.setattr(sweep, "measure", wrong)
    assert command("--kinds", "sweep", "--threads", "2") == 1
    assert f"{point(5, 2).id}: is off" in capsys.readouterr().out


def test_no_sweep_unless_it_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--all", "--list") == 0
    assert "sweep-" not in capsys.readouterr().out
    assert command("--quick", "--kinds", "sweep", "--list") == 0
    assert capsys.readouterr().out.split() == [case.id for case in thinned()]
