"""What must hold whatever the numbers: of the reference and of the kernels."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from problems import Problem, assert_close, assert_same_bits, make, ragged
from rnnfast.reference import CELLS

every_cell = pytest.mark.parametrize("cell", CELLS)
both_directions = pytest.mark.parametrize("reverse", [False, True])
T, B, I, H = 6, 5, 3, 5  # noqa: E741
BOUND = 1e-12 * T


@every_cell
@both_directions
def test_two_runs_in_a_row_are_one(F: ModuleType, cell: str, reverse: bool) -> None:
    problem = make(cell, T, B, I, H, reverse=reverse)
    first, second = slice(0, 2), slice(2, T)
    if reverse:
        first, second = slice(T - 2, T), slice(0, T - 2)
    head = problem.with_(x=problem.x[first]).run(F)
    tail = problem.with_(x=problem.x[second], a0=head["a_T"], c0=head.get("c_T")).run(F)
    whole = problem.run(F)
    assert_close(tail, whole | {"a": whole["a"][second]}, BOUND)
    assert_close({"a": head["a"]}, {"a": whole["a"][first]}, BOUND)


@every_cell
def test_gradients_of_two_runs_add_up(F: ModuleType, cell: str) -> None:
    problem = make(cell, T, B, I, H)
    assert problem.da is not None
    head = problem.with_(x=problem.x[:2], da=problem.da[:2], da_T=None, dc_T=None)
    states = head.run(F)
    tail = problem.with_(
        x=problem.x[2:], da=problem.da[2:], a0=states["a_T"], c0=states.get("c_T")
    ).vjp(F)
    early = head.with_(da_T=tail["da0"], dc_T=tail.get("dc0")).vjp(F)
    whole = problem.vjp(F)
    for name in ("dW_ax", "dW_aa", "db_a", "db_aa", "dpeephole"):
        if name in whole:
            assert_close({name: early[name] + tail[name]}, {name: whole[name]}, BOUND)
    assert_close({"dx": np.concatenate([early["dx"], tail["dx"]])}, {"dx": whole["dx"]}, BOUND)
    states_before = {name: early[name] for name in early if name in ("da0", "dc0")}
    assert_close(states_before, {name: whole[name] for name in states_before}, BOUND)


def permuted(results: dict[str, np.ndarray], order: list[int]) -> dict[str, np.ndarray]:
    """Results with the batch in another order; gradients of weights have no batch."""
    axis = {"a": 1, "dx": 1, "a_T": 0, "c_T": 0, "da0": 0, "dc0": 0}
    return {
        name: value.take(order, axis[name]) if name in axis else value
        for name, value in results.items()
    }


@every_cell
@both_directions
def test_order_of_the_batch(F: ModuleType, cell: str, reverse: bool) -> None:
    problem = make(cell, T, B, I, H, lengths=ragged(T, B), reverse=reverse)
    order = [3, 0, 4, 1, 2]
    assert problem.lengths is not None
    names = {"x": 1, "da": 1, "a0": 0, "c0": 0, "da_T": 0, "dc_T": 0, "lengths": 0}
    shuffled = problem.with_(
        **{
            name: array.take(order, names[name])
            for name, array in problem.arrays()
            if name in names
        }
    )
    assert_close(shuffled.vjp(F), permuted(problem.vjp(F), order), BOUND)


@every_cell
@both_directions
def test_padding_is_irrelevant(F: ModuleType, cell: str, reverse: bool) -> None:
    nan = make(cell, T, B, I, H, lengths=ragged(T, B), reverse=reverse)
    assert nan.da is not None
    assert np.isnan(nan.x).any()
    ones = nan.with_(x=np.nan_to_num(nan.x, nan=1.0), da=np.nan_to_num(nan.da, nan=-2.0))
    assert_same_bits(nan.vjp(F), ones.vjp(F))


@every_cell
@both_directions
def test_lengths(F: ModuleType, cell: str, reverse: bool) -> None:
    """A ragged batch is each of its sequences, cut, run by itself."""
    lengths = ragged(T, B)
    problem = make(cell, T, B, I, H, lengths=lengths, reverse=reverse)
    assert {0, T} <= set(lengths)
    whole = problem.vjp(F)
    assert problem.da is not None
    sums = {name: np.zeros(()) for name in whole if name.startswith(("dW", "db", "dp"))}
    for b, length in enumerate(lengths):
        alone = problem.with_(
            x=problem.x[:length, b : b + 1], da=problem.da[:length, b : b + 1], lengths=None
        )
        rows = {n: v[b : b + 1] for n, v in problem.arrays() if n in ("a0", "c0", "da_T", "dc_T")}
        got = alone.with_(**rows).vjp(F)
        for name in sums:
            sums[name] = sums[name] + got[name]
        for name in ("a", "dx"):
            cut = whole[name][:length, b : b + 1]
            assert_close({name: got[name]}, {name: cut}, BOUND)
            assert not whole[name][length:, b].any()  # 0 past the end
        for name in ("a_T", "c_T", "da0", "dc0"):
            if name in whole:
                assert_close({name: whole[name][b : b + 1]}, {name: got[name]}, BOUND)
        if length == 0:
            assert (whole["a_T"][b] == rows["a0"][0]).all()
            assert (whole["da0"][b] == rows["da_T"][0]).all()
            if problem.two_states:
                assert (whole["c_T"][b] == rows["c0"][0]).all()
                assert (whole["dc0"][b] == rows["dc_T"][0]).all()
    assert_close(sums, {name: whole[name] for name in sums}, BOUND)


@every_cell
def test_full_lengths_are_no_lengths(F: ModuleType, cell: str) -> None:
    problem = make(cell, T, B, I, H)
    for lengths in ([T] * B, np.full(B, T, np.uint8), np.full(B, T, np.int32), (T,) * B):
        assert_close(problem.with_(lengths=lengths).vjp(F), problem.vjp(F), BOUND)


def flipped(problem: Problem) -> Problem:
    """The same sequences turned round in time, for the other direction."""
    assert problem.da is not None
    return problem.with_(x=problem.x[::-1], da=problem.da[::-1], reverse=not problem.reverse)


@every_cell
def test_reverse_is_flip_forward_flip(F: ModuleType, cell: str) -> None:
    problem = make(cell, T, B, I, H)
    forward = problem.vjp(F)
    reverse = flipped(problem).vjp(F)
    turned = {"a": forward["a"][::-1], "dx": forward["dx"][::-1]}
    assert_close(reverse, forward | turned, BOUND)


@every_cell
def test_forwards_unless_told_otherwise(F: ModuleType, cell: str) -> None:
    problem = make(cell, T, B, I, H)
    a, _ = F.run(*problem.layer, peephole=problem.peephole)
    assert_same_bits({"a": a}, {"a": problem.run(F)["a"]})
    a, _, _ = F.run_vjp(*problem.layer, peephole=problem.peephole)
    assert_same_bits({"a": a}, {"a": problem.run(F)["a"]})


@every_cell
@both_directions
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_checkpoint_gives_the_same(F: ModuleType, cell: str, reverse: bool, steps: int) -> None:
    problem = make(cell, steps, B, I, H, lengths=ragged(steps, B), reverse=reverse)
    assert_close(problem.vjp(F, checkpoint=True), problem.vjp(F), 1e-12 * steps)


@every_cell
def test_repeats_give_the_same_bits(F: ModuleType, cell: str) -> None:
    problem = make(cell, T, B, I, H, lengths=ragged(T, B))
    assert_same_bits(problem.vjp(F), problem.vjp(F))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@both_directions
def test_small_integers_are_exact(F: ModuleType, dtype: str, reverse: bool) -> None:
    """With identity and integers no rounding takes place: the kernels' bits are the reference's."""
    rng = np.random.default_rng(0)
    for sizes in ((4, 3, 5, 7), (3, 9, 17, 33), (4, 1, 1, 1)):
        problem = make("rnn_identity", *sizes, dtype=dtype, reverse=reverse)
        integers = {
            name: rng.integers(-2, 3, array.shape).astype(dtype) for name, array in problem.arrays()
        }
        problem = problem.with_(**integers, lengths=ragged(sizes[0], sizes[1]))
        exact = {
            name: np.abs(value).max(initial=0) < 2.0**24 for name, value in problem.vjp(F).items()
        }
        assert all(exact.values())
        from rnnfast import reference

        got, want = problem.vjp(F), problem.astype("float64").vjp(reference)
        for name, value in want.items():
            assert (got[name] == value).all(), name
