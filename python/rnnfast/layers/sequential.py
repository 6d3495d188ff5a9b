"""A chain of layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np

from .. import _check
from .._check import Array, Lengths
from .base import Call, Layer
from .container import Container, label
from .pullback import Backward, Gradients, Pullback
from .state import check_parts, refuse_lengths
from .stream import Rows, Stream, check_out, check_rows


class Sequential(Container, Layer):
    """Chain of layers, each of which reads the outputs of the one before.

    Parameters
    ----------
    *layers : Layer
        At least one, all of one dtype and one order of axes; named ``"0"``, ``"1"`` and so on.
    **named : Layer
        The same with names: ``Sequential(emb=Embedding(50, 8), rnn=GRU(8, 32))``.

    Raises
    ------
    TypeError, ValueError
        If there are no layers, or some with and some without a name; if one of them is no
        layer, or does not fit to the one before.

    Notes
    -----
    ``model["rnn"]`` and ``model[1]`` are a layer. Parameters are named ``rnn.weight_ih_l0`` or
    ``1.weight_ih_l0``. The state is a tuple with one entry a layer, None for those without.
    ``return_sequence=False`` holds for the last layer that has a state: it and those after it
    give the output at the end of each sequence.

    A layer may stand in a chain twice: its parameters are then tied, and stand with their
    gradients under both names. An optimiser refuses two names for one memory; give it the
    parameters under one name, and the sum of both gradients.
    """

    def __init__(self, *layers: Layer, **named: Layer) -> None:
        if layers and named:
            raise ValueError("layers are given with and without a name, expected either")
        given = named or {str(i): layer for i, layer in enumerate(layers)}
        if not given:
            raise ValueError("layers is empty, expected at least one layer")
        self._adopt(given, Layer)
        self._layers: list[Layer] = list(given.values())
        first = self._layers[0]
        self.input_size, self.takes_ids = first.input_size, first.takes_ids
        stateful = [i for i, layer in enumerate(self._layers) if layer.stateful]
        self.stateful, self._last_stateful = bool(stateful), max(stateful, default=None)
        ending = [i for i, layer in enumerate(self._layers) if layer.ends_sequence]
        self.ends_sequence, self._end = bool(ending), min(ending, default=None)
        learns = [layer.stateful or len(layer.params) > 0 for layer in self._layers]
        self._learns_before = [any(learns[:i]) for i in range(len(learns))]
        self._check_chain()

    def _check_chain(self) -> None:
        """Require that each layer can read what the one before it writes."""
        features: int | None = None
        for i, layer in enumerate(self._layers):
            name = self._name(i)
            if layer.dtype is not None:
                if self.dtype is not None and layer.dtype != self.dtype:
                    raise TypeError(f"{name} has dtype {layer.dtype}, expected {self.dtype}")
                self.dtype = layer.dtype
            if i > 0 and layer.takes_ids:
                raise ValueError(f"{name} takes ids, expected it to be the first layer")
            if features is not None and layer.input_size not in (None, features):
                raise ValueError(f"{name} has input_size {layer.input_size}, expected {features}")
            features = layer.output_size or features
            if layer.batch_first is not None:
                if self.batch_first is not None and layer.batch_first != self.batch_first:
                    raise ValueError(
                        f"{name} has batch_first={layer.batch_first},"
                        f" expected {self.batch_first} as in the layers before"
                    )
                self.batch_first = layer.batch_first
            end = self._end
            if end is not None and i > end and (layer.stateful or layer.ends_sequence):
                raise ValueError(
                    f"{name} reads a sequence, expected none after {self._name(end)},"
                    " whose output has no axis of time"
                )
        self.output_size = features

    def forward(self, call: Call) -> tuple[Array, tuple[Any, ...]]:
        x, finals = call.x, []
        for i, (layer, part, lengths, sequence) in enumerate(self._plan(call)):
            with self._note(i):
                x, final = layer.forward(Call(x, part, lengths, sequence))
            finals.append(final)
        return x, tuple(finals)

    def forward_vjp(self, call: Call) -> tuple[Array, tuple[Any, ...], Backward]:
        rng = None if call.rng is None else _check.generator(call.rng)  # one for all the masks
        x, finals, needs = call.x, [], []
        pullbacks: list[Pullback] = []
        for i, (layer, part, lengths, sequence) in enumerate(self._plan(call)):
            needs.append(call.need_x or self._learns_before[i])
            with self._note(i):
                x, final, pullback = layer._pull(
                    Call(x, part, lengths, sequence, rng, call.checkpoint, needs[i])
                )
            finals.append(final)
            pullbacks.append(pullback)

        def backward(
            dy: Array | None, dstate: Any, retain: bool, skip: frozenset[str]
        ) -> Gradients:
            dx = dy
            dinitial: list[Any] = [None] * len(pullbacks)
            grads: dict[str, Any] = {}
            for i, name in reversed(list(enumerate(self._children))):
                prefix = f"{name}."
                leave_out = {n.removeprefix(prefix) for n in skip if n.startswith(prefix)}
                if i == 0:
                    leave_out |= skip & {"x"}
                part = None if dstate is None else dstate[i]
                dx, dinitial[i], found = pullbacks[i]._run(dx, part, retain, frozenset(leave_out))
                grads |= {prefix + key: grad for key, grad in found.items()}
                if not needs[i]:  # and nothing before it has a gradient
                    break
            ordered = {key: grads[key] for key in self._params if key in grads}
            return Gradients(dx, tuple(dinitial), ordered)

        return x, tuple(finals), backward

    def _plan(self, call: Call) -> list[tuple[Layer, Any, Lengths | None, bool]]:
        """Return each layer with its part of the state, its lengths and its return_sequence."""
        parts = (None,) * len(self) if call.state is None else call.state
        if call.state is not None:
            refuse_lengths(call.state)
            check_parts("state", call.state, len(self))
        end = self._end
        if not call.return_sequence:
            if end is not None:
                raise ValueError(
                    f"return_sequence is False, expected True: {self._name(end)} ends the sequence"
                )
            end = self._last_stateful
            if end is None:
                raise ValueError("return_sequence is False, expected True: no layer has a state")
        # After the layer that ends the sequence, the axis of time is gone.
        return [
            (
                layer,
                part,
                call.lengths if end is None or i <= end else None,
                call.return_sequence or i != end,
            )
            for i, (layer, part) in enumerate(zip(self._layers, parts, strict=True))
        ]

    def _name(self, i: int) -> str:
        name, layer = list(self._children.items())[i]
        return f"{label(name)} = {layer!r}"

    @contextmanager
    def _note(self, i: int) -> Iterator[None]:
        """Add to an error which layer it comes from: its arguments have names of their own."""
        try:
            yield
        except (TypeError, ValueError) as error:
            error.add_note(f"in {self._name(i)}")
            raise

    def stream(self, batch: int = 1) -> Stream:
        return SequentialStream(self, batch)


class SequentialStream(Stream):
    """Stream of a `Sequential`: one stream a layer."""

    def __init__(self, chain: Sequential, batch: int) -> None:
        self.batch = _check.integer("batch", batch, 1)
        self._takes_ids, self._output_size = chain.takes_ids, chain.output_size
        self._dtype = chain.dtype
        self._streams: list[Stream] = [layer.stream(batch) for layer in chain]

    def step(self, x_t: Array, out: Array | None = None) -> Array:
        if out is not None:  # before the first layer's state changes
            leading = np.shape(x_t) if self._takes_ids else np.shape(x_t)[:-1]
            size = self._output_size or np.shape(x_t)[-1]
            dtype = x_t.dtype if self._dtype is None else self._dtype
            check_out(out, dtype, (*leading, size))
        *before, last = self._streams
        for stream in before:
            x_t = stream.step(x_t)
        return last.step(x_t, out)

    @property
    def state(self) -> tuple[Any, ...]:
        return tuple(stream.state for stream in self._streams)

    @state.setter
    def state(self, state: Any) -> None:
        self._check_state("state", state)
        parts = (None,) * len(self._streams) if state is None else state
        for stream, part in zip(self._streams, parts, strict=True):
            stream.state = part

    def _check_state(self, name: str, state: Any) -> None:
        if state is None:
            return
        check_parts(name, state, len(self._streams))
        for i, (stream, part) in enumerate(zip(self._streams, state, strict=True)):
            stream._check_state(f"{name}[{i}]", part)

    def reset(self, rows: Rows | None = None) -> None:
        chosen = check_rows(rows, self.batch)
        for stream in self._streams:
            stream.reset(chosen)

    def reload(self) -> None:
        for stream in self._streams:
            stream.reload()

    def __copy__(self) -> SequentialStream:
        twin = SequentialStream.__new__(SequentialStream)
        twin.__dict__.update(self.__dict__)
        twin._streams = [copy(stream) for stream in self._streams]
        return twin
