"""Check and time rnnfast beside every framework that is installed: ``python -m bench.compare``."""

import argparse
import sys

from rnnfast.bench import CASES, add_options, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    add_options(parser)
    sys.exit(run(parser.parse_args(), CASES, parser.prog))
