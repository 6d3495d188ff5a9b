"""Benchmarks: the cases, the programs they are run on, and the comparison.

``python -m rnnfast bench`` compares on a few rows with whatever is installed of PyTorch, ONNX
Runtime and JAX, and ``--all`` on every row; ``bench accuracy``, ``memory`` and ``conditions``
measure something else. Nothing of the others is imported before it is used.
"""

from .cases import CASES, Case, Data, select, short
from .cli import add_options, run
from .rows import Row, geomean, measure, measure_all

__all__ = [
    "CASES",
    "Case",
    "Data",
    "Row",
    "add_options",
    "geomean",
    "measure",
    "measure_all",
    "run",
    "select",
    "short",
]
