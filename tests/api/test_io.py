"""Files: what is saved comes back, alone and in checkpoints, and is whole at every moment."""

from __future__ import annotations

import copy
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import rnnfast
import safetensors.numpy
from numpy.testing import assert_array_equal
from problems import Array, assert_same_bits
from rnnfast import io, losses, optim, schedules
from rnnfast.layers import Call, Gradients, Group, Layer, Module, Recurrent

SUFFIXES = (".npz", ".safetensors")
every_suffix = pytest.mark.parametrize("suffix", SUFFIXES)
x = np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
ids = np.random.default_rng(0).integers(0, 7, (5, 2))

# Each with what its constructor got, as config() must give it back, and an input.
LAYERS: dict[str, tuple[Callable[..., Layer], dict[str, Any], Array]] = {
    "RNN": (
        rnnfast.RNN,
        {"input_size": 3, "hidden_size": 4, "num_layers": 2, "activation": "relu", "bias": True,
         "batch_first": False, "dropout": 0.0, "bidirectional": False, "dtype": "float64"},
        x.astype(float),
    ),
    "LSTM": (
        rnnfast.LSTM,
        {"input_size": 3, "hidden_size": 4, "num_layers": 2, "bias": True, "batch_first": True,
         "dropout": 0.0, "bidirectional": True, "dtype": "float32", "peephole": True},
        x,
    ),
    "GRU": (
        rnnfast.GRU,
        {"input_size": 3, "hidden_size": 4, "num_layers": 2, "bias": False, "batch_first": True,
         "dropout": 0.25, "bidirectional": False, "dtype": "float32", "reset": "before"},
        x,
    ),
    "Recurrent": (
        Recurrent,
        {"cell": "lstm", "input_size": 3, "hidden_size": 4, "num_layers": 1, "bias": True,
         "batch_first": False, "dropout": 0.0, "bidirectional": False, "dtype": "float32"},
        x,
    ),
    "Dense": (
        rnnfast.Dense,
        {"input_size": 3, "output_size": 2, "activation": "softmax", "bias": False,
         "batch_first": True, "dtype": "float32"},
        x,
    ),
    "Embedding": (
        rnnfast.Embedding,
        {"num_embeddings": 7, "embedding_dim": 3, "sparse": True, "batch_first": True,
         "dtype": "float64"},
        ids,
    ),
    "Dropout": (rnnfast.Dropout, {"p": 0.25, "dtype": "float32"}, x),
}  # fmt: skip


@io.register
class Scale(Layer):
    """A layer of one's own, with a parameter that its constructor does not draw."""

    def __init__(self, size: int, start: float = 1.0) -> None:
        self.size, self.start = size, start
        self.params = {"scale": np.full(size, start, np.float32)}

    def forward(self, call: Call) -> tuple[Array, None]:
        return call.x * self.params["scale"], None

    def forward_vjp(self, call: Call) -> Any:
        def backward(dy: Array, dstate: None, retain: bool, skip: frozenset[str]) -> Gradients:
            axes = tuple(range(dy.ndim - 1))
            return Gradients(
                dy * self.params["scale"], None, {"scale": (dy * call.x).sum(axis=axes)}
            )

        return call.x * self.params["scale"], None, backward


@io.register
class Shifted(Module):
    """A module of one's own around another, with a parameter beside the other's."""

    def __init__(self, inner: Layer) -> None:
        self.inner = inner
        own = {"shift": np.zeros(2, np.float32)}
        self.params = own | {f"inner.{k}": p for k, p in inner.params.items()}


@io.register
class Head(Module):
    """A module of one's own that makes what it is made of."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.out = rnnfast.Dense(size, 1)
        self.params = {f"out.{k}": p for k, p in self.out.params.items()}


@every_suffix
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, suffix: str, tmp_path: Path) -> None:
    """What comes back has what the constructor got, and gives the same outputs."""
    make, arguments, inputs = LAYERS[name]
    layer = make(**arguments)
    io.save(tmp_path / f"layer{suffix}", layer)
    again = io.load(str(tmp_path / f"layer{suffix}"))
    assert type(again) is type(layer)
    assert again.config() == arguments
    assert_same_bits(again.params, layer.params)
    assert all(p.flags.writeable for p in again.params.values())
    assert_array_equal(again(inputs)[0], layer(inputs)[0])
    assert [path.name for path in tmp_path.iterdir()] == [f"layer{suffix}"]


@every_suffix
def test_containers(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    inner = rnnfast.Sequential(rnnfast.GRU(3, 4, rng=1), Scale(4, 2.0), rnnfast.Dense(4, 2, rng=2))
    model = Group(
        emb=rnnfast.Embedding(7, 3, rng=0), rest=Group(chain=inner), own=Shifted(Scale(2)),
        head=Head(4),
    )  # fmt: skip
    for p in model.params.values():
        p += 0.5
    model.freeze()
    io.save(path, model)
    again = io.load(path)
    assert repr(again) == repr(model)
    assert_same_bits(again.params, model.params)
    assert_array_equal(again["rest"]["chain"](x)[0], inner(x)[0])
    assert all(p.flags.writeable for p in again.params.values())
    again["own"].inner.params["scale"][...] = 3
    assert_array_equal(again.params["own.inner.scale"], 3)
    assert_array_equal(again["head"].out.params["weight"], model["head"].out.params["weight"])


@every_suffix
def test_layer_without_inputs(suffix: str, tmp_path: Path) -> None:
    """Its array holds nothing, and says by its shape how many outputs there are."""
    io.save(tmp_path / f"model{suffix}", rnnfast.Dense(0, 5, bias=False))
    assert io.load(tmp_path / f"model{suffix}").params["weight"].shape == (5, 0)


@every_suffix
def test_tied_layers_stay_tied(suffix: str, tmp_path: Path) -> None:
    gru = rnnfast.GRU(3, 3, rng=0)
    io.save(tmp_path / f"model{suffix}", rnnfast.Sequential(a=gru, b=gru))
    again = io.load(tmp_path / f"model{suffix}")
    assert again["a"] is again["b"]
    assert_same_bits(again["a"].params, gru.params)


def train(model: Any, adam: optim.Optimizer, steps: int) -> None:
    for step in range(steps):
        y, _, pullback = model.vjp(x)
        _, dy = losses.mse(y, np.full_like(y, step))
        adam.step(pullback(dy).params)


@every_suffix
def test_a_run_goes_on_from_its_checkpoint(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"run{suffix}"
    model = rnnfast.Sequential(rnn=rnnfast.LSTM(3, 4, rng=0), out=rnnfast.Dense(4, 2, rng=1))
    adam = optim.AdamW(model.params, 0.1, beta1=0.8, groups={"out.*": {"lr_scale": 0.5}})
    plateau = schedules.Plateau(0.1, patience=0)
    train(model, adam, 3)
    plateau.step(1.0)
    adam.lr = plateau.step(2.0)
    # The optimiser may come before the modules whose parameters it steps.
    io.save(path, adam=adam, plateau=plateau, model=model, epoch=3)
    run = io.load(path)
    assert list(run) == ["adam", "plateau", "model", "epoch"]
    assert run["adam"].config() == adam.config()
    assert_same_bits(run["adam"].state, adam.state)
    train(run["model"], run["adam"], run["epoch"])
    train(model, adam, 3)
    assert_same_bits(run["model"].params, model.params)
    assert run["plateau"].step(1.0) == plateau.step(1.0)
    assert_same_bits(run["plateau"].state, plateau.state)


@every_suffix
def test_optimiser_of_several_modules_and_of_a_part(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"run{suffix}"
    enc, dec = rnnfast.GRU(3, 4, rng=0), rnnfast.GRU(3, 4, rng=1)
    both = optim.SGD({"enc": enc.params, "dec": dec.params}, momentum=0.5)
    part = optim.RMSprop({"b": dec.params["bias_hh_l0"]}, alpha=0.5)
    io.save(path, models=[enc, {"dec": dec}], optimisers=(both, part))
    run = io.load(path)
    assert isinstance(run["optimisers"], tuple)
    enc2, dec2 = run["models"][0], run["models"][1]["dec"]
    both2, part2 = run["optimisers"]
    assert list(both2.params) == list(both.params)
    for name, p in enc2.params.items():
        assert both2.params[f"enc.{name}"] is p
    for name, p in dec2.params.items():
        assert both2.params[f"dec.{name}"] is p
    assert part2.params["b"] is dec2.params["bias_hh_l0"]


@every_suffix
def test_one_module_in_two_places_stays_one(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"run{suffix}"
    model = Group(enc=rnnfast.GRU(3, 4, rng=0), dec=rnnfast.GRU(3, 4, rng=1))
    for objects in ({"enc": model["enc"], "all": model}, {"all": model, "enc": model["enc"]}):
        io.save(path, **objects)
        run = io.load(path)
        assert run["all"]["enc"] is run["enc"]
        assert_same_bits(run["all"].params, model.params)


@every_suffix
def test_values(suffix: str, tmp_path: Path) -> None:
    """Of every kind, nested; NumPy's scalars and mappings come back as Python's own."""
    path = tmp_path / f"values{suffix}"
    value = {
        "none": None, "yes": True, "no": np.False_, "int": 2**70, "float": 0.1, "inf": -np.inf,
        "text": 'a "b"\n√', "numpy": (np.int8(3), np.float32(0.5)), "kind": "dict",
        "list": [[], (), {}, [1, [2.5, "x"]]], "best": rnnfast.Dense(2, 1, rng=0).params,
    }  # fmt: skip
    io.save(path, value)
    again = io.load(path)
    assert_same_bits(again.pop("best"), value.pop("best"))
    assert again == value
    assert type(again["no"]) is bool
    assert [type(item) for item in again["numpy"]] == [int, float]
    for single in (3, "x", [1, 2], (True,), None):
        io.save(path, single)
        assert io.load(path) == single
    io.save(path, np.arange(3))
    assert_array_equal(io.load(path), np.arange(3))
    io.save(path, [np.arange(3), np.zeros(1), (np.ones(2),)])
    assert_array_equal(io.load(path)[2][0], np.ones(2))


@every_suffix
def test_arrays(suffix: str, tmp_path: Path) -> None:
    arrays = {
        "file": np.arange(6.0).reshape(2, 3).T,  # not contiguous, and named as an argument is
        "allow_pickle": np.array(3),
        "empty": np.zeros((0, 4), np.float32),
        "0.weight": np.arange(5, dtype=np.int16)[::-2],
        "mask": np.array([True, False]),
        "rnnfast": np.ones(1),
        "rnnfast.json": np.ones(2),
        "": np.ones(3),
    }
    io.save(tmp_path / f"arrays{suffix}", arrays)
    assert_same_bits(io.load(tmp_path / f"arrays{suffix}"), arrays)
    io.save(tmp_path / f"arrays{suffix}", {"w": np.arange(3, dtype=">i2")})
    assert_same_bits(io.load(tmp_path / f"arrays{suffix}"), {"w": np.arange(3, dtype=np.int16)})
    io.save(tmp_path / f"arrays{suffix}", {})
    assert io.load(tmp_path / f"arrays{suffix}") == {}


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


def test_other_programs_read_the_files(tmp_path: Path) -> None:
    chain = rnnfast.Sequential(rnn=rnnfast.LSTM(3, 4, rng=0), out=rnnfast.Dense(4, 2, rng=1))
    for what in (chain, chain.params):
        io.save(tmp_path / "a.safetensors", what)
        assert_same_bits(safetensors.numpy.load_file(tmp_path / "a.safetensors"), chain.params)
        io.save(tmp_path / "a.npz", what)
        with np.load(tmp_path / "a.npz") as file:
            assert ("rnnfast.json" in file.files) == (what is chain)
            found = {name: file[name] for name in file.files if name != "rnnfast.json"}
        assert_same_bits(found, chain.params)
    io.save(tmp_path / "run.safetensors", model=chain, adam=optim.Adam(chain.params), epoch=1)
    names = {f"model.{name}" for name in chain.params} | {"adam.step"}
    names |= {f"adam.{slot}.{name}" for slot in "mv" for name in chain.params}
    assert set(safetensors.numpy.load_file(tmp_path / "run.safetensors")) == names
    io.save(tmp_path / "list.safetensors", [np.ones(1), {"k": (np.ones(2),)}])
    names = {"what.0", "what.1.k.0"}
    assert set(safetensors.numpy.load_file(tmp_path / "list.safetensors")) == names


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


def test_members_of_npz_in_another_order(tmp_path: Path) -> None:
    lstm = rnnfast.LSTM(3, 4, rng=0)
    io.save(tmp_path / "a.npz", lstm)
    with ZipFile(tmp_path / "a.npz") as old, ZipFile(tmp_path / "b.npz", "w") as new:
        for name in reversed(old.namelist()):
            new.writestr(name, old.read(name))
    assert_same_bits(io.load(tmp_path / "b.npz").params, lstm.params)


# ------------------------------------------------------------------ whole at every moment


@every_suffix
def test_an_interrupted_save_leaves_the_old_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads meanwhile finds the old file, and no other is left behind."""
    path = tmp_path / f"model{suffix}"
    io.save(path, {"w": np.ones(3)})
    old = path.read_bytes()
    seen: list[bytes] = []

    def fail(file: int) -> None:
        seen.append(path.read_bytes())
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fail)  # when all has been written
    with pytest.raises(KeyboardInterrupt):
        io.save(path, {"w": np.zeros(1000)})
    assert seen == [old]
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@every_suffix
def test_two_writers_of_one_path(suffix: str, tmp_path: Path) -> None:
    """100 saves each from two processes, read all the while: no error, always a whole file."""
    path = tmp_path / f"model{suffix}"
    code = (
        "import sys, numpy as np; from rnnfast import io\n"
        "for i in range(100): io.save(sys.argv[1], w=np.full(1000, float(sys.argv[2])), i=i)"
    )
    io.save(path, w=np.zeros(1000), i=0)
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(path), value], stderr=subprocess.PIPE)
        for value in ("1", "2")
    ]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        w = io.load(path)["w"]
        assert (w == w[0]).all()
        reads += 1
    for writer in writers:
        assert writer.communicate()[1] == b""
        assert writer.returncode == 0
    assert reads > 0
    assert io.load(path)["i"] == 99
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@every_suffix
def test_permissions_as_a_plain_open_gives(suffix: str, tmp_path: Path) -> None:
    path, plain = tmp_path / f"model{suffix}", tmp_path / "plain"
    plain.write_bytes(b"")
    io.save(path, {"w": np.ones(1)})
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    path.chmod(0o640)
    io.save(path, {"w": np.ones(2)})
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    link = tmp_path / f"link{suffix}"
    link.symlink_to(path)
    io.save(link, {"w": np.ones(3)})
    assert link.is_symlink()
    assert_array_equal(io.load(path)["w"], np.ones(3))


def test_saving_changes_nothing(tmp_path: Path) -> None:
    model = rnnfast.Sequential(rnnfast.GRU(3, 4, rng=0))
    adam = optim.Adam(model.params)
    before, state = copy.deepcopy(model.params), copy.deepcopy(adam.state)
    io.save(tmp_path / "run.npz", model=model, adam=adam)
    assert_same_bits(model.params, before)
    assert_same_bits(adam.state, state)
