"""Fixtures that all tests share."""

from importlib import import_module
from types import ModuleType

import pytest


@pytest.fixture(params=["reference", "functional"])
def F(request: pytest.FixtureRequest) -> ModuleType:
    """Both implementations of the functions of one layer: NumPy and the kernels."""
    return import_module(f"rnnfast.{request.param}")
