"""What a pullback promises: its keys, None for zero, skip, retain, and the memory it shares."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from problems import Problem, assert_close, assert_same_bits, make, ragged
from rnnfast.reference import CELLS

every_cell = pytest.mark.parametrize("cell", CELLS)
BOUND = 1e-12 * 4


def problem_of(cell: str, **options: Any) -> Problem:
    return make(cell, T=4, B=3, I=3, H=5, **options)


def zeros_for(problem: Problem, *names: str) -> Problem:
    return problem.with_(**{name: np.zeros_like(getattr(problem, name)) for name in names})


@every_cell
def test_keys_are_those_of_what_was_given(F: ModuleType, cell: str) -> None:
    problem = problem_of(cell)
    states = {"a0", "c0"} if problem.two_states else {"a0"}
    params = {"peephole"} if problem.peephole is not None else set()
    given = {"x", "W_ax", "W_aa", "b_a", "b_aa"} | params
    bare = problem.with_(a0=None, c0=None, b_a=None, b_aa=None)
    for case, keys in (
        (problem, given | states),
        (problem.with_(b_aa=None), given - {"b_aa"} | states),
        (problem.with_(b_a=None), given - {"b_a"} | states),
        (bare, given - {"b_a", "b_aa"} | states),
    ):
        _, _, pullback = F.run_vjp(*case.layer, **case.options)
        grads = pullback(case.da, case.dstate)
        assert grads.keys() == keys
        for name in keys:
            whole = getattr(problem, name)
            assert grads[name].shape == whole.shape, name
            assert grads[name].dtype == whole.dtype, name


@every_cell
@pytest.mark.parametrize(
    "names", [("b_a",), ("b_aa",), ("b_a", "b_aa"), ("a0",), ("c0",), ("a0", "c0")], ids="+".join
)
def test_none_is_zero(F: ModuleType, cell: str, names: tuple[str, ...]) -> None:
    problem = problem_of(cell, lengths=[4, 2, 0])
    if "c0" in names and not problem.two_states:
        names = tuple(name for name in names if name != "c0")
    got = problem.with_(**dict.fromkeys(names)).vjp(F)
    want = zeros_for(problem, *names).vjp(F)
    for name in ("b_a", "b_aa"):
        if name in names:
            del want[f"d{name}"]
    assert_close(got, want, BOUND)


@every_cell
def test_whole_state_none(F: ModuleType, cell: str) -> None:
    problem = problem_of(cell)
    states = ("a0", "c0") if problem.two_states else ("a0",)
    a, _, pullback = F.run_vjp(cell, problem.x, None, *problem.layer[3:], **problem.options)
    want = zeros_for(problem, *states).vjp(F)
    assert_close({"a": a}, {"a": want["a"]}, BOUND)
    grads = pullback(problem.da, problem.dstate)
    got = {f"d{name}": grad for name, grad in grads.items()}
    assert_close(got, {name: want[name] for name in got}, BOUND)


@every_cell
@pytest.mark.parametrize(
    "names",
    [("da",), ("da_T",), ("dc_T",), ("da_T", "dc_T"), ("da", "da_T"), ("da", "da_T", "dc_T")],
    ids="+".join,
)
def test_gradient_none_is_zero(F: ModuleType, cell: str, names: tuple[str, ...]) -> None:
    problem = problem_of(cell)
    names = tuple(name for name in names if name != "dc_T" or problem.two_states)
    got = problem.with_(**dict.fromkeys(names)).vjp(F)
    assert_close(got, zeros_for(problem, *names).vjp(F), BOUND)


@every_cell
def test_whole_dstate_none(F: ModuleType, cell: str) -> None:
    problem = problem_of(cell)
    _, _, pullback = F.run_vjp(*problem.layer, **problem.options)
    grads = pullback(problem.da)
    names = ("da_T", "dc_T") if problem.two_states else ("da_T",)
    want = zeros_for(problem, *names).vjp(F)
    assert_close(grads, {name: want[f"d{name}"] for name in grads}, BOUND)


@every_cell
def test_skip_leaves_out_and_changes_nothing_else(F: ModuleType, cell: str) -> None:
    problem = problem_of(cell, lengths=ragged(4, 3))
    whole = problem.vjp(F)
    names = [key.removeprefix("d") for key in whole if key.startswith("d")]
    for skip in [(name,) for name in names] + [tuple(names), ("x", "W_ax"), ["b_a", "b_aa"]]:
        rest = {key: value for key, value in whole.items() if key.removeprefix("d") not in skip}
        assert_close(problem.vjp(F, skip=skip), rest | {"a": whole["a"]}, BOUND)


@every_cell
@pytest.mark.parametrize("checkpoint", [False, True])
def test_retain_allows_another_call(F: ModuleType, cell: str, checkpoint: bool) -> None:
    problem = problem_of(cell, lengths=[4, 0, 2])
    other = make(cell, T=4, B=3, I=3, H=5, lengths=[4, 0, 2], seed=1)
    _, _, pullback = F.run_vjp(*problem.layer, **problem.options, checkpoint=checkpoint)
    first = pullback(problem.da, problem.dstate, retain=True)
    copies = {name: grad.copy() for name, grad in first.items()}
    second = pullback(other.da, other.dstate, retain=True)
    third = pullback(problem.da, problem.dstate)
    assert_same_bits(first, copies)  # later calls do not write into what earlier ones gave
    assert_same_bits(third, first)
    swapped = problem.with_(da=other.da, da_T=other.da_T, dc_T=other.dc_T).vjp(F)
    assert_close(second, {name: swapped[f"d{name}"] for name in second}, BOUND)


@every_cell
@pytest.mark.parametrize("checkpoint", [False, True])
def test_without_retain_a_second_call_is_refused(
    F: ModuleType, cell: str, checkpoint: bool
) -> None:
    problem = problem_of(cell)
    _, _, pullback = F.run_vjp(*problem.layer, **problem.options, checkpoint=checkpoint)
    pullback(problem.da, problem.dstate)
    with pytest.raises(RuntimeError, match=r"pullback was called before without retain=True"):
        pullback(problem.da, problem.dstate)


@every_cell
def test_a_refused_call_consumes_nothing(F: ModuleType, cell: str) -> None:
    problem = problem_of(cell)
    _, _, pullback = F.run_vjp(*problem.layer, **problem.options)
    assert problem.da is not None
    with pytest.raises(ValueError, match=r"^da has shape "):
        pullback(problem.da[:-1], problem.dstate)
    grads = pullback(problem.da, problem.dstate)
    want = problem.vjp(F)
    assert_same_bits(grads, {name: want[f"d{name}"] for name in grads})


@every_cell
@pytest.mark.parametrize("checkpoint", [False, True])
def test_inputs_are_unchanged(F: ModuleType, cell: str, checkpoint: bool) -> None:
    problem = problem_of(cell, lengths=ragged(4, 3), reverse=True)
    before = {name: array.copy() for name, array in problem.arrays()}
    problem.run(F)
    problem.vjp(F, checkpoint=checkpoint)
    assert_same_bits(dict(problem.arrays()), before)


@every_cell
def test_the_outputs_outlive_the_pullback(F: ModuleType, cell: str) -> None:
    problem = problem_of(cell)
    a, state, pullback = F.run_vjp(*problem.layer, **problem.options)
    state = state if problem.two_states else (state,)
    before = [a.copy(), *(half.copy() for half in state)]
    pullback(problem.da, problem.dstate)
    for value, copy in zip([a, *state], before, strict=True):
        assert value.tobytes() == copy.tobytes()


@every_cell
def test_run_and_run_vjp_give_the_same_bits(F: ModuleType, cell: str) -> None:
    for lengths in (None, [4, 0, 2]):
        for reverse in (False, True):
            problem = problem_of(cell, lengths=lengths, reverse=reverse)
            run, vjp = problem.run(F), problem.vjp(F)
            assert_same_bits({name: vjp[name] for name in run}, run)


@every_cell
@pytest.mark.parametrize("with_out", [False, True])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_what_is_shared_is_read_only(
    F: ModuleType, cell: str, with_out: bool, checkpoint: bool
) -> None:
    """Whatever can be written after run_vjp may be written: the gradients stay right."""
    problem = problem_of(cell, lengths=[4, 0, 2])
    want = problem.vjp(F, checkpoint=checkpoint)
    out = np.empty_like(want["a"]) if with_out else None
    a, state, pullback = F.run_vjp(
        *problem.layer, **problem.options, checkpoint=checkpoint, out=out
    )
    for array in (a, *(state if problem.two_states else (state,))):
        if array.flags.writeable:
            array[...] = np.nan
    grads = pullback(problem.da, problem.dstate)
    assert_same_bits(grads, {name: want[f"d{name}"] for name in grads})
