"""The embedding, which turns ids into vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _check
from .._check import RNG, Array, Lengths
from ..ragged import Mask, scatter
from .base import Backward, Gradients, Stateless


class Embedding(Stateless):
    """Table of vectors, ``y = weight[ids]``.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Number of ids, and length of each vector.
    batch_first : bool
        Order of the axes, (B, T) or (T, B), that `lengths` refers to.
    dtype : str
        ``"float32"`` or ``"float64"``.
    rng : None, int or numpy.random.Generator
        Source of the initial parameters, normal with variance 1.

    Notes
    -----
    Parameter: ``weight`` (num_embeddings, embedding_dim). The input is an array of integers
    with any number of axes, each from 0 to num_embeddings - 1; its dx is None. With `lengths`
    it is (T, B), and what lies past a length is not looked up.
    """

    takes_ids = True

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        batch_first: bool = False,
        dtype: str = "float32",
        rng: RNG = None,
    ) -> None:
        self.num_embeddings = _check.integer("num_embeddings", num_embeddings, 1)
        self.embedding_dim = _check.integer("embedding_dim", embedding_dim, 1)
        self.output_size = self.embedding_dim
        self.batch_first = bool(batch_first)
        self.dtype = _check.float_dtype(dtype)
        shape = (self.num_embeddings, self.embedding_dim)
        weight = _check.generator(rng).standard_normal(shape)
        self._params = {"weight": weight.astype(self.dtype)}

    def _run(
        self, x: Array, state: Any, lengths: Lengths | None, return_sequence: bool
    ) -> tuple[Array, None]:
        mask, ids = self._lookup(x, state, lengths, return_sequence)
        return scatter(self._params["weight"][ids], mask, x.shape), None

    def _run_vjp(
        self,
        x: Array,
        state: Any,
        lengths: Lengths | None,
        return_sequence: bool,
        rng: RNG,
        checkpoint: bool,
    ) -> tuple[Array, None, Backward]:
        mask, ids = self._lookup(x, state, lengths, return_sequence)

        def backward(
            dy: Array | None, dstate: None, retain: bool, skip: frozenset[str]
        ) -> Gradients:
            if "weight" in skip:
                return None, None, {}
            dW = np.zeros_like(self._params["weight"])
            if dy is not None and ids.size:
                dy = dy[... if mask is None else mask].reshape(ids.size, self.embedding_dim)
                order = np.argsort(ids, axis=None, kind="stable")
                used, starts = np.unique(ids.ravel()[order], return_index=True)
                dW[used] = np.add.reduceat(dy[order], starts, axis=0)
            return None, None, {"weight": dW}

        y = scatter(self._params["weight"][ids], mask, x.shape)
        return y, None, backward

    def _lookup(
        self, x: Array, state: Any, lengths: Lengths | None, return_sequence: bool
    ) -> tuple[Mask | None, Array]:
        """Return which steps are inside their lengths, and the ids there, all checked."""
        self._check_call(state, return_sequence)
        if not isinstance(x, np.ndarray | np.integer):  # one id of an array is a scalar
            raise TypeError(f"x is a {type(x).__name__}, expected an ndarray of integers")
        if x.dtype.kind not in "iu":
            raise TypeError(f"x has dtype {x.dtype}, expected integers")
        mask = self._rows(x.shape, lengths)
        ids = np.asarray(x if mask is None else x[mask])
        outside = (ids < 0) | (ids >= self.num_embeddings)
        if outside.any():
            raise ValueError(
                f"x contains the id {ids[outside][0]},"
                f" expected 0 <= id < num_embeddings = {self.num_embeddings}"
            )
        return mask, ids
