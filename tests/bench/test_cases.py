"""The cases: what they count, what they select and that the registry's cells are all there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rnnfast.bench.cases import (
    CASES,
    CLASSES,
    FORWARD,
    GRID,
    HEADLINE,
    MODES,
    TRAINING,
    Case,
    drawn,
    select,
    short,
)
from rnnfast.bench.peers import SINGLE, usual
from rnnfast.reference import CELLS


@pytest.mark.parametrize(("cell", "gates"), [("rnn_tanh", 1), ("lstm", 4), ("gru_after", 3)])
def test_operations_of_one_layer(cell: str, gates: int) -> None:
    case = Case("grid", FORWARD, cell, T=5, B=3, I=4, H=7)
    assert case.operations == 2 * gates * 5 * 3 * 7 * (4 + 7)
    assert replace(case, mode=TRAINING).operations == 3 * case.operations


def test_operations_of_layers_and_directions() -> None:
    case = Case("stacks", FORWARD, "gru_after", 5, 3, 4, 7, layers=2, directions=2)
    first, second = 2 * 3 * 15 * 7 * (4 + 7), 2 * 3 * 15 * 7 * (14 + 7)
    assert case.operations == 2 * (first + second)


def test_operations_of_a_model() -> None:
    case = Case("model", TRAINING, "lstm", 5, 3, 4, 7)
    assert case.operations == 3 * (2 * 4 * 15 * 7 * 11 + 2 * 15 * 7 * CLASSES)
    words = replace(case, vocabulary=50)
    assert words.operations == 3 * (2 * 4 * 15 * 7 * 11 + 2 * 15 * 7 * 50)


def test_a_model_of_words() -> None:
    (case,) = select(CASES, rows=["model-*words-*"])
    assert case.id == "model-lstm-35-32-128-128-10000words-training"
    case = replace(case, T=4, B=3, I=5, H=6, vocabulary=70)
    data = case.data()
    assert data.x.shape == data.target.shape == (4, 3)
    assert 10 < max(data.x.max(), data.target.max()) < 70
    assert data.params["embedding"].shape == (70, 5)
    assert data.params["weight"].shape == (70, 6)
    double = data.astype("float64")
    assert double.x.dtype == data.x.dtype
    assert double.params["embedding"].dtype == np.float64


def test_ragged_rows_count_real_steps() -> None:
    case = Case("ragged", FORWARD, "lstm", 50, 64, 4, 7)
    lengths = case.lengths()
    assert lengths is not None
    assert lengths.min() >= 1
    assert lengths.max() <= 50
    assert abs(lengths.mean() - 25.5) < 4 * 50 / np.sqrt(12 * 64)  # uniform, four sigma
    assert case.operations == 2 * 4 * lengths.sum() * 7 * (4 + 7)
    assert (case.data().lengths == lengths).all()


def test_stacks_and_directions() -> None:
    for kind, options in (("stacks", {(2, 1), (4, 1)}), ("directions", {(1, 2)})):
        cases = select(CASES, kinds=[kind])
        assert {(c.layers, c.directions) for c in cases} == options
        assert {(c.cell, c.mode) for c in cases} == {(c, m) for c in HEADLINE for m in MODES}
        assert {(c.B, c.H) for c in cases} == {
            (B, H) for B in (1, 8, 32) for H in (16, 32, 64, 128, 256)
        }
        assert {(c.T, c.I - c.H) for c in cases} == {(100, 0)}
        assert all(SINGLE in usual(c) and "jax" not in usual(c) for c in cases)
    (deep,) = select(CASES, rows=["stacks-lstm-100-8-32-32-4layers-forward"])
    assert (deep.layers, deep.sizes) == (4, (100, 8, 32, 32))
    (grid,) = select(CASES, rows=["grid-lstm-100-8-32-32-forward"])
    assert SINGLE not in usual(grid)
    assert "jax" in usual(grid)


def test_sizes_beside_the_grid() -> None:
    sizes = drawn()
    assert len(set(sizes)) == 40
    assert sizes[:2] == ((2, 50, 212, 20), (24, 8, 126, 239))  # the same in every version
    assert not set(sizes) & set(GRID)
    for values, low, high in zip(zip(*sizes, strict=True), (1, 1, 6, 6), (600, 100, 640, 640),
                                 strict=True):  # fmt: skip
        assert low <= min(values) < low * 3
        assert high / 3 < max(values) <= high
    cases = select(CASES, kinds=["beside"])
    assert len(cases) == 40 * 3 * 2
    assert max(c.operations for c in cases if c.mode == FORWARD) <= 5e9
    assert max(Case("beside", FORWARD, "lstm", *s).operations for s in drawn(most=1e6)) <= 1e6
    assert drawn(seed=2) != sizes


def test_ids_are_unique() -> None:
    assert len({case.id for case in CASES}) == len(CASES)


def test_every_cell_of_the_registry_has_rows() -> None:
    for mode in (FORWARD, TRAINING):
        assert {case.cell for case in CASES if case.mode == mode} == set(CELLS)


def test_data_are_the_same_each_time_and_of_the_cases_dtype() -> None:
    case = Case("stacks", TRAINING, "lstm_peephole", 3, 2, 4, 5, dtype="float64", layers=2)
    one, two = case.data(), case.data()
    assert one.params.keys() == two.params.keys()
    for name, p in one.params.items():
        assert p.dtype == np.float64
        assert p.tobytes() == two.params[name].tobytes()
    assert one.params["weight_ih_l0"].shape == (20, 4)
    assert one.params["weight_ih_l1"].shape == (20, 5)
    assert one.params["weight_peephole_l1"].shape == (3, 5)
    assert np.abs(one.state[1]).min() > 0


def test_select() -> None:
    chosen = select(CASES, kinds=["grid"], cells=["gru"], modes=[TRAINING])
    assert len(chosen) == 19
    assert {(c.kind, c.cell, c.mode) for c in chosen} == {("grid", "gru_after", TRAINING)}
    (one,) = select(CASES, rows=["grid-lstm-100-8-32-32-forward"])
    assert (one.cell, one.sizes, one.mode) == ("lstm", (100, 8, 32, 32), FORWARD)
    assert select(CASES) == CASES
    assert not select(CASES, cells=["none"])


def test_short_rows_are_rows() -> None:
    assert 0 < len(short()) < 40
    assert set(short()) < set(CASES)
