"""Problems for whole layers, and what must come out, composed by hand from the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from problems import FLOAT32_FACTOR, Array, ragged
from rnnfast import reference
from rnnfast.layers import Recurrent

T, B, I, H = 5, 4, 3, 6  # noqa: E741

STACKS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "three layers": {"num_layers": 3},
    "two directions": {"bidirectional": True},
    "deep, both, batch first": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "no bias, batch first": {"bias": False, "batch_first": True},
}
MODES = ("whole", "ragged", "end only", "ragged, end only", "unbatched", "unbatched, end only")


@dataclass(frozen=True)
class LayerProblem:
    """The arguments of one vjp of a layer, and the gradients to take back through it."""

    layer: Recurrent
    x: Array  # as the layer takes it
    state: tuple[Array, ...]  # one (K, B, H) a state of the cell, K layers and directions
    dy: Array  # as the layer's y
    dstate: tuple[Array, ...]
    lengths: Array | None
    return_sequence: bool

    def tree(self, parts: tuple[Array, ...]) -> Any:
        """The state as the layer takes it."""
        return parts if self.layer.num_states > 1 else parts[0]

    @property
    def options(self) -> dict[str, Any]:
        return {"lengths": self.lengths, "return_sequence": self.return_sequence}

    def run(self) -> dict[str, Array]:
        """The results of a call, by name."""
        y, state = self.layer(self.x, self.tree(self.state), **self.options)
        return {"y": y} | self.named("state", state)

    def vjp(self, **options: Any) -> dict[str, Array]:
        """The results of vjp and its pullback, by name; gradients start with d."""
        y, state, pullback = self.layer.vjp(
            self.x, self.tree(self.state), need_x=True, **self.options, **options
        )
        dx, dstate, grads = pullback(self.dy, self.tree(self.dstate))
        assert dx is not None
        named = {"y": y, "dx": dx} | self.named("state", state) | self.named("dstate", dstate)
        return named | {f"d{name}": grad for name, grad in grads.items()}

    def named(self, name: str, state: Any) -> dict[str, Array]:
        """The parts of a state, by name."""
        parts = state if self.layer.num_states > 1 else (state,)
        return {f"{name}[{i}]": part for i, part in enumerate(parts)}

    @property
    def tolerance(self) -> float:
        """How far results may be from float64's, as `assert_close` counts."""
        T, B, H = self.x.shape[0], math.prod(self.x.shape[1:-1]), self.layer.hidden_size
        if self.layer.batch_first and self.x.ndim == 3:
            T, B = B, T
        if self.layer.dtype == np.float64:
            return 1e-12 * T
        K = max(self.layer.output_size + H, T * B)
        depth = T * self.layer.num_layers
        return float(FLOAT32_FACTOR * np.finfo(np.float32).eps * np.sqrt(K) * depth)


def make_layer_problem(
    layer: Recurrent,
    mode: str = "whole",
    seed: int = 0,
    *,
    T: int = T,
    B: int = B,
    lengths: Array | None = None,
) -> LayerProblem:
    """A problem with every argument given; past a length, x and dy are NaN."""
    rng = np.random.default_rng(seed)
    batched, sequence = "unbatched" not in mode, "end only" not in mode
    batch = (B,) if batched else ()
    time = (B, T) if layer.batch_first and batched else (T, *batch)
    K = layer.num_layers * (2 if layer.bidirectional else 1)
    if "ragged" in mode and lengths is None:
        lengths = ragged(T, B)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(layer.dtype)

    states = range(layer.num_states)
    problem = LayerProblem(
        layer,
        x=normal(*time, layer.input_size),
        state=tuple(normal(K, *batch, layer.hidden_size) for _ in states),
        dy=normal(*(time if sequence else batch), layer.output_size),
        dstate=tuple(normal(K, *batch, layer.hidden_size) for _ in states),
        lengths=lengths,
        return_sequence=sequence,
    )
    if problem.lengths is not None:
        padding = np.arange(T)[:, None] >= problem.lengths
        padding = padding.T if layer.batch_first else padding
        problem.x[padding] = np.nan
        if sequence:
            problem.dy[padding] = np.nan
    return problem


def reference_results(problem: LayerProblem) -> dict[str, Array]:
    """Everything that LayerProblem.vjp returns, in float64 from the reference."""
    layer, batched = problem.layer, problem.x.ndim == 3
    directions, K = 2 if layer.bidirectional else 1, len(problem.state[0])
    H = layer.hidden_size

    def time_first(x: Array) -> Array:
        x = x.astype(np.float64)
        return x[:, None] if not batched else x.transpose(1, 0, 2) if layer.batch_first else x

    def batch_of(state: tuple[Array, ...], k: int) -> list[Array]:
        return [s[k].astype(np.float64).reshape(-1, H) for s in state]

    def tree(parts: list[Array]) -> Any:
        return tuple(parts) if len(parts) > 1 else parts[0]

    def name(stem: str, k: int) -> str:
        return f"{stem}_l{k // directions}" + ("_reverse" if k % directions else "")

    names = {
        "W_ax": "weight_ih", "W_aa": "weight_hh", "b_a": "bias_ih", "b_aa": "bias_hh",
        "peephole": "weight_peephole",
    }  # fmt: skip
    params = {key: p.astype(np.float64) for key, p in layer.params.items()}
    x, finals, pullbacks = time_first(problem.x), [], []
    for first in range(0, K, directions):
        columns = []
        for k in range(first, first + directions):
            weights = {w: params.get(name(stem, k)) for w, stem in names.items()}
            a, final, pullback = reference.run_vjp(
                layer.cell, x, tree(batch_of(problem.state, k)), **weights,
                lengths=problem.lengths, reverse=k % directions == 1,
            )  # fmt: skip
            columns.append(a)
            finals.append(final if isinstance(final, tuple) else (final,))
            pullbacks.append(pullback)
        x = np.concatenate(columns, axis=2)
    results: dict[str, Array] = {"y": x}
    ends = np.concatenate([final[0] for final in finals[-directions:]], axis=1)

    dstates = [batch_of(problem.dstate, k) for k in range(K)]
    da = np.zeros_like(x)
    if problem.return_sequence:
        da = time_first(problem.dy)
    else:
        results["y"] = ends
        for d in range(directions):
            dy = problem.dy.reshape(-1, directions, H)[:, d]
            dstates[K - directions + d][0] += dy
    dinitial: list[Any] = [None] * K
    for first in reversed(range(0, K, directions)):
        dx = 0.0
        for k in range(first, first + directions):
            d = k % directions
            grads = pullbacks[k](da[:, :, d * H : (d + 1) * H], tree(dstates[k]))
            dx = dx + grads["x"]
            dinitial[k] = [grads[key] for key in ("a0", "c0") if key in grads]
            results |= {f"d{name(names[w], k)}": grads[w] for w in names if w in grads}
        da = dx
    results["dx"] = da

    for s in range(layer.num_states):
        results[f"state[{s}]"] = np.stack([final[s] for final in finals])
        results[f"dstate[{s}]"] = np.stack([initial[s] for initial in dinitial])
    return _as_caller(results, batched, layer.batch_first, problem.return_sequence)


def _as_caller(
    results: dict[str, Array], batched: bool, batch_first: bool, sequence: bool
) -> dict[str, Array]:
    """Arrange time-first results with a batch axis as the layer does."""
    timed = ("y", "dx") if sequence else ("dx",)
    if not batched:
        return {
            key: value[0] if key == "y" and not sequence else value[:, 0]
            if key in ("y", "dx") or "state" in key else value
            for key, value in results.items()
        }  # fmt: skip
    if batch_first:
        return {k: v.transpose(1, 0, 2) if k in timed else v for k, v in results.items()}
    return results
