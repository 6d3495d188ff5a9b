"""Every program computes the same thing, and a program that does not is found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import rnnfast
from rnnfast.bench import rows
from rnnfast.bench.agree import disagreement, expected, rms_errors, second_results, tolerance
from rnnfast.bench.cases import FORWARD, HEADLINE, MODES, TRAINING, Case
from rnnfast.bench.peers import PROGRAMS, SINGLE, Program, Unavailable, build
from rnnfast.bench.rows import FAILED, measure, prepare
from rnnfast.bench.timing import compare
from rnnfast.reference import CELLS

THREADS = 2
SIZES = (4, 3, 5, 6)
CLASSIC = {cell for cell in CELLS if cell.startswith(("rnn_", "lstm", "gru_"))}

TINY = [
    *(Case(kind, mode, cell, *SIZES) for kind in ("grid", "ragged")
      for mode in MODES for cell in HEADLINE),
    *(Case("stacks", mode, cell, *SIZES, layers=2, directions=2)
      for mode in MODES for cell in HEADLINE),
    *(Case("float64", mode, "lstm", *SIZES, dtype="float64") for mode in MODES),
    *(Case("stream", FORWARD, cell, 1, 2, 5, 6) for cell in HEADLINE),
    *(Case("variants", mode, cell, *SIZES) for mode in MODES
      for cell in CELLS if cell not in HEADLINE),
    Case("model", TRAINING, "lstm", *SIZES),
    Case("model", TRAINING, "lstm", *SIZES, vocabulary=30),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    with rnnfast.threads(rnnfast.num_threads()):
        yield


def made(name: str, case: Case) -> Program:
    """The program, or a skip where its package is not installed."""
    try:
        return build(name, case, case.data(), THREADS)
    except Unavailable as reason:
        if "not installed" in str(reason):
            pytest.skip(f"oracle: {reason}")
        raise


def can(name: str, case: Case) -> bool:
    """Whether a program has such a case."""
    if name == "frozen":
        return case.mode == FORWARD
    if name == "checkpoint":
        return case.mode == TRAINING
    if name == "torch":
        return case.cell in (*HEADLINE, "rnn_relu")
    if name == "onnxruntime":
        return case.mode == FORWARD and case.cell in CLASSIC
    if name == "jax":
        return case.kind != "model" and case.cell in CLASSIC - {"lstm_peephole", "gru_before"}
    return True


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("case", TINY, ids=lambda case: case.id)
def test_agrees(name: str, case: Case) -> None:
    if not can(name, case):
        with pytest.raises(Unavailable, match=r"\w"):
            made(name, case)
        return
    program = made(name, case)
    if name == "onnxruntime" and case.dtype == "float64":
        with pytest.raises(Exception, match="does not support double"):
            program.call()
        return
    want = expected(case, case.data(), THREADS)
    assert disagreement(second_results(program), want, tolerance(case)) is None


@pytest.mark.parametrize("name", ["y", "a_T", "c_T", "dx", "da0", "dc0", "dweight_hh_l0"])
def test_an_error_in_any_result_is_found(name: str) -> None:
    case = Case("grid", TRAINING, "lstm", *SIZES)
    want = expected(case, case.data(), THREADS)
    wrong = {key: value.copy() for key, value in want.items()}
    assert disagreement(wrong, want, tolerance(case)) is None
    wrong[name].flat[-1] += 2 * tolerance(case) * np.abs(want[name]).max()
    assert str(disagreement(wrong, want, tolerance(case))).startswith(f"{name} is off by")
    wrong[name].flat[-1] = np.nan
    assert str(disagreement(wrong, want, tolerance(case))).startswith(f"{name} is off by")
    del wrong[name]
    assert disagreement(wrong, want, tolerance(case)) is not None


def test_a_model_that_does_not_learn_is_found() -> None:
    case = Case("model", TRAINING, "lstm", *SIZES)
    program = build("rnnfast", case, case.data(), THREADS)
    first = program.results(program.call())
    want = expected(case, case.data(), THREADS)
    assert str(disagreement(first, want, tolerance(case))).startswith("loss is off by")


@pytest.mark.parametrize("name", ["rnnfast", "frozen"])
def test_a_stream_that_does_not_move_on_is_found(name: str) -> None:
    case = Case("stream", FORWARD, "lstm", 1, 2, 5, 6)
    program = build(name, case, case.data(), THREADS)
    first = program.results(program.call())
    want = expected(case, case.data(), THREADS)
    assert str(disagreement(first, want, tolerance(case))).startswith("y is off by")


def test_a_wrong_program_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case("grid", FORWARD, "lstm", *SIZES)

    def broken(name: str, case: Case, *rest: object) -> Program:
        if name == "torch":
            raise ValueError("no\nluck")
        if name == "jax":
            raise Unavailable("jax is not installed")
        program = build("numpy", case, case.data(), THREADS)
        scale = 1.0 if name == "numpy" else 1.01
        return replace(
            program, results=lambda r: {k: scale * v for k, v in program.results(r).items()}
        )

    monkeypatch.setattr(rows, "build", broken)
    ready, absent = prepare(case, THREADS, ["rnnfast", "torch", "jax", "numpy"])
    assert list(ready) == ["numpy"]
    assert absent["rnnfast"].startswith(f"{FAILED}y is off by 0.0")
    assert absent["torch"] == f"{FAILED}ValueError: no"
    assert absent["jax"] == "jax is not installed"


@pytest.mark.parametrize("directions", [1, 2])
def test_single_is_one_layer_in_one_direction_on_one_thread(directions: int) -> None:
    case = Case("stacks", TRAINING, "lstm", *SIZES, layers=2, directions=directions)
    ready, absent = prepare(case, THREADS, ["rnnfast", SINGLE])
    assert not absent
    T, B, I, H = SIZES  # noqa: E741
    all_of_it = ready["rnnfast"].results(ready["rnnfast"].call())
    one = ready[SINGLE].results(ready[SINGLE].call())
    assert all_of_it["y"].shape == (T, B, directions * H)
    assert one["y"].shape == (T, B, H)
    assert {name for name in one if name.startswith("dw")} == {"dweight_ih_l0", "dweight_hh_l0"}
    assert one["dweight_ih_l0"].shape == (4 * H, I)
    for name, threads in (("rnnfast", THREADS), (SINGLE, 1), ("rnnfast", THREADS)):
        ready[name].before()
        assert rnnfast.num_threads() == threads


def test_the_number_of_threads_is_set_before_each_block() -> None:
    case = Case("grid", FORWARD, "lstm", *SIZES)
    seen: dict[str, set[int]] = {"rnnfast": set(), SINGLE: set()}
    ready, _ = prepare(case, THREADS, list(seen))
    calls = {name: lambda name=name: seen[name].add(rnnfast.num_threads()) for name in seen}
    compare(calls, 0.01, {name: program.before for name, program in ready.items()})
    assert seen == {"rnnfast": {THREADS}, SINGLE: {1}}


def test_measure() -> None:
    case = Case("grid", FORWARD, "lstm", *SIZES)
    row = measure(case, threads=THREADS, budget=0.05, programs=["rnnfast", "frozen", "numpy"])
    assert set(row.timings) == {"rnnfast", "frozen", "numpy"}
    assert not row.absent
    assert all(timing.median > 0 for timing in row.timings.values())


def test_measure_what_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def none(name: str, case: Case, *rest: object) -> Program:
        if name == "numpy":
            return build(name, case, case.data(), THREADS)
        asked.append(name)
        raise Unavailable("not here")

    monkeypatch.setattr(rows, "build", none)
    case = Case("directions", FORWARD, "lstm", *SIZES, directions=2)
    measure(case, threads=THREADS, budget=0.01)
    assert asked == ["rnnfast", "frozen", "torch", "onnxruntime", SINGLE]


def test_rms_errors() -> None:
    want = {"y": np.array([3.0, 4.0]), "dx": np.array([2.0]), "dW": np.array([[1.0, -1.0]])}
    got = {"y": np.array([3.0, 5.0]), "dx": np.array([2.2]), "dW": np.array([[1.2, -1.0]])}
    y, gradients = rms_errors(got, want)
    assert y == pytest.approx(np.sqrt(1 / 25))
    assert gradients == pytest.approx(np.sqrt((0.01 + 0.02) / 2))
