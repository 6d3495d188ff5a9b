"""Files of named arrays with a header: reading them, and writing them whole or not at all."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from zipfile import ZipFile, ZipInfo

import numpy as np

from .._check import Array
from .._optional import require

Path_: TypeAlias = str | os.PathLike[str]

_NPZ_HEADER = "rnnfast.json"  # a member of the archive, beside those ending in .npy
_SAFETENSORS_HEADER = "rnnfast"  # a key of the metadata


def write(path: Path_, arrays: Mapping[str, Array], header: dict[str, Any] | None) -> None:
    """Write the arrays and, unless None, the header, which JSON must be able to hold."""
    write_to = _write_safetensors if _is_safetensors(path) else _write_npz
    for name in arrays:
        if "\0" in name or name == "__metadata__":  # what the formats keep for themselves
            raise ValueError(f"an array is named {name!r}, expected another name")
    text = None if header is None else json.dumps(header)
    target = Path(os.path.realpath(path))  # a link stays one
    unfinished = target.with_name(f".rnnfast-{secrets.token_hex(8)}")
    try:
        with open(unfinished, "xb") as file:
            write_to(file, arrays, text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):  # if there is an older file
            shutil.copymode(target, unfinished)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)


def read(path: Path_) -> tuple[dict[str, Array], dict[str, Any] | None]:
    """Return the arrays and, if there is one, the header."""
    read_from = _read_safetensors if _is_safetensors(path) else _read_npz
    with open(path, "rb") as file:  # a file that is missing is not a damaged one
        try:
            arrays, text = read_from(file)
            header = None if text is None else json.loads(text)
        except (ImportError, MemoryError):
            raise
        # zipfile, zlib, NumPy and safetensors raise whatever they meet in a damaged file.
        except Exception as error:
            raise ValueError(
                f"{path} is not a whole {Path(path).suffix} file of arrays: {error}"
            ) from error
    if header is not None and not isinstance(header, dict):
        raise ValueError(f"{path} has a header that is no JSON object")
    return arrays, header


def _is_safetensors(path: Path_) -> bool:
    suffix = Path(path).suffix
    if suffix not in (".npz", ".safetensors"):
        raise ValueError(f"path is {str(path)!r}, expected it to end in .npz or .safetensors")
    return suffix == ".safetensors"


def _write_npz(file: BinaryIO, arrays: Mapping[str, Array], text: str | None) -> None:
    # Not np.savez: an array named "file" or "allow_pickle" would be taken for its argument.
    with ZipFile(file, "w") as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, value, allow_pickle=False)
        if text is not None:
            archive.writestr(_NPZ_HEADER, text)


def _read_npz(file: BinaryIO) -> tuple[dict[str, Array], str | None]:
    arrays, text = {}, None
    with ZipFile(file) as archive:
        for info in archive.infolist():
            if info.filename == _NPZ_HEADER:
                text = archive.read(info).decode()
                continue
            _check_size(archive, info)
            with archive.open(info) as member:
                array = np.lib.format.read_array(member, allow_pickle=False)
            arrays[info.filename.removesuffix(".npy")] = array
    return arrays, text


def _check_size(archive: ZipFile, info: ZipInfo) -> None:
    """Require that a member is as long as its shape says, before NumPy allocates the array."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        parse = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            parse = np.lib.format.read_array_header_2_0
        shape, _, dtype = parse(member)
        expected = member.tell() + math.prod(shape) * dtype.itemsize
    if info.file_size != expected and not dtype.hasobject:
        raise ValueError(f"{info.filename} has {info.file_size} bytes, expected {expected}")


def _write_safetensors(file: BinaryIO, arrays: Mapping[str, Array], text: str | None) -> None:
    _, numpy = _safetensors()
    metadata = None if text is None else {_SAFETENSORS_HEADER: text}
    file.write(numpy.save(dict(arrays), metadata))


def _read_safetensors(file: BinaryIO) -> tuple[dict[str, Array], str | None]:
    safetensors, _ = _safetensors()
    with safetensors.safe_open(file.name, "np") as opened:
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return arrays, (opened.metadata() or {}).get(_SAFETENSORS_HEADER)


def _safetensors() -> tuple[Any, Any]:
    what = "a file ending in .safetensors"
    return require("safetensors", "io", what), require("safetensors.numpy", "io", what)
