"""Outside results in PyTorch, float64: torch.nn where it has the cell, else its equations.

Each sequence is run by itself, cut to its length and turned round if reverse; autograd does the
rest. Nothing of rnnfast takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from problems import Array, Problem
from torch import Tensor

Parameters = Mapping[str, Tensor]
Sequence = Callable[[Tensor, list[Tensor], Parameters], tuple[Tensor, list[Tensor]]]


def _module(kind: Callable[..., Any]) -> Sequence:
    """One sequence (L, I) from states (1, H) through a torch.nn module that uses the parameters."""

    def sequence(x: Tensor, state: list[Tensor], p: Parameters) -> tuple[Tensor, list[Tensor]]:
        module = kind(x.shape[1], state[0].shape[1], dtype=torch.float64)
        names = {"weight_ih_l0": "W_ax", "weight_hh_l0": "W_aa"}
        names |= {"bias_ih_l0": "b_a", "bias_hh_l0": "b_aa"}
        for theirs, ours in names.items():
            setattr(module, theirs, p[ours])
        given = (state[0], state[1]) if len(state) == 2 else state[0]
        a, final = module(x, given)
        return a, list(final) if len(state) == 2 else [final]

    return sequence


def _equations(step: Callable[..., list[Tensor]]) -> Sequence:
    """One sequence by the equations of one step, from (W_ax x + b_a, state, parameters)."""

    def sequence(x: Tensor, state: list[Tensor], p: Parameters) -> tuple[Tensor, list[Tensor]]:
        outputs = []
        for x_t in x:
            state = step(p["W_ax"] @ x_t + p["b_a"], [s[0] for s in state], p)
            state = [s[None] for s in state]
            outputs.append(state[0])
        return torch.cat(outputs), state

    return sequence


def _rnn(g1: Callable[[Tensor], Tensor]) -> Callable[..., list[Tensor]]:
    def step(x: Tensor, state: list[Tensor], p: Parameters) -> list[Tensor]:
        return [g1(p["W_aa"] @ state[0] + x + p["b_aa"])]

    return step


def _lstm_peephole(x: Tensor, state: list[Tensor], p: Parameters) -> list[Tensor]:
    a_prev, c_prev = state
    s_i, s_f, s_g, s_o = (x + p["W_aa"] @ a_prev + p["b_aa"]).chunk(4)
    p_i, p_f, p_o = p["peephole"]
    c = torch.sigmoid(s_f + p_f * c_prev) * c_prev
    c = c + torch.sigmoid(s_i + p_i * c_prev) * torch.tanh(s_g)
    return [torch.sigmoid(s_o + p_o * c) * torch.tanh(c), c]


def _gru_before(x: Tensor, state: list[Tensor], p: Parameters) -> list[Tensor]:
    (a_prev,) = state
    x_r, x_z, x_n = x.chunk(3)
    W_r, W_z, W_n = p["W_aa"].chunk(3)
    b_r, b_z, b_n = p["b_aa"].chunk(3)
    r = torch.sigmoid(x_r + W_r @ a_prev + b_r)
    z = torch.sigmoid(x_z + W_z @ a_prev + b_z)
    n = torch.tanh(x_n + W_n @ (r * a_prev) + b_n)
    return [(1 - z) * n + z * a_prev]


SEQUENCES: dict[str, Sequence] = {
    "rnn_tanh": _module(torch.nn.RNN),
    "rnn_relu": _module(lambda *sizes, **kw: torch.nn.RNN(*sizes, nonlinearity="relu", **kw)),
    "rnn_sigmoid": _equations(_rnn(torch.sigmoid)),
    "rnn_identity": _equations(_rnn(lambda s: s)),
    "lstm": _module(torch.nn.LSTM),
    "lstm_peephole": _equations(_lstm_peephole),
    "gru_after": _module(torch.nn.GRU),
    "gru_before": _equations(_gru_before),
}


def results(problem: Problem) -> dict[str, Array]:
    """Everything that Problem.vjp returns, from PyTorch."""
    inputs = ("x", "a0", "c0", "W_ax", "W_aa", "b_a", "b_aa", "peephole")
    leaves = {
        name: torch.nn.Parameter(torch.tensor(array))
        for name, array in problem.arrays()
        if name in inputs
    }
    states = [leaves[name] for name in ("a0", "c0") if name in leaves]
    T, B, _ = problem.x.shape
    lengths = [T] * B if problem.lengths is None else problem.lengths.tolist()
    columns, finals = [], []
    for b, length in enumerate(lengths):
        x = leaves["x"][:length, b]
        a, final = torch.zeros(0, problem.W_aa.shape[1]).double(), [s[b : b + 1] for s in states]
        if length:
            x = x.flip(0) if problem.reverse else x
            a, final = SEQUENCES[problem.cell](x, final, leaves)
            a = a.flip(0) if problem.reverse else a
        columns.append(torch.cat([a, torch.zeros(T - length, a.shape[1]).double()]))
        finals.append(torch.stack(final))
    values = {"a": torch.stack(columns, 1)}
    values |= zip(("a_T", "c_T"), torch.cat(finals, 1), strict=False)
    weights = {"a": problem.da, "a_T": problem.da_T, "c_T": problem.dc_T}
    terms = [
        (value * torch.tensor(weights[name]).nan_to_num()).sum() for name, value in values.items()
    ]
    gradients = torch.autograd.grad(torch.stack(terms).sum(), list(leaves.values()))
    results = values | {f"d{name}": g for name, g in zip(leaves, gradients, strict=True)}
    return {name: value.detach().numpy() for name, value in results.items()}
