"""Models, optimisers and arrays on disk, in formats that cannot run code.

`load` gives back what `save` wrote. The file's suffix chooses the format: ``.npz`` (NumPy's,
without pickle), or ``.safetensors``, which needs the package of that name:
``pip install "rnnfast[io]"``. For example::

    io.save("model.npz", model)
    model = io.load("model.npz")

    io.save("run.npz", model=model, adam=adam, epoch=3)     # a checkpoint
    run = io.load("run.npz")
    run["adam"].step(grads)                                 # trains run["model"]

What a file can hold: modules (layers, `Sequential`, `Group`), optimisers with the modules whose
parameters they step, `schedules.Plateau`, arrays of numbers, Python's numbers, strings, True,
False and None, and lists, tuples and mappings of these. NumPy's scalars come back as Python's
numbers, mappings as dicts; modules are writeable, whether or not they were frozen.

Other programs find the arrays under the names of the parameters; a file of a mapping of arrays
holds nothing else, and such a file from another program is read as one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .files import read, write
from .tree import Reader, Writer, register

__all__ = ["load", "register", "save"]

FORMAT = 1  # of the header; to be raised when older versions could not read what is written


def save(path: str | os.PathLike[str], *what: Any, **named: Any) -> None:
    """Write an object, or several by name, for `load`.

    The file appears under its name, or replaces an older one, only when it is whole.

    Parameters
    ----------
    path : path
        Ending in ``.npz`` or ``.safetensors``.
    *what : Module, mapping of str to ndarray, or another object
        One object that `load` is to return.
    **named
        Or several, of which `load` is to return a dict: a checkpoint.

    Raises
    ------
    ImportError
        If the format's package is missing.
    TypeError
        If there is nothing to save, or what a file cannot hold, such as a module of a class
        that was not registered.
    ValueError
        If the suffix is unknown; if the parameters of an optimiser belong to no module that is
        saved with it.
    """
    if len(what) + bool(named) != 1:
        raise TypeError(f"save got {len(what)} objects and {len(named)} by name, expected either")
    value = what[0] if what else named
    if isinstance(value, Mapping) and all(isinstance(v, np.ndarray) for v in value.values()):
        writer = Writer()
        writer.encode(value, "", "what")
        write(path, writer.arrays, None)
        return
    writer = Writer()
    tree = writer.finish(value, "" if named else "what")
    write(path, writer.arrays, {"format": FORMAT, **tree})


def load(path: str | os.PathLike[str]) -> Any:
    """Return what `save` wrote.

    Parameters
    ----------
    path : path
        Ending in ``.npz`` or ``.safetensors``.

    Returns
    -------
    what : object
        As it was saved: an object, or a dict of several. An optimiser steps the parameters of
        the modules beside it. A dict of arrays, if another program wrote the file.

    Raises
    ------
    ImportError
        If the format's package is missing.
    ValueError
        If the suffix is unknown; if the file is truncated or of another format or version; if
        what it describes does not fit the arrays it holds, or is of a class that was not
        registered.
    """
    arrays, header = read(path)
    if header is None:
        return arrays
    version = header.get("format")
    if version != FORMAT:
        raise ValueError(
            f"{path} has format {version!r}, expected {FORMAT}: another version of rnnfast wrote it"
        )
    try:
        return Reader(arrays).finish(header)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as e:
        raise ValueError(f"{path} describes what cannot be made of its arrays: {e}") from e
