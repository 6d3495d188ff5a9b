"""A sweep's tables and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from .report import align
from .sweep import (
    BETTER,
    FASTER,
    LARGER,
    RULES,
    SHARE,
    SMALL_H,
    SMALL_SHARE,
    SMALLER,
    Break,
    Times,
    breaks,
    panels,
    rate,
)

WORST = 20  # points shown of each rule
MARKS = {LARGER: "x", BETTER: "-", SMALLER: "!"}

_RULE = {
    LARGER: f"a point with a larger H or B takes less than {FASTER} of the time",
    BETTER: f"operations a second are less than {SHARE} of those of the best neighbour in H or B"
    f" ({SMALL_SHARE} below H = {SMALL_H})",
    SMALLER: "the same, beside the next smaller H and B alone",
}


def markdown(times: Times, wrong: Sequence[str] = ()) -> str:
    """Return how many points break each rule, the worst of them, and the maps in GFLOP/s."""
    broken = breaks(times)
    legend = [f"- {rule} ({MARKS[rule]}): {words}" for rule, words in _RULE.items()]
    parts = ["## Sweep of H and B", "\n".join(legend), _counts(times, broken)]
    for rule in RULES:
        of_rule = [b for b in broken if b.rule == rule][:WORST]
        if of_rule:
            parts += [f"### {rule}: the worst points", _worst(of_rule, times)]
    for (cell, mode), panel in panels(times).items():
        parts += [f"### {cell}, {mode}: GFLOP/s", _map(panel, broken)]
    parts += wrong
    return "\n\n".join(parts) + "\n"


def _counts(times: Times, broken: Sequence[Break]) -> str:
    table = [["cell", "mode", "points", *(f"{rule}, worst" for rule in RULES)]]
    for (cell, mode), panel in panels(times).items():
        cells = [cell, mode, str(len(panel))]
        for rule in RULES:
            shares = [b.share for b in broken if b.rule == rule and b.case in panel]
            cells.append(f"{len(shares)}, {min(shares):.2f}" if shares else "0")
        table.append(cells)
    totals = [str(sum(b.rule == rule for b in broken)) for rule in RULES]
    return align([*table, ["all", "", str(len(times)), *totals]], text_columns=2)


def _worst(broken: Sequence[Break], times: Times) -> str:
    table = [["cell", "mode", "H", "B", "us", "GFLOP/s", "beside H", "B", "us", "GFLOP/s", "share"]]
    for b in broken:
        cells = [b.case.cell, b.case.mode]
        for case in (b.case, b.beside):
            cells += [str(case.H), str(case.B), f"{1e6 * times[case]:.1f}"]
            cells.append(f"{rate(case, times) / 1e9:.2f}")
        table.append([*cells, f"{b.share:.2f}"])
    return align(table, text_columns=2)


def _map(panel: Times, broken: Sequence[Break]) -> str:
    """Return one line for each H, with the marks of the rules that a point breaks."""
    in_H, in_B = sizes(panel)
    marks = dict.fromkeys(panel, "")
    for b in broken:
        if b.case in panel:
            marks[b.case] += MARKS[b.rule]
    at = {(case.H, case.B): case for case in panel}
    table = [["H \\ B", *map(str, in_B)]]
    for H in in_H:
        points = [at.get((H, B)) for B in in_B]
        cells = ["" if c is None else f"{marks[c]}{rate(c, panel) / 1e9:.1f}" for c in points]
        table.append([str(H), *cells])
    return align(table, text_columns=0)


def sizes(panel: Times) -> tuple[list[int], list[int]]:
    """Return every H and every B, in order."""
    return sorted({case.H for case in panel}), sorted({case.B for case in panel})


def save(times: Times, path: Path) -> None:
    """Write a PNG: one panel for each cell and mode; it needs matplotlib.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    figure_module: Any = import_module("matplotlib.figure")
    found, broken = panels(times), breaks(times)
    cells = list(dict.fromkeys(cell for cell, _ in found))
    modes = list(dict.fromkeys(mode for _, mode in found))
    size = (5.2 * len(cells), 4.6 * len(modes))
    figure = figure_module.Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(modes), len(cells), squeeze=False)
    most = max(rate(case, times) / 1e9 for case in times)
    axes: Any = None
    colours: Any = None
    for (cell, mode), panel in found.items():
        axes = grid[modes.index(mode)][cells.index(cell)]
        colours = _draw(axes, panel, broken, most)
        axes.set_title(f"{cell}, {mode}")
    figure.colorbar(colours, ax=grid, label="GFLOP/s", format="{x:g}", extend="min")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(RULES))
    figure.savefig(path, dpi=110)


def _draw(axes: Any, panel: Times, broken: Sequence[Break], most: float) -> Any:
    """Draw one panel, and return its colours."""
    in_H, in_B = sizes(panel)
    at = {(case.H, case.B): rate(case, panel) / 1e9 for case in panel}
    values = [[at.get((H, B), float("nan")) for B in in_B] for H in in_H]
    # A few units take less than a hundredth of the most, and would take half of the colours.
    colours = axes.pcolormesh(values, norm="log", vmin=most / 100, vmax=most)
    markers = {LARGER: "x", BETTER: ".", SMALLER: "o"}
    for rule in RULES:
        points = [b.case for b in broken if b.rule == rule and b.case in panel]
        axes.scatter(
            [in_B.index(case.B) + 0.5 for case in points],
            [in_H.index(case.H) + 0.5 for case in points],
            marker=markers[rule],
            s=40 if rule == SMALLER else 16,
            facecolor="none" if rule == SMALLER else "red",
            edgecolor=None if rule == LARGER else "red",
            label=rule,
        )
    axes.set_xticks([k + 0.5 for k in range(len(in_B))], in_B)
    axes.set_yticks([k + 0.5 for k in range(len(in_H))], in_H)
    axes.set_xlabel("B")
    axes.set_ylabel("H = I")
    return colours
