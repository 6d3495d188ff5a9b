"""Counts the instructions of a small training step of each cell, which no noise can change.

``python tests/guard/instructions.py build/release/tests/cpp/rnnfast_count`` compares the counts of
the AVX2 tier (valgrind has no AVX-512) with ``instructions.json``; ``--update`` writes that file.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

STORED = Path(__file__).with_suffix(".json")
ALLOWED = 0.05
TIER = "avx2"
TOOL = (
    "valgrind",
    "--tool=callgrind",
    "--toggle-collect=run_case",
    "--callgrind-out-file=/dev/null",
)


def count(program: str, cell: str) -> int:
    """Return the instructions of one training step."""
    command = [*TOOL, program, TIER, cell]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Collected *: *(\d+)", done.stderr)
    if done.returncode or found is None or int(found[1]) == 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return int(found[1])


def cells(program: str) -> list[str]:
    """Return the names of all cells of the registry."""
    return subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()


def main() -> int:
    """Compare, or update."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="rnnfast_count of an optimised build")
    parser.add_argument("--update", action="store_true", help="store today's counts")
    options = parser.parse_args()
    found = {cell: count(options.program, cell) for cell in cells(options.program)}
    if options.update:
        STORED.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    gone = stored.keys() - found.keys()
    if gone:
        print(f"{STORED.name} has {', '.join(gone)}, which the program has not")
        return 1
    wrong = 0
    for cell, n in found.items():
        if cell not in stored:
            print(f"{cell:14} {n:>10} instructions: new, guarded from --update on")
            continue
        change = n / stored[cell] - 1
        bad = abs(change) > ALLOWED
        wrong += bad
        print(f"{cell:14} {n:>10} instructions, {change:+.1%}{' OUT OF BOUNDS' if bad else ''}")
    if wrong:
        print(f"more than {ALLOWED:.0%} off: find out why; if it is as it should be, use --update")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
