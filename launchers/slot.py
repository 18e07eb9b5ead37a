"""A worker slot: the parent of one worker at a time, which restarts it when it died and writes down how.

Free of torch and Hydra. Whatever starts workers on a machine (this computer, a SLURM array element) does it through a slot.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import benchmark
from benchmark import weights, worker
from benchmark.config import Frozen
from benchmark.devices import Place
from benchmark.errors import DiskFull
from benchmark.journal import Journal
from benchmark.records import Death
from benchmark.store import Store

WORDS = {
    worker.EXIT_FAILED: "could not start or met an error of its own",
    worker.EXIT_DISK_FULL: "no space left on the disk",
    worker.EXIT_TIMED_OUT: "a case took longer than compute.case_timeout_min",
    worker.EXIT_ORPHANED: "its parent was gone",
}


def code_folder(store: Store, frozen: Frozen) -> Path:
    """Return a folder of links to our package and the plugins', to be put on any interpreter's path.

    Not the folders they lie in: those may be a site-packages full of modules built for another Python.
    """
    folder = store.folder / ".work" / "code"
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in {"benchmark": str(Path(benchmark.__file__).parent), **frozen.plugin_folders}.items():
        link = folder / (name if Path(source).is_dir() else Path(source).name)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(source)
    return folder


class Slot:
    """One worker slot. `poll` until it returns False; `ended` then says in words how it ended ("" for well)."""

    def __init__(self, store: Store, frozen: Frozen, stage: str, place: Place, workers: int, journal: Journal):
        self.store, self.stage, self.place, self.journal = store, stage, place, journal
        compute = frozen.compute.of(stage)
        self.command = [compute.python or sys.executable, "-m", "benchmark.worker"]
        self.command += [str(store.folder.absolute()), stage, frozen.digest]
        code = code_folder(store, frozen).absolute()
        self.folder = frozen.cwd if Path(frozen.cwd).is_dir() else None
        self.environment = {
            **os.environ,
            **weights.environment(frozen.cache_dir, frozen.offline),
            **place.environment(workers),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(code), os.environ.get("PYTHONPATH", "")])),
            "PYTHONUNBUFFERED": "1",
            worker.NAME: place.worker,
            worker.PARENT: str(os.getpid()),
        }
        self.log = store.log_file(stage, place.worker)
        self.restarts_left = compute.max_restarts
        self.ended, self.disk_full = "", False
        self.stopping = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start a worker life in a session of its own, so that Ctrl-C reaches only its parent."""
        with self.log.open("ab") as log:
            log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(self.command)}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def poll(self) -> bool:
        """Return whether the slot goes on: its worker runs, or was restarted after a death."""
        assert self._process is not None, "poll before start"
        code = self._process.poll()
        if code is None:
            return True
        how = _in_words(code)
        if code != worker.EXIT_DONE:
            with contextlib.suppress(DiskFull):  # which may be why it died; its log has the words
                self.journal.write(Death(self.place.worker, self._process.pid, how, time.time()))
        timed_out = code == worker.EXIT_TIMED_OUT  # costs a case each time, so it needs no bound of its own
        if (code < 0 or timed_out) and not self.stopping:
            if timed_out or self.restarts_left > 0:
                self.restarts_left -= not timed_out
                self.start()
                return True
            how += ", too often to be restarted again"
        self.disk_full = code == worker.EXIT_DISK_FULL
        self.ended = "" if code == worker.EXIT_DONE else f"{how} (log {self.log}, at its end: {self._last_words()})"
        return False

    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace")[-4000:].strip().splitlines()
        return lines[-1] if lines else ""

    def end_soon(self) -> None:
        """Ask the worker to end its batch and leave."""
        self.stopping = True
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker at once, with everything it started."""
        self.stopping = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number) if number == signal.SIGKILL else os.kill(self.pid, number)


def _in_words(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"
    return WORDS.get(code, f"left with exit code {code}")
