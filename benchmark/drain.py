"""The loop of a worker: take a chunk, work on its pending units in batches, publish a record for each, take the next.

A unit is one (case, sample). While a batch is worked on, the inputs of the next are prepared and the outputs of the last are
written, each on threads of their own, if the work at hand wants that.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Protocol

from benchmark.claims import Chunk, Claims, Lost
from benchmark.guard import Failure, guarded, in_words
from benchmark.journal import Journal
from benchmark.ledger import Deaths
from benchmark.records import Abandon, Key, Line, Start

MOST_WAITING_OUTPUTS = 4
QUICK_S = 0.02  # batches that together take no longer share a start line and a write
MOST_BATCHES = 64


class Unit(Protocol):
    """One (case, sample) of a stage."""

    @property
    def key(self) -> Key: ...


class Work(Protocol):
    """What a stage does with units: the part of a worker that differs between infer and eval."""

    batch: int  # units worked on together
    threads: int  # that prepare inputs and write outputs; 0 does both in the loop
    ahead: int  # chunks claimed ahead of the one at work, so that their inputs can be prepared

    def pending(self, chunk: Chunk) -> list[Any]: ...

    def deaths(self, units: Sequence[Any]) -> dict[Key, Deaths]: ...

    def prepare(self, unit: Any) -> None: ...

    def work(self, units: Sequence[Any]) -> Sequence[Any]: ...

    def records(self, unit: Any, result: Any, hold: Callable[[], None]) -> list[Line]:
        """Return what to record; `hold` is called before a file becomes visible, and raises if the unit is another's now."""
        ...

    def failed(self, unit: Any, error: str) -> list[Line]: ...


class Drain:
    """Drains the claims of one pass with one kind of work, until nothing is left or it is asked to stop."""

    def __init__(self, work: Work, claims: Claims, journal: Journal, attempt: int, stop: threading.Event) -> None:
        self._work, self._claims, self._journal = work, claims, journal
        self._attempt, self._stop = attempt, stop
        self._batch, self._batches = work.batch, 1  # units worked on together, batches published together
        self._lock = threading.Lock()
        self._fatal: BaseException | None = None
        self._in_hand: set[Key] = set()  # started, not recorded
        self._reading: dict[Key, Future[None]] = {}
        self._careful = False  # since a life was found that died here: what is read ahead might be what killed it
        self._slots = threading.Semaphore(MOST_WAITING_OUTPUTS)
        self._readers = ThreadPoolExecutor(work.threads, "reader") if work.threads else None
        self._writers = ThreadPoolExecutor(work.threads, "writer") if work.threads else None
        self.at_work: tuple[float, Sequence[Any]] | None = None  # since when (monotonic), which units

    def run(self, max_case_deaths: int = 0) -> None:
        """Work until every chunk is done or the stop event is set. Raises DiskFull; a unit's own error never."""
        try:
            for chunk, units, deaths in self._chunks():
                self._do(chunk, units, deaths, max_case_deaths)
        finally:
            for pool in (self._readers, self._writers):
                if pool:
                    pool.shutdown(wait=True, cancel_futures=pool is self._readers)
        if self._fatal:
            raise self._fatal
        self._claims.flush()

    def _chunks(self) -> Iterator[tuple[Chunk, list[Any], dict[Key, Deaths]]]:
        queue: deque[tuple[Chunk, list[Any], dict[Key, Deaths]]] = deque()
        while not self._stop.is_set() and not self._fatal:
            while len(queue) <= self._work.ahead and (chunk := self._claims.take()):
                units = self._work.pending(chunk)
                chunk.left = len(units)
                if not units:
                    self._claims.done(chunk)
                    continue
                deaths = self._work.deaths(units)
                self._careful = self._careful or bool(deaths)
                self._prepare(units[: self._batch])
                queue.append((chunk, units, deaths))
            if queue:
                yield queue.popleft()
                continue
            if self._claims.exhausted:
                self._settle()
                if self._claims.exhausted:  # still: a writer may have lost its chunk meanwhile
                    return
            self._claims.wait()

    def _prepare(self, units: Sequence[Any]) -> None:
        if self._readers and not self._careful:
            for unit in units:
                if unit.key not in self._reading:
                    self._reading[unit.key] = self._readers.submit(self._prepare_one, unit)

    def _prepare_one(self, unit: Any) -> None:
        try:
            self._work.prepare(unit)
        except Exception:  # noqa: BLE001 - the work itself meets the error again, where it belongs to the unit
            return

    def _await_inputs(self, batch: Sequence[Any]) -> None:
        """Leave no reader at the batch: one that came late would read what the work has read and given back."""
        for unit in batch:
            future = self._reading.pop(unit.key, None)
            if future and not future.cancel():
                future.result()

    def _settle(self) -> None:
        """Wait until every output is written."""
        _ = [self._slots.acquire() for _ in range(MOST_WAITING_OUTPUTS)]
        self._slots.release(MOST_WAITING_OUTPUTS)

    def _do(self, chunk: Chunk, units: list[Any], deaths: dict[Key, Deaths], max_case_deaths: int) -> None:
        suspects = [unit for unit in units if unit.key in deaths] if deaths else []
        rest = [unit for unit in units if unit.key not in deaths] if deaths else units
        for suspect in suspects:
            self._settle()  # alone: should it kill, nothing else may be in hand
            if self._may_go_on(chunk):
                self._try_again(chunk, suspect, deaths[suspect.key], max_case_deaths)
        if suspects:
            self._settle()
        while rest and self._may_go_on(chunk):
            n = self._batch * self._batches
            group, rest = rest[:n], rest[n:]
            self._prepare(rest[: self._batch])
            self._work_on(chunk, group)

    def _may_go_on(self, chunk: Chunk) -> bool:
        return not (self._stop.is_set() or self._fatal or chunk.lost)

    def _try_again(self, chunk: Chunk, unit: Any, deaths: Deaths, max_case_deaths: int) -> None:
        if max_case_deaths and deaths.alone and deaths.n >= max_case_deaths:
            died = (
                f"{deaths.n} worker{'s' * (deaths.n > 1)} died at this case, {deaths.alone} of them with nothing else"
            )
            why = f"worker died: {died} in hand, so it is not tried again in this pass"
            self._publish(chunk, [unit], [Failure(why)])
        else:
            self._work_on(chunk, [unit])

    def _work_on(self, chunk: Chunk, units: Sequence[Any]) -> None:
        """Work on a few batches under one start line; what is quick is published together, at most QUICK_S late."""
        keys = [unit.key for unit in units]
        self._in_hand.update(keys)
        self._journal.write(Start(keys, self._attempt, time.time()))
        since, slow, worked = time.monotonic(), False, 0
        results: list[Any] = []
        while worked < len(units) and self._may_go_on(chunk):
            batch = units[worked : worked + self._batch]
            results += self._work_on_batch(batch)
            worked += len(batch)
            slow = time.monotonic() - since > QUICK_S
            if slow:
                self._hand_on(chunk, units[worked - len(results) : worked], results)
                results = []
        if results:
            self._hand_on(chunk, units[worked - len(results) : worked], results)
        if worked < len(units):
            self._give_back(keys[worked:])
        self._batches = 1 if slow or self._writers else min(2 * self._batches, MOST_BATCHES)

    def _work_on_batch(self, batch: Sequence[Any]) -> list[Any]:
        self.at_work = (time.monotonic(), batch)
        if self._readers:
            self._await_inputs(batch)
        results = guarded(self._work.work, batch, self._use_smaller_batch)
        self.at_work = None
        return results

    def _hand_on(self, chunk: Chunk, units: Sequence[Any], results: Sequence[Any]) -> None:
        if not self._writers:
            self._publish(chunk, units, results)
            return
        for unit, result in zip(units, results, strict=True):
            self._slots.acquire()
            self._writers.submit(self._publish_later, chunk, unit, result)

    def _use_smaller_batch(self, size: int) -> None:
        self._batch = max(1, min(self._batch, size))

    def _publish_later(self, chunk: Chunk, unit: Any, result: Any) -> None:
        try:
            self._publish(chunk, [unit], [result])
        except BaseException as error:  # noqa: BLE001 - carried to the loop, which ends the life with it
            self._fatal = error
        finally:
            self._slots.release()

    def _publish(self, chunk: Chunk, units: Sequence[Any], results: Sequence[Any]) -> None:
        keys = [unit.key for unit in units]
        try:
            hold = partial(self._claims.hold, chunk)
            records = [line for pair in zip(units, results, strict=True) for line in self._records(*pair, hold)]
            hold()
            self._journal.write(*records)
        except Lost:
            self._give_back(keys)
            return
        self._in_hand.difference_update(keys)
        with self._lock:
            chunk.left -= len(units)
            done = not chunk.left
        if done:
            self._claims.done(chunk)

    def _give_back(self, keys: list[Key]) -> None:
        self._journal.write(Abandon(keys))
        self._in_hand.difference_update(keys)

    def _records(self, unit: Any, result: Any, hold: Callable[[], None]) -> list[Line]:
        if not isinstance(result, Failure):
            try:
                return self._work.records(unit, result, hold)
            except Lost:
                raise
            except Exception as error:  # noqa: BLE001 - the unit's own, unless the disk is full
                result = Failure(in_words(error))
        key = unit.key
        print(f"{key.case_id} (sample {key.sample}) failed:\n{result.error}", file=sys.stderr, flush=True)
        return self._work.failed(unit, result.error)

    def failed(self, unit: Any, error: str) -> list[Line]:
        """Return the records of a unit in which the loop is stuck, for whoever ends the process."""
        return self._work.failed(unit, error)

    def given_back(self, units: Sequence[Any] = ()) -> list[Line]:
        """Return the lines which say that all in hand but these units is given up unharmed."""
        keys = self._in_hand - {unit.key for unit in units}
        return [Abandon(list(keys))] if keys else []
