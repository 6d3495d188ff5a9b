"""Parameters, layers and optimiser states on disk, in formats that cannot run code.

The file's suffix chooses the format: ``.npz`` (NumPy's, without pickle), or ``.safetensors``,
which needs the package of that name: ``pip install "rnnfast[io]"``. For example::

    io.save("model.npz", lstm)            lstm = io.load_layer("model.npz")
    io.save("adam.npz", adam.state)       adam.load(io.load("adam.npz"))
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import numpy as np

from . import layers
from ._check import Array
from ._optional import require
from .layers import Layer

__all__ = ["load", "load_layer", "save"]

_CONFIG = "rnnfast.layer"  # where a file holds its layer's configuration, as JSON
_LAYERS = {
    cls.__name__: cls
    for cls in (
        layers.RNN, layers.LSTM, layers.GRU, layers.Recurrent,
        layers.Dense, layers.Embedding, layers.Dropout, layers.Sequential,
    )
}  # fmt: skip


def save(path: str | os.PathLike[str], what: Layer | Mapping[str, Array]) -> None:
    """Write a layer, with its configuration, or a mapping of arrays.

    The file appears under its name only when it is whole.

    Parameters
    ----------
    path : path
        Ending in ``.npz`` or ``.safetensors``.
    what : Layer, or mapping of str to ndarray
        A layer, its `params`, an optimiser's `state`.

    Raises
    ------
    ImportError
        If the format's package is missing.
    TypeError, ValueError
        If `what` is neither; if the suffix is unknown.
    """
    path, safetensors = _path(path)
    config = None
    if isinstance(what, Layer):
        config = json.dumps(what, default=_describe)
        what = what.params
    if not isinstance(what, Mapping):
        raise TypeError(f"what is a {type(what).__name__}, expected a layer or mapping of arrays")
    for name, value in what.items():
        if not isinstance(name, str):
            raise TypeError(f"what has the key {name!r}, expected a str")
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
            came = getattr(value, "dtype", type(value).__name__)
            raise TypeError(f"what[{name!r}] is a {came}, expected an ndarray of numbers")
    arrays = {name: np.asarray(value, order="C") for name, value in what.items()}
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        if safetensors:
            metadata = None if config is None else {_CONFIG: config}
            _, safetensors_numpy = _safetensors()
            safetensors_numpy.save_file(arrays, unfinished, metadata)
        else:
            if config is not None:
                arrays[_CONFIG] = np.array(config)
            _write_npz(unfinished, arrays)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Read the arrays of a file that `save` wrote.

    Parameters
    ----------
    path : path
        Ending in ``.npz`` or ``.safetensors``.

    Returns
    -------
    arrays : dict of str to ndarray
        For `Layer.load` and `Optimizer.load`.

    Raises
    ------
    ImportError
        If the format's package is missing.
    ValueError
        If the suffix is unknown, or the file is truncated or of another format.
    """
    return _read(path)[0]


def load_layer(path: str | os.PathLike[str]) -> Any:
    """Make the layer that `save` wrote.

    Parameters
    ----------
    path : path
        Ending in ``.npz`` or ``.safetensors``.

    Returns
    -------
    layer : Layer
        Of the saved kind, with the saved parameters.

    Raises
    ------
    ImportError
        If the format's package is missing.
    ValueError
        If the suffix is unknown, the file is truncated or of another format, or holds no layer.
    """
    arrays, config = _read(path)
    if config is None:
        raise ValueError(f"{path} holds arrays only, expected a file that save() wrote of a layer")
    try:
        layer = json.loads(config, object_hook=_build)
        layer.load(arrays)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} holds {config} and the arrays {list(arrays)},"
            f" expected a layer that this version can make: {error}"
        ) from error
    return layer


def _path(path: str | os.PathLike[str]) -> tuple[Path, bool]:
    """Return the path, and whether its format is safetensors."""
    path = Path(path)
    if path.suffix not in (".npz", ".safetensors"):
        raise ValueError(f"path is {str(path)!r}, expected it to end in .npz or .safetensors")
    return path, path.suffix == ".safetensors"


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Array], str | None]:
    """Return the arrays of a file, and the configuration of its layer if it has one."""
    path, safetensors = _path(path)
    read = _read_safetensors if safetensors else _read_npz
    with open(path, "rb") as file:  # a file that is missing is not a damaged one
        try:
            return read(file)
        except (ImportError, MemoryError):
            raise
        # zipfile, zlib, NumPy and safetensors raise whatever they meet in a damaged file.
        except Exception as error:
            raise ValueError(
                f"{path} is not a whole {path.suffix} file of arrays: {error}"
            ) from error


def _write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    # Not np.savez: an array named "file" or "allow_pickle" would be taken for its argument.
    with ZipFile(path, "w") as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, value, allow_pickle=False)


def _read_npz(file: BinaryIO) -> tuple[dict[str, Array], str | None]:
    with ZipFile(file) as archive:
        arrays = {}
        for name in archive.namelist():
            with archive.open(name) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
                arrays[name.removesuffix(".npy")] = array
    config = arrays.pop(_CONFIG, None)
    return arrays, None if config is None else str(config)


def _read_safetensors(file: BinaryIO) -> tuple[dict[str, Array], str | None]:
    safetensors, _ = _safetensors()
    with safetensors.safe_open(file.name, "np") as opened:
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return arrays, (opened.metadata() or {}).get(_CONFIG)


def _safetensors() -> tuple[Any, Any]:
    what = "a file ending in .safetensors"
    return require("safetensors", "io", what), require("safetensors.numpy", "io", what)


def _describe(layer: Any) -> dict[str, Any]:
    """Return what JSON stores for a layer; its inverse is `_build`."""
    if type(layer) not in _LAYERS.values():
        raise TypeError(f"what contains {layer!r}, expected layers of {', '.join(_LAYERS)}")
    return {"layer": type(layer).__name__, **layer.config()}


def _build(config: dict[str, Any]) -> Layer:
    cls = _LAYERS[config.pop("layer")]
    return cls(*config.pop("layers", ()), **config)
