"""One worker process: `python -m benchmark.worker RUN_FOLDER STAGE CONFIG_DIGEST`.

Runs with the light dependencies alone (msgspec, pyyaml, numpy, pillow, av), so a stage can use an interpreter that has
neither Hydra nor this package installed. It reads the frozen config and nothing else, drains the stage's pending cases, and
leaves when nothing is left, when it is told to (SIGTERM: it ends its batch first), or when its parent is gone.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmark import merge
from benchmark.build import build
from benchmark.claims import Claims, chunk_size
from benchmark.config import Frozen, read_frozen
from benchmark.devices import visible_gpus
from benchmark.drain import Drain, Work
from benchmark.errors import DiskFull, UserError
from benchmark.evaluate import Evaluation, SetEvaluation
from benchmark.infer import Inference
from benchmark.journal import Journal, Watcher
from benchmark.ledger import TIMED_OUT, Ledger
from benchmark.metrics import Metric, SetMetric
from benchmark.model import Model
from benchmark.process import process_start
from benchmark.prompts import Prompts
from benchmark.records import Line, digest
from benchmark.scoring import Context
from benchmark.store import Store, is_disk_full

EXIT_DONE, EXIT_FAILED, EXIT_DISK_FULL, EXIT_TIMED_OUT, EXIT_ORPHANED = 0, 3, 74, 75, 76
PARENT = "GENBENCH_PARENT"  # the process id of whoever started this worker and restarts it
NAME = "GENBENCH_WORKER"
WATCH_S = 0.5
Passes = Iterator[tuple[Work, int, list[Any]]]  # what to do, in which attempt, and what names the pass


def component(spec: Mapping[str, Any], protocols: tuple[type, ...], where: str, frozen: Frozen) -> Any:
    """Build a component of the frozen config; what fails here was fine when the run was planned."""
    built, problems = build(spec, protocols, where, frozen.plugins)
    if problems:
        raise UserError(problems)
    return built


class Worker:
    """One life of a worker: its journal, its watchers, and the passes of its stage."""

    def __init__(self, store: Store, stage: str, frozen: Frozen, name: str) -> None:
        self.store, self.stage, self.frozen, self.name = store, stage, frozen, name
        self.stop = threading.Event()
        self.compute = frozen.compute
        self.device = "cuda" if visible_gpus() else "cpu"
        self._drain: Drain | None = None
        self.journal: Journal = store.open_journal(role="worker", stage=stage, worker=name, config=frozen.digest)
        self.watcher = Watcher(store.journals, self.compute.lease_s)

    def run(self) -> None:
        """Do the stage. Raises DiskFull, or whatever building and loading the components raises."""
        self.journal.keep_alive(self.compute.lease_s)
        passes = self._infer() if self.stage == "infer" else self._eval()
        for work, attempt, key in passes:
            n = 1 if isinstance(work, SetEvaluation) else len(self.store.cases())
            size = chunk_size(n, work.batch)
            folder = self.store.claims(self.stage, digest([key, size]))
            claims = Claims(folder, n, size, self.journal, self.watcher)
            self._drain = Drain(work, claims, self.journal, attempt, self.stop)
            self._drain.run(self.compute.max_case_deaths)
            if self.stop.is_set():
                return

    def _infer(self) -> Passes:
        frozen = self.frozen
        ledger = Ledger(self.store, self.stage, frozen.model_name, [frozen.prediction.fingerprint])
        cases, turn = self.store.cases(), frozen.infer
        keys = ((case.id, sample) for case in cases for sample in range(frozen.samples))
        if not any(turn.wants(ledger.states.get(key)) for key in keys):
            return
        model = component(frozen.model, (Model,), "model", frozen)
        prompts = component(frozen.prompts, (Prompts,), "prompts", frozen)
        self._load("the model", model)
        token = self.journal.name.removesuffix(".jsonl")
        work = Inference(self.store, frozen, model, prompts, ledger, self.name, token, self.watcher.death)
        yield work, turn.attempt, [frozen.cases.digest, frozen.prediction.fingerprint, turn.attempt, turn.floor]

    def _eval(self) -> Passes:
        frozen = self.frozen
        made = merge.predictions(self.store, frozen.model_name, frozen.prediction.fingerprint)
        ledger = Ledger(self.store, self.stage, frozen.model_name, frozen.score_fingerprints.values())
        context = Context(self.store, frozen, ledger, made, self.name, self.watcher.death)
        turns = {
            name: [plan.identity.fingerprint, plan.turn.attempt, plan.turn.floor, [m.name for m in plan.measures]]
            for name, plan in frozen.metrics.items()
        }
        key = [frozen.cases.digest, turns, merge.set_digest(made)]
        attempt = max((plan.turn.attempt for plan in frozen.metrics.values()), default=0)
        single = self._metrics("case", Metric)
        together = {name: metric for name, metric in single.items() if metric.batch_size}
        at_once = {name: {name: metric} for name, metric in single.items() if not metric.batch_size}
        for what, metrics in {"case": together, **at_once}.items():
            evaluation = Evaluation(context, metrics)
            lacking = {option for unit in made for option in evaluation.lacking(*unit)}
            for name in sorted(lacking):
                self._load(f"metrics.{name}", metrics[name])
            if lacking:
                yield evaluation, attempt, [what, *key]
        whole = self._metrics("set", SetMetric)
        set_evaluation = SetEvaluation(context, whole)
        if made and set_evaluation.lacking():
            for name in set_evaluation.lacking():
                self._load(f"metrics.{name}", whole[name])
            yield set_evaluation, attempt, ["set", *key]

    def _metrics(self, scope: str, protocol: type) -> dict[str, Any]:
        plans = {name: plan for name, plan in self.frozen.metrics.items() if plan.scope == scope}
        return {name: component(plan.spec, (protocol,), f"metrics.{name}", self.frozen) for name, plan in plans.items()}

    def _load(self, what: str, loaded: Any) -> None:
        start = time.perf_counter()
        loaded.load(self.device)
        print(f"loaded {what} on {self.device} in {time.perf_counter() - start:.1f} s", flush=True)

    def watch(self) -> None:
        """Watch the parent and the clock of the batch at work, from a thread; both can only end the process."""
        is_orphan = orphanhood(int(os.environ.get(PARENT, os.getppid())))

        def look() -> None:
            while True:  # leaving after SIGTERM may still take a batch: the clock and the parent count on
                time.sleep(WATCH_S)
                if is_orphan():
                    self._leave_now("parent gone", EXIT_ORPHANED, self._drain.given_back if self._drain else list)
                self._look_at_clock()

        threading.Thread(target=look, name="watch", daemon=True).start()

    def _look_at_clock(self) -> None:
        limit_min, drain = self.compute.case_timeout_min, self._drain
        at_work = drain.at_work if drain else None
        if not (drain and limit_min and at_work and time.monotonic() - at_work[0] > limit_min * 60):
            return
        units = at_work[1]

        def last_lines() -> list[Line]:
            error = f"TimeoutError: not done after case_timeout_min={limit_min:g}"
            # Of several it is not known which one hangs: they stay in hand, and each is tried alone by the next life.
            return [*drain.given_back(units), *(drain.failed(units[0], error) if len(units) == 1 else [])]

        self._leave_now(TIMED_OUT, EXIT_TIMED_OUT, last_lines)

    def _leave_now(self, reason: str, code: int, last_lines: Callable[[], list[Line]]) -> None:
        """End the process whatever happens: its main thread is stuck, or nobody waits for it."""
        try:
            say(f"leaving: {reason}")
            self.journal.write(*last_lines())
            self.journal.end(reason)
        except Exception as error:  # noqa: BLE001 - nothing may keep a worker that has to leave
            say(f"could not record it: {error}")
        finally:
            os._exit(code)

    def leave_without_space(self) -> None:
        """Say, where there is space for it, that nothing in hand is to blame."""
        with contextlib.suppress(OSError):
            self.journal.end_without_space(*(self._drain.given_back() if self._drain else []))


def orphanhood(parent: int) -> Callable[[], bool]:
    """Return what tells whether the process that watches over this one is gone, though a wrapper may stand between."""
    if os.getppid() == parent:
        return lambda: os.getppid() != parent
    start_time = process_start(parent)
    return lambda: not start_time or process_start(parent) != start_time


def say(words: str) -> None:
    """Write to the log, which may lie on a full disk."""
    with contextlib.suppress(OSError):
        print(words, file=sys.stderr, flush=True)


def main(argv: list[str]) -> int:
    """Run one worker life; return its exit code."""
    folder, stage, config = argv
    store = Store(Path(folder))
    try:
        frozen = read_frozen(store.configs / f"{config}.yaml")
        worker = Worker(store, stage, frozen, os.environ.get(NAME, f"w{os.getpid()}"))
    except (UserError, DiskFull, OSError) as error:
        say(f"can't start: {error}")
        return EXIT_DISK_FULL if is_disk_full(error) else EXIT_FAILED
    signal.signal(signal.SIGTERM, lambda *_: worker.stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal: the driver decides
    worker.watch()
    return end_of(worker)


def end_of(worker: Worker) -> int:
    """Run the worker and return how it ended, as an exit code; its journal is closed."""
    try:
        worker.run()
        worker.journal.end("told to stop" if worker.stop.is_set() else "done")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the log is where a worker's traceback belongs
        if is_disk_full(error):
            worker.leave_without_space()
            say(f"no space left: {error}")
            return EXIT_DISK_FULL
        say(str(error) if isinstance(error, UserError) else traceback.format_exc())
        with contextlib.suppress(DiskFull, OSError):
            worker.journal.end("failed")
        return EXIT_FAILED
    return EXIT_DONE


if __name__ == "__main__":
    code = main(sys.argv[1:])
    gc.collect()  # what a component leaves to its end, such as a folder for outputs that came to nothing
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)  # a stuck thread of a library must not keep the process
