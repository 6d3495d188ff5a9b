"""Tables of what was measured, as Markdown that can be read as it is, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .cases import KINDS
from .floor import Machine
from .peers import OWN, PROGRAMS
from .rows import Row, geomean

Table = list[list[str]]  # the first line is the header


@dataclass(frozen=True)
class Setting:
    """Where and how the rows were measured."""

    command: str
    cpu: str
    isa: str
    threads: int
    runs: int
    load: float | None  # processes that wanted to run in the minute before, where known
    versions: dict[str, str]
    machine: Machine


def markdown(rows: Sequence[Row], setting: Setting) -> str:
    """Return every table: first the means, then the rows by kind and mode."""
    parts = [heading(setting), _means(rows), *_behind(rows), *_beside_single(rows)]
    for (kind, mode), group in _groups(rows):
        parts.append(f"## {KINDS[kind]}: {mode}")
        parts.append(_rows(group))
    return "\n\n".join(parts) + "\n"


def heading(setting: Setting) -> str:
    """Return what was run, where, and how its figures are read."""
    versions = ", ".join(f"{name} {version}" for name, version in setting.versions.items())
    lines = [
        f"`{setting.command}`",
        f"{setting.cpu}, {setting.isa}, threads: {setting.threads}. {versions}.",
        _machine(setting.machine, setting.load),
        "Times are medians in microseconds, ± half the distance of the quartiles; a ratio over 1"
        " says that rnnfast is faster. frozen: a layer whose weights were packed before. single:"
        " rnnfast on one thread; beside a stack or two directions, one layer in one. hand-over:"
        " nanoseconds in which two threads pass a number there and back, the longer of before and"
        " after the row; it grows where a virtual machine's processors are moved apart.",
    ]
    if setting.runs > 1:
        lines.append(f"Each figure is the median of {setting.runs} runs.")
    return "\n\n".join(lines)


def _machine(machine: Machine, load: float | None) -> str:
    peaks = ", ".join(f"{dtype} {peak / 1e9:.0f} GFLOP/s" for dtype, peak in machine.peak.items())
    levels = ", ".join(f"{level.name} {level.bandwidth / 1e9:.0f} GB/s" for level in machine.levels)
    others = "" if load is None else f" Load before the run: {load:.1f}."
    return f"One thread: {peaks}; {levels}.{others}"


def _groups(rows: Sequence[Row]) -> Iterator[tuple[tuple[str, str], list[Row]]]:
    """Yield the rows of each kind and mode, in the order in which they come."""
    keys = dict.fromkeys((row.case.kind, row.case.mode) for row in rows)
    for key in keys:
        yield key, [row for row in rows if (row.case.kind, row.case.mode) == key]


def _means(rows: Sequence[Row]) -> str:
    header = ["kind", "mode", "cell", "rows", "/ best peer", "least", "in row", "/ torch"]
    table = [[*header, "frozen / best peer", "frozen / torch"]]
    for (kind, mode), group in _groups(rows):
        for cell in dict.fromkeys(row.case.cell for row in group):
            of_cell = [row for row in group if row.case.cell == cell]
            ratios = [(r, row) for row in of_cell if (r := row.ratio()) is not None]
            least = min(ratios, key=lambda pair: pair[0], default=None)
            table.append(
                [
                    kind,
                    mode,
                    cell,
                    str(len(of_cell)),
                    _ratio(geomean(of_cell)),
                    _ratio(least and least[0]),
                    "" if least is None else " ".join(map(str, least[1].case.sizes)),
                    _ratio(geomean(of_cell, "torch")),
                    _ratio(geomean(of_cell, None, "frozen")),
                    _ratio(geomean(of_cell, "torch", "frozen")),
                ]
            )
    return "## Geometric means of the ratios\n\n" + align(table, text_columns=3)


def _behind(rows: Sequence[Row]) -> list[str]:
    """Return the rows in which a peer is faster."""
    table = [["row", "/ best peer", "which", "frozen / best peer"]]
    for row in sorted(rows, key=lambda row: row.ratio() or 1.0):
        if (ratio := row.ratio()) is not None and ratio < 1:
            frozen = _ratio(row.ratio(None, "frozen"))
            table.append([row.case.id, _ratio(ratio), str(row.best_peer), frozen])
    count = f"Rows under 1: {len(table) - 1}"
    return [f"## {count}", align(table, text_columns=1)] if len(table) > 1 else []


def _beside_single(rows: Sequence[Row]) -> list[str]:
    """Return how many times as long as one layer in one direction on one thread rows take."""
    table = [["kind", "mode", "layers", "cell", "B = 1, H <= 64", "in row", "others", "in row"]]
    timed = [row for row in rows if row.times_single is not None]
    for (kind, mode), group in _groups(timed):
        for layers, cell in dict.fromkeys((row.case.layers, row.case.cell) for row in group):
            cells = [kind, mode, str(layers), cell]
            of_cell = [row for row in group if (row.case.layers, row.case.cell) == (layers, cell)]
            for small in (True, False):
                part = [r for r in of_cell if (r.case.B == 1 and r.case.H <= 64) == small]
                most = max(part, key=lambda row: row.times_single or 0.0, default=None)
                cells.append("" if most is None else _ratio(most.times_single))
                cells.append("" if most is None else " ".join(map(str, most.case.sizes)))
            table.append(cells)
    title = "## Most times as long as single"
    return [title, align(table, text_columns=4)] if timed else []


def _rows(rows: Sequence[Row]) -> str:
    """Return one table, and under it why programs are absent."""
    notes: dict[str, str] = {}
    shown = [p for p in PROGRAMS if any(p in row.timings for row in rows)]
    has_floor = any(row.floor is not None for row in rows)
    floors = ["floor", "share"] if has_floor else []
    has_handover = any(row.handover is not None for row in rows)
    has_single = any(row.times_single is not None for row in rows)
    ratios = ["/ best peer", "/ torch", *(["times single"] if has_single else [])]
    counts = [n for n in ("layers", "vocabulary") if len({getattr(r.case, n) for r in rows}) > 1]
    header = ["cell", *counts, "T", "B", "I", "H", *shown, "GFLOP/s", *floors, *ratios]
    table = [[*header, "hand-over"] if has_handover else header]
    for row in rows:
        cells = [_time(row, program, notes) for program in shown]
        cells.append(_number(row.gflops()))
        if has_floor:
            cells += [_number(row.floor and row.floor * 1e6), _percent(row.share())]
        cells += [_ratio(row.ratio()), _ratio(row.ratio("torch"))]
        cells += [_ratio(row.times_single)] if has_single else []
        if has_handover:
            cells.append("" if row.handover is None else f"{1e9 * row.handover:.0f}")
        sizes = [getattr(row.case, name) for name in counts] + list(row.case.sizes)
        table.append([row.case.cell, *map(str, sizes), *cells])
    for program in (p for p in PROGRAMS if p not in shown):
        for row in rows:
            _note(row, program, notes)
    lines = [f"- {mark}: {text}" for text, mark in notes.items()]
    return "\n\n".join([align(table, text_columns=1), *(["\n".join(lines)] if lines else [])])


def _note(row: Row, program: str, notes: dict[str, str]) -> str:
    """Return the mark of why a program is absent from a row."""
    if program not in row.absent:
        return ""
    reason = f"{program}: {row.absent[program]}"
    return notes.setdefault(reason, f"[{len(notes) + 1}]")


def _time(row: Row, program: str, notes: dict[str, str]) -> str:
    timing = row.timings.get(program)
    if timing is None:
        return _note(row, program, notes)
    return f"{_number(timing.median * 1e6)} ±{100 * timing.spread:.0f}%"


def _number(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None:
        return ""
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f}%"


def align(table: Table, text_columns: int) -> str:
    """Return a Markdown table with aligned columns: text, to the left, and then numbers."""
    widths = [max(3, *(len(line[i]) for line in table)) for i in range(len(table[0]))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i < text_columns else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * w if i < text_columns else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(table[0]), line(rule), *map(line, table[1:])])


def to_json(rows: Sequence[Row], setting: Setting) -> str:
    """Return everything that was measured; times in seconds."""
    found = {"setting": asdict(setting), "rows": [_row_json(row) for row in rows]}
    return json.dumps(found, indent=1)


def _row_json(row: Row) -> dict[str, Any]:
    return {
        **asdict(row.case),
        "operations": row.case.operations,
        "steps": row.case.steps,
        "floor": row.floor,
        "handover": row.handover,
        "timings": {name: asdict(timing) for name, timing in row.timings.items()},
        "absent": row.absent,
        "best_peer": row.best_peer,
        "ratio_to_best": {program: row.ratio(None, program) for program in OWN},
        "ratio_to_torch": {program: row.ratio("torch", program) for program in OWN},
        "times_single": row.times_single,
    }
