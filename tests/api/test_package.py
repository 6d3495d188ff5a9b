"""The package itself: what importing it imports, its names, its threads, its commands."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from importlib.resources import files
from types import ModuleType

import numpy as np
import pytest
import rnnfast
import rnnfast.__main__
from rnnfast import _rnnfast

MODULES = (
    "layers",
    "losses",
    "optim",
    "schedules",
    "init",
    "io",
    "gates",
    "config",
    "ragged",
    "params",
    "row_gradient",
)


def run(*arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True, text=True, check=True, timeout=60, env=environment,
    ).stdout  # fmt: skip


def test_imports_numpy_and_nothing_else() -> None:
    """Of the standard library only what is small: that keeps the import fast."""
    code = "import sys, numpy; before = set(sys.modules); import rnnfast;"
    new = run("-c", code + "print(*(set(sys.modules) - before))").split()
    others = {name for name in new if name.partition(".")[0] not in ("rnnfast", "numpy")}
    assert others <= {"__future__", "copy", "fnmatch"}


def test_lazy_modules() -> None:
    code = "import sys, rnnfast; print({'rnnfast.io', 'rnnfast.reference'} & set(sys.modules))"
    assert run("-c", code).strip() == "set()"
    code = "import rnnfast; print(rnnfast.io.load.__name__, len(rnnfast.reference.CELLS) > 0)"
    assert run("-c", code).split() == ["load", "True"]
    assert {"io", "reference", "LSTM"} <= set(dir(rnnfast))
    with pytest.raises(AttributeError, match="module 'rnnfast' has no attribute 'torches'"):
        _ = rnnfast.torches


def public(module: ModuleType) -> dict[str, object]:
    return {name: getattr(module, name) for name in module.__all__}


def test_all_names_exist() -> None:
    for module in (rnnfast, *(importlib.import_module(f"rnnfast.{name}") for name in MODULES)):
        if hasattr(module, "__all__"):
            assert len(public(module)) == len(set(module.__all__))
    assert re.fullmatch(r"\d+\.\d+\.\d+", rnnfast.__version__)
    assert files("rnnfast").joinpath("py.typed").is_file()


def test_threads() -> None:
    before = rnnfast.num_threads()
    assert before >= 1
    with rnnfast.threads(3):
        assert rnnfast.num_threads() == 3
        with rnnfast.threads(1):
            assert rnnfast.num_threads() == 1
        assert rnnfast.num_threads() == 3
    assert rnnfast.num_threads() == before
    with pytest.raises(ZeroDivisionError), rnnfast.threads(2):
        _ = 1 / 0
    assert rnnfast.num_threads() == before
    rnnfast.set_num_threads(2)
    try:
        assert rnnfast.num_threads() == _rnnfast.num_threads() == 2
    finally:
        rnnfast.set_num_threads(before)
    for n, kind in ((0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(kind, match=r"n is .*, expected an integer >= 1"):
            rnnfast.set_num_threads(n)  # type: ignore[arg-type]
        with pytest.raises(kind, match=r"n is .*, expected an integer >= 1"), rnnfast.threads(n):  # type: ignore[arg-type]
            pass
        assert rnnfast.num_threads() == before


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    config = rnnfast.show_config(mode="dicts")
    assert config is not None
    assert capsys.readouterr().out == ""
    assert config["rnnfast"] == rnnfast.__version__
    assert config["numpy"] == np.__version__
    assert config["isa"] == _rnnfast.isa()
    assert config["isa"] in config["isas"]
    assert config["threads"] == rnnfast.num_threads()
    assert "lstm" in config["cells"]
    assert rnnfast.show_config() is None
    out = capsys.readouterr().out
    for key, value in config.items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        assert re.search(rf"^{key}: +{re.escape(text)}$", out, re.M)
    with pytest.raises(ValueError, match="mode is 'yaml', expected one of stdout, dicts"):
        rnnfast.show_config("yaml")


def test_info_command() -> None:
    out = run("-m", "rnnfast", "info")
    assert re.search(rf"^rnnfast: +{re.escape(rnnfast.__version__)}$", out, re.M)
    assert re.search(r"^isa: +\w+$", out, re.M)


def test_bad_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["dance"], ["demo", "--steps", "many"]):
        with pytest.raises(SystemExit):
            rnnfast.__main__.main(arguments)
    assert "invalid choice: 'dance'" in capsys.readouterr().err
