"""Packages that only some features need."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def require(module: str, extra: str, what: str) -> Any:
    """Import `module`, which `what` needs; if it is missing, say which extra brings it.

    Its type is Any: type checkers run where these packages are not installed, too.
    """
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f'{what} needs the package {package}: pip install "rnnfast[{extra}]"'
        ) from error
