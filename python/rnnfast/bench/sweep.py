"""A sweep: our own time over a map of H and B, and whether a shape is worse than those beside it.

Three rules are asked of each cell and mode. A larger H or B is never faster. Operations a second
are nearly those of the better of the two neighbours in H, and in B. And they are nearly those of
the smaller neighbours: where a step waits for latency, operations a second grow with the size by
nature, for every program, so that only the last rule tells a bad shape there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from .cases import Case
from .peers import build
from .rows import prepare
from .timing import once

Times: TypeAlias = Mapping[Case, float]  # seconds

PASSES = 3
LARGER, BETTER, SMALLER = "larger is faster", "below the better", "below the smaller"
RULES = (LARGER, BETTER, SMALLER)
FASTER = 0.97  # of a point's time, the least that a larger one may take
SHARE, SMALL_SHARE = 0.85, 0.6  # of a neighbour's operations a second, at least; below SMALL_H
SMALL_H = 16


@dataclass(frozen=True)
class Break:
    """A point that breaks a rule."""

    case: Case
    rule: str
    beside: Case  # the point that it is set against
    share: float  # of that point's operations a second; of LARGER, that point's time over its own


def measure(
    cases: Sequence[Case],
    *,
    threads: int,
    passes: int = PASSES,
    progress: Callable[[str], None] = lambda message: None,
) -> tuple[dict[Case, float], dict[Case, str]]:
    """Check all points, and time each in several passes, of which the fastest counts.

    Every pass has an order of its own, so that a slow minute of the machine neither meets
    neighbours together nor one point in every pass.

    Returns
    -------
    times : dict
        Seconds of each point.
    wrong : dict
        What is wrong with the points that have no time.
    """
    times: dict[Case, float] = {}
    wrong: dict[Case, str] = {}
    for number in range(passes):
        order = [case for case in cases if case not in wrong]
        Random(number).shuffle(order)
        for done, case in enumerate(order):
            if done % 100 == 0:
                progress(f"sweep, pass {number + 1}/{passes}, point {done}/{len(order)}")
            if number > 0:
                program = build("rnnfast", case, case.data(), threads)
            else:
                ready, absent = prepare(case, threads, ["rnnfast"])
                wrong |= dict.fromkeys([case] if absent else [], absent.get("rnnfast", ""))
                if absent:
                    continue
                program = ready["rnnfast"]
            seconds = once(program.call).median
            times[case] = min(seconds, times.get(case, seconds))
    return times, wrong


def rate(case: Case, times: Times) -> float:
    """Return operations a second."""
    return case.operations / times[case]


def panels(times: Times) -> dict[tuple[str, str], dict[Case, float]]:
    """Return the points of each cell and mode."""
    found: dict[tuple[str, str], dict[Case, float]] = {}
    for case, seconds in times.items():
        found.setdefault((case.cell, case.mode), {})[case] = seconds
    return found


def breaks(times: Times) -> list[Break]:
    """Return all points that break a rule, the worst of each rule first."""
    found = [broken for panel in panels(times).values() for broken in _of_panel(panel)]
    return sorted(found, key=lambda broken: (RULES.index(broken.rule), broken.share))


def _of_panel(times: Times) -> Iterator[Break]:
    at = {(case.H, case.B): case for case in times}
    for case in times:
        larger = [c for c in times if c.H >= case.H and c.B >= case.B and c != case]
        fastest = min(larger, key=lambda c: times[c], default=case)
        if times[fastest] < FASTER * times[case]:
            yield Break(case, LARGER, fastest, times[fastest] / times[case])
        smaller, all_of_them = _neighbours(case, at)
        least = SMALL_SHARE if case.H < SMALL_H else SHARE
        for rule, neighbours in ((BETTER, all_of_them), (SMALLER, smaller)):
            best = max(neighbours, key=lambda c: rate(c, times), default=case)
            share = rate(case, times) / rate(best, times)
            if share < least:
                yield Break(case, rule, best, share)


def _neighbours(case: Case, at: Mapping[tuple[int, int], Case]) -> tuple[list[Case], list[Case]]:
    """Return the next smaller points in H and in B, and those together with the next larger."""
    in_H = sorted(H for H, B in at if case.B == B)
    in_B = sorted(B for H, B in at if case.H == H)
    h, b = in_H.index(case.H), in_B.index(case.B)
    smaller = [at[H, case.B] for H in in_H[max(h - 1, 0) : h]]
    smaller += [at[case.H, B] for B in in_B[max(b - 1, 0) : b]]
    larger = [at[H, case.B] for H in in_H[h + 1 : h + 2]]
    larger += [at[case.H, B] for B in in_B[b + 1 : b + 2]]
    return smaller, smaller + larger


def as_json(times: Times) -> dict[str, Any]:
    """Return all points, times in seconds, and the breaks of the rules."""
    points = [
        {"id": case.id, "cell": case.cell, "mode": case.mode, "H": case.H, "B": case.B}
        | {"seconds": seconds, "gflops": rate(case, times) / 1e9}
        for case, seconds in times.items()
    ]
    broken = [
        {"id": b.case.id, "rule": b.rule, "beside": b.beside.id, "share": b.share}
        for b in breaks(times)
    ]
    return {"points": points, "breaks": broken}
