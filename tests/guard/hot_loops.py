"""Reads the disassembly of the AVX-512 tier's register tiles: a lost vectorisation fails here.

``python tests/guard/hot_loops.py AVX512_OBJECT`` looks at the loop over k of every tile of full
height, in both precisions. It must hold its sums in registers, one FMA of 512 bits for each, and do
little else. No tile may put a vector on the stack or fill memory; no cell's elementwise part may
call a function.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

LEAST_SHARE = 0.5  # of the loop's instructions are FMAs; the rest load, broadcast, prefetch, count
TILES = {4: 6, 3: 8}  # rows of full height by vectors: 24 sums
PRECISIONS = ("float", "double")

Code = list[tuple[int, str, str]]  # address, mnemonic, operands


def functions(path: str) -> Iterator[tuple[str, Code]]:
    """Yield each function's name and instructions."""
    command = ["objdump", "-d", "-C", "--no-show-raw-insn", path]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for part in re.split(r"\n\n", text):
        head = re.match(r"[0-9a-f]+ <(.*)>:\n", part)
        if head is None:
            continue
        lines = re.findall(r"^ +([0-9a-f]+):\t(\S+) *(.*)$", part, re.MULTILINE)
        yield head[1], [(int(at, 16), name, operands) for at, name, operands in lines]


def loops(code: Code) -> Iterator[Code]:
    """Yield what lies between each backward jump's target and the jump."""
    for position, (at, name, operands) in enumerate(code):
        target = re.match(r"([0-9a-f]+)\b", operands)
        if name.startswith("j") and target and int(target[1], 16) <= at:
            yield [line for line in code[: position + 1] if line[0] >= int(target[1], 16)]


def is_fma(line: tuple[int, str, str]) -> bool:
    """Whether an instruction is a fused multiply-add of 512 bits."""
    return line[1].startswith("vfmadd") and "%zmm" in line[2]


def problems(name: str, code: Code, sums: int) -> Iterator[str]:
    """Yield what is wrong with a tile."""
    with_fmas = [loop for loop in loops(code) if any(map(is_fma, loop))]
    if not with_fmas:
        yield f"{name}: no loop with an FMA of 512 bits"
        return
    loop = max(with_fmas, key=lambda lines: sum(map(is_fma, lines)))
    fmas = sum(map(is_fma, loop))
    share = fmas / len(loop)
    print(f"{name}: {fmas} FMAs of {len(loop)} instructions")
    if fmas % sums:
        yield f"{name}: {fmas} FMAs in the loop, expected a multiple of {sums}"
    if share < LEAST_SHARE:
        yield f"{name}: {share:.0%} of the loop are FMAs, expected {LEAST_SHARE:.0%}"
    for _, mnemonic, operands in loop:
        if mnemonic.startswith("call"):
            yield f"{name}: the loop calls {operands}"


def spills(name: str, code: Code) -> Iterator[str]:
    """Yield where a tile keeps vectors in memory: a small one would wait for them."""
    for _, mnemonic, operands in code:
        if mnemonic == "rep" or (mnemonic.startswith("v") and re.search(r"\(%r[sb]p", operands)):
            yield f"{name}: {mnemonic} {operands}"


def check(path: str) -> list[str]:
    """Return all that is wrong in an object file."""
    wanted = {(p, m, v): m * v for v, m in TILES.items() for p in PRECISIONS}
    found: list[str] = []
    cells = 0
    for name, code in functions(path):
        tile = re.search(r"::tile<(\w+), (\d+), (\d+), ", name)
        if tile:
            key = (tile[1], int(tile[2]), int(tile[3]))
            short = f"tile<{', '.join(map(str, key))}>"
            found += problems(short, code, wanted.pop(key)) if key in wanted else []
            found += spills(short, code)
        if re.search(r"::(forward|backward)_rows<", name):
            cells += 1
            calls = [operands for _, mnemonic, operands in code if mnemonic.startswith("call")]
            found += [f"{name}: calls {operands}" for operands in calls]
    found += [f"tile<{', '.join(map(str, key))}> was not found" for key in wanted]
    if cells == 0:
        found.append("no cell's elementwise part was found")
    print(f"{cells} elementwise parts of cells")
    return found


if __name__ == "__main__":
    wrong = check(sys.argv[1])
    print(*wrong, sep="\n")
    sys.exit(bool(wrong))
