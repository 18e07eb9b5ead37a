"""What the records of a stage say: what is done, what failed how often, and what is pending.

The one rule of what is pending is here, used by the plan, the workers and the progress alike.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from benchmark.journal import left_without_space, read_journal
from benchmark.merge import read_manifest
from benchmark.records import Abandon, Death, End, Key, Life, Start, Status
from benchmark.store import Store

BLOCK_BYTES = 1 << 24  # read at a time, so that memory holds states and not lines
UNLIMITED = 1_000_000  # attempts, where one more is to be had whatever happened before
TIMED_OUT = "timed out"  # the one reason to leave in order that speaks against the cases in hand


class PredictionEntry(msgspec.Struct, frozen=True, gc=False, tag_field="record", tag="prediction/1"):
    """The fields of a Prediction that decide what is done."""

    case_id: str
    sample: int
    status: Status
    fingerprint: str
    attempt: int = 0
    sha256: str | None = None

    @property
    def unit(self) -> tuple:
        return (self.case_id, self.sample)


class ScoreEntry(msgspec.Struct, frozen=True, gc=False, tag_field="record", tag="score/1"):
    """The fields of a Score that decide what is done."""

    case_id: str | None
    sample: int
    metric: str
    status: Status
    fingerprint: str
    attempt: int = 0
    prediction_sha256: str | None = None

    @property
    def unit(self) -> tuple:
        return (self.case_id, self.sample, self.metric)

    @property
    def sha256(self) -> str | None:
        return self.prediction_sha256


Entry = PredictionEntry | ScoreEntry
_decoder = msgspec.json.Decoder(PredictionEntry | ScoreEntry | Life | Start | Abandon | Death | End)


class State(msgspec.Struct, gc=False):
    """What is known of one unit: a (case, sample), or a (case, sample, metric).

    `failed` has a bit per attempt that failed, so that a record read twice counts once.
    """

    ok: int = -1
    last: int = -1
    failed: int = 0
    sha256: str | None = None

    def add(self, entry: Entry) -> None:
        if isinstance(entry, ScoreEntry) and entry.sha256 != self.sha256:
            if entry.attempt < self.last:
                return
            self.ok, self.failed = -1, 0  # of another prediction: what was known of that one is void
            self.sha256 = entry.sha256
        self.last = max(self.last, entry.attempt)
        if entry.status == "ok":
            if entry.attempt >= self.ok:
                self.ok, self.sha256 = entry.attempt, entry.sha256
        else:
            self.failed |= 1 << entry.attempt


class Pass(msgspec.Struct, frozen=True):
    """One go over the cases. `attempt` numbers it; an ok record of an attempt before `floor` is not good enough (redo)."""

    attempt: int = 0
    floor: int = 0
    max_attempts: int = 3

    def wants(self, state: State | None, sha256: str | None = None) -> bool:
        """Return whether a unit in this state is pending; a score must be of the prediction with this sha256."""
        if state is None or (sha256 is not None and state.sha256 != sha256):
            return True
        return state.ok < self.floor and state.last < self.attempt and not self.gave_up(state)

    def gave_up(self, state: State) -> bool:
        """Return whether a unit has failed so often that it is tried again only if the user says so."""
        return state.ok < self.floor and (state.failed >> self.floor).bit_count() >= self.max_attempts


class Deaths(msgspec.Struct):
    """How many lives ended while a unit was in hand, and how many of them while nothing else was."""

    n: int = 0
    alone: int = 0


class Ledger:
    """The states of all units of a stage, kept up to date by reading on from where it stopped."""

    def __init__(self, store: Store, stage: str, model: str, fingerprints: Iterable[str]) -> None:
        self._store, self._stage, self._merged = store, stage, store.merged(stage, model)
        self._fingerprints = frozenset(fingerprints)
        self._offsets: dict[str, int] = {}
        self.states: dict[tuple, State] = {}
        self.in_flight: dict[str, dict[Key, int]] = {}  # journal -> what it started and neither recorded nor gave back
        self.started: dict[str, float] = {}  # journal -> when its last batch began
        self.last_attempt = -1
        self.unreadable = 0
        with collector_paused():
            self._offsets = read_manifest(store, stage, model)
            if self._merged.is_file():
                self._add_all(self._merged, 0)
            self.refresh()

    @classmethod
    def of(cls, store: Store, stage: str, model: str, fingerprints: Iterable[str]) -> Ledger:
        """Return the ledger that this store object has of the stage, brought up to date, or a new one."""
        key = (stage, model, *sorted(fingerprints))
        ledger = store.ledgers.get(key)
        if ledger is None:
            ledger = store.ledgers[key] = cls(store, stage, model, key[2:])
        else:
            ledger.refresh()
        return ledger

    def refresh(self) -> None:
        """Read what the journals hold by now."""
        for path in self._store.stage_journals(self._stage):
            self._offsets[path.name] = self._add_all(path, self._offsets.get(path.name, 0))

    def refresh_one(self, journal: str) -> None:
        """Read what one journal holds by now; one that is gone holds nothing."""
        with contextlib.suppress(FileNotFoundError):
            self._offsets[journal] = self._add_all(self._store.journals / journal, self._offsets.get(journal, 0))

    def _add_all(self, path: Path, offset: int) -> int:
        """Read on from `offset`, block by block, and return how far it went."""
        size = BLOCK_BYTES
        while True:
            records, end, bad = read_journal(path, offset, _decoder, size)
            self.unreadable += bad
            self._add_records(path, records)
            if path.stat().st_size <= offset + size:
                return end
            size *= 2 if end == offset else 1  # a line may be longer than a block
            offset = end

    def _add_records(self, path: Path, records: Iterable[Any]) -> None:
        flight = self.in_flight.setdefault(path.name, {}) if path != self._merged else {}
        for record in records:
            if isinstance(record, (PredictionEntry, ScoreEntry)):
                if flight:
                    flight.pop(Key(record.case_id or "", record.sample), None)
                if record.fingerprint in self._fingerprints:
                    self._add(record)
            elif isinstance(record, Start):
                self.last_attempt = max(self.last_attempt, record.attempt)
                flight.update(dict.fromkeys(record.keys, record.attempt))
                self.started[path.name] = record.time
            elif isinstance(record, Abandon):
                for key in record.keys:
                    flight.pop(key, None)
            elif isinstance(record, End) and record.reason != TIMED_OUT:
                flight.clear()

    def _add(self, entry: Entry) -> None:
        unit = entry.unit
        state = self.states.get(unit)
        if state is None:
            state = self.states[unit] = State()
        state.add(entry)
        self.last_attempt = max(self.last_attempt, entry.attempt)

    def deaths(self, units: Iterable[tuple[Key, int]], is_dead: Callable[[str], object]) -> dict[Key, Deaths]:
        """Return which units were in hand when a life ended that `is_dead` knows to be dead, and never recorded since.

        `units` are (case, sample) keys, each with the last attempt that is recorded of it (-1 for none).
        """
        flights = {journal: flight for journal, flight in self.in_flight.items() if flight}
        if not flights:
            return {}
        found: dict[Key, Deaths] = {}
        for key, recorded in units:
            for journal, flight in flights.items():
                if flight.get(key, -1) > recorded and is_dead(journal) and not self._full(journal):
                    deaths = found.setdefault(key, Deaths())
                    deaths.n += 1
                    deaths.alone += len(flight) == 1
        return found

    def _full(self, journal: str) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return left_without_space(self._store.journals / journal)
        return False


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the cyclic garbage collector: it would walk over millions of fresh records again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
