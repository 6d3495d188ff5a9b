"""The picture of a comparison: ratio to the best peer by size, one panel a cell."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from .cases import MODES
from .rows import Row

_STYLES = {"forward": ("o", "tab:blue"), "training": ("s", "tab:orange")}


def save(rows: Sequence[Row], path: Path, kind: str = "grid") -> None:
    """Write a PNG of the rows of one kind; it needs matplotlib.

    Parameters
    ----------
    path : Path
        Where to write.
    kind : str
        A key of `KINDS`.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    """
    figure_module: Any = import_module("matplotlib.figure")
    rows = [row for row in rows if row.case.kind == kind and row.ratio() is not None]
    cells = list(dict.fromkeys(row.case.cell for row in rows))
    if not cells:
        return
    figure = figure_module.Figure(figsize=(4.2 * len(cells), 3.6), layout="constrained")
    panels = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for panel, cell in zip(panels, cells, strict=True):
        _draw(panel, cell, [row for row in rows if row.case.cell == cell])
    panels[0].set_ylabel("times faster than the fastest peer")
    panels[0].legend()
    figure.savefig(path, dpi=150)


def _draw(panel: Any, cell: str, rows: Sequence[Row]) -> None:
    for mode in MODES:
        of_mode = [row for row in rows if row.case.mode == mode]
        marker, color = _STYLES[mode]
        # Weights and rows say how large a case is; the number of steps does not.
        sizes = [row.case.B * row.case.H * (row.case.I + row.case.H) for row in of_mode]
        ratios = [row.ratio() for row in of_mode]
        panel.plot(sizes, ratios, marker, color=color, label=mode, alpha=0.8)
    panel.axhline(1.0, color="black", linewidth=0.8)
    panel.set_xscale("log")
    panel.set_yscale("log", base=2)
    panel.yaxis.set_major_formatter("{x:g}")
    panel.set_title(cell)
    panel.set_xlabel("B · H · (I + H)")
    panel.grid(alpha=0.3)
