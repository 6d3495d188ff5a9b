"""Files: round trips, and what happens with damaged and foreign ones."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rnnfast
import safetensors.numpy
from numpy.testing import assert_array_equal
from problems import assert_same_bits
from rnnfast import io, optim
from rnnfast.layers import Layer, Recurrent

SUFFIXES = (".npz", ".safetensors")
every_suffix = pytest.mark.parametrize("suffix", SUFFIXES)

LAYERS: dict[str, Callable[[], Layer]] = {
    "RNN": lambda: rnnfast.RNN(3, 4, activation="relu", dtype="float64"),
    "LSTM": lambda: rnnfast.LSTM(3, 4, 2, bidirectional=True, peephole=True, batch_first=True),
    "GRU": lambda: rnnfast.GRU(3, 4, 2, reset="before", bias=False, dropout=0.25),
    "Recurrent": lambda: Recurrent("lstm", 3, 4),
    "Dense": lambda: rnnfast.Dense(3, 2, activation="softmax"),
    "Embedding": lambda: rnnfast.Embedding(7, 3),
    "Dropout": lambda: rnnfast.Dropout(0.1),
    "Sequential": lambda: rnnfast.Sequential(
        rnnfast.Sequential(rnnfast.Embedding(7, 3)), rnnfast.LSTM(3, 4), rnnfast.Dense(4, 2)
    ),
}


@every_suffix
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, suffix: str, tmp_path: Path) -> None:
    layer = LAYERS[name]()
    io.save(tmp_path / f"layer{suffix}", layer)
    again = io.load_layer(str(tmp_path / f"layer{suffix}"))
    assert type(again) is type(layer)
    assert repr(again) == repr(layer)
    assert_same_bits(again.params, layer.params)
    assert all(p.flags.writeable for p in again.params.values())
    assert_same_bits(io.load(tmp_path / f"layer{suffix}"), layer.params)
    assert [path.name for path in tmp_path.iterdir()] == [f"layer{suffix}"]


@every_suffix
def test_optimiser_state(suffix: str, tmp_path: Path) -> None:
    lstm = rnnfast.LSTM(3, 4, rng=0)
    adam = optim.Adam(lstm.params)
    for _ in range(3):
        adam.step({name: p + 1 for name, p in lstm.params.items()})
    io.save(tmp_path / f"adam{suffix}", adam.state)
    twin = optim.Adam(rnnfast.LSTM(3, 4).params)
    twin.load(io.load(tmp_path / f"adam{suffix}"))
    assert_same_bits(twin.state, adam.state)
    assert twin.state["step"] == 3


@every_suffix
def test_arrays(suffix: str, tmp_path: Path) -> None:
    arrays = {
        "file": np.arange(6.0).reshape(2, 3).T,  # not contiguous, and named as an argument is
        "allow_pickle": np.array(3),
        "empty": np.zeros((0, 4), np.float32),
        "0.weight": np.arange(5, dtype=np.int16)[::-2],
        "mask": np.array([True, False]),
    }
    io.save(tmp_path / f"arrays{suffix}", arrays)
    assert_same_bits(io.load(tmp_path / f"arrays{suffix}"), arrays)
    with pytest.raises(ValueError, match=rf"arrays{suffix} holds arrays only, expected a file"):
        io.load_layer(tmp_path / f"arrays{suffix}")


def test_other_programs_read_the_files(tmp_path: Path) -> None:
    lstm = rnnfast.LSTM(3, 4, rng=0)
    io.save(tmp_path / "a.safetensors", lstm)
    assert_same_bits(safetensors.numpy.load_file(tmp_path / "a.safetensors"), lstm.params)
    io.save(tmp_path / "a.npz", lstm.params)
    with np.load(tmp_path / "a.npz") as file:
        assert_same_bits(dict(file), lstm.params)


@every_suffix
def test_other_programs_write_the_files(suffix: str, tmp_path: Path) -> None:
    lstm, path = rnnfast.LSTM(3, 4, rng=0), tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, **dict(lstm.params))  # type: ignore[arg-type]
    else:
        safetensors.numpy.save_file(dict(lstm.params), path)
    other = rnnfast.LSTM(3, 4, rng=1)
    other.load(io.load(path))
    assert_same_bits(other.params, lstm.params)


@every_suffix
def test_truncated(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    io.save(path, rnnfast.GRU(2, 3, rng=0))
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 41), len(whole) - 1]:
        path.write_bytes(whole[:size])
        for read in (io.load, io.load_layer):
            with pytest.raises(ValueError, match=rf"model{suffix} is not a whole {suffix} file"):
                read(path)


def test_flipped_bits_in_npz(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    io.save(path, {"w": np.zeros(1000)})
    whole = bytearray(path.read_bytes())
    whole[1000] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"model.npz is not a whole .npz file"):
        io.load(path)


class Trap:
    """Leaves a trace if it is unpickled."""

    sprung = False

    def __reduce__(self) -> Any:
        return setattr, (Trap, "sprung", True)


@every_suffix
def test_foreign(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    with (tmp_path / "one.npy").open("wb") as file:
        np.save(file, np.zeros(3))
    contents = [
        b"", b"not a model", b"\x89PNG\r\n\x1a\n" + bytes(64), pickle.dumps(Trap()),
        (tmp_path / "one.npy").read_bytes(), b"\xff" * 100,
    ]  # fmt: skip
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"model{suffix} is not a whole {suffix} file"):
            io.load(path)
    other = tmp_path / f"other{SUFFIXES[suffix == '.npz']}"
    io.save(other, {"w": np.zeros(3)})
    other.rename(path)
    with pytest.raises(ValueError, match=rf"model{suffix} is not a whole {suffix} file"):
        io.load(path)
    assert not Trap.sprung


def test_no_pickle_in_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "trap.npz", w=np.array([Trap()], object))
    with pytest.raises(ValueError, match=r"trap.npz is not a whole .npz file"):
        io.load(tmp_path / "trap.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("w.txt", "hello")
    with pytest.raises(ValueError, match=r"text.npz is not a whole .npz file"):
        io.load(tmp_path / "text.npz")
    assert not Trap.sprung


@pytest.mark.parametrize(
    "config",
    [
        "not JSON",
        "[]",
        "{}",
        json.dumps({"layer": "Trap"}),
        json.dumps({"layer": "LSTM", "input_size": 3, "hidden_size": 0}),
        json.dumps({"layer": "LSTM", "input_size": 3, "hidden_size": 4, "clip": 1}),
        json.dumps({"layer": "LSTM", "input_size": 3, "hidden_size": 5}),
        json.dumps({"layer": "Sequential", "layers": [1, 2]}),
    ],
)
def test_foreign_configuration(config: str, tmp_path: Path) -> None:
    arrays = dict(rnnfast.LSTM(3, 4).params)
    safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors", {"rnnfast.layer": config})
    with pytest.raises(ValueError, match=r"a.safetensors holds .*, expected a layer that this"):
        io.load_layer(tmp_path / "a.safetensors")


@every_suffix
def test_bad_input_leaves_the_old_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    io.save(path, {"w": np.ones(3)})
    old = path.read_bytes()

    class Mine(rnnfast.LSTM):
        pass

    cases: list[tuple[Any, type[Exception], str]] = [
        ([np.ones(3)], TypeError, "what is a list, expected a layer or mapping of arrays"),
        ({"w": [1.0]}, TypeError, r"what\['w'\] is a list, expected an ndarray of numbers"),
        ({"w": np.array([Trap()])}, TypeError, r"what\['w'\] is a object, expected an ndarray"),
        ({"w": np.zeros(1, complex)}, TypeError, r"what\['w'\] is a complex128, expected an nd"),
        ({1: np.ones(3)}, TypeError, "what has the key 1, expected a str"),
        (Mine(3, 4), TypeError, r"what contains Mine\(3, 4\), expected layers of RNN, LSTM"),
    ]
    for what, kind, words in cases:
        with pytest.raises(kind, match=words):
            io.save(path, what)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path is .*model.pt', expected it to end in .npz or"):
        io.save(tmp_path / "model.pt", {})
    with pytest.raises(ValueError, match=r"path is .*model', expected it to end in .npz or .safe"):
        io.load(tmp_path / "model")
    for suffix in SUFFIXES:
        with pytest.raises(FileNotFoundError, match=f"model{suffix}"):
            io.load(tmp_path / f"model{suffix}")


def test_safetensors_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    words = r'needs the package safetensors: pip install "rnnfast\[io\]"'
    with pytest.raises(ImportError, match=words):
        io.save(tmp_path / "a.safetensors", {"w": np.ones(3)})
    io.save(tmp_path / "a.npz", {"w": np.ones(3)})
    assert_array_equal(io.load(tmp_path / "a.npz")["w"], 1)
