"""Initial values of parameters, written in place.

A weight matrix (G*m, n) of G gates is G matrices on top of each other: with ``blocks=G`` each
of them is initialised by itself. For example, as Keras does it::

    lstm = rnnfast.LSTM(8, 32)
    init.glorot_uniform(lstm.params["weight_ih_l0"], blocks=4, rng=0)
    init.orthogonal(lstm.params["weight_hh_l0"], blocks=4, rng=1)
    init.forget_bias(lstm)
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from . import _check
from ._check import RNG, Array
from .gates import GATES

if TYPE_CHECKING:
    from .layers import LSTM

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


def forget_bias(lstm: LSTM, value: float = 1.0) -> None:
    """Set the forget gates' bias of an `LSTM`, b_a + b_aa, to `value` and leave the others [1]_.

    Parameters
    ----------
    lstm : LSTM
        Layer with biases.
    value : float
        Bias of every forget gate.

    References
    ----------
    .. [1] R. Jozefowicz, W. Zaremba, I. Sutskever, "An empirical exploration of recurrent
       network architectures", ICML 2015.
    """
    if not getattr(lstm, "cell", "").startswith("lstm"):
        raise TypeError(f"lstm is {lstm!r}, expected an LSTM")
    if not lstm.bias:
        raise ValueError(f"lstm is {lstm!r}, expected one with bias=True")
    value = _check.real("value", value, -math.inf, math.inf, "(-inf, inf)")
    H = lstm.hidden_size
    start = GATES["lstm"]["rnnfast"].index("f") * H
    for name, p in lstm.params.items():
        if name.startswith("bias"):
            p[start : start + H] = value if name.startswith("bias_ih") else 0.0


def _check_parameter(name: str, p: Array) -> None:
    _check.float_array(name, p)
    _check.writeable(name, p)


def _block_shape(W: Array, blocks: int) -> tuple[int, int]:
    _check_parameter("W", W)
    blocks = _check.integer("blocks", blocks, 1)
    if W.ndim != 2 or W.shape[0] % blocks or W.shape[0] == 0:
        raise ValueError(f"W has shape {W.shape}, expected (blocks * m, n) with blocks = {blocks}")
    return W.shape[0] // blocks, W.shape[1]
