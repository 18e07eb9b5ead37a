"""Overhead: draining 10,000 text cases, against a plain loop that appends the very same lines.

    python tests/bench/overhead.py [CASES]

The floor encodes and writes each line of the journals with an os.write of its own, and does nothing else: no model, no
claims, no heartbeat, no check that the cases are still ours.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

from harness import report, scratch, text_run

from benchmark import drain
from benchmark.config import Frozen
from benchmark.journal import read_journal
from benchmark.records import encode
from benchmark.store import Store
from benchmark.worker import Worker


def drained_s(store: Store, frozen: Frozen, stage: str) -> float:
    """Do a stage in this process; return the seconds its drain loop took."""
    spent = []
    run = drain.Drain.run

    def timed(self: drain.Drain, *arguments: int) -> None:
        start = time.perf_counter()
        run(self, *arguments)
        spent.append(time.perf_counter() - start)

    drain.Drain.run = timed  # type: ignore[method-assign]
    try:
        worker = Worker(store, stage, frozen, "w0")
        worker.run()
        worker.journal.end("done")
    finally:
        drain.Drain.run = run  # type: ignore[method-assign]
    return sum(spent)


def floor_s(store: Store, stage: str, folder: Path) -> tuple[float, int]:
    """Append the lines of a stage's journals to a file, one by one; return seconds and how many lines."""
    records = [record for path in store.stage_journals(stage) for record in read_journal(path)[0]]
    fd = os.open(folder / f"floor-{stage}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    start = time.perf_counter()
    for record in records:
        os.write(fd, encode(record))
    spent = time.perf_counter() - start
    os.close(fd)
    return spent, len(records)


def main(n: int = 10_000, rounds: int = 3) -> None:
    ratios: dict[str, list[float]] = {"infer": [], "eval": [], "both": []}
    details = ""
    for _ in range(rounds):
        with scratch() as folder:
            store, frozen = text_run(Path(folder), n)
            ours, floor = {}, {}
            for stage in ("infer", "eval"):
                ours[stage] = drained_s(store, frozen, stage)
                floor[stage], lines = floor_s(store, stage, Path(folder))
                ratios[stage].append(ours[stage] / floor[stage])
                details += f" {stage} {ours[stage]:.3f} s / {floor[stage]:.3f} s ({lines} lines);"
            ratios["both"].append(sum(ours.values()) / sum(floor.values()))
    for stage, values in ratios.items():
        report(f"overhead of {stage}", statistics.median(values), "target at most 3x", f"median of {rounds} rounds")
    print(f"  {details}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
