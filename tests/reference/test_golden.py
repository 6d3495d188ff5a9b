"""The reference against outside values, from files and, where it is installed, from PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from problems import Problem, assert_close, make, ragged
from rnnfast import reference

GOLDEN = Path(__file__).parent.parent / "golden"
VARIANTS = (
    "rnn_tanh",
    "rnn_relu",
    "rnn_sigmoid",
    "rnn_identity",
    "lstm",
    "lstm_peephole",
    "gru_after",
    "gru_before",
)


@pytest.mark.parametrize("case", ["whole", "ragged"])
@pytest.mark.parametrize("cell", VARIANTS)
def test_golden_values(cell: str, case: str) -> None:
    with np.load(GOLDEN / f"{cell}.npz") as file:
        given = {key.split("/")[2]: file[key] for key in file if key.startswith(f"{case}/in/")}
        want = {key.split("/")[2]: file[key] for key in file if key.startswith(f"{case}/out/")}
    absent = dict.fromkeys(("c0", "dc_T", "peephole"))
    problem = Problem(cell, **(absent | given), reverse=case == "ragged")
    assert_close(problem.vjp(reference), want, 1e-13)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("is_ragged", [False, True])
@pytest.mark.parametrize("cell", VARIANTS)
def test_pytorch(cell: str, is_ragged: bool, reverse: bool) -> None:
    pytest.importorskip("torch", reason="oracle: torch is not installed")
    import oracle

    lengths = ragged(6, 5) if is_ragged else None
    problem = make(cell, T=6, B=5, I=3, H=4, lengths=lengths, reverse=reverse)
    assert_close(problem.vjp(reference), oracle.results(problem), 1e-13)
