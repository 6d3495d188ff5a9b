"""What a cell is: its gates, its states and the equations of one time step; and the table of cells.

A cell knows nothing of time, lengths, direction or weight matrices: those are the scan's
(`rnnfast.reference.scan`). It is the twin of the C++ policy of the same name in `csrc/cells/`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .._check import Array

Arrays = tuple[Array, ...]


class Made(NamedTuple):
    """What the forward of a stage gives.

    values : the new state, each (B, H); of a stage that is not the last, the one vector
        that the next stage multiplies by its rows of W_aa
    saved : what the next stage and the backward need, each (B, H)
    """

    values: Arrays
    saved: Arrays


class Deltas(NamedTuple):
    """What the backward of a stage gives: gradients of what its forward was given.

    dx, dr : one (B, H) a gate of the stage, of W_ax x + b_a and of W_aa operand + b_aa
    dprev : one (B, H) a state: what reaches the previous state not through W_aa
    dp : one (B, H) a row of per-unit parameters, not yet summed over the batch
    """

    dx: Arrays
    dr: Arrays
    dprev: Arrays
    dp: Arrays = ()


@dataclass(frozen=True)
class Stage:
    """The part of a step between two products with W_aa; most cells have one.

    gates : its gates' names, in the order of their rows in W_ax, W_aa, b_a and b_aa
    forward(x, r, prev, saved, p) -> Made
        x (gates, B, H) is W_ax x + b_a; r (gates, B, H) is W_aa operand + b_aa, where the
        operand is a_prev in the first stage and what the stage before made in the others;
        prev the previous state; saved what the stage before saved; p (params, H)
    backward(saved, prev, dstate, dq, p) -> Deltas
        saved by the last stage; dstate the gradient of the new state; dq the gradient of
        the vector this stage made for the next one (None in the last stage)
    """

    gates: tuple[str, ...]
    forward: Callable[[Array, Array, Arrays, Arrays, Array | None], Made]
    backward: Callable[[Arrays, Arrays, Arrays, Array | None, Array | None], Deltas]


@dataclass(frozen=True)
class Cell:
    """One variant of a recurrent cell.

    name : the registry's name, the same as in the kernels
    stages : in the order in which they run
    states : 1 (a) or 2 (a, c)
    params : rows of per-unit parameters (peepholes), each (H,)
    """

    name: str
    stages: tuple[Stage, ...]
    states: int = 1
    params: int = 0

    @property
    def gates(self) -> int:
        """The number of gates: W_ax has gates * H rows."""
        return sum(len(stage.gates) for stage in self.stages)

    def rows(self) -> tuple[slice, ...]:
        """For each stage, the gates that it finishes."""
        slices, first = [], 0
        for stage in self.stages:
            slices.append(slice(first, first + len(stage.gates)))
            first += len(stage.gates)
        return tuple(slices)


CELLS: dict[str, Cell] = {}


def register(cell: Cell) -> None:
    """Add a cell to the table; a name can be taken only once."""
    if cell.name in CELLS:
        raise ValueError(f"a cell named {cell.name!r} is registered already")
    CELLS[cell.name] = cell
