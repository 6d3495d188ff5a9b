"""Commands: ``python -m rnnfast demo``, ``bench`` and ``info``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from . import bench, demo
from .config import show_config


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the arguments name, those of the command line by default."""
    parser = argparse.ArgumentParser(prog="python -m rnnfast", description="rnnfast's commands")
    commands = parser.add_subparsers(dest="command", required=True)
    forecast = commands.add_parser("demo", help="train a forecaster of yearly sunspot numbers")
    forecast.add_argument("--seed", type=int, default=0, help="random seed (default: %(default)s)")
    forecast.add_argument(
        "--steps", type=int, default=demo.STEPS, help="training steps (default: %(default)s)"
    )
    forecast.add_argument(
        "--plot", default="sunspots.png", metavar="PATH", help="plot (default: %(default)s)"
    )
    bench.add_options(
        commands.add_parser("bench", help="compare with the frameworks that are installed")
    )
    commands.add_parser("info", help="show versions, instruction set and threads")
    options = parser.parse_args(arguments)
    if options.command == "demo":
        demo.main(options.seed, options.steps, options.plot)
    elif options.command == "bench":
        raise SystemExit(bench.run(options))
    else:
        show_config()


if __name__ == "__main__":
    main()
