"""Workers on this machine: a slot per worker, watched until the stage has nothing left to do."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from benchmark import worker
from benchmark.config import Frozen
from benchmark.devices import places
from benchmark.display import Display
from benchmark.errors import DiskFull, Interrupted
from benchmark.journal import Journal
from benchmark.progress import Progress
from benchmark.run import Outcome, run
from benchmark.store import Store
from benchmark.weights import applied, environment
from launchers.slot import Slot

POLL_S = 0.1


class Interrupts:
    """Counts Ctrl-C and SIGTERM while a stage runs: the first asks workers to end their case, the second stops now."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.count += 1

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def launch(runs: Sequence[tuple[Store, Frozen]]) -> list[Outcome]:
    """Run the runs one after the other; an interrupt ends them all. Returns their outcomes, in order."""
    return [run(store, frozen, drain) for store, frozen in runs]


def drain(store: Store, frozen: Frozen, stage: str, journal: Journal) -> list[str]:
    """Do one stage with workers on this machine; return in words how workers ended that did not end well.

    Raises Interrupted after Ctrl-C or SIGTERM, once the workers have left.
    """
    progress = Progress(store, frozen, stage)
    if frozen.debug:
        return _in_process(store, frozen, stage)
    before = progress.look()
    workers = places(frozen.compute.of(stage), max(1, before.expected - before.done))
    slots = [Slot(store, frozen, stage, place, len(workers), journal) for place in workers]
    interrupts = Interrupts()
    with interrupts.caught(), Display(progress) as display:
        try:
            for slot in slots:
                slot.start()
            _watch(slots, interrupts, display)
        finally:
            for slot in slots:
                slot.kill()
    if interrupts.count:
        raise Interrupted("stopped by Ctrl-C or a signal")
    if any(slot.disk_full for slot in slots):
        raise DiskFull(f"no space left for {store.folder}")
    return [f"{slot.place.worker} {slot.ended}" for slot in slots if slot.ended]


def _watch(slots: Sequence[Slot], interrupts: Interrupts, display: Display) -> None:
    running, told = list(slots), 0
    while running:
        time.sleep(POLL_S)
        running = [slot for slot in running if slot.poll()]
        display.update()
        if interrupts.count > told:
            told = interrupts.count
            if told == 1:
                for slot in running:
                    slot.end_soon()
                n = len(running)
                case = "their cases" if n > 1 else "its case"
                display.notice(f"waiting for {n} worker{'s' * (n > 1)} to end {case}; Ctrl-C again to stop now")
            else:
                display.notice("stopping now; the cases at work will be made again")
                for slot in running:
                    slot.kill()


def _in_process(store: Store, frozen: Frozen, stage: str) -> list[str]:
    life = worker.Worker(store, stage, frozen, "debug")
    try:
        with Display(Progress(store, frozen, stage)), applied(environment(frozen.cache_dir, frozen.offline)):
            life.run()
    except KeyboardInterrupt as error:
        raise Interrupted("stopped by Ctrl-C") from error
    finally:
        life.journal.end("debug")
        sys.stderr.flush()
    return []
