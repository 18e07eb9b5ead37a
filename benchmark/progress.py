"""How far a stage is, read from the journals: by the driver that shows it, and by anyone else who looks."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from benchmark.config import Frozen
from benchmark.journal import Watcher
from benchmark.ledger import Ledger
from benchmark.records import Life
from benchmark.store import Store


@dataclass
class WorkerState:
    """One worker's state: what it does, since when (seconds), and how many units it recorded in this life."""

    worker: str
    host: str
    state: str
    since_s: float


@dataclass
class Snapshot:
    """A stage at one moment, in units of (case, sample). `rate` is in units per second, `eta_s` in seconds."""

    stage: str
    expected: int
    done: int
    failed: int
    rate: float | None = None
    eta_s: float | None = None
    workers: list[WorkerState] = field(default_factory=list)

    @property
    def pending(self) -> int:
        return self.expected - self.done - self.failed

    def line(self) -> str:
        """One line for a log or a terminal."""
        parts = [f"{self.stage} {self.done}/{self.expected}"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.pending} pending"] if self.pending else []
        if self.rate and self.pending:
            parts.append(f"{self.rate:.2f}/s" if self.rate >= 0.1 else f"{self.rate * 3600:.1f}/h")
            parts.append(f"about {duration(self.eta_s or 0)} left")
        if self.workers:
            busy = sum(worker.state != "idle" for worker in self.workers)
            parts.append(f"{len(self.workers)} worker{'s' * (len(self.workers) > 1)} ({busy} busy)")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Return a time in seconds as people say it: "0.4 s", "12 s", "3 min 05 s", "2 h 07 min"."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Follows one stage of a run. Each look reads only what the journals gained since the last."""

    def __init__(self, store: Store, frozen: Frozen, stage: str) -> None:
        self.store, self.frozen, self.stage = store, frozen, stage
        fingerprints = [frozen.prediction.fingerprint] if stage == "infer" else frozen.score_fingerprints.values()
        self._ledger = Ledger.of(store, stage, frozen.model_name, fingerprints)
        self._made = (
            None if stage == "infer" else Ledger.of(store, "infer", frozen.model_name, [frozen.prediction.fingerprint])
        )
        self._watcher = Watcher(store.journals, frozen.compute.lease_s)
        self._per_case = sum(len(plan.measures) for plan in frozen.metrics.values() if plan.scope == "case")
        self._first: tuple[float, int] | None = None

    def look(self) -> Snapshot:
        """Return the stage as it is now."""
        self._ledger.refresh()
        done, failed = self._count()
        expected = self.frozen.cases.n * self.frozen.samples
        snapshot = Snapshot(self.stage, expected, done, failed)
        now = time.time()
        lives = [life for life in self._watcher.living("worker") if life.stage == self.stage]
        for life in lives:
            snapshot.workers.append(self._worker(life, now))
        self._first = self._first or (now, done)
        since, before = self._first
        if now - since > 1 and done > before:
            snapshot.rate = (done - before) / (now - since)
            snapshot.eta_s = snapshot.pending / snapshot.rate
        return snapshot

    def _worker(self, life: Life, now: float) -> WorkerState:
        flight = self._ledger.in_flight.get(life.journal)
        what = "idle"
        if flight:
            case_id, sample = next(iter(flight))
            what = f"{case_id}#{sample}" if self.frozen.samples > 1 else case_id
            what += f" and {len(flight) - 1} more" if len(flight) > 1 else ""
        started = self._ledger.started.get(life.journal, life.time)
        return WorkerState(life.worker, life.host, what or "the whole set", now - started)

    def _count(self) -> tuple[int, int]:
        if self._made is None:
            floor = self.frozen.infer.floor
            states = self._ledger.states.values()
            done = sum(state.ok >= floor for state in states)
            return done, sum(state.ok < floor and state.failed != 0 for state in states)
        good, bad = self._scored()
        return sum(n >= self._per_case and key not in bad for key, n in good.items()), len(bad)

    def _scored(self) -> tuple[dict[tuple, int], set[tuple]]:
        """Count per prediction the scores that are there; name the predictions of which some metric failed."""
        assert self._made is not None
        self._made.refresh()
        floors = {
            f"{option}/{measure.name}": plan.turn.floor
            for option, plan in self.frozen.metrics.items()
            for measure in plan.measures
        }
        good: dict[tuple, int] = {}
        bad: set[tuple] = set()
        for (case_id, sample, metric), state in self._ledger.states.items():
            made = self._made.states.get((case_id, sample))
            if metric not in floors or made is None or state.sha256 != made.sha256:
                continue
            if state.ok >= floors[metric]:
                good[case_id, sample] = good.get((case_id, sample), 0) + 1
            elif state.failed:
                bad.add((case_id, sample))
        return good, bad
