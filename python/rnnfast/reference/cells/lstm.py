"""Long short-term memory, gates i f g o, with or without peepholes.

    i = sigmoid(x_i + r_i [+ p_i c_prev])        f = sigmoid(x_f + r_f [+ p_f c_prev])
    g = tanh(x_g + r_g)                          c = f c_prev + i g
    o = sigmoid(x_o + r_o [+ p_o c])             a = o tanh(c)

Sources: S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9 (1997);
F. A. Gers, J. Schmidhuber, F. Cummins, Learning to forget, Neural Computation 12 (2000);
peepholes: F. A. Gers, N. N. Schraudolph, J. Schmidhuber, Learning precise timing with LSTM
recurrent networks, JMLR 3 (2002).
"""

import numpy as np

from ..._check import Array
from ..activations import sigmoid, tanh
from ..cell import Arrays, Cell, Deltas, Made, Stage, register


def _forward(x: Array, r: Array, prev: Arrays, saved: Arrays, p: Array | None) -> Made:
    s_i, s_f, s_g, s_o = x + r
    _, c_prev = prev
    if p is not None:
        s_i = s_i + p[0] * c_prev
        s_f = s_f + p[1] * c_prev
    i, f, g = sigmoid(s_i), sigmoid(s_f), tanh(s_g)
    c = f * c_prev + i * g
    if p is not None:
        s_o = s_o + p[2] * c
    o = sigmoid(s_o)
    a = o * tanh(c)
    return Made((a, c), saved=(i, f, g, o, c))


def _backward(
    saved: Arrays, prev: Arrays, dstate: Arrays, dq: Array | None, p: Array | None
) -> Deltas:
    i, f, g, o, c = saved
    _, c_prev = prev
    da, dc = dstate
    tanh_c = tanh(c)
    ds_o = da * tanh_c * o * (1 - o)  # a = o tanh(c), o = sigmoid(s_o)
    dc = dc + da * o * (1 - tanh_c * tanh_c)  # a = o tanh(c)
    if p is not None:
        dc = dc + ds_o * p[2]  # s_o sees c
    ds_i = dc * g * i * (1 - i)  # c = f c_prev + i g
    ds_f = dc * c_prev * f * (1 - f)
    ds_g = dc * i * (1 - g * g)
    dc_prev = dc * f
    ds = (ds_i, ds_f, ds_g, ds_o)
    if p is None:
        return Deltas(dx=ds, dr=ds, dprev=(np.zeros_like(da), dc_prev))
    dc_prev = dc_prev + ds_i * p[0] + ds_f * p[1]  # s_i and s_f see c_prev
    dp = (ds_i * c_prev, ds_f * c_prev, ds_o * c)
    return Deltas(dx=ds, dr=ds, dprev=(np.zeros_like(da), dc_prev), dp=dp)


_STAGES = (Stage(("i", "f", "g", "o"), _forward, _backward),)

register(Cell("lstm", _STAGES, states=2))
register(Cell("lstm_peephole", _STAGES, states=2, params=3))
