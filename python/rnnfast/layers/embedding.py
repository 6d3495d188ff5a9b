"""The embedding, which turns ids into vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check, _rnnfast
from .._check import RNG, Array
from ..row_gradient import RowGradient
from .base import Call
from .creation import create
from .stateless import RowsBackward, Stateless


class Embedding(Stateless):
    """Table of vectors, ``y = weight[ids]``.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Number of ids, and length of each vector.
    sparse : bool
        The gradient by ``weight`` is a `RowGradient`, of the rows that were looked up: time and
        memory of a training step then do not grow with `num_embeddings`.
    batch_first : bool
        Order of the axes, (B, T) or (T, B), that `lengths` refers to.
    dtype : str
        ``"float32"`` or ``"float64"``.
    rng : None, int, sequence of int, SeedSequence, BitGenerator or Generator
        Source of the initial parameters, normal with variance 1.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind; the wrong value.

    Notes
    -----
    Parameter: ``weight`` (num_embeddings, embedding_dim). The input is an array of integers
    with any number of axes, a list of integers, or a single one, each from 0 to
    num_embeddings - 1; its dx is None. With `lengths` it is (T, B), and what lies past a length
    is not looked up.
    """

    dtype: np.dtype[Any]
    takes_ids = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        sparse: bool = False,
        batch_first: bool = False,
        dtype: str = "float32",
        rng: RNG = None,
    ) -> None:
        self.num_embeddings = _check.integer("num_embeddings", num_embeddings, 1)
        self.embedding_dim = _check.integer("embedding_dim", embedding_dim, 1)
        self.sparse = _check.boolean("sparse", sparse)
        self.output_size = self.embedding_dim
        self.batch_first = _check.boolean("batch_first", batch_first)
        self.dtype = _check.float_dtype(dtype)
        shape = (self.num_embeddings, self.embedding_dim)
        generator = _check.generator(rng)

        def draw(p: Array) -> None:
            p[...] = generator.standard_normal(p.shape)

        self.params = create({"weight": shape}, self.dtype, draw)

    def _check_x(self, x: Any) -> Array:
        expected = "an array of integers, a list of them or one"
        if not isinstance(x, np.ndarray | np.integer | int | list) or isinstance(x, bool):
            raise TypeError(f"x is a {type(x).__name__}, expected {expected}")
        try:
            ids = np.asarray(x)
        except ValueError:
            raise ValueError("x has lists of different lengths, expected rnnfast.pad(x)") from None
        if ids.size == 0 and isinstance(x, list):
            ids = ids.astype(np.int64)
        if ids.dtype.kind not in "iu":
            raise TypeError(f"x has dtype {ids.dtype}, expected {expected}")
        return ids

    def _apply(self, rows: Array) -> Array:
        vectors: Array = _rnnfast.embedding(_check.as_int64(rows), self._params._arrays["weight"])
        return vectors.reshape(*rows.shape, self.embedding_dim)

    def _apply_vjp(self, rows: Array, call: Call) -> tuple[Array, RowsBackward]:
        def backward(dy: Array, skip: frozenset[str]) -> tuple[None, dict[str, Any]]:
            return None, {} if "weight" in skip else {"weight": self._gradient(rows, dy)}

        return self._apply(rows), backward

    def _gradient(self, ids: Array, dy: Array) -> Array | RowGradient:
        """Return the sum of dy (N, E) over the positions (N,) of each id, in their order."""
        ids = _check.as_int64(ids)
        if not self.sparse:
            return _rnnfast.embedding_vjp(ids, dy, self.num_embeddings)
        used, place = np.unique(ids, return_inverse=True)
        sums = _rnnfast.embedding_vjp(_check.as_int64(place), dy, len(used))
        return RowGradient(used, sums, self._params["weight"].shape)
