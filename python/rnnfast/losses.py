"""Losses, summed over time, with their gradients.

L = sum over t of L<t>(y<t>, target<t>), and over the sequences of a batch; ``"mean"`` divides
it by B. The steps that count are those inside `lengths` and where `mask` is True: what the
logits and the target hold elsewhere never matters, and the gradient there is 0.

Arrays with two axes are one step (B, O) of a batch. A layer reads them otherwise, as one sequence
(T, I) without a batch axis: give the losses of what it returns then ``unbatched=True``.
"""

from __future__ import annotations

import warnings

import numpy as np

from . import _check, _rnnfast
from ._check import Array, Lengths
from .ragged import Mask, gather, scatter, step_mask

__all__ = ["bce", "cross_entropy", "mse", "softmax"]


def cross_entropy(
    logits: Array,
    target: Array,
    *,
    mask: Mask | None = None,
    lengths: Lengths | None = None,
    weight: Array | None = None,
    reduction: str = "mean",
    batch_first: bool = False,
    unbatched: bool = False,
) -> tuple[float, Array]:
    """Cross-entropy of a softmax, ``L<t> = -sum_k weight_k p_k log softmax(logits<t>)_k``.

    Parameters
    ----------
    logits : ndarray
        (T, B, O); (B, T, O) with `batch_first`; or (B, O), one step. With `unbatched`, (T, O)
        or (O,).
    target : ndarray
        Integers of the shape of logits without the last axis: the class, 0 to O - 1, of each
        step, which has p = 1. Or the probabilities p, of the shape and dtype of logits.
    mask : ndarray of bool, optional
        The steps that count, of the shape of logits without the last axis.
    lengths : integers (B,), optional
        Where each sequence ends; not for logits (B, O).
    weight : ndarray (O,), optional
        Weight of each class, of the dtype of logits.
    reduction : str
        ``"mean"``, the sum divided by B, or ``"sum"``.
    batch_first : bool
        Order of the axes of logits, target and mask.
    unbatched : bool
        True says that there is no batch axis: arrays with two axes are one sequence (T, O), B
        is 1 and `lengths` is not allowed. By default they are a batch (B, O) of one step.

    Returns
    -------
    loss : float
        The loss.
    dlogits : ndarray
        Its gradient, of the shape and dtype of logits.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or dtype; the wrong shape or value.

    Warnings
    --------
    The softmax is part of the loss: the last layer must not have one of its own. With
    ``Dense(..., activation="softmax")`` it would be applied twice, and the model would train
    badly without an error. Leave the activation out, and take `softmax` of the logits where
    probabilities are wanted. Logits whose first rows are probabilities give a UserWarning.
    """
    steps = _Steps(logits, mask, lengths, weight, reduction, batch_first, unbatched)
    _warn_of_probabilities(steps.first_rows(4))
    if isinstance(target, np.ndarray | np.integer) and target.dtype.kind in "iu":
        z, counts = gather(logits, None), None if steps.mask is None else steps.mask.ravel()
        loss, d = _rnnfast.cross_entropy(z, steps.classes(target), counts, weight, steps.divisor)
        return loss, d.reshape(logits.shape)
    shifted, log_total, q = _softmax(steps.rows)
    log_q = (shifted - log_total).T
    p = steps.target(target)
    if weight is not None:
        p = p * weight
    # A class of probability 0 adds nothing, even where its logit is -inf.
    terms = -_weighted(p, log_q)
    return steps.finish(terms, p.sum(axis=1, keepdims=True) * q.T - p)


def _warn_of_probabilities(rows: Array) -> None:
    """Warn if the first logits (N, O) come from a softmax."""
    if not rows.size or rows.shape[1] == 1 or rows.item(0) < 0:  # mostly there is no more to do
        return
    if (rows >= 0).all() and (abs(rows.sum(1) - 1) < 1e-5).all():
        warnings.warn(
            "logits are from 0 to 1 and sum to 1, as after a softmax, which cross_entropy applies"
            ' itself: leave out activation="softmax"',
            stacklevel=3,
        )


def mse(
    y: Array,
    target: Array,
    *,
    mask: Mask | None = None,
    lengths: Lengths | None = None,
    weight: Array | None = None,
    reduction: str = "mean",
    batch_first: bool = False,
    unbatched: bool = False,
) -> tuple[float, Array]:
    """Squared error, ``L<t> = sum_k weight_k (y<t>_k - target<t>_k)**2``.

    Parameters
    ----------
    y, target : ndarray
        (T, B, O); (B, T, O) with `batch_first`; or (B, O), one step. With `unbatched`, (T, O)
        or (O,). Of one dtype.
    mask, lengths, weight, reduction, batch_first
        As for `cross_entropy`.
    unbatched : bool
        True reads two axes as one sequence (T, O), False as one step (B, O) of a batch.

    Returns
    -------
    loss : float
        The loss. ``"mean"`` divides by B only, not by T and O as PyTorch does.
    dy : ndarray
        Its gradient, of the shape and dtype of y.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or dtype; the wrong shape or value.
    """
    steps = _Steps(y, mask, lengths, weight, reduction, batch_first, unbatched, "y")
    error = steps.rows - steps.target(target)
    weighted = error if weight is None else weight * error
    return steps.finish(weighted * error, 2 * weighted)


def bce(
    logits: Array,
    target: Array,
    *,
    mask: Mask | None = None,
    lengths: Lengths | None = None,
    weight: Array | None = None,
    reduction: str = "mean",
    batch_first: bool = False,
    unbatched: bool = False,
) -> tuple[float, Array]:
    """Binary cross-entropy of a sigmoid.

    ``L<t> = -sum_k weight_k (p_k log s_k + (1 - p_k) log(1 - s_k))``, s = sigmoid(logits<t>).

    Parameters
    ----------
    logits, target : ndarray
        (T, B, O); (B, T, O) with `batch_first`; or (B, O), one step. With `unbatched`, (T, O)
        or (O,). Of one dtype; the target, p, is from 0 to 1.
    mask, lengths, weight, reduction, batch_first
        As for `cross_entropy`.
    unbatched : bool
        True reads two axes as one sequence (T, O), False as one step (B, O) of a batch.

    Returns
    -------
    loss : float
        The loss.
    dlogits : ndarray
        Its gradient, of the shape and dtype of logits.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong kind or dtype; the wrong shape or value.
    """
    steps = _Steps(logits, mask, lengths, weight, reduction, batch_first, unbatched)
    z, p = steps.rows, steps.target(target)
    outside = ~((p >= 0) & (p <= 1))
    if outside.any():
        raise ValueError(f"target contains {p[outside][0]}, expected 0 <= target <= 1")
    size = np.abs(z)
    exp = np.exp(-size)  # never overflows
    # The probability of the answer that z speaks against, which is all that a large z costs.
    against = np.where(z >= 0, 1 - p, p)
    terms = _weighted(against, size) + np.log1p(exp)
    d = np.where(z >= 0, 1, exp) / (1 + exp) - p
    if weight is not None:
        terms, d = _weighted(weight, terms), weight * d
    return steps.finish(terms, d)


def softmax(logits: Array) -> Array:
    """Probabilities, ``exp(logits_k) / sum_j exp(logits_j)`` over the last axis.

    For drawing from what a model trained with `cross_entropy` predicts.

    Parameters
    ----------
    logits : ndarray (..., O)
        O >= 1; -inf rules a class out.

    Returns
    -------
    p : ndarray
        Of the shape and dtype of logits; large logits do not overflow.

    Raises
    ------
    TypeError, ValueError
        If logits is no ndarray of float32 or float64, or has no last axis or an empty one.

    Examples
    --------
    >>> import numpy as np
    >>> rnnfast.losses.softmax(np.array([0.0, np.log(3.0)]))
    array([0.25, 0.75])
    """
    _check.float_array("logits", logits)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"logits has shape {logits.shape}, expected (..., O) with O >= 1")
    _, _, p = _softmax(gather(logits, None))
    return scatter(np.ascontiguousarray(p.T), None, logits.shape[:-1])


def _weighted(weight: Array, terms: Array) -> Array:
    """Return weight * terms, where a weight of 0 drops even an infinite term."""
    return weight * np.where(weight == 0, 0, terms)


def _softmax(rows: Array) -> tuple[Array, Array, Array]:
    """Return of rows (N, O): s (O, N), l (N,) and p (O, N), where log p = s - l.

    The rows stand upright, since NumPy reduces a long last axis much faster than a short one.
    """
    shifted = np.array(rows.T, order="C")
    shifted -= shifted.max(axis=0)
    softmax = np.exp(shifted)
    total = softmax.sum(axis=0)
    softmax /= total
    return shifted, np.log(total), softmax


class _Steps:
    """The rows (N, O) of the steps that count, and the way back to the shape of the logits."""

    def __init__(
        self,
        logits: Array,
        mask: Mask | None,
        lengths: Lengths | None,
        weight: Array | None,
        reduction: str,
        batch_first: bool,
        unbatched: bool,
        name: str = "logits",
    ) -> None:
        _check.float_array(name, logits)
        batch_first = _check.boolean("batch_first", batch_first)
        unbatched = _check.boolean("unbatched", unbatched)
        axes = "(B, T, O) or (B, O)" if batch_first else "(T, B, O) or (B, O)"
        if unbatched:
            axes = "(T, O) or (O,) as it is unbatched"
        if logits.ndim + unbatched not in (2, 3) or logits.shape[-1] == 0:
            raise ValueError(f"{name} has shape {logits.shape}, expected {axes}, with O >= 1")
        if unbatched and lengths is not None:
            raise ValueError("lengths is not allowed with unbatched=True, expected None")
        if weight is not None:
            _check.array("weight", weight, logits.dtype, logits.shape[-1:], "(O,)")
        mean = _check.choice("reduction", reduction, ("mean", "sum")) == "mean"
        self.name, self.shape, self.dtype = name, logits.shape, logits.dtype
        time_first = logits.ndim == 3 and not batch_first
        batch = 1 if unbatched else logits.shape[1 if time_first else 0]
        self.divisor = max(batch, 1) if mean else 1
        self.mask = self._combine(mask, lengths, batch_first)
        self._logits = logits

    @property
    def rows(self) -> Array:
        return gather(self._logits, self.mask)

    def first_rows(self, n: int) -> Array:
        """Return the first n rows at most."""
        if self.mask is None:
            return gather(self._logits, None)[:n]
        at = np.unravel_index(np.flatnonzero(self.mask)[:n], self.mask.shape)
        first: Array = self._logits[at]
        return first

    def _combine(
        self, mask: Mask | None, lengths: Lengths | None, batch_first: bool
    ) -> Mask | None:
        leading = self.shape[:-1]
        inside = None if lengths is None else step_mask(lengths, leading, batch_first)
        if mask is None:
            return inside
        _check.array("mask", mask, np.dtype(bool), leading)
        return mask if inside is None else mask & inside

    def target(self, target: Array) -> Array:
        """Return the rows of a target of the shape of the logits."""
        return gather(_check.array("target", target, self.dtype, self.shape), self.mask)

    def classes(self, target: Array) -> Array:
        """Return the classes of a target of integers, of all steps."""
        target = np.asarray(target)  # one class of an array is a scalar
        _check.array("target", target, target.dtype, self.shape[:-1])
        return _check.as_int64(target)

    def finish(self, terms: Array, d: Array) -> tuple[float, Array]:
        """Return the loss and its gradient from their rows."""
        loss = float(terms.sum(dtype=np.float64))
        if self.divisor > 1:
            loss = loss / self.divisor
            d = np.divide(d, np.asarray(self.divisor, d.dtype), order="C")
        return loss, scatter(np.ascontiguousarray(d), self.mask, self.shape[:-1])
