"""Every case that is measured, once: its sizes, its data and its number of operations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from random import Random
from typing import Any, TypeAlias

import numpy as np

from rnnfast._check import Array
from rnnfast.reference import CELLS

Sizes: TypeAlias = tuple[int, int, int, int]

FORWARD, TRAINING = "forward", "training"
MODES = (FORWARD, TRAINING)

HEADLINE = ("rnn_tanh", "lstm", "gru_after")  # the cells that all peers have

# T, B, I, H
GRID: tuple[Sizes, ...] = (
    (100, 1, 8, 16), (100, 1, 32, 32), (100, 1, 64, 64), (100, 1, 128, 128), (100, 1, 256, 256),
    (100, 1, 512, 512), (100, 1, 1024, 1024), (1, 1, 32, 32), (1, 1, 128, 128), (100, 8, 32, 32),
    (100, 8, 128, 128), (100, 32, 32, 32), (100, 32, 64, 64), (50, 32, 128, 128),
    (50, 64, 256, 256), (50, 64, 512, 512), (30, 64, 1024, 1024), (1000, 16, 64, 64),
    (28, 128, 28, 128),
)  # fmt: skip
FLOAT64: tuple[Sizes, ...] = (
    (100, 1, 32, 32), (100, 1, 128, 128), (100, 1, 512, 512), (1, 1, 32, 32), (100, 8, 32, 32),
    (100, 8, 128, 128), (100, 32, 64, 64), (50, 64, 256, 256), (1000, 16, 64, 64),
    (28, 128, 28, 128),
)  # fmt: skip
RAGGED: tuple[Sizes, ...] = (
    (100, 8, 32, 32), (100, 8, 128, 128), (100, 32, 32, 32), (100, 32, 64, 64),
    (50, 32, 128, 128), (50, 64, 256, 256), (50, 64, 512, 512), (1000, 16, 64, 64),
    (28, 128, 28, 128),
)  # fmt: skip
STREAM: tuple[Sizes, ...] = (
    *((1, 1, H, H) for H in (8, 16, 32, 64, 128, 256)), (1, 32, 256, 256),
)  # fmt: skip
STACKS: tuple[Sizes, ...] = tuple(
    (100, B, H, H) for B in (1, 8, 32) for H in (16, 32, 64, 128, 256)
)
VARIANTS: tuple[Sizes, ...] = ((100, 8, 128, 128),)
MODEL: tuple[Sizes, ...] = (
    (20, 1, 8, 16), (50, 16, 16, 32), (100, 8, 32, 32), (28, 32, 28, 64), (100, 32, 64, 64),
)  # fmt: skip
WORDS: tuple[Sizes, ...] = ((35, 32, 128, 128),)  # models whose inputs and classes are words
SHORT: tuple[Sizes, ...] = ((100, 1, 32, 32), (100, 8, 128, 128), (50, 64, 256, 256))

SWEEP_T = 50
SWEEP_H = (1, 5, 12, 16, 20, 24, 33, 40, 48, 65, 72, 100, 130, 160, 200, 300, 384, 500)
SWEEP_B = (1, 2, 3, 4, 6, 8, 12, 17, 24, 33, 40, 50, 72, 100)

KINDS = {
    "grid": "One layer, float32",
    "float64": "One layer, float64",
    "ragged": "One layer, lengths uniform in 1..T",
    "stream": "One step at a time, the state carried on",
    "stacks": "Stacks of layers",
    "directions": "Both directions",
    "model": "A whole training step: recurrent layer, dense, cross-entropy, clipping, Adam",
    "variants": "The other cells of the registry",
    "beside": "One layer, sizes beside the grid's, drawn once",
    "sweep": "rnnfast alone over a map of H and B",
}

# A model's dense outputs, its words where it has some, and how it is trained.
CLASSES = 10
VOCABULARY = 10_000
MAX_NORM = 1.0
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Data:
    """The arrays of a case. L layers in D directions; state number layer * D + direction."""

    x: Array  # (T, B, I); of a model of words, their numbers (T, B)
    state: tuple[Array, ...]  # one or two of (L*D, B, H)
    params: dict[str, Array]  # PyTorch's names and shapes
    dy: Array  # (T, B, D*H), the gradient of the loss by the output
    lengths: Array | None  # (B,)
    target: Array  # (T, B), the classes of a model

    def astype(self, dtype: str) -> Data:
        """Return the same numbers in another dtype."""
        return Data(
            self.x.astype(dtype) if self.x.dtype.kind == "f" else self.x,
            tuple(part.astype(dtype) for part in self.state),
            {name: p.astype(dtype) for name, p in self.params.items()},
            self.dy.astype(dtype),
            self.lengths,
            self.target,
        )


@dataclass(frozen=True)
class Case:
    """One row: a problem, run forwards or trained (forward and BPTT, every gradient)."""

    kind: str
    mode: str
    cell: str
    T: int
    B: int
    I: int  # noqa: E741
    H: int
    dtype: str = "float32"
    layers: int = 1
    directions: int = 1
    vocabulary: int = 0  # words of a model, each a vector of size I; 0: x is vectors already
    id: str = field(init=False)

    def __post_init__(self) -> None:
        parts = [self.kind, self.cell, *map(str, self.sizes)]
        parts += [f"{self.layers}layers"] if self.layers > 1 else []
        parts += [f"{self.vocabulary}words"] if self.vocabulary else []
        object.__setattr__(self, "id", "-".join([*parts, self.mode]))

    @property
    def sizes(self) -> Sizes:
        """T, B, I and H."""
        return self.T, self.B, self.I, self.H

    @property
    def gates(self) -> int:
        """G."""
        return CELLS[self.cell].gates

    @property
    def classes(self) -> int:
        """What a model tells apart."""
        return self.vocabulary or CLASSES

    @property
    def layer_inputs(self) -> tuple[int, ...]:
        """The size of the input of each layer."""
        return (self.I, *(self.directions * self.H for _ in range(1, self.layers)))

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The end of the parameters' names of each layer and direction, in the states' order."""
        directions = ("", "_reverse")[: self.directions]
        return tuple(f"_l{layer}{d}" for layer in range(self.layers) for d in directions)

    def lengths(self) -> Array | None:
        """Return the length of each sequence, uniform in 1..T, or None where all are T."""
        if self.kind != "ragged":
            return None
        return np.random.default_rng(self.sizes).integers(1, self.T + 1, self.B)

    @property
    def steps(self) -> int:
        """Steps of all sequences together that are not padding."""
        lengths = self.lengths()
        return self.T * self.B if lengths is None else int(lengths.sum())

    @property
    def operations(self) -> int:
        """``2 G T B H (I + H)`` for each layer and direction; three times that with BPTT."""
        inputs = sum(size + self.H for size in self.layer_inputs)
        forward = 2 * self.gates * self.steps * self.H * inputs * self.directions
        if self.kind == "model":
            forward += 2 * self.steps * self.H * self.classes
        return 3 * forward if self.mode == TRAINING else forward

    def data(self) -> Data:
        """Return the arrays of the case, the same ones each time."""
        rng = np.random.default_rng(self.sizes)
        P, states = CELLS[self.cell].params, CELLS[self.cell].states
        rows, bound = self.gates * self.H, self.H**-0.5

        def normal(*shape: int, scale: float = 1.0) -> Array:
            return np.asarray(scale * rng.standard_normal(shape), self.dtype)

        def uniform(*shape: int) -> Array:
            return rng.uniform(-bound, bound, shape).astype(self.dtype)

        params = {}
        for k, suffix in enumerate(self.suffixes):
            params[f"weight_ih{suffix}"] = uniform(rows, self.layer_inputs[k // self.directions])
            params[f"weight_hh{suffix}"] = uniform(rows, self.H)
            params[f"bias_ih{suffix}"] = uniform(rows)
            params[f"bias_hh{suffix}"] = uniform(rows)
            if P:
                params[f"weight_peephole{suffix}"] = uniform(P, self.H)
        if self.kind == "model":
            params["weight"] = uniform(self.classes, self.H)
            params["bias"] = uniform(self.classes)
        if self.vocabulary:
            params["embedding"] = normal(self.vocabulary, self.I)
            x: Array = rng.integers(0, self.vocabulary, (self.T, self.B))
        else:
            x = normal(self.T, self.B, self.I)
        return Data(
            x=x,
            state=tuple(
                normal(self.layers * self.directions, self.B, self.H, scale=0.5)
                for _ in range(states)
            ),
            params=params,
            dy=normal(self.T, self.B, self.directions * self.H),
            lengths=self.lengths(),
            target=rng.integers(0, self.classes, (self.T, self.B)),
        )


def _rows(
    kind: str,
    sizes: Sequence[Sizes],
    cells: Sequence[str] = HEADLINE,
    modes: Sequence[str] = MODES,
    **options: Any,
) -> Iterator[Case]:
    for mode in modes:
        for cell in cells:
            yield from (Case(kind, mode, cell, *s, **options) for s in sizes)


def drawn(count: int = 40, seed: int = 1, most: float = 5e9) -> tuple[Sizes, ...]:
    """Return sizes beside the grid's, each uniform in its logarithm.

    Parameters
    ----------
    most : float
        Operations of an lstm's forward pass; what needs more is drawn again.
    """
    rng = Random(seed)
    sizes: list[Sizes] = []

    def between(low: int, high: int) -> int:
        return round(low * math.exp(rng.random() * math.log(high / low)))

    while len(sizes) < count:
        drawn = between(1, 600), between(1, 100), between(6, 640), between(6, 640)
        if Case("beside", FORWARD, "lstm", *drawn).operations <= most:
            sizes.append(drawn)
    return tuple(sizes)


CASES: tuple[Case, ...] = (
    *_rows("grid", GRID),
    *_rows("float64", FLOAT64, dtype="float64"),
    *_rows("ragged", RAGGED),
    *_rows("stream", STREAM, modes=(FORWARD,)),
    *_rows("stacks", STACKS, layers=2),
    *_rows("stacks", STACKS, layers=4),
    *_rows("directions", STACKS, directions=2),
    *_rows("model", MODEL, cells=("lstm",), modes=(TRAINING,)),
    *_rows("model", WORDS, cells=("lstm",), modes=(TRAINING,), vocabulary=VOCABULARY),
    *_rows("variants", VARIANTS, cells=[cell for cell in CELLS if cell not in HEADLINE]),
    *_rows("beside", drawn()),
)
# Many short points, which `--all` leaves out.
SWEEP: tuple[Case, ...] = tuple(
    _rows("sweep", [(SWEEP_T, B, H, H) for H in SWEEP_H for B in SWEEP_B])
)


def short() -> tuple[Case, ...]:
    """Return a few rows of every sort of work, for a first look."""
    grid = [case for case in CASES if case.kind == "grid" and case.sizes in SHORT]
    others = [case for case in CASES if case.kind in ("stream", "model") and case.H == 32]
    return (*grid, *others)


def thinned() -> tuple[Case, ...]:
    """Return every second H and B of the sweep."""
    return tuple(case for case in SWEEP if case.H in SWEEP_H[1::2] and case.B in SWEEP_B[::2])


def select(
    cases: Sequence[Case],
    *,
    rows: Sequence[str] = (),
    kinds: Sequence[str] = (),
    cells: Sequence[str] = (),
    modes: Sequence[str] = (),
) -> tuple[Case, ...]:
    """Return the cases that match; an empty filter matches all.

    Parameters
    ----------
    rows : sequence of str
        Shell patterns of `Case.id`, such as ``"*-100-1-*"``.
    kinds, modes : sequence of str
        Keys of `KINDS`; ``"forward"`` or ``"training"``.
    cells : sequence of str
        Names of the registry, or their beginnings: ``"rnn"``, ``"gru_after"``.
    """
    return tuple(
        case
        for case in cases
        if (not rows or any(fnmatchcase(case.id, row) for row in rows))
        and (not kinds or case.kind in kinds)
        and (not cells or case.cell.startswith(tuple(cells)))
        and (not modes or case.mode in modes)
    )
