"""rnn, lstm, gru and their _vjp are `run` and `run_vjp` of the variant that their options name."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
from problems import assert_same_bits, make
from rnnfast.reference import CELLS
from rnnfast.wrappers import Wrappers

VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    ("rnn", "rnn_tanh", {}),
    *(("rnn", name, {"g1": name[4:]}) for name in CELLS if name.startswith("rnn_")),
    ("lstm", "lstm", {}),
    ("lstm", "lstm_peephole", {}),
    ("gru", "gru_after", {}),
    *(("gru", name, {"reset": name[4:]}) for name in CELLS if name.startswith("gru_")),
]


@pytest.mark.parametrize(("function", "cell", "options"), VARIANTS)
def test_wrappers(F: ModuleType, function: str, cell: str, options: dict[str, Any]) -> None:
    problem = make(cell, T=4, B=3, I=2, H=5, lengths=[2, 4, 0], reverse=True)
    want = problem.vjp(F)
    options = options | {"lengths": problem.lengths, "reverse": True}
    if problem.peephole is not None:
        options["peephole"] = problem.peephole

    out = np.full_like(want["a"], np.nan)
    a, state = getattr(F, function)(*problem.layer[1:], **options, out=out)
    assert a is out
    finals = {"a_T": state[0], "c_T": state[1]} if problem.two_states else {"a_T": state}
    assert_same_bits({"a": a} | finals, {name: want[name] for name in ("a", *finals)})

    for checkpoint in (False, True):
        a, _, pullback = getattr(F, f"{function}_vjp")(
            *problem.layer[1:], **options, checkpoint=checkpoint
        )
        assert_same_bits({"a": a}, {"a": want["a"]})
        grads = pullback(problem.da, problem.dstate)
        expected = problem.vjp(F, checkpoint=checkpoint)
        assert_same_bits(grads, {name: expected[f"d{name}"] for name in grads})


def test_a_new_cell_of_the_registry_is_a_variant() -> None:
    """What the kernels and the reference are given is all that the wrappers know."""
    called = []

    def run(cell: str, *arguments: Any, **options: Any) -> Any:
        called.append(cell)

    wrappers = Wrappers(run, run, ["rnn_tanh", "rnn_softsign", "gru_never"])
    wrappers.rnn(*[None] * 4, g1="softsign")
    wrappers.gru_vjp(*[None] * 4, reset="never")
    assert called == ["rnn_softsign", "gru_never"]
    with pytest.raises(ValueError, match=r"^g1 is 'relu', expected one of tanh, softsign$"):
        wrappers.rnn(*[None] * 4, g1="relu")
