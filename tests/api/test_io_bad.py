"""Files that are damaged, foreign or hostile, and what cannot be saved."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rnnfast
import safetensors.numpy
from numpy.testing import assert_array_equal
from rnnfast import io, optim
from rnnfast.layers import Layer, Module

SUFFIXES = (".npz", ".safetensors")
every_suffix = pytest.mark.parametrize("suffix", SUFFIXES)


@every_suffix
def test_truncated(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    io.save(path, rnnfast.GRU(2, 3, rng=0))
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 41), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=rf"model{suffix} is not a whole {suffix} file"):
            io.load(path)


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


def test_array_that_declares_more_than_it_holds(tmp_path: Path) -> None:
    """A clear error, and not one of the memory that it would take."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 10000000), }"
    header = header.ljust(118) + b"\n"
    for version, size in ((b"\x01\x00", 2), (b"\x02\x00", 4)):
        npy = b"\x93NUMPY" + version + len(header).to_bytes(size, "little") + header + bytes(64)
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("w.npy", npy)
        with pytest.raises(
            ValueError, match=r"a.npz is not .*: w.npy has \d+ bytes, expected 40000"
        ):
            io.load(tmp_path / "a.npz")


# ------------------------------------------------------------------ headers


def write(path: Path, arrays: dict[str, Any], header: str) -> None:
    """A file of these arrays with this header, made as another program would."""
    if path.suffix == ".npz":
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("rnnfast.json", header)
    else:
        safetensors.numpy.save_file(arrays, path, {"rnnfast": header})


def module(name: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"kind": "object", "class": name, "config": config, "params": {}, "shared": []} | more


def header(*modules: Any, what: Any = None) -> str:
    if what is None:
        what = {"kind": "module", "number": 0}
    return json.dumps({"format": 1, "modules": modules, "what": what})


LSTM = {"input_size": 3, "hidden_size": 4}
DENSE = {"input_size": 10**6, "output_size": 10**7}
NAMES = {name: name for name in rnnfast.LSTM(3, 4).params}
HEADERS: list[tuple[str, str]] = [
    ("not JSON", "is not a whole .* file of arrays: Expecting value"),
    ("[]", "has a header that is no JSON object"),
    ("[" * 100_000, "is not a whole .* file of arrays: "),
    ("{}", "has format None, expected 1: another version of rnnfast wrote it"),
    ('{"format": 2}', "has format 2, expected 1: another version of rnnfast wrote it"),
    ('{"format": "1"}', "has format '1', expected 1: another version of rnnfast wrote it"),
    ('{"format": 1}', "describes what cannot be made of its arrays: 'modules'"),
    (header(what=[]), None),  # type: ignore[list-item]
    (header(what={"kind": "pickle"}), "kind is 'pickle', expected tuple, dict, array"),
    (header(what={"kind": "array", "name": "w"}), "cannot be made of its arrays: 'w'"),
    (header(), "describes what cannot be made of its arrays: list index out of range"),
    (header(module("Trap", {})), "class is 'Trap', expected one of RNN, .*: io.register"),
    (header(module("Adam", {})), "class is 'Adam', expected one of RNN, .*: io.register"),
    (header(what=module("LSTM", LSTM)), "class is 'LSTM', expected one of RNN, .*: io.register"),
    (header(module("LSTM", LSTM | {"hidden_size": 0}, params=NAMES)), "hidden_size is 0, expe"),
    (header(module("LSTM", LSTM | {"clip": 1}, params=NAMES)), "unexpected keyword argu"),
    (
        header(module("LSTM", LSTM | {"hidden_size": 5}, params=NAMES)),
        r"params\['weight_ih_l0'\] has shape \(16, 3\), expected \(20, 3\)",
    ),
    (
        header(module("LSTM", LSTM | {"dtype": "float64"}, params=NAMES)),
        r"params\['weight_ih_l0'\] has dtype float32, expected float64",
    ),
    (header(module("LSTM", LSTM)), "LSTM has input_size = 3, expected at most 0 for its arrays"),
    (
        header(module("LSTM", LSTM | {"num_layers": 10**12}, params=NAMES)),
        "LSTM has num_layers = 1000000000000, expected at most 64 for its arrays",
    ),
    (
        header(module("LSTM", LSTM | {"num_layers": 2}, params=NAMES)),
        r"params has the keys .* missing \['weight_ih_l1'",
    ),
    (
        header(module("Dense", DENSE, params=NAMES)),
        "Dense has input_size = 1000000, expected at most 64 for its arrays",
    ),
    (
        header(
            module("Dense", {"input_size": 6, "output_size": 1}, params={"weight": "bias_ih_l0"})
        ),
        r"params has the keys \['weight'\], expected \['weight', 'bias'\]",
    ),
    (
        header(module("Sequential", {"0": {"kind": "module", "number": 0}})),
        "describes what cannot be made of its arrays: list index out of range",
    ),
    (header(module("Sequential", {"0": "x"})), r"layers\[0\] is a str, expected a Layer"),
    (header(module("Dropout", {"p": 0.5}, shared=["w"])), r"Dropout.params has the keys \["),
    (
        header(what=module("SGD", {}, params={"w": [0, "w"]}, state={})),
        "describes what cannot be made of its arrays: list index out of range",
    ),
    (
        header(what=module("Plateau", {"lr": 0.5}, state={})),
        r"state has the keys \[\], expected \['lr', 'best', 'waited'\]",
    ),
]  # fmt: skip


@every_suffix
@pytest.mark.parametrize("number", range(len(HEADERS)))
def test_headers(number: int, suffix: str, tmp_path: Path) -> None:
    text, words = HEADERS[number]
    path = tmp_path / f"a{suffix}"
    write(path, dict(rnnfast.LSTM(3, 4).params), text)
    if words is None:
        assert io.load(path) == []
        return
    with pytest.raises(ValueError, match=rf"a{suffix} .*{words}"):
        io.load(path)


def test_arrays_in_another_order_of_memory(tmp_path: Path) -> None:
    params = rnnfast.LSTM(3, 4, rng=0).params
    columns = {name: np.asfortranarray(p) for name, p in params.items()}
    write(tmp_path / "a.npz", columns, header(module("LSTM", LSTM, params=NAMES)))
    for name, p in io.load(tmp_path / "a.npz").params.items():
        assert p.flags.c_contiguous
        assert_array_equal(p, params[name])


@every_suffix
def test_depth(suffix: str, tmp_path: Path) -> None:
    """However deep a header is, and whichever part gives up first: a value or our error."""
    path, errors = tmp_path / f"a{suffix}", 0
    for depth in (10, *range(300, 1200, 100), 20_000):
        nested = "[" * depth + "]" * depth
        write(path, {"w": np.ones(1)}, f'{{"format": 1, "modules": [], "what": {nested}}}')
        try:
            io.load(path)
        except ValueError:
            errors += 1
    assert 0 < errors < 11


def test_nothing_is_allocated_for_what_the_file_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor drawn for what it does hold."""
    lstm = rnnfast.LSTM(3, 4, rng=0)
    io.save(tmp_path / "a.npz", lstm)
    write(tmp_path / "b.npz", {"w": np.zeros(2000, np.float32)}, header(
        module("Dense", {"input_size": 1000, "output_size": 2000, "bias": False},
               params={"weight": "w"})
    ))  # fmt: skip
    made: list[Any] = []
    monkeypatch.setattr(np, "empty", lambda *a, **k: made.append(a))
    monkeypatch.setattr(rnnfast.init, "torch_uniform", lambda *a, **k: made.append(a))
    with pytest.raises(ValueError, match=r"params\['weight'\] has shape \(2000,\), expected"):
        io.load(tmp_path / "b.npz")
    again = io.load(tmp_path / "a.npz")
    assert made == []
    monkeypatch.undo()
    assert_array_equal(again.params["bias_hh_l0"], lstm.params["bias_hh_l0"])
    fresh = rnnfast.LSTM(3, 4)  # what is made afterwards is drawn again
    assert not np.array_equal(fresh.params["bias_hh_l0"], lstm.params["bias_hh_l0"])


# ------------------------------------------------------------------ saving


class Mine(rnnfast.LSTM):
    pass


class MySGD(optim.SGD):
    pass


@io.register
class Complex(Module):
    """A module of one's own with a parameter that no file can hold."""

    def __init__(self) -> None:
        self.params = {"w": np.zeros(1, complex)}


@every_suffix
def test_what_cannot_be_saved_leaves_the_old_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    io.save(path, {"w": np.ones(3)})
    old = path.read_bytes()
    gru, other = rnnfast.GRU(2, 3), rnnfast.GRU(2, 3)
    adam = optim.Adam(gru.params)
    loop: list[Any] = []
    loop.append(loop)
    cases: list[tuple[Any, type[Exception], str]] = [
        ({"w": {1, 2}}, TypeError, r"what\['w'\] is a set, expected a Module"),
        ([Trap()], TypeError, r"what\[0\] is a Trap, expected a Module, an optimiser"),
        (b"x", TypeError, "what is a bytes, expected a Module, an optimiser"),
        ({"w": np.array([Trap()])}, TypeError, r"what\['w'\] has dtype object, expected bool, int"),
        ({"w": np.zeros(1, complex)}, TypeError, r"what\['w'\] has dtype complex128, exp"),
        ({"w": np.zeros(1, np.longdouble)}, TypeError, r"what\['w'\] has dtype (float128|longdou)"),
        ({"w": np.array(["a"])}, TypeError, r"what\['w'\] has dtype <U1, expected bool, integers"),
        ({1: np.ones(3)}, TypeError, "what has the key 1, expected a str"),
        ({"a": {1: 2}}, TypeError, r"what\['a'\] has the key 1, expected a str"),
        (Mine(3, 4), TypeError, r"what is a Mine, expected one of RNN, .*: io.register\(Mine\)"),
        (
            rnnfast.Sequential(rnn=Mine(3, 4)), TypeError,
            r"what\['rnn'\] is a Mine, expected one of RNN",
        ),
        (MySGD(gru.params), TypeError, r"what is a MySGD, expected one of RNN, .*\(MySGD\) adds"),
        (Complex(), TypeError, r"what.params\['w'\] has dtype complex128, expected bool"),
        (
            adam, ValueError,
            r"what steps the parameter 'weight_ih_l0', which belongs to no module that is saved"
            r" with it, expected the module beside it: save\(path, model=model, adam=adam\)",
        ),
        ([other, adam], ValueError, r"what\[1\] steps the parameter 'weight_ih_l0', which belongs"),
        ({"a": {"b": np.ones(1)}, "a.b": np.ones(1)}, ValueError, r"what\['a.b'\] is the second"),
        ({"__metadata__": np.ones(1)}, ValueError, "an array is named '__metadata__', expected"),
        ({"a\0b": np.ones(1)}, ValueError, r"an array is named 'a\\x00b', expected another name"),
        (loop, ValueError, "what is nested too deeply, expected less, and no list in itself"),
    ]  # fmt: skip
    for what, kind, words in cases:
        with pytest.raises(kind, match=f"^{words}"):
            io.save(path, what)
    with pytest.raises(
        ValueError, match=r"^adam steps the parameter 'weight_ih_l0', which belongs"
    ):
        io.save(path, adam=adam, model=other)
    with pytest.raises(TypeError, match=r"^save got 0 objects and 0 by name, expected either"):
        io.save(path)
    with pytest.raises(TypeError, match=r"^save got 1 objects and 1 by name, expected either"):
        io.save(path, gru, adam=adam)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_register() -> None:
    with pytest.raises(
        TypeError, match=r"^kind is <class 'int'>, expected a subclass of Module or Opt"
    ):
        io.register(int)  # type: ignore[type-var]
    with pytest.raises(
        TypeError, match=r"^kind is Dropout\(\), expected a subclass of Module or Optim"
    ):
        io.register(rnnfast.Dropout())  # type: ignore[type-var]

    class LSTM(Layer):
        pass

    with pytest.raises(
        ValueError, match=r"^kind is .*LSTM'>, expected another name: .*LSTM'> has it"
    ):
        io.register(LSTM)


def test_a_class_defined_again_is_registered_again(tmp_path: Path) -> None:
    """As in a notebook, where a cell is run twice."""

    def define(scale: float) -> Any:
        class Again(rnnfast.Dropout):
            factor = scale

        return io.register(Again)

    old, new = define(1.0), define(2.0)
    io.save(tmp_path / "a.npz", new(0.25))
    again = io.load(tmp_path / "a.npz")
    assert (again.factor, again.p) == (2.0, 0.25)
    with pytest.raises(TypeError, match=r"^what is a Again, expected one of"):
        io.save(tmp_path / "a.npz", old(0.25))


def test_optimiser_of_ones_own(tmp_path: Path) -> None:
    @io.register
    class Sign(optim.Optimizer):
        def __init__(self, params: Any, lr: float = 0.5, *, scale: Any) -> None:
            super().__init__(params, lr, 0.0, None)
            self._keep("count")
            self.scale = scale

        def _update(self, p: Any, g: Any, state: Any, lr: float, decay: float) -> None:
            for p_k, g_k, count in zip(p, g, state[0], strict=True):
                p_k -= lr * self.scale * np.sign(g_k)
                count += 1

    model = rnnfast.Dense(2, 1, rng=0)
    sign, other = (Sign(model.params, scale=np.full(1, scale)) for scale in (0.5, 0.25))
    grads = {name: -np.ones_like(p) for name, p in model.params.items()}
    sign.step(grads)
    io.save(tmp_path / "run.npz", model=model, sign=sign, other=other)
    run = io.load(tmp_path / "run.npz")
    run["sign"].step(grads)
    assert_array_equal(run["model"].params["weight"], model.params["weight"] + np.float32(0.25))
    assert run["other"].scale == 0.25
    assert_array_equal(run["sign"].state["count.bias"], 2)


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^path is .*model.pt', expected it to end in .npz or"):
        io.save(tmp_path / "model.pt", {})
    with pytest.raises(ValueError, match=r"^path is .*model', expected it to end in .npz or .safe"):
        io.load(tmp_path / "model")
    for suffix in SUFFIXES:
        with pytest.raises(FileNotFoundError, match=f"model{suffix}"):
            io.load(tmp_path / f"model{suffix}")


def test_safetensors_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    words = r'^a file ending in .safetensors needs the package safetensors: .*"rnnfast\[io\]"'
    with pytest.raises(ImportError, match=words):
        io.save(tmp_path / "a.safetensors", {"w": np.ones(3)})
    io.save(tmp_path / "a.npz", {"w": np.ones(3)})
    assert_array_equal(io.load(tmp_path / "a.npz")["w"], 1)
