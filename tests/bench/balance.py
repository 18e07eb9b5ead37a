"""Balance: 16 workers on 400 cases that sleep log-normal times (sigma 1), real claims on a real file system.

    python tests/bench/balance.py [SEEDS]

Compared: the makespan with claims and no cost hints, with noisy cost hints (longest first), a static round-robin of the same
cases, and two bounds: a simulated queue that hands out one case at a time at no cost, and max(total / workers, longest).
Workers are threads with journals and claims of their own, since the machine has fewer cores than workers; they only sleep.
"""

from __future__ import annotations

import heapq
import random
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from harness import report, scratch

from benchmark.claims import Claims, chunk_size
from benchmark.journal import Journal, Watcher

WORKERS, CASES, SIGMA = 16, 400, 1.0
MEAN_S = 0.1  # of a case: long against a claim, short enough for twenty seeds


def durations(seed: int) -> list[float]:
    made = random.Random(seed)
    drawn = [made.lognormvariate(0, SIGMA) for _ in range(CASES)]
    scale = MEAN_S * CASES / sum(drawn)
    return [value * scale for value in drawn]


def queue_makespan(times: Sequence[float]) -> float:
    """Simulate one queue: whoever is free takes the next case."""
    free = [0.0] * WORKERS
    for value in times:
        heapq.heappush(free, heapq.heappop(free) + value)
    return max(free)


def claimed_makespan(times: Sequence[float], folder: Path) -> float:
    """Let threads claim and sleep; return the seconds from their common start to the end of the last case."""
    (folder / "journals").mkdir(parents=True)
    barrier = threading.Barrier(WORKERS + 1)
    ends: list[float] = []

    def work(index: int) -> None:
        journal = Journal(folder / "journals", role="worker", stage="infer", worker=f"w{index}", code="", config="")
        watcher = Watcher(folder / "journals", 60)
        claims = Claims(folder / "claims", len(times), chunk_size(len(times), 1), journal, watcher)
        barrier.wait()
        while chunk := claims.take():
            for case in range(chunk.first, chunk.last):
                time.sleep(times[case])
            claims.done(chunk)
            ends.append(time.perf_counter())

    threads = [threading.Thread(target=work, args=(index,)) for index in range(WORKERS)]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = time.perf_counter()
    for thread in threads:
        thread.join()
    return max(ends) - start


def main(seeds: int = 20) -> None:
    unhinted, hinted, static, queue = [], [], [], []
    for seed in range(seeds):
        times = durations(seed)
        noise = random.Random(1000 + seed)
        by_hint = sorted(times, key=lambda value: -value * noise.lognormvariate(0, 0.3))
        bound = max(sum(times) / WORKERS, max(times))
        with scratch() as folder:
            unhinted.append(claimed_makespan(times, Path(folder) / "a") / queue_makespan(times))
            hinted.append(claimed_makespan(by_hint, Path(folder) / "b") / bound)
        static.append(max(sum(times[worker::WORKERS]) for worker in range(WORKERS)) / bound)
        queue.append(queue_makespan(times) / bound)
    detail = f"median of {seeds} seeds"
    report(
        "balance without hints, over a one-at-a-time queue", statistics.median(unhinted), "target at most 1.02x", detail
    )
    report("balance with noisy cost hints, over the bound", statistics.median(hinted), "target at most 1.10x", detail)
    report("  static round-robin, over the bound", statistics.median(static), "for comparison", detail)
    report("  one-at-a-time queue, over the bound", statistics.median(queue), "for comparison", detail)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
