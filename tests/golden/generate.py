"""Write the golden files, one a variant, from PyTorch: python tests/golden/generate.py.

Each holds two cases, "whole" and "ragged" (reverse, with lengths 0 and T); of each case the
problem's fields under in/ and what run_vjp and its pullback return under out/, all float64.
"""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import oracle  # noqa: E402
from problems import make  # noqa: E402

for cell in oracle.SEQUENCES:
    whole = make(cell, T=4, B=2, I=2, H=3, seed=1)
    ragged = make(cell, T=4, B=3, I=2, H=3, lengths=[2, 0, 4], reverse=True, seed=1)
    arrays = {}
    for name, problem in {"whole": whole, "ragged": ragged}.items():
        arrays |= {f"{name}/in/{key}": array for key, array in problem.arrays()}
        arrays |= {f"{name}/out/{key}": array for key, array in oracle.results(problem).items()}
    np.savez_compressed(HERE / f"{cell}.npz", **arrays)
