"""Compare rnnfast with every framework that is installed: ``python -m bench.compare --help``."""

import sys

from rnnfast.bench import main_all

if __name__ == "__main__":
    sys.exit(main_all(prog="python -m bench.compare"))
