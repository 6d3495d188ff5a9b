"""Initial values of parameters, written in place.

A weight matrix (G*m, n) of G gates is G matrices on top of each other: with ``blocks=G`` each
of them is initialised by itself. For example, as Keras does it::

    lstm = rnnfast.LSTM(8, 32)
    init.glorot_uniform(lstm.params["weight_ih_l0"], blocks=4, rng=0)
    init.orthogonal(lstm.params["weight_hh_l0"], blocks=4, rng=1)
    init.forget_bias(lstm.params["bias_ih_l0"], lstm.params["bias_hh_l0"])
"""

from __future__ import annotations

import math

import numpy as np

from . import _check
from ._check import RNG, Array
from .gates import GATES

__all__ = [
    "forget_bias",
    "glorot_normal",
    "glorot_uniform",
    "identity",
    "orthogonal",
    "torch_uniform",
]


def torch_uniform(p: Array, fan: int, *, rng: RNG = None) -> None:
    """Fill with PyTorch's default, the uniform distribution between -1/sqrt(fan), 1/sqrt(fan).

    Parameters
    ----------
    p : ndarray
        Weights or biases, of any shape.
    fan : int
        Hidden units of a recurrent layer, inputs of a dense one.
    rng : None, int or numpy.random.Generator
        Source of the values; the same in float32 and float64, up to rounding.
    """
    _check_parameter("p", p)
    bound = 1.0 / math.sqrt(_check.integer("fan", fan, 1))
    p[...] = _check.generator(rng).uniform(-bound, bound, p.shape)


def glorot_uniform(W: Array, *, blocks: int = 1, rng: RNG = None) -> None:
    """Fill each block (m, n) uniformly between -sqrt(6 / (m + n)) and sqrt(6 / (m + n)) [1]_.

    Parameters
    ----------
    W : ndarray (blocks * m, n)
        Weights.
    blocks : int
        Gates.
    rng : None, int or numpy.random.Generator
        Source of the values.

    References
    ----------
    .. [1] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward
       neural networks", AISTATS 2010, equation 16.
    """
    rows, columns = _block_shape(W, blocks)
    bound = math.sqrt(6.0 / (rows + columns))
    W[...] = _check.generator(rng).uniform(-bound, bound, W.shape)


def glorot_normal(W: Array, *, blocks: int = 1, rng: RNG = None) -> None:
    """Fill each block (m, n) from the normal distribution of variance 2 / (m + n) [1]_.

    Parameters
    ----------
    W : ndarray (blocks * m, n)
        Weights.
    blocks : int
        Gates.
    rng : None, int or numpy.random.Generator
        Source of the values.

    References
    ----------
    .. [1] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward
       neural networks", AISTATS 2010, equation 12.
    """
    rows, columns = _block_shape(W, blocks)
    W[...] = _check.generator(rng).normal(0.0, math.sqrt(2.0 / (rows + columns)), W.shape)


def orthogonal(W: Array, *, blocks: int = 1, gain: float = 1.0, rng: RNG = None) -> None:
    """Fill each block with `gain` times a random orthogonal matrix [1]_.

    A block with more rows than columns gets orthonormal columns, another orthonormal rows.

    Parameters
    ----------
    W : ndarray (blocks * m, n)
        Weights.
    blocks : int
        Gates.
    gain : float
        Factor, positive.
    rng : None, int or numpy.random.Generator
        Source of the values.

    References
    ----------
    .. [1] A. M. Saxe, J. L. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics
       of learning in deep linear neural networks", ICLR 2014.
    """
    rows, columns = _block_shape(W, blocks)
    gain = _check.real("gain", gain, 0.0, math.inf, "(0, inf)")
    generator = _check.generator(rng)
    for block in W.reshape(blocks, rows, columns):
        normal = generator.standard_normal((max(rows, columns), min(rows, columns)))
        Q, R = np.linalg.qr(normal)
        Q *= gain * np.sign(np.diag(R))  # without the signs Q is not uniformly distributed
        block[...] = Q if rows >= columns else Q.T


def identity(W_aa: Array, *, scale: float = 1.0) -> None:
    """Fill the recurrent weights of a ReLU `RNN` with `scale` times the identity [1]_.

    The paper sets the biases to 0 beside that, and draws W_ax from a normal distribution of
    standard deviation 0.001.

    Parameters
    ----------
    W_aa : ndarray (H, H)
        Recurrent weights.
    scale : float
        Positive; below 1 the network forgets.

    References
    ----------
    .. [1] Q. V. Le, N. Jaitly, G. E. Hinton, "A simple way to initialize recurrent networks of
       rectified linear units", 2015, arXiv:1504.00941.
    """
    rows, columns = _block_shape(W_aa, 1)
    if rows != columns:
        raise ValueError(f"W_aa has shape {W_aa.shape}, expected (H, H)")
    scale = _check.real("scale", scale, 0.0, math.inf, "(0, inf)")
    W_aa[...] = scale * np.eye(rows)


def forget_bias(b_ih: Array, b_hh: Array | None = None, value: float = 1.0) -> None:
    """Set the forget gates' bias of an LSTM to `value`, and leave the other gates' [1]_.

    The gate sees the sum of both biases: `b_ih` is set to `value`, and `b_hh` to 0.

    Parameters
    ----------
    b_ih : ndarray (4*H,)
        ``bias_ih_l0``, or another layer's; or one that is the only bias.
    b_hh : ndarray (4*H,), optional
        ``bias_hh_l0`` beside it.
    value : float
        Bias of every forget gate.

    Raises
    ------
    TypeError, ValueError
        If a bias is no ndarray, has another dtype or shape, or is read-only; if `value` is not
        finite. Nothing is changed.

    References
    ----------
    .. [1] R. Jozefowicz, W. Zaremba, I. Sutskever, "An empirical exploration of recurrent
       network architectures", ICML 2015.
    """
    gates = GATES["lstm"]["rnnfast"]
    _check_parameter("b_ih", b_ih)
    if b_ih.ndim != 1 or b_ih.size % len(gates) or not b_ih.size:
        raise ValueError(f"b_ih has shape {b_ih.shape}, expected (4*H,)")
    if b_hh is not None:
        _check.array("b_hh", b_hh, b_ih.dtype, b_ih.shape)
        _check.writeable("b_hh", b_hh)
    value = _check.real("value", value, -math.inf, math.inf, "(-inf, inf)")
    forget = np.split(np.arange(b_ih.size), len(gates))[gates.index("f")]
    b_ih[forget] = value
    if b_hh is not None:
        b_hh[forget] = 0.0


def _check_parameter(name: str, p: Array) -> None:
    _check.float_array(name, p)
    _check.writeable(name, p)


def _block_shape(W: Array, blocks: int) -> tuple[int, int]:
    _check_parameter("W", W)
    blocks = _check.integer("blocks", blocks, 1)
    if W.ndim != 2 or W.shape[0] % blocks or W.shape[0] == 0:
        raise ValueError(f"W has shape {W.shape}, expected (blocks * m, n) with blocks = {blocks}")
    return W.shape[0] // blocks, W.shape[1]
