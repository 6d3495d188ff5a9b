"""Activations that also accept complex arguments, so that the complex step can differentiate them.

All but relu are analytic; where a choice is needed, the real part decides.
"""

import numpy as np

from .._check import Array


def sigmoid(s: Array) -> Array:
    """1 / (1 + exp(-s)), with an exponential that never overflows."""
    negative = s.real < 0
    e = np.exp(np.where(negative, s, -s))
    value: Array = np.where(negative, e, 1) / (1 + e)
    return value


def tanh(s: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(s)


def relu(s: Array) -> Array:
    """max(s, 0); NaN stays NaN."""
    return np.where(s.real <= 0, 0, s)


def identity(s: Array) -> Array:
    """The argument itself."""
    return s
