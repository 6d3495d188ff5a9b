"""Random problems in child processes; a crash, a hang and a wrong number are findings.

``python -m tests.fuzz --seconds 1800`` goes through the cases of one seed on every ISA tier, one
child a tier. What it finds ends with a line that runs that case again.
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rnnfast import _rnnfast

TESTS = Path(__file__).parents[1]
LONGEST = 120  # seconds that a case may take, of which most take less than one
TAIL = 2000  # characters of a child's stderr that are printed


@dataclass
class Fuzz:
    """The state of all children."""

    seed: int
    deadline: float
    most: int  # kinds of findings after which all stop
    cases: int = 0
    findings: Counter[str] = field(default_factory=Counter)  # how often each kind came
    lock: threading.Lock = field(default_factory=threading.Lock)

    def over(self) -> bool:
        return time.monotonic() > self.deadline or len(self.findings) >= self.most

    def report(self, tier: str, case: int, what: str, description: str, errors: str) -> None:
        """Print a finding, unless one that differs in numbers only was printed before."""
        kind = re.sub(r"[\d.]+(e[-+]\d+)?", "#", f"{description.partition(' ')[0]} {what}")
        with self.lock:
            self.findings[kind] += 1
            if self.findings[kind] > 1:
                return
            print(f"\nFINDING {what}\n  {description}\n{errors[-TAIL:].rstrip()}", flush=True)
            print(f"  RNNFAST_ISA={tier} python -m tests.fuzz --seed {self.seed} --case {case}")


class Child:
    """A process that checks cases on one tier until it is stopped, crashes or hangs."""

    def __init__(self, fuzz: Fuzz, tier: str, command: list[str]) -> None:
        self.fuzz, self.tier = fuzz, tier
        self.case, self.description, self.wrong = 0, "", ""
        self.begun = self.hangs = False
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {
                "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
                "RNNFAST_ISA": tier,
                "OPENBLAS_NUM_THREADS": "1",
            },
            cwd=TESTS.parent,
        )  # fmt: skip

    def follow(self) -> None:
        """Read what it says to the end, and report the case it was at if that is a finding."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        errors: list[str] = []
        reader = threading.Thread(target=lambda e: errors.extend(e), args=(self.process.stderr,))
        reader.start()
        watch = self.watch()
        with self.process:
            for line in self.process.stdout:
                word, _, rest = line.rstrip("\n").partition(" ")
                if word == "begin":
                    watch.cancel()
                    watch, self.case, self.description = self.watch(), int(rest), ""
                    self.begun = True
                elif word == "is":
                    self.description = rest
                elif word == "wrong":
                    self.wrong = rest
                with self.fuzz.lock:
                    self.fuzz.cases += word == "ok"
                if self.wrong or self.fuzz.over():
                    self.process.kill()
                    break
            watch.cancel()
            status = self.process.wait()
            reader.join()
        what = self.wrong or self.fate(status)
        if what:
            self.fuzz.report(self.tier, self.case, what, self.description, "".join(errors))

    def watch(self) -> threading.Timer:
        """Abort the child, which prints where it is, if this case takes too long."""
        timer = threading.Timer(LONGEST, self.hang)
        timer.daemon = True
        timer.start()
        return timer

    def hang(self) -> None:
        self.hangs = True
        self.process.send_signal(signal.SIGABRT)

    def fate(self, status: int) -> str:
        if self.hangs:
            return f"no end after {LONGEST} seconds"
        if status in (0, -signal.SIGKILL) and (status == 0 or self.fuzz.over()):
            return ""
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def command(seed: int, first: int, step: int) -> list[str]:
    """The arguments of a child that checks every step-th case."""
    return ["-m", "tests.fuzz.child", *map(str, (seed, first, step))]


def go_on(fuzz: Fuzz, tier: str, first: int, step: int) -> None:
    """Check every step-th case on a tier, in a new child after each finding."""
    while not fuzz.over():
        child = Child(fuzz, tier, command(fuzz.seed, first, step))
        child.follow()
        if not child.begun:
            return
        first = child.case + step


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the cases; without it, a new one each time")
    parser.add_argument("--seconds", type=float, default=120, help="default: %(default)s")
    parser.add_argument("--case", type=int, help="check this case alone, on the tier in use")
    parser.add_argument(
        "--findings", type=int, default=10, help="stop at so many kinds (%(default)s)"
    )
    options = parser.parse_args()
    seed = secrets.randbelow(10**9) if options.seed is None else options.seed
    fuzz = Fuzz(seed, time.monotonic() + options.seconds, options.findings)
    if options.case is not None:
        fuzz.deadline = float("inf")
        Child(fuzz, _rnnfast.isa(), command(seed, options.case, 0)).follow()
    else:
        tiers = _rnnfast.isas()
        workers = [
            threading.Thread(target=go_on, args=(fuzz, tier, k, len(tiers)))
            for k, tier in enumerate(tiers)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    print(f"\nseed {seed}: {fuzz.cases} cases without a finding, {fuzz.findings.total()} with one")
    for kind, count in fuzz.findings.most_common():
        print(f"{count:6} {kind}")
    return 1 if fuzz.findings or not fuzz.cases else 0


if __name__ == "__main__":
    sys.exit(main())
