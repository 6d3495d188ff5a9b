"""`run` and `run_vjp` under each cell's own name, with its own options.

Written once for the kernels and for the reference: `functional` and `reference` each give their own
`run` and `run_vjp` to `Wrappers` and take its methods for their functions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol, TypeAlias

from . import _check
from ._check import Array, Lengths

State: TypeAlias = Array | tuple[Array | None, Array | None] | None

# Keyword arguments whose names are taken for later versions.
RESERVED = (
    "activations",
    "activation_alpha",
    "activation_beta",
    "clip",
    "input_forget",
    "W_ra",
    "resets",
)


def refuse(options: Iterable[str]) -> None:
    """Refuse options that do not exist: some names are kept for later, others are mistakes."""
    for name in options:
        if name in RESERVED:
            raise ValueError(f"{name} is reserved for a later version, expected it to be absent")
        raise TypeError(f"unexpected keyword argument {name!r}")


class Pullback(Protocol):
    """What `run_vjp` returns: takes gradients of its results to those of its arguments."""

    def __call__(
        self,
        da: Array | None = None,
        dstate: State = None,
        *,
        retain: bool = False,
        skip: Sequence[str] = (),
    ) -> dict[str, Array]:
        """Return the gradients by the names of the arguments.

        Parameters
        ----------
        da : ndarray (T, B, H), optional
            Gradient of the loss by ``a``; None is zero.
        dstate : ndarray (B, H) or tuple of two, optional
            Gradient by the final state; None, whole or in part, is zero.
        retain : bool, default False
            Keep the memory, so that the pullback can be called again.
        skip : tuple of str, default ()
            Names of gradients to leave out.

        Returns
        -------
        gradients : dict of str to ndarray
            x, a0, c0, W_ax, W_aa, b_a, b_aa, peephole, less what the cell does not have, the biases
            that were None and the names in `skip`.

        Raises
        ------
        RuntimeError
            On a second call, unless ``retain=True`` was given each time before.
        TypeError, ValueError
            If an argument has the wrong kind or dtype; the wrong shape or value.
        """


class Wrappers:
    """The families rnn, lstm and gru of `run` and `run_vjp`.

    Parameters
    ----------
    run, run_vjp : callable
        What runs a cell by its name. Their arguments are given by position, which takes less time:
        cell, x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out; then, for
        `run_vjp`, True (the sequence is wanted) and checkpoint.
    cells : collection of str
        The names in the registry, which say what variants a family has.
    """

    def __init__(
        self,
        run: Callable[..., tuple[Array, Any]],
        run_vjp: Callable[..., tuple[Array, Any, Pullback]],
        cells: Collection[str],
    ) -> None:
        self._run, self._run_vjp, self._cells = run, run_vjp, cells

    def _variant(self, family: str, option: str, value: str) -> str:
        """Return the registry's name of a variant, such as gru_after."""
        prefix = f"{family}_"
        if isinstance(value, str) and prefix + value in self._cells:
            return prefix + value
        variants = [name.removeprefix(prefix) for name in self._cells if name.startswith(prefix)]
        return prefix + _check.choice(option, value, variants)

    @staticmethod
    def _lstm(peephole: Array | None) -> str:
        return "lstm" if peephole is None else "lstm_peephole"

    def rnn(
        self,
        x: Array,
        a0: Array | None,
        W_ax: Array,
        W_aa: Array,
        b_a: Array | None = None,
        b_aa: Array | None = None,
        *,
        g1: str = "tanh",
        lengths: Lengths | None = None,
        reverse: bool = False,
        out: Array | None = None,
        **reserved: Any,
    ) -> tuple[Array, Array]:
        """Plain recurrent layer: ``a<t> = g1(W_ax x<t> + b_a + W_aa a<t-1> + b_aa)``.

        Parameters
        ----------
        x, a0, W_ax, W_aa, b_a, b_aa
            As in `run`; G is 1.
        g1 : str, default "tanh"
            The activation: a cell of the registry is named ``rnn_<g1>``, among them tanh, relu,
            sigmoid and identity.
        lengths, reverse, out
            As in `run`.
        **reserved
            Names kept for later versions; none may be given.

        Returns
        -------
        a : ndarray, (T, B, H)
            The output of every step.
        a_T : ndarray, (B, H)
            The final state.

        Raises
        ------
        TypeError, ValueError
            As in `run`; ValueError also for an unknown `g1`.

        References
        ----------
        Elman, "Finding structure in time", 1990.
        """
        if reserved:
            refuse(reserved)
        cell = self._variant("rnn", "g1", g1)
        return self._run(cell, x, a0, W_ax, W_aa, b_a, b_aa, None, lengths, reverse, out)

    def rnn_vjp(
        self,
        x: Array,
        a0: Array | None,
        W_ax: Array,
        W_aa: Array,
        b_a: Array | None = None,
        b_aa: Array | None = None,
        *,
        g1: str = "tanh",
        lengths: Lengths | None = None,
        reverse: bool = False,
        out: Array | None = None,
        checkpoint: bool = False,
        **reserved: Any,
    ) -> tuple[Array, Array, Pullback]:
        """`rnn` with its pullback; returns what `run_vjp` does.

        Parameters
        ----------
        x, a0, W_ax, W_aa, b_a, b_aa, g1, lengths, reverse, out, checkpoint, **reserved
            As in `rnn` and `run_vjp`.

        Returns
        -------
        a, a_T, pullback
            As from `run_vjp`.
        """
        if reserved:
            refuse(reserved)
        cell = self._variant("rnn", "g1", g1)
        return self._run_vjp(
            cell, x, a0, W_ax, W_aa, b_a, b_aa,
            None, lengths, reverse, out, True, checkpoint,
        )  # fmt: skip

    def lstm(
        self,
        x: Array,
        state: State,
        W_ax: Array,
        W_aa: Array,
        b_a: Array | None = None,
        b_aa: Array | None = None,
        *,
        peephole: Array | None = None,
        lengths: Lengths | None = None,
        reverse: bool = False,
        out: Array | None = None,
        **reserved: Any,
    ) -> tuple[Array, tuple[Array, Array]]:
        """Long short-term memory, gates in the order i f g o.

        ::

            i, f, o = sigmoid(z_i), sigmoid(z_f), sigmoid(z_o);  g = tanh(z_g)
            c<t> = f c<t-1> + i g;  a<t> = o tanh(c<t>)

        with ``z = W_ax x<t> + b_a + W_aa a<t-1> + b_aa``; with `peephole` (rows i f o) z_i and z_f
        see also ``c<t-1>`` and z_o sees ``c<t>``, unit by unit.

        Parameters
        ----------
        x, state, W_ax, W_aa, b_a, b_aa
            As in `run`; G is 4 and `state` is ``(a0, c0)``.
        peephole : ndarray (3, H), optional
            Peephole weights.
        lengths, reverse, out
            As in `run`.
        **reserved
            Names kept for later versions; none may be given.

        Returns
        -------
        a : ndarray, (T, B, H)
            The output of every step.
        (a_T, c_T) : tuple of ndarray, (B, H) each
            The final state.

        Raises
        ------
        TypeError, ValueError
            As in `run`.

        References
        ----------
        Hochreiter & Schmidhuber, "Long short-term memory", 1997; Gers, Schmidhuber & Cummins,
        "Learning to forget", 2000, section 3; Gers, Schraudolph & Schmidhuber, "Learning precise
        timing with LSTM recurrent networks", 2002, section 3 (peepholes).
        """
        if reserved:
            refuse(reserved)
        return self._run(
            self._lstm(peephole), x, state, W_ax, W_aa, b_a, b_aa,
            peephole, lengths, reverse, out,
        )  # fmt: skip

    def lstm_vjp(
        self,
        x: Array,
        state: State,
        W_ax: Array,
        W_aa: Array,
        b_a: Array | None = None,
        b_aa: Array | None = None,
        *,
        peephole: Array | None = None,
        lengths: Lengths | None = None,
        reverse: bool = False,
        out: Array | None = None,
        checkpoint: bool = False,
        **reserved: Any,
    ) -> tuple[Array, tuple[Array, Array], Pullback]:
        """`lstm` with its pullback; returns what `run_vjp` does.

        Parameters
        ----------
        x, state, W_ax, W_aa, b_a, b_aa, peephole, lengths, reverse, out, checkpoint, **reserved
            As in `lstm` and `run_vjp`.

        Returns
        -------
        a, (a_T, c_T), pullback
            As from `run_vjp`.
        """
        if reserved:
            refuse(reserved)
        return self._run_vjp(
            self._lstm(peephole), x, state, W_ax, W_aa, b_a, b_aa,
            peephole, lengths, reverse, out, True, checkpoint,
        )  # fmt: skip

    def gru(
        self,
        x: Array,
        a0: Array | None,
        W_ax: Array,
        W_aa: Array,
        b_a: Array | None = None,
        b_aa: Array | None = None,
        *,
        reset: str = "after",
        lengths: Lengths | None = None,
        reverse: bool = False,
        out: Array | None = None,
        **reserved: Any,
    ) -> tuple[Array, Array]:
        """Gated recurrent unit, gates in the order r z n.

        ::

            r, z = sigmoid(z_r), sigmoid(z_z)
            n = tanh(W_ax,n x<t> + b_a,n + r (W_aa,n a<t-1> + b_aa,n))     reset="after"
            n = tanh(W_ax,n x<t> + b_a,n + W_aa,n (r a<t-1>) + b_aa,n)     reset="before"
            a<t> = (1 - z) n + z a<t-1>

        Parameters
        ----------
        x, a0, W_ax, W_aa, b_a, b_aa
            As in `run`; G is 3.
        reset : {"after", "before"}
            Whether r acts on the product (PyTorch, cuDNN) or on the state (the paper): a cell of
            the registry is named ``gru_<reset>``.
        lengths, reverse, out
            As in `run`.
        **reserved
            Names kept for later versions; none may be given.

        Returns
        -------
        a : ndarray, (T, B, H)
            The output of every step.
        a_T : ndarray, (B, H)
            The final state.

        Raises
        ------
        TypeError, ValueError
            As in `run`; ValueError also for an unknown `reset`.

        References
        ----------
        Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, section 2.3.
        """
        if reserved:
            refuse(reserved)
        cell = self._variant("gru", "reset", reset)
        return self._run(cell, x, a0, W_ax, W_aa, b_a, b_aa, None, lengths, reverse, out)

    def gru_vjp(
        self,
        x: Array,
        a0: Array | None,
        W_ax: Array,
        W_aa: Array,
        b_a: Array | None = None,
        b_aa: Array | None = None,
        *,
        reset: str = "after",
        lengths: Lengths | None = None,
        reverse: bool = False,
        out: Array | None = None,
        checkpoint: bool = False,
        **reserved: Any,
    ) -> tuple[Array, Array, Pullback]:
        """`gru` with its pullback; returns what `run_vjp` does.

        Parameters
        ----------
        x, a0, W_ax, W_aa, b_a, b_aa, reset, lengths, reverse, out, checkpoint, **reserved
            As in `gru` and `run_vjp`.

        Returns
        -------
        a, a_T, pullback
            As from `run_vjp`.
        """
        if reserved:
            refuse(reserved)
        cell = self._variant("gru", "reset", reset)
        return self._run_vjp(
            cell, x, a0, W_ax, W_aa, b_a, b_aa,
            None, lengths, reverse, out, True, checkpoint,
        )  # fmt: skip
