"""``python -m rnnfast bench``: the comparison, and the commands accuracy, memory, conditions."""

from __future__ import annotations

import argparse

from . import accuracy, comparison, conditions, memory

COMMANDS = {
    "accuracy": (accuracy.add_options, accuracy.run, "errors, beside PyTorch's"),
    "memory": (memory.add_options, memory.run, "peak memory of a training step (Linux)"),
    "conditions": (
        conditions.add_options,
        conditions.run,
        "what must not cost time: denormals, threads, checkpoints",
    ),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options and the commands that `run` reads."""
    comparison.add_options(parser)
    commands = parser.add_subparsers(dest="measure", metavar="COMMAND", help="instead of times:")
    for name, (add, _, words) in COMMANDS.items():
        add(commands.add_parser(name, help=words))


def run(options: argparse.Namespace) -> int:
    """Do what the options say.

    Returns
    -------
    status : int
        Of the process: 0 if all is right.
    """
    if options.measure is None:
        return comparison.run(options)
    return COMMANDS[options.measure][1](options)
