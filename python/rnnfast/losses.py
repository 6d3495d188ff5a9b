"""Losses, summed over time, with their gradients.

L = sum over t of L<t>(y<t>, target<t>), and over the sequences of a batch; ``"mean"`` divides
it by B. The steps that count are those inside `lengths` and where `mask` is True: what the
logits and the target hold elsewhere never matters, and the gradient there is 0.
"""

from __future__ import annotations

import numpy as np

from . import _check
from ._check import Array, Lengths
from .ragged import Mask, gather, scatter, step_mask

__all__ = ["bce", "cross_entropy", "mse"]


def cross_entropy(
    logits: Array,
    target: Array,
    *,
    mask: Mask | None = None,
    lengths: Lengths | None = None,
    weight: Array | None = None,
    reduction: str = "mean",
    batch_first: bool = False,
) -> tuple[float, Array]:
    """Cross-entropy of a softmax, ``L<t> = -sum_k weight_k p_k log softmax(logits<t>)_k``.

    Parameters
    ----------
    logits : ndarray
        (T, B, O); (B, T, O) with `batch_first`; or (B, O), one step.
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
    steps = _Steps(logits, mask, lengths, weight, reduction, batch_first)
    shifted, log_total, softmax = _softmax(steps.rows)
    if isinstance(target, np.ndarray) and target.dtype.kind in "iu":
        classes = steps.classes(target)
        at = (classes, np.arange(len(classes)))
        terms = log_total - shifted[at]
        softmax[at] -= 1
        if weight is not None:
            terms *= weight[classes]
            softmax *= weight[classes]
        return steps.finish(terms, softmax.T)
    log_softmax = (shifted - log_total).T
    p = steps.target(target)
    if weight is not None:
        p = p * weight
    # A class of probability 0 adds nothing, even where its logit is -inf.
    terms = -p * np.where(p == 0, 0, log_softmax)
    return steps.finish(terms, p.sum(axis=1, keepdims=True) * softmax.T - p)


def mse(
    y: Array,
    target: Array,
    *,
    mask: Mask | None = None,
    lengths: Lengths | None = None,
    weight: Array | None = None,
    reduction: str = "mean",
    batch_first: bool = False,
) -> tuple[float, Array]:
    """Squared error, ``L<t> = sum_k weight_k (y<t>_k - target<t>_k)**2``.

    Parameters
    ----------
    y, target : ndarray
        (T, B, O); (B, T, O) with `batch_first`; or (B, O), one step. Of one dtype.
    mask, lengths, weight, reduction, batch_first
        As for `cross_entropy`.

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
    steps = _Steps(y, mask, lengths, weight, reduction, batch_first, name="y")
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
) -> tuple[float, Array]:
    """Binary cross-entropy of a sigmoid.

    ``L<t> = -sum_k weight_k (p_k log s_k + (1 - p_k) log(1 - s_k))``, s = sigmoid(logits<t>).

    Parameters
    ----------
    logits, target : ndarray
        (T, B, O); (B, T, O) with `batch_first`; or (B, O), one step. Of one dtype; the target,
        p, is from 0 to 1.
    mask, lengths, weight, reduction, batch_first
        As for `cross_entropy`.

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
    steps = _Steps(logits, mask, lengths, weight, reduction, batch_first)
    z, p = steps.rows, steps.target(target)
    outside = ~((p >= 0) & (p <= 1))
    if outside.any():
        raise ValueError(f"target contains {p[outside][0]}, expected 0 <= target <= 1")
    exp = np.exp(-np.abs(z))  # never overflows
    terms = np.maximum(z, 0) - z * p + np.log1p(exp)
    d = np.where(z >= 0, 1, exp) / (1 + exp) - p
    return steps.finish(terms, d) if weight is None else steps.finish(weight * terms, weight * d)


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
        name: str = "logits",
    ) -> None:
        _check.float_array(name, logits)
        if logits.ndim not in (2, 3) or logits.shape[-1] == 0:
            axes = "(B, T, O)" if batch_first else "(T, B, O)"
            raise ValueError(
                f"{name} has shape {logits.shape}, expected {axes} or (B, O) with O >= 1"
            )
        if weight is not None:
            _check.array("weight", weight, logits.dtype, logits.shape[-1:], "(O,)")
        self.reduction = _check.choice("reduction", reduction, ("mean", "sum"))
        self.name, self.shape, self.dtype = name, logits.shape, logits.dtype
        self.batch = logits.shape[1 if logits.ndim == 3 and not batch_first else 0]
        self.mask = self._combine(mask, lengths, batch_first)
        self.rows = gather(logits, self.mask)

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
        """Return the classes (N,) of a target of integers."""
        _check.array("target", target, target.dtype, self.shape[:-1])
        classes = target.ravel() if self.mask is None else target[self.mask]
        outside = (classes < 0) | (classes >= self.shape[-1])
        if outside.any():
            raise ValueError(
                f"target contains {classes[outside][0]}, expected 0 <= class < O = {self.shape[-1]}"
            )
        return classes

    def finish(self, terms: Array, d: Array) -> tuple[float, Array]:
        """Return the loss and its gradient from their rows."""
        loss = float(terms.sum(dtype=np.float64))
        if self.reduction == "mean":
            divisor = max(self.batch, 1)
            loss, d = loss / divisor, np.divide(d, np.asarray(divisor, d.dtype), order="C")
        return loss, scatter(np.ascontiguousarray(d), self.mask, self.shape[:-1])
