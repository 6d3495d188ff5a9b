"""Every public name has a docstring in numpydoc's form that names its parameters and no others."""

from __future__ import annotations

import importlib
import inspect

import pytest
from numpydoc.validate import validate

MODULES = (
    "rnnfast",
    *(
        f"rnnfast.{name}"
        for name in (
            "config",
            "functional",
            "gates",
            "init",
            "io",
            "layers",
            "losses",
            "optim",
            "params",
            "ragged",
            "reference",
            "row_gradient",
            "schedules",
            "threadpool",
        )
    ),
)
CHECKS = {
    "PR01": "parameters not documented",
    "PR02": "unknown parameters",
    "PR05": "a type ends with a dot",
    "PR07": "a parameter without a description",
    "PR09": "a description without a dot at its end",
    "PR10": "no space before a colon",
    "RT03": "a return value without a description",
    "RT05": "the same of a return value",
    "SS03": "a summary without a dot at its end",
    "SS05": "a summary that begins with a verb in the third person",
    "GL03": "two blank lines",
    "GL05": "tabs",
    "GL06": "an unknown section",
    "GL07": "sections in another order",
}
# Made by vjp only, and by threadpoolctl.
NOT_CALLED_BY_USERS = ("rnnfast.layers.Pullback", "rnnfast.threadpool.Controller")
NOT_YET = ("rnnfast.layers.Stream.reset",)


def is_ours(member: object) -> bool:
    """Whether a member of a class is a function or property that this package defines."""
    member = member.fget if isinstance(member, property) else member
    return str(getattr(member, "__module__", "")).startswith("rnnfast")


def public() -> dict[str, object]:
    """Every public function, class, method and property, by the first of its full names."""
    found: dict[str, object] = {}
    for module in MODULES:
        namespace = importlib.import_module(module)
        for key in namespace.__all__:
            value = getattr(namespace, key)
            if not callable(value):
                continue
            found[f"{module}.{key}"] = value
            for name, member in inspect.getmembers(value) if inspect.isclass(value) else ():
                if not name.startswith("_") and is_ours(member):
                    found[f"{module}.{key}.{name}"] = member
    first = {value: name for name, value in reversed(found.items())}
    return {name: value for value, name in first.items()}


PUBLIC = public()


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_documented(name: str) -> None:
    wrong = [(code, text) for code, text in validate(name)["errors"] if code in CHECKS]
    if name in NOT_CALLED_BY_USERS + NOT_YET:
        wrong = [(code, text) for code, text in wrong if code != "PR01"]
    assert not wrong
    parent, _, key = name.rpartition(".")
    documented = [PUBLIC[name]]  # or what it overrides
    if parent not in MODULES:
        documented += [getattr(base, key, None) for base in public_class(parent).__mro__]
    assert any(inspect.getdoc(value) for value in documented if value is not None)


def public_class(name: str) -> type:
    module, _, key = name.rpartition(".")
    found: type = getattr(importlib.import_module(module), key)
    return found


def test_what_is_public() -> None:
    assert {
        "rnnfast.LSTM", "rnnfast.GRU.vjp", "rnnfast.functional.gru_vjp", "rnnfast.optim.Adam.step",
        "rnnfast.Params.copy", "rnnfast.GRU.num_parameters", "rnnfast.threads",
    } <= PUBLIC.keys()  # fmt: skip
