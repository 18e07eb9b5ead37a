"""Claims: which worker does which chunk of cases, with nothing but files that are created if absent.

A claim is the file `<chunk>.<n>` holding the journal of its owner; n counts the owners, and owner n+1 may come only when
owner n is dead. Claims are never deleted, renamed or rewritten, so this holds on any file system, NFS included, and a worker
may be killed between any two system calls. docs/decisions/002-claims.md tells why there are no locks or leases on locks.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import DiskFull
from benchmark.journal import Journal, Watcher

MOST_CHUNKS = 1024
FLUSH_S = 1.0  # one fsync serves all chunks finished within this time


def chunk_size(n: int, batch: int) -> int:
    """Return how many cases a chunk holds: a batch at least, and so many that there are at most 1,024 chunks."""
    return max(batch, -(-n // MOST_CHUNKS), 1)


@dataclass
class Chunk:
    """Cases `first` to `last` (excluded), owned by this life as owner number `owner` after those in `former`."""

    index: int
    owner: int
    first: int
    last: int
    former: list[str] = field(default_factory=list)


class Claims:
    """The chunks of one pass, taken one at a time in order of the cases."""

    def __init__(self, folder: Path, n: int, size: int, journal: Journal, watcher: Watcher) -> None:
        self.folder, self.n, self.size = folder, n, size
        self._journal, self._watcher = journal, watcher
        self._prefix = f"{folder}/"
        self._next = 0
        self._contested: dict[int, int] = {}  # chunk -> the owner last seen
        self._finished: list[int] = []
        self._flushed = time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def chunks(self) -> int:
        return -(-self.n // self.size)

    @property
    def exhausted(self) -> bool:
        """Whether every chunk is done, or in hand here."""
        return self._next >= self.chunks and not self._contested

    def take(self) -> Chunk | None:
        """Return a chunk that now belongs to this life, or None while all that are left belong to living owners."""
        while self._next < self.chunks:
            index = self._next
            self._next += 1
            if self._is_done(index):
                continue
            if self._create(index, 1):
                return self._chunk(index, 1, [])
            self._contested[index] = 1
        for index in list(self._contested):
            chunk = self._take_over(index)
            if chunk:
                return chunk
        return None

    def is_mine(self, chunk: Chunk) -> bool:
        """Return whether nobody took the chunk over: asked before each record, since a sleeper may wake up late."""
        return not os.path.lexists(f"{self._prefix}{chunk.index}.{chunk.owner + 1}")

    def done(self, chunk: Chunk) -> None:
        """Note that each case of the chunk has a record; told to others once the journal is on the disk."""
        self._finished.append(chunk.index)
        if time.monotonic() - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write the `.done` files of finished chunks: hints that spare others the reading, no proof."""
        if self._finished:
            self._journal.sync()
            for index in self._finished:
                os.close(os.open(f"{self._prefix}{index}.done", os.O_WRONLY | os.O_CREAT, 0o666))
            self._finished.clear()
        self._flushed = time.monotonic()

    def wait(self, stop: threading.Event, poll_s: float = 0.2) -> None:
        """Wait a little for other owners to finish or die."""
        self.flush()
        stop.wait(poll_s)

    def _chunk(self, index: int, owner: int, former: list[str]) -> Chunk:
        self._contested.pop(index, None)
        first = index * self.size
        return Chunk(index, owner, first, min(first + self.size, self.n), former)

    def _is_done(self, index: int) -> bool:
        return os.path.lexists(f"{self._prefix}{index}.done")

    def _create(self, index: int, owner: int) -> bool:
        try:
            fd = os.open(f"{self._prefix}{index}.{owner}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        except OSError as error:
            raise DiskFull(f"can't claim in {self.folder}: {error.strerror}") from error
        try:
            name = self._journal.name.encode()
            if os.write(fd, name) != len(name):
                raise DiskFull(f"no space left for a claim in {self.folder}")
        except OSError as error:
            raise DiskFull(f"can't claim in {self.folder}: {error.strerror}") from error
        finally:
            os.close(fd)
        return True

    def _take_over(self, index: int) -> Chunk | None:
        if self._is_done(index):
            del self._contested[index]
            return None
        owner = self._contested[index]
        while os.path.lexists(f"{self._prefix}{index}.{owner + 1}"):
            owner += 1
        self._contested[index] = owner
        claim = Path(f"{self._prefix}{index}.{owner}")
        name = claim.read_text()
        if name == self._journal.name:  # in hand here, being finished
            del self._contested[index]
            return None
        dead = self._watcher.death(name) if name else self._watcher.silence(claim)
        if not dead or not self._create(index, owner + 1):
            return None
        former = [Path(f"{self._prefix}{index}.{n}").read_text() for n in range(1, owner + 1)]
        return self._chunk(index, owner + 1, [name for name in former if name])
