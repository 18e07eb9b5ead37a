"""The loop of a worker: take a chunk, work on its pending units in batches, publish a record for each, take the next.

A unit is one (case, sample). While a batch is worked on, the inputs of the next are prepared and the outputs of the last are
written, each on threads of their own, if the work at hand wants that.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from benchmark.claims import Chunk, Claims
from benchmark.errors import DiskFull
from benchmark.journal import Journal
from benchmark.records import Abandon, Key, Line, Start
from benchmark.store import is_disk_full

Result = TypeVar("Result")
MOST_WAITING_OUTPUTS = 4


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

    def deaths(self, chunk: Chunk) -> dict[Key, int]: ...

    def prepare(self, unit: Any) -> None: ...

    def work(self, units: Sequence[Any]) -> Sequence[Any]: ...

    def records(self, unit: Any, result: Any) -> list[Line]: ...

    def failed(self, unit: Any, error: str) -> list[Line]: ...


@dataclass(frozen=True)
class Failure:
    """What is known of a unit that raised: its class and message in the first line, then the traceback."""

    error: str


def in_words(error: BaseException) -> str:
    """Return class and message in the first line, the traceback below: the first line is what reports group by."""
    return "".join([*traceback.format_exception_only(error)[-1:], *traceback.format_exception(error)]).rstrip()


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on the host or (by the class's name, torch is not imported here) on a GPU."""
    return isinstance(error, MemoryError) or "OutOfMemoryError" in [c.__name__ for c in type(error).__mro__]


def free_memory() -> None:
    """Give a GPU's cached memory back, if torch is in use."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()


def guarded(
    call: Callable[[Sequence[Any]], Sequence[Result]], units: Sequence[Any], on_smaller: Callable[[int], None]
) -> list[Result | Failure]:
    """Return a result or a Failure per unit; a failing batch is halved when memory ran out, else tried one by one."""
    try:
        results = list(call(units))
        if len(results) != len(units):
            raise ValueError(f"{len(units)} results were expected, {len(results)} came")
        return [*results]
    except Exception as error:
        if is_disk_full(error):
            raise DiskFull(str(error)) from error
        if len(units) == 1:
            return [Failure(in_words(error))]
        size = len(units) // 2 if is_out_of_memory(error) else 1
    free_memory()
    if size > 1 or len(units) == 2:
        on_smaller(size)
    pieces = (units[i : i + size] for i in range(0, len(units), size))
    return [result for piece in pieces for result in guarded(call, piece, on_smaller)]


class Drain:
    """Drains the claims of one pass with one kind of work, until nothing is left or it is asked to stop."""

    def __init__(self, work: Work, claims: Claims, journal: Journal, attempt: int, stop: threading.Event) -> None:
        self._work, self._claims, self._journal = work, claims, journal
        self._attempt, self._stop = attempt, stop
        self._batch = work.batch
        self._lock = threading.Lock()
        self._left: dict[int, int] = {}  # chunk -> units without a record
        self._fatal: BaseException | None = None
        self._in_hand: set[Key] = set()  # started, not recorded
        self._slots = threading.Semaphore(MOST_WAITING_OUTPUTS)
        self._readers = ThreadPoolExecutor(max(work.threads, 1), "reader") if work.threads else None
        self._writers = ThreadPoolExecutor(max(work.threads, 1), "writer") if work.threads else None
        self.at_work: tuple[float, Sequence[Any]] | None = None  # since when (monotonic), which units

    def run(self, max_case_deaths: int = 0) -> None:
        """Work until every chunk is done or the stop event is set. Raises DiskFull; a unit's own error never."""
        try:
            for chunk, units in self._chunks():
                self._do(chunk, units, max_case_deaths)
                if self._stop.is_set():
                    break
        finally:
            for pool in (self._readers, self._writers):
                if pool:
                    pool.shutdown(wait=True)
        if self._fatal:
            raise self._fatal
        self._claims.flush()

    def _chunks(self) -> Iterator[tuple[Chunk, list[Any]]]:
        queue: deque[tuple[Chunk, list[Any]]] = deque()
        while not self._stop.is_set() and not self._fatal:
            while len(queue) <= self._work.ahead and (chunk := self._claims.take()):
                units = self._work.pending(chunk)
                self._left[chunk.index] = len(units)
                if not units:
                    self._claims.done(chunk)
                    continue
                self._prepare(units[: self._batch])
                queue.append((chunk, units))
            if queue:
                yield queue.popleft()
            elif self._claims.exhausted:
                return
            else:
                self._claims.wait(self._stop)

    def _prepare(self, units: Sequence[Any]) -> None:
        if self._readers:
            for unit in units:
                self._readers.submit(self._prepare_one, unit)

    def _prepare_one(self, unit: Any) -> None:
        try:
            self._work.prepare(unit)
        except Exception:  # noqa: BLE001 - the work itself meets the error again, where it belongs to the unit
            return

    def _do(self, chunk: Chunk, units: list[Any], max_case_deaths: int) -> None:
        deaths = self._work.deaths(chunk)
        suspects = [unit for unit in units if unit.key in deaths]
        rest = [unit for unit in units if unit.key not in deaths] if suspects else units
        batches = [[unit] for unit in suspects]
        while batches or rest:
            if not batches:
                batches, rest = [rest[: self._batch]], rest[self._batch :]
            batch = batches.pop(0)
            self._prepare(rest[: self._batch])
            if self._stop.is_set() or self._fatal or not self._claims.is_mine(chunk):
                return
            died = deaths.get(batch[0].key, 0)
            if max_case_deaths and died >= max_case_deaths:
                why = f"worker died: {died} workers died at this case, so it is not tried again in this pass"
                self._publish(chunk, [(batch[0], Failure(why))])
            else:
                self._work_on(chunk, batch)

    def _work_on(self, chunk: Chunk, batch: Sequence[Any]) -> None:
        keys = [unit.key for unit in batch]
        self._journal.write(Start(keys, self._attempt, time.time()))
        self._in_hand.update(keys)
        self.at_work = (time.monotonic(), batch)
        results = guarded(self._work.work, batch, self._use_smaller_batch)
        self.at_work = None
        if not self._writers:
            self._publish(chunk, list(zip(batch, results, strict=True)))
            return
        for pair in zip(batch, results, strict=True):
            self._slots.acquire()
            self._writers.submit(self._publish_later, chunk, pair)

    def _use_smaller_batch(self, size: int) -> None:
        self._batch = max(1, min(self._batch, size))

    def _publish_later(self, chunk: Chunk, pair: tuple[Any, Any]) -> None:
        try:
            self._publish(chunk, [pair])
        except BaseException as error:  # noqa: BLE001 - carried to the loop, which ends the life with it
            self._fatal = error
        finally:
            self._slots.release()

    def _publish(self, chunk: Chunk, pairs: Sequence[tuple[Any, Any]]) -> None:
        records = [record for unit, result in pairs for record in self._records(unit, result)]
        self._in_hand.difference_update([unit.key for unit, _ in pairs])
        if not self._claims.is_mine(chunk):
            return  # someone took this life for dead and does these cases again: theirs count
        self._journal.write(*records)
        with self._lock:
            self._left[chunk.index] -= len(pairs)
            if self._left[chunk.index] == 0:
                self._claims.done(chunk)

    def _records(self, unit: Any, result: Any) -> list[Line]:
        if not isinstance(result, Failure):
            made = guarded(lambda units: [self._work.records(units[0], result)], [unit], self._use_smaller_batch)[0]
            if not isinstance(made, Failure):
                return made
            result = made
        print(
            f"{unit.key.case_id} (sample {unit.key.sample}) failed:\n{result.error}",
            file=sys.stderr,
            flush=True,
        )
        return self._work.failed(unit, result.error)

    def fail(self, unit: Any, error: str) -> None:
        """Record a unit as failed from outside the loop, which is stuck in it."""
        self._journal.write(*self._work.failed(unit, error))

    def give_back(self) -> None:
        """Say that what was in hand is given up unharmed."""
        if self._in_hand:
            self._journal.write(Abandon(list(self._in_hand)))
