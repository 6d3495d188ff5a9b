"""Measuring of cases: each program's results are checked, then all that agree are timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean, median

from rnnfast import _rnnfast

from .agree import disagreement, expected, second_results, tolerance
from .cases import Case
from .floor import Machine, floor
from .peers import OWN, PEERS, SINGLE, Program, Unavailable, build, usual
from .timing import Timing, combine, compare


@dataclass(frozen=True)
class Row:
    """What was measured of a case."""

    case: Case
    timings: dict[str, Timing]  # by program
    absent: dict[str, str]  # why the other programs have none
    floor: float | None = None  # seconds
    handover: float | None = None  # seconds for two threads there and back, while it was timed

    @property
    def wrong(self) -> tuple[str, ...]:
        """Our own programs that have no time although they should."""
        own = (*OWN, SINGLE)
        return tuple(name for name in own if self.absent.get(name, "").startswith(FAILED))

    def gflops(self, program: str = "rnnfast") -> float | None:
        """Return 10**9 operations a second."""
        timing = self.timings.get(program)
        return None if timing is None else self.case.operations / timing.median / 1e9

    def share(self, program: str = "rnnfast") -> float | None:
        """Return the floor over the time: 1 is as fast as the machine can be."""
        timing = self.timings.get(program)
        return None if timing is None or self.floor is None else self.floor / timing.median

    @property
    def best_peer(self) -> str | None:
        """The fastest peer."""
        found = [name for name in PEERS if name in self.timings]
        return min(found, key=lambda name: self.timings[name].median, default=None)

    @property
    def times_single(self) -> float | None:
        """How many times as long as a single layer in one direction on one thread."""
        if SINGLE not in self.timings or "rnnfast" not in self.timings:
            return None
        return self.timings["rnnfast"].median / self.timings[SINGLE].median

    def ratio(self, peer: str | None = None, program: str = "rnnfast") -> float | None:
        """Return how many times faster `program` is than `peer`, by default than the best one."""
        peer = peer or self.best_peer
        if peer not in self.timings or program not in self.timings:
            return None
        return self.timings[peer].median / self.timings[program].median


FAILED = "failed: "


def measure(
    case: Case,
    *,
    threads: int,
    budget: float,
    programs: Sequence[str] = (),
    machine: Machine | None = None,
) -> Row:
    """Check and time all programs on a case.

    Parameters
    ----------
    threads : int
        Threads of every program.
    budget : float
        Seconds for the timing.
    programs : sequence of str
        None means the usual ones of the case's kind.
    machine : Machine, optional
        What the probe found, for the floor.
    """
    ready, absent = prepare(case, threads, programs or usual(case))
    before = _rnnfast.handover()
    timings = compare(
        {name: program.call for name, program in ready.items()},
        budget,
        {name: program.before for name, program in ready.items()},
    )
    after = _rnnfast.handover()
    slower = None if before is None or after is None else 1e-9 * max(before, after)
    return Row(case, timings, absent, None if machine is None else floor(case, machine), slower)


def prepare(
    case: Case, threads: int, programs: Sequence[str]
) -> tuple[dict[str, Program], dict[str, str]]:
    """Return the programs that agree with the reference, and why the others are absent.

    What stands beside a stack or two directions as single is one layer in one direction.
    """
    ready, absent = _prepare(case, threads, [name for name in programs if name != SINGLE])
    if SINGLE in programs:
        more, missing = _prepare(replace(case, layers=1, directions=1), threads, [SINGLE])
        return ready | more, absent | missing
    return ready, absent


def _prepare(
    case: Case, threads: int, programs: Sequence[str]
) -> tuple[dict[str, Program], dict[str, str]]:
    data, ready, absent = case.data(), {}, {}
    want, bound = expected(case, data, threads), tolerance(case)
    for name in programs:
        try:
            program = build(name, case, data, threads)
            problem = disagreement(second_results(program), want, bound)
        except Unavailable as error:
            absent[name] = str(error)
            continue
        except Exception as error:  # whatever a framework raises is its row's result
            problem = f"{type(error).__name__}: {_first_line(error)}"
        if problem is None:
            ready[name] = program
        else:
            absent[name] = FAILED + problem
    return ready, absent


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]


def measure_all(
    cases: Sequence[Case],
    *,
    threads: int,
    budget: float,
    programs: Sequence[str] = (),
    machine: Machine | None = None,
    runs: int = 1,
    progress: Callable[[str], None] = lambda message: None,
) -> list[Row]:
    """Measure all cases, `runs` times over, and return the median run of each."""
    found: dict[str, list[Row]] = {case.id: [] for case in cases}
    for run in range(runs):
        for number, case in enumerate(cases, 1):
            progress(f"run {run + 1}/{runs}, row {number}/{len(cases)}: {case.id}")
            row = measure(case, threads=threads, budget=budget, programs=programs, machine=machine)
            found[case.id].append(row)
    return [_median_row(rows) for rows in found.values()]


def _median_row(rows: list[Row]) -> Row:
    first = rows[0]
    timings = {
        name: combine([row.timings[name] for row in rows])
        for name in first.timings
        if all(name in row.timings for row in rows)
    }
    absent = {name: reason for row in rows for name, reason in row.absent.items()}
    handovers = [row.handover for row in rows if row.handover is not None]
    return Row(first.case, timings, absent, first.floor, median(handovers) if handovers else None)


def geomean(rows: Sequence[Row], peer: str | None = None, program: str = "rnnfast") -> float | None:
    """Return the geometric mean of the ratios of all rows that have one."""
    ratios = [ratio for row in rows if (ratio := row.ratio(peer, program)) is not None]
    return geometric_mean(ratios) if ratios else None
