from collections.abc import Iterable, Sequence
from typing import Any, TypedDict, final

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[Any]

class _Cell(TypedDict):
    name: str
    gates: int
    states: int
    params: int
    stages: int

@final
class Packed: ...

@final
class Pullback:
    def __call__(
        self,
        da: _Array | None = None,
        dstate: Any = None,
        *,
        retain: bool = False,
        skip: Sequence[str] = (),
    ) -> dict[str, _Array]: ...
    def stack(
        self, da: _Array | None, dstate: Any, retain: bool, skip: Sequence[Sequence[str]]
    ) -> tuple[_Array | None, Any, list[dict[str, _Array]]]: ...

@final
class Stream:
    def __init__(
        self,
        cell: str,
        layers: list[tuple[_Array, _Array, _Array | None, _Array | None, _Array | None]],
        batch: int,
    ) -> None: ...
    def step(self, x_t: _Array, out: _Array | None = None) -> _Array: ...
    @property
    def state(self) -> Any: ...
    def set_state(self, state: Any) -> None: ...
    def reset(
        self, rows: Iterable[int] | npt.NDArray[np.integer[Any] | np.bool_] | None = None
    ) -> None: ...

def cells() -> tuple[_Cell, ...]: ...
def run(
    cell: str,
    x: _Array,
    state: Any,
    W_ax: _Array,
    W_aa: _Array,
    b_a: _Array | None,
    b_aa: _Array | None,
    peephole: _Array | None,
    lengths: Any,
    reverse: bool,
    out: _Array | None,
    sequence: bool = True,
    packed: Packed | None = None,
) -> tuple[Any, Any]: ...
def run_stack(
    cell: str,
    x: _Array,
    state: Any,
    weights: Sequence[tuple[_Array, _Array, _Array | None, _Array | None, _Array | None]],
    directions: int,
    lengths: Any,
    out: _Array | None,
    sequence: bool,
    packed: Sequence[Packed] | None,
) -> tuple[Any, Any]: ...
def run_stack_vjp(
    cell: str,
    x: _Array,
    state: Any,
    weights: Sequence[tuple[_Array, _Array, _Array | None, _Array | None, _Array | None]],
    directions: int,
    lengths: Any,
    out: _Array | None,
    sequence: bool,
    masks: Sequence[_Array],
    checkpoint: bool,
) -> tuple[Any, Any, Pullback]: ...
def run_vjp(
    cell: str,
    x: _Array,
    state: Any,
    W_ax: _Array,
    W_aa: _Array,
    b_a: _Array | None,
    b_aa: _Array | None,
    peephole: _Array | None,
    lengths: Any,
    reverse: bool,
    out: _Array | None,
    sequence: bool = True,
    checkpoint: bool = False,
) -> tuple[Any, Any, Pullback]: ...
def pack(
    cell: str,
    W_ax: _Array,
    W_aa: _Array,
    b_a: _Array | None,
    b_aa: _Array | None,
    peephole: _Array | None,
) -> Packed: ...
def dense(x: _Array, W: _Array, b: _Array | None, activation: str) -> _Array: ...
def dense_vjp(
    x: _Array, W: _Array, y: _Array, dy: _Array, activation: str, need_x: bool
) -> tuple[_Array | None, _Array, _Array]: ...
def cross_entropy(
    logits: _Array,
    target: npt.NDArray[np.int64],
    counts: npt.NDArray[np.bool_] | None,
    weight: _Array | None,
    divisor: float,
) -> tuple[float, _Array]: ...
def embedding(ids: npt.NDArray[np.int64], weight: _Array) -> _Array: ...
def embedding_vjp(ids: npt.NDArray[np.int64], dy: _Array, rows: int) -> _Array: ...
def activation(name: str, z: _Array) -> _Array: ...
def sgd_step(
    params: list[_Array],
    grads: list[_Array],
    velocities: list[_Array] | None,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> None: ...
def adam_step(
    params: list[_Array],
    grads: list[_Array],
    m: list[_Array],
    v: list[_Array],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> None: ...
def rmsprop_step(
    params: list[_Array],
    grads: list[_Array],
    square_avg: list[_Array],
    lr: float,
    alpha: float,
    eps: float,
    weight_decay: float,
) -> None: ...
def norm(grads: list[_Array]) -> float: ...
def scale(grads: list[_Array], factor: float) -> None: ...
def probe() -> dict[str, dict[str, Any]]: ...
def handover() -> float | None: ...
def isa() -> str: ...
def isas() -> tuple[str, ...]: ...
def num_threads() -> int: ...
def set_num_threads(n: int) -> None: ...
def _set_parallel_operations(n: float) -> None: ...
def _parallel_operations() -> float: ...
def _last_threads() -> int: ...
